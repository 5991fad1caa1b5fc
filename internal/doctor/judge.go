package doctor

import (
	"fmt"
	"strings"
	"syscall"
)

// Judge says what the facts mean, in the order in which they should be
// repaired. It reads nothing but its argument.
func Judge(f Facts) []Line {
	lines := []Line{
		kernel(f),
		userNamespaces(f),
		namespaces(f),
		identity(f),
		subids(f),
		mapHelpers(f),
		runtimeDir(f),
		storeLine(f),
		overlayLine(f),
		fuseLine(f),
		procLine(f),
		tunLine(f),
		cgroupLine(f),
		seccompLine(f),
		apparmor(f),
		memfdLine(f),
	}
	return append(lines, calls(f)...)
}

// because is the errno of a try in words.
func because(t Try) string {
	switch {
	case !t.Done:
		return "not tried, since the probe could not run"
	case t.Step == "" || t.Step == "-":
		return t.Errno.Error()
	}
	return t.Step + ": " + t.Errno.Error()
}

func kernel(f Facts) Line {
	return Line{Name: "kernel", Status: OK, Text: "Linux " + f.Host.Release + " " + f.Host.Machine}
}

func (f Facts) knobIs(name string, value int) bool {
	got, ok := f.Host.Knobs[name]
	return ok && got == value
}

func denied(e syscall.Errno) bool { return e == syscall.EPERM || e == syscall.EACCES }

// restrictedByAppArmor reports Ubuntu's way of refusing user namespaces: they
// can be made, and in them every capability is denied.
func (f Facts) restrictedByAppArmor() bool {
	if !f.knobIs(knobAppArmor, 1) || f.Caller.hostRoot() {
		return false
	}
	if t := f.Tries[TryUserNS]; t.Done && denied(t.Errno) {
		return true
	}
	overlay, proc := f.Tries[TryOverlay], f.Tries[TryProc]
	return overlay.Step == "mount" && denied(overlay.Errno) && denied(proc.Errno)
}

func userNamespaces(f Facts) Line {
	const name = "user namespaces"
	t := f.Tries[TryUserNS]
	if t.OK() && !f.restrictedByAppArmor() {
		return Line{Name: name, Status: OK, Text: "allowed"}
	}
	text, fix := whyNoUserNS(f, t)
	// Root can do without; nobody else can.
	return Line{Name: name, Status: Missing, Text: text, Fix: fix, Blocks: !f.Caller.hostRoot()}
}

func whyNoUserNS(f Facts, t Try) (text, fix string) {
	limit, limited := f.Host.Knobs[knobMaxUser]
	switch {
	case !t.Done:
		return "not tried: the probe needs a writable temporary directory and /proc", ""
	case f.restrictedByAppArmor():
		return "refused by AppArmor (" + knobAppArmor + "=1)", profileFix(f.Caller.Exe)
	case f.knobIs(knobDebian, 0) && denied(t.Errno):
		return "refused to users (" + knobDebian + "=0)", sysctlFix(knobDebian, 1)
	case limited && limit == 0:
		return "switched off (" + knobMaxUser + "=0)", sysctlFix(knobMaxUser, 15000)
	case t.Errno == syscall.ENOSPC || t.Errno == syscall.EUSERS:
		return fmt.Sprintf("the limit is reached (%s=%d, and 32 levels): %v", knobMaxUser, limit, t.Errno),
			sysctlFix(knobMaxUser, max(2*limit, 15000))
	case t.Errno == syscall.EINVAL || t.Errno == syscall.ENOSYS && !f.Caller.Seccomp:
		return "this kernel has none (CONFIG_USER_NS): " + t.Errno.Error(), ""
	case f.Caller.Seccomp:
		return "refused by a seccomp filter, which an outer container has set: " + t.Errno.Error(),
			outerFix("seccomp=unconfined")
	}
	return "refused: " + t.Errno.Error() + "; a security module, or a chroot", ""
}

func sysctlFix(knob string, value int) string {
	return fmt.Sprintf("echo %s=%d | sudo tee /etc/sysctl.d/99-airplant.conf && sudo sysctl --system", knob, value)
}

// outerFix is the option that docker and podman take.
func outerFix(option string) string {
	return "start the outer container with --security-opt " + option
}

// profileFix allows our path what Ubuntu forbids everybody.
func profileFix(exe string) string {
	if exe == "" {
		exe = "/usr/local/bin/airplant"
	}
	const file = "/etc/apparmor.d/airplant"
	return fmt.Sprintf(`printf '%%s\n' 'abi <abi/4.0>,' 'profile airplant "%s" flags=(unconfined) { userns, }' | sudo tee %s && sudo apparmor_parser -r %s`,
		exe, file, file)
}

