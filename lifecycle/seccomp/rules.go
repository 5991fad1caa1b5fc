package seccomp

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// profile is a configuration in the kernel's terms.
type profile struct {
	abis   []*abi
	other  uint32 // action for calls without a rule
	newer  uint32 // and for those that the configuration cannot have known
	calls  [nameCount]call
	notify bool
}

// call is what is decided about a system call.
type call struct {
	named bool // the configuration has heard of it
	all   bool // act is for all arguments
	act   uint32
	rules []rule // the first that matches decides
}

// rule is an action for arguments of which all conditions hold.
type rule struct {
	conditions []condition
	act        uint32
}

type condition struct {
	op          uint32
	arg         int
	value, mask uint64
}

const (
	opEQ = iota
	opMaskedEQ
	opNE
	opGT
	opGE
	opLT
	opLE
)

// maxArgs is the number of arguments that seccomp_data has.
const maxArgs = 6

func read(c *specs.LinuxSeccomp, machine string) (*profile, error) {
	p := &profile{}
	var err error
	if p.other, err = action(c.DefaultAction, c.DefaultErrnoRet); err != nil {
		return nil, fmt.Errorf("defaultAction: %w", err)
	}
	var unknown specs.Arch
	if p.abis, unknown = chosen(c.Architectures, machine); unknown != "" {
		return nil, fmt.Errorf("architectures: unknown architecture %q", unknown)
	}
	p.newer = newer(p.other)
	p.notify = p.other == unix.SECCOMP_RET_USER_NOTIF
	for i := range c.Syscalls {
		if err := p.add(&c.Syscalls[i]); err != nil {
			return nil, fmt.Errorf("syscalls[%d]: %w", i, err)
		}
	}
	p.multiplex()
	for i := range p.calls {
		order(p.calls[i].rules)
	}
	return p, nil
}

// newer is the action for calls that are newer than the configuration. A C
// library tries a new call and falls back to an old one on ENOSYS, but takes
// EPERM for the answer: so where the configuration refuses what it does not
// name, calls above the highest number that it names do not exist. Those who
// let everything through, or decide themselves, get all.
func newer(other uint32) uint32 {
	if lets(other) {
		return other
	}
	return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
}

// lets reports whether an action lets calls through, or may.
func lets(act uint32) bool {
	switch act & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_TRACE, unix.SECCOMP_RET_USER_NOTIF:
		return true
	}
	return false
}

// add adds a rule to the calls that it names. A name that is not in the tables
// is one of another architecture, or of a newer kernel, or wrong; engines send
// all three, and runc ignores them.
func (p *profile) add(s *specs.LinuxSyscall) error {
	act, err := action(s.Action, s.ErrnoRet)
	if err != nil {
		return err
	}
	if len(s.Names) == 0 {
		return fmt.Errorf("no names")
	}
	list, err := conditions(s.Args)
	if err != nil {
		return err
	}
	p.notify = p.notify || act == unix.SECCOMP_RET_USER_NOTIF
	for _, word := range s.Names {
		n, ok := lookup(word)
		if !ok {
			continue
		}
		c := &p.calls[n]
		c.named = true
		// What says what holds without it changes nothing; the first rule
		// without conditions is the last word.
		if act == p.other || c.all {
			continue
		}
		if len(list) == 0 {
			*c = call{named: true, all: true, act: act}
			continue
		}
		for _, conditions := range list {
			c.rules = append(c.rules, rule{conditions, act})
		}
	}
	return nil
}

// conditions reads the arguments of one rule. All must hold. If two are about
// the same argument, each is a rule of its own, as libseccomp made runc and crun
// have it, and profiles expect.
func conditions(args []specs.LinuxSeccompArg) ([][]condition, error) {
	var all []condition
	var seen [maxArgs]bool
	twice := false
	for _, a := range args {
		op, ok := valueOf(operators, a.Op)
		switch {
		case !ok:
			return nil, fmt.Errorf("unknown operator %q", a.Op)
		case a.Index >= maxArgs:
			return nil, fmt.Errorf("argument %d does not exist", a.Index)
		}
		c := condition{op: op, arg: int(a.Index), value: a.Value, mask: math.MaxUint64}
		if op == opMaskedEQ {
			c.mask, c.value = a.Value, a.ValueTwo&a.Value
		}
		twice = twice || seen[a.Index]
		seen[a.Index] = true
		all = append(all, c)
	}
	switch {
	case len(all) == 0:
		return nil, nil
	case !twice:
		return [][]condition{all}, nil
	}
	var list [][]condition
	for i := range all {
		list = append(list, all[i:i+1])
	}
	return list, nil
}

