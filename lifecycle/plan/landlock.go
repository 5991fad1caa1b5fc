package plan

import (
	"encoding/binary"
	"fmt"
	"strings"

	"airplant/internal/birth"
	"airplant/lifecycle/landlock"

	"golang.org/x/sys/unix"
)

// rulePort is LANDLOCK_RULE_NET_PORT of <linux/landlock.h>.
const rulePort = 2

// landlockRules reads the annotation and decides what of it is enforced.
func (b *builder) landlockRules() error {
	text, ok := b.spec.Annotations[landlock.Annotation]
	if !ok {
		return nil
	}
	rules, err := landlock.Parse(text)
	if err != nil {
		return err
	}
	set, missing := landlock.Enforce(rules, b.host.Landlock)
	if rules.Required() && len(missing) > 0 {
		return fmt.Errorf("annotation %s is required, and this kernel does not enforce: %s", landlock.Annotation, strings.Join(missing, "; "))
	}
	for _, m := range missing {
		b.plan.note(fmt.Sprintf("annotation %s: not enforced: %s", landlock.Annotation, m))
	}
	b.landlocked, b.landlockMust = &set, rules.Required()
	return nil
}

// landlock restricts the process in the container's root, by descriptors of
// what is there now. From then on it cannot mount. It needs no privilege but
// CAP_SYS_ADMIN over its user namespace, which it still has, or no_new_privs.
func (b *builder) landlock() error {
	if b.landlocked == nil || b.landlocked.Empty() {
		return nil
	}
	const label = "landlock"
	set, ruleset := b.landlocked, birth.Cell("ruleset")
	attr := set.Attr()
	text := fmt.Sprintf("{fs %#x, net %#x, scoped %#x}", set.FS, set.Net, set.Scoped)
	b.do(label, birth.LandlockCreateRuleset, birth.Ptr(birth.Bytes(text, attr)), birth.Int(len(attr)), birth.Int(0)).Into(ruleset)
	for _, p := range set.Paths {
		b.allowPath(ruleset, &p)
	}
	for _, p := range set.Ports {
		rule := birth.Words(fmt.Sprintf("{%#x, port %d}", p.Access, p.Port), p.Access, uint64(p.Port))
		b.do(fmt.Sprintf("landlock: allow port %d", p.Port), birth.LandlockAddRule, birth.Load(ruleset), birth.Int(rulePort), birth.Ptr(rule), birth.Int(0))
	}
	b.do(label, birth.LandlockRestrictSelf, birth.Load(ruleset), birth.Int(0))
	b.do(label, birth.Close, birth.Load(ruleset))
	return nil
}

// allowPath adds a rule. A path that is not there allows nothing; where all is
// required it is an error.
func (b *builder) allowPath(ruleset *birth.Data, p *landlock.Beneath) {
	label := "landlock: allow " + p.Path
	fd, missing, file, next := birth.Cell(p.Path), &birth.Mark{}, &birth.Mark{}, &birth.Mark{}
	how := birth.OpenHow(unix.O_PATH|unix.O_CLOEXEC, unix.RESOLVE_NO_MAGICLINKS)
	open := b.do(label, birth.Openat2, birth.Int(unix.AT_FDCWD), birth.Str(p.Path), birth.Ptr(how), birth.Int(24)).Into(fd)
	if !b.landlockMust {
		open.OnErr(missing, unix.ENOENT, unix.ENOTDIR)
	}
	add := func(access uint64) {
		// Packed: 8 bytes of rights, and 4 of the descriptor.
		rule := birth.Bytes(fmt.Sprintf("{%#x, <%s>}", access, p.Path), append(binary.NativeEndian.AppendUint64(nil, access), make([]byte, 8)...))
		b.do(label, birth.Value, birth.Load(fd)).IntoAt(rule, 8)
		b.do(label, birth.LandlockAddRule, birth.Load(ruleset), birth.Int(unix.LANDLOCK_RULE_PATH_BENEATH), birth.Ptr(rule), birth.Int(0))
		b.do(label, birth.Close, birth.Load(fd))
	}
	b.isDir(label, fd).OnErr(file, unix.ENOTDIR)
	add(p.Dir)
	b.plan.Main.Goto(label, next)
	b.here(file)
	if p.File != 0 {
		add(p.File)
	}
	if !b.landlockMust {
		b.plan.Main.Goto(label, next)
		b.here(missing)
		b.plan.Notice(label + ": it is not there, so nothing is allowed")
	}
	b.here(next)
}