func namespaces(f Facts) Line {
	const name = "namespaces"
	var all, refused []string
	limit := false
	for _, kind := range namespaceKinds() {
		all = append(all, kind.name)
		if errno, ok := f.Host.Refused[kind.name]; ok {
			refused = append(refused, fmt.Sprintf("%s (%v)", kind.name, errno))
			limit = limit || errno == syscall.ENOSPC
		}
	}
	t := f.Tries[TryAllNS]
	switch {
	case t.OK():
		return Line{Name: name, Status: OK, Text: strings.Join(all, ", ")}
	case !f.Tries[TryUserNS].OK():
		return Line{Name: name, Status: Missing, Text: "they need a user namespace"}
	case len(refused) == 0:
		return Line{Name: name, Status: Missing, Text: "each can be made, all at once cannot: " + because(t)}
	}
	l := Line{Name: name, Status: Missing, Text: "refused: " + strings.Join(refused, ", ")}
	if _, ok := f.Host.Refused["mount"]; ok {
		l.Blocks = true
	}
	if limit {
		l.Fix = "raise the limit that is 0: sysctl user | grep namespaces"
	}
	return l
}

// Rung is a step of the ladder of identities, best first.
type Rung string

// The ladder.
const (
	RungSubids     Rung = "subids"      // the user's ranges, through the helpers
	RungHostRoot   Rung = "host root"   // direct maps of any ids
	RungNestedRoot Rung = "nested root" // direct maps of what the outer namespace has
	RungOneID      Rung = "one id"      // our own id and no other
	RungNone       Rung = "none"
)

// Identity is the rung that this host allows.
func (f Facts) Identity() Rung {
	switch {
	case f.Tries[TryHelpers].OK() && !f.restrictedByAppArmor():
		return RungSubids
	case f.Caller.hostRoot():
		return RungHostRoot
	case !f.Tries[TryUserNS].OK() || f.restrictedByAppArmor():
		return RungNone
	case f.Caller.UID == 0 && f.Caller.IDs > 1:
		return RungNestedRoot
	}
	return RungOneID
}

func identity(f Facts) Line {
	l := Line{Name: "identity", Status: OK}
	switch rung := f.Identity(); rung {
	case RungSubids:
		l.Text = fmt.Sprintf("subids: id 0 and %d more", min(f.Maps.SubUIDs, f.Maps.SubGIDs))
	case RungHostRoot:
		l.Text = "host root: any ids"
	case RungNestedRoot:
		l.Text = fmt.Sprintf("nested root: the %d ids of the user namespace around us", f.Caller.IDs)
	case RungOneID:
		l.Status = Degraded
		l.Text = "one id: programs that change owners fail (apt-get, useradd); see subids and id map helpers"
	case RungNone:
		l.Status, l.Text = Missing, "none: it needs a user namespace"
	}
	return l
}

// needsSubids is false for root, who maps ids without being given any.
func needsSubids(f Facts) bool {
	return !f.Caller.hostRoot() && (f.Caller.UID != 0 || f.Caller.IDs <= 1)
}

func subids(f Facts) Line {
	const name = "subids"
	l := Line{Name: name, Status: OK}
	n := min(f.Maps.SubUIDs, f.Maps.SubGIDs)
	login := f.Caller.Login
	if login == "" {
		login = fmt.Sprint(f.Caller.UID)
	}
	switch {
	case f.Maps.Err != "":
		l.Status, l.Text = Degraded, f.Maps.Err
	case n >= usualSubids:
		l.Text = fmt.Sprintf("%d uids and %d gids for %s", f.Maps.SubUIDs, f.Maps.SubGIDs, login)
	case !needsSubids(f):
		l.Text = "not needed by root"
	case n == 0:
		l.Status = Missing
		l.Text = "none for " + login + " in /etc/subuid and /etc/subgid"
		l.Fix = subidFix(f.Maps.Free, login)
	default:
		l.Status = Degraded
		l.Text = fmt.Sprintf("%d uids and %d gids for %s: images with ids above fail", f.Maps.SubUIDs, f.Maps.SubGIDs, login)
		l.Fix = subidFix(f.Maps.Free, login)
	}
	return l
}

const usualSubids = 65536

func subidFix(first uint64, login string) string {
	ids := fmt.Sprintf("%d-%d", first, first+usualSubids-1)
	return "sudo usermod --add-subuids " + ids + " --add-subgids " + ids + " " + login
}

func mapHelpers(f Facts) Line {
	l := Line{Name: "id map helpers", Status: OK, Text: f.Maps.NewUIDMap + " and " + f.Maps.NewGIDMap}
	t := f.Tries[TryHelpers]
	switch {
	case t.OK():
	case !needsSubids(f):
		l.Text = "not needed by root"
	case f.Maps.NewUIDMap == "" || f.Maps.NewGIDMap == "":
		l.Status, l.Text = Missing, "newuidmap and newgidmap are not installed"
		l.Fix = "sudo apt-get install uidmap   # shadow-utils on Fedora, shadow on Arch"
	case f.Caller.NoNewPrivs:
		l.Status, l.Text = Missing, "without effect: no_new_privs is set on this process"
		l.Fix = "start the outer container with allowPrivilegeEscalation: true, or without --security-opt no-new-privileges"
	case len(f.Maps.Unprivileged) > 0:
		list := strings.Join(f.Maps.Unprivileged, " ")
		l.Status, l.Text = Missing, "neither setuid root nor with file capabilities: "+list
		l.Fix = "sudo chmod u+s " + list
	case t.Done:
		l.Status, l.Text = Missing, "they refuse our ranges: "+f.Maps.Said
		if t.Step != "write" {
			l.Text = "not tried, since there is no user namespace"
		}
	default:
		l.Text += ", not tried without subids"
	}
	return l
}