// order puts the more exact rule first: that with more conditions, then that
// with more equalities, then that which the configuration has first.
func order(rules []rule) {
	if len(rules) < 2 {
		return
	}
	slices.SortStableFunc(rules, func(a, b rule) int {
		return cmp.Or(len(b.conditions)-len(a.conditions), equalities(b)-equalities(a))
	})
}

func equalities(r rule) (n int) {
	for _, c := range r.conditions {
		if c.op == opEQ {
			n++
		}
	}
	return n
}

// multiplex extends rules to the same calls by way of socketcall and ipc, which
// x86 programs still use. What the configuration says of those itself comes
// first. Their arguments are in memory, so conditions cannot be checked there: a
// rule that allows on conditions is not extended, and one that refuses always
// holds.
func (p *profile) multiplex() {
	for i := range multiplexed {
		m := &multiplexed[i]
		n, ok := lookup(m.name)
		by, ok2 := lookup(m.by)
		if !ok || !ok2 || p.calls[by].all {
			continue
		}
		c := &p.calls[n]
		act, found := c.act, c.all
		for _, r := range c.rules {
			if a := r.act & unix.SECCOMP_RET_ACTION_FULL; !found && a != unix.SECCOMP_RET_ALLOW && a != unix.SECCOMP_RET_LOG {
				act, found = r.act, true
			}
		}
		if found {
			is := condition{op: opMaskedEQ, arg: 0, value: m.number, mask: m.mask}
			p.calls[by].rules = append(p.calls[by].rules, rule{[]condition{is}, act})
		}
	}
}

// span is a range of numbers, up to the next span's, with one decision.
type span struct {
	start uint32
	act   uint32
	call  int // whose rules are asked first; -1: nothing is asked
	abi   *abi
}

// armPrivate is where arm's private calls begin, far above the others
// (__ARM_NR_BASE of <asm/unistd.h>).
const armPrivate = 0x0f0000

// spans lists the decisions about all numbers of one token, in order.
func (p *profile) spans(token uint32) []span {
	var list []span
	add := func(start, act uint32, call int, a *abi) {
		if n := len(list); n > 0 && list[n-1].call < 0 && call < 0 && list[n-1].act == act {
			return
		}
		list = append(list, span{start, act, call, a})
	}
	hasX32 := false
	for _, a := range p.abis {
		if a.token != token {
			continue
		}
		hasX32 = hasX32 || a.column == x32
		numbers, last := p.numbers(a)
		unnamed := func(nr uint32) uint32 {
			if last != 0 && nr > last {
				return p.newer
			}
			return p.other
		}
		next := a.offset
		for _, v := range numbers {
			nr, n := uint32(v>>32), int(uint32(v))
			if nr > next {
				add(next, unnamed(next), -1, a)
			}
			switch c := &p.calls[n]; {
			case c.all:
				add(nr, c.act, -1, a)
			case len(c.rules) > 0:
				add(nr, p.other, n, a)
			default:
				add(nr, p.other, -1, a)
			}
			next = nr + 1
		}
		add(next, unnamed(next), -1, a)
	}
	if token == unix.AUDIT_ARCH_X86_64 && !hasX32 {
		if lets(p.other) {
			// A tracer that skips a call makes its number -1.
			add(x32Bit, unix.SECCOMP_RET_KILL_PROCESS, -1, nil)
			add(math.MaxUint32, p.other, -1, nil)
		} else {
			add(x32Bit, p.newer, -1, nil)
		}
	}
	return list
}

// numbers lists the calls of an ABI that something is said of, number<<32 | call, in order, and the
// highest number of those that the configuration names, but for private ones.
func (p *profile) numbers(a *abi) (list []uint64, last uint32) {
	list = make([]uint64, 0, nameCount)
	for n := range p.calls {
		c := &p.calls[n]
		nr, ok := a.number(n)
		if !ok || !c.named && len(c.rules) == 0 {
			continue
		}
		list = append(list, uint64(nr)<<32|uint64(n))
		if c.named && (a.column != arm || nr < armPrivate) {
			last = max(last, nr)
		}
	}
	slices.Sort(list)
	return list, last
}
