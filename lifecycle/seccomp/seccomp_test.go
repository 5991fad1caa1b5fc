package seccomp

import (
	"errors"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	allow  = uint32(unix.SECCOMP_RET_ALLOW)
	eperm  = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.EPERM)
	enosys = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)
	kill   = uint32(unix.SECCOMP_RET_KILL_PROCESS)
)

// ofCall is a call of an ABI by name.
func ofCall(t *testing.T, abi int, name string, args ...uint64) *data {
	t.Helper()
	n, ok := lookup(name)
	nr, ok2 := abis[abi].number(n)
	if !ok || !ok2 {
		t.Fatalf("no call %q", name)
	}
	d := &data{number: nr, token: abis[abi].token}
	copy(d.args[:], args)
	return d
}

func arg(index uint, op specs.LinuxSeccompOperator, value uint64, two ...uint64) specs.LinuxSeccompArg {
	a := specs.LinuxSeccompArg{Index: index, Op: op, Value: value}
	if len(two) > 0 {
		a.ValueTwo = two[0]
	}
	return a
}

func refusing(list ...specs.LinuxSyscall) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno, Syscalls: list,
		Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32, specs.ArchAARCH64, specs.ArchARM, specs.ArchMIPS},
	}
}

func allowing(list ...specs.LinuxSyscall) *specs.LinuxSeccomp {
	c := refusing(list...)
	c.DefaultAction = specs.ActAllow
	return c
}

func rules(name string, act specs.LinuxSeccompAction, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: []string{name}, Action: act, Args: args}
}

// decided compiles for amd64 and asks.
func decided(t *testing.T, c *specs.LinuxSeccomp, d *data) uint32 {
	t.Helper()
	f, err := compileFor(c, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	return ask(t, compiled(t, f), d)
}

// TestNarrowArguments: what the kernel cuts off does not get a call through
// (CVE-2019-10063), by no ABI.
func TestNarrowArguments(t *testing.T) {
	const alg, tiocsti = unix.AF_ALG, unix.TIOCSTI
	notALG := refusing(rules("socket", specs.ActAllow, arg(0, specs.OpNotEqual, alg)))
	isALG := allowing(rules("socket", specs.ActErrno, arg(0, specs.OpEqualTo, alg)))
	below := refusing(rules("socket", specs.ActAllow, arg(0, specs.OpLessThan, alg)))
	masked := allowing(rules("socket", specs.ActErrno, arg(0, specs.OpMaskedEqual, 0xff, alg)))
	sti := allowing(rules("ioctl", specs.ActErrno, arg(1, specs.OpEqualTo, tiocsti)))
	suid := allowing(rules("chmod", specs.ActErrno, arg(1, specs.OpEqualTo, 0o4755)))
	minus := refusing(rules("kill", specs.ActAllow, arg(0, specs.OpEqualTo, 1<<64-1)))
	for n, c := range []struct {
		c    *specs.LinuxSeccomp
		d    *data
		want uint32
	}{
		{notALG, ofCall(t, x86_64, "socket", unix.AF_INET), allow},
		{notALG, ofCall(t, x86_64, "socket", alg), eperm},
		{notALG, ofCall(t, x86_64, "socket", alg|1<<32), eperm},
		{notALG, ofCall(t, x86_64, "socket", alg|0xffffffff<<32), eperm},
		{notALG, ofCall(t, x32, "socket", alg|1<<32), eperm},
		{notALG, ofCall(t, x86, "socket", alg), eperm},
		{notALG, ofCall(t, x86, "socket", unix.AF_INET), allow},
		// Its arguments cannot be seen.
		{notALG, ofCall(t, x86, "socketcall", 1), eperm},
		{isALG, ofCall(t, x86_64, "socket", alg|1<<32), eperm},
		{isALG, ofCall(t, x86_64, "socket", unix.AF_INET), allow},
		{isALG, ofCall(t, x86, "socketcall", 1), eperm},
		{isALG, ofCall(t, x86, "socketcall", 2), allow},
		{below, ofCall(t, x86_64, "socket", 2), allow},
		{below, ofCall(t, x86_64, "socket", 2|1<<32), allow},
		{below, ofCall(t, x86_64, "socket", alg|1<<32), eperm},
		{masked, ofCall(t, x86_64, "socket", alg|1<<40), eperm},
		{sti, ofCall(t, x86_64, "ioctl", 0, tiocsti|1<<32), eperm},
		{sti, ofCall(t, x32, "ioctl", 0, tiocsti|1<<32), eperm},
		{sti, ofCall(t, x86_64, "ioctl", tiocsti, 0, tiocsti), allow},
		{suid, ofCall(t, x86_64, "chmod", 0, 0o4755|1<<16), eperm},
		{suid, ofCall(t, x86, "chmod", 0, 0o4755|1<<16), eperm},
		// -1 as C makes it of an int, and of a long.
		{minus, ofCall(t, x86_64, "kill", 1<<32-1), allow},
		{minus, ofCall(t, x86_64, "kill", 1<<64-1), allow},
		{minus, ofCall(t, x86_64, "kill", 1<<31-1), eperm},
		{refusing(rules("clone", specs.ActAllow, arg(0, specs.OpNotEqual, unix.CLONE_NEWUSER))), ofCall(t, x86_64, "clone", unix.CLONE_NEWUSER|1<<32), eperm},
		// A long stays one.
		{refusing(rules("ptrace", specs.ActAllow, arg(0, specs.OpEqualTo, 1<<32|3))), ofCall(t, x86_64, "ptrace", 1<<32|3), allow},
		{refusing(rules("ptrace", specs.ActAllow, arg(0, specs.OpEqualTo, 3))), ofCall(t, x86_64, "ptrace", 1<<32|3), eperm},
	} {
		if got := decided(t, c.c, c.d); got != c.want {
			t.Errorf("%d: %+v: %#x, want %#x", n, c.d, got, c.want)
		}
	}
}

// TestWhichRule has several rules for one call.
func TestWhichRule(t *testing.T) {
	two := uint(2)
	is := func(n uint64) specs.LinuxSeccompArg { return arg(0, specs.OpEqualTo, n) }
	errno2 := specs.LinuxSyscall{Names: []string{"ptrace"}, Action: specs.ActErrno, ErrnoRet: &two}
	withArgs := func(s specs.LinuxSyscall, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
		s.Args = args
		return s
	}
	const other = uint32(unix.SECCOMP_RET_ERRNO) | 2
	for n, c := range []struct {
		c    *specs.LinuxSeccomp
		args []uint64
		want uint32
	}{
		// A rule without conditions has the last word, and the first of them.
		{refusing(rules("ptrace", specs.ActAllow), withArgs(errno2, is(3))), []uint64{3}, allow},
		{refusing(withArgs(errno2, is(3)), rules("ptrace", specs.ActAllow)), []uint64{3}, allow},
		{refusing(errno2, rules("ptrace", specs.ActAllow)), nil, other},
		// What is the default changes nothing.
		{refusing(rules("ptrace", specs.ActErrno), rules("ptrace", specs.ActAllow)), nil, allow},
		// The more exact rule comes first.
		{refusing(rules("ptrace", specs.ActAllow, arg(0, specs.OpGreaterEqual, 2)), withArgs(errno2, is(3))), []uint64{3}, other},
		{refusing(rules("ptrace", specs.ActAllow, is(3)), withArgs(errno2, is(3), arg(1, specs.OpEqualTo, 7))), []uint64{3, 7}, other},
		{refusing(rules("ptrace", specs.ActAllow, is(3)), withArgs(errno2, is(3), arg(1, specs.OpEqualTo, 7))), []uint64{3, 8}, allow},
		// All conditions of a rule must hold, but those of one argument are
		// rules of their own.
		{refusing(rules("ptrace", specs.ActAllow, is(1), arg(1, specs.OpEqualTo, 2))), []uint64{1, 3}, eperm},
		{refusing(rules("ptrace", specs.ActAllow, is(1), is(2))), []uint64{2}, allow},
	} {
		if got := decided(t, c.c, ofCall(t, x86_64, "ptrace", c.args...)); got != c.want {
			t.Errorf("%d: %#x, want %#x", n, got, c.want)
		}
	}
}

// TestNewerCalls: those that a configuration cannot have known do not exist, if
// it refuses what it does not know.
func TestNewerCalls(t *testing.T) {
	last := rules("clone3", specs.ActAllow) // 435 everywhere
	newest := &data{number: 9000, token: abis[x86_64].token}
	unnamed := ofCall(t, x86_64, "mount")
	killing := refusing(last)
	killing.DefaultAction = specs.ActKill
	native := refusing(last)
	native.Architectures = nil
	for n, c := range []struct {
		c    *specs.LinuxSeccomp
		d    *data
		want uint32
	}{
		{refusing(last), newest, enosys},
		{refusing(last), unnamed, eperm},
		{refusing(last), ofCall(t, x86_64, "openat2"), enosys},
		{refusing(last), ofCall(t, x32, "openat2"), enosys},
		{refusing(last), ofCall(t, x86, "openat2"), enosys},
		{killing, newest, enosys},
		{killing, unnamed, unix.SECCOMP_RET_KILL_THREAD},
		{allowing(rules("mount", specs.ActErrno)), newest, allow},
		// Without a name there is nothing that it knows.
		{refusing(), newest, eperm},
		{native, ofCall(t, x32, "read"), enosys},
		{native, ofCall(t, x86, "read"), kill},
		{native, &data{number: 1<<32 - 1, token: abis[x86_64].token}, enosys},
		{refusing(last), &data{token: 1}, kill},
	} {
		if got := decided(t, c.c, c.d); got != c.want {
			t.Errorf("%d: %+v: %#x, want %#x", n, c.d, got, c.want)
		}
	}
}

func TestErrorsNameTheField(t *testing.T) {
	n := uint(1)
	big := uint(1 << 16)
	change := func(f func(c *specs.LinuxSeccomp)) *specs.LinuxSeccomp {
		c := refusing(rules("read", specs.ActAllow))
		f(c)
		return c
	}
	for want, c := range map[string]*specs.LinuxSeccomp{
		`defaultAction: unknown action ""`:             {},
		`defaultAction: SCMP_ACT_ALLOW does not take`:  {DefaultAction: specs.ActAllow, DefaultErrnoRet: &n},
		`defaultAction: errno 65536`:                   {DefaultAction: specs.ActErrno, DefaultErrnoRet: &big},
		`architectures: unknown architecture "VAX"`:    change(func(c *specs.LinuxSeccomp) { c.Architectures = []specs.Arch{"VAX"} }),
		`flags: unknown flag "X"`:                      change(func(c *specs.LinuxSeccomp) { c.Flags = []specs.LinuxSeccompFlag{"X"} }),
		`syscalls[0]: unknown action "SCMP_ACT_NEVER"`: change(func(c *specs.LinuxSeccomp) { c.Syscalls[0].Action = "SCMP_ACT_NEVER" }),
		`syscalls[0]: SCMP_ACT_ALLOW does not take`:    change(func(c *specs.LinuxSeccomp) { c.Syscalls[0].ErrnoRet = &n }),
		`syscalls[0]: no names`:                        change(func(c *specs.LinuxSeccomp) { c.Syscalls[0].Names = nil }),
		`unknown operator "SCMP_CMP_X"`:                refusing(rules("read", specs.ActAllow, arg(0, "SCMP_CMP_X", 1))),
		`argument 6 does not exist`:                    refusing(rules("read", specs.ActAllow, arg(6, specs.OpEqualTo, 1))),
		`listenerPath is empty`:                        refusing(rules("read", specs.ActNotify)),
		`listenerMetadata is set without`:              change(func(c *specs.LinuxSeccomp) { c.ListenerMetadata = "x" }),
	} {
		if _, err := Compile(c); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "linux.seccomp.") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestTooLong(t *testing.T) {
	var list []specs.LinuxSyscall
	for n := range uint64(2000) {
		list = append(list, rules("ptrace", specs.ActAllow, arg(0, specs.OpEqualTo, n<<32|n)))
	}
	if _, err := Compile(refusing(list...)); !errors.Is(err, ErrTooLong) || !strings.Contains(err.Error(), "4096") {
		t.Errorf("2000 comparisons: %v", err)
	}
	f, err := Compile(refusing(list[:600]...))
	if err != nil {
		t.Fatal(err)
	}
	// Jumps of more than 255 instructions.
	if got := ask(t, compiled(t, f), ofCall(t, x86_64, "ptrace", 599<<32|599)); got != allow {
		t.Errorf("the last of 600: %#x", got)
	}
}

func TestFlags(t *testing.T) {
	c := refusing(rules("read", specs.ActAllow))
	c.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow, specs.LinuxSeccompFlagWaitKillableRecv, "SECCOMP_FILTER_FLAG_TSYNC"}
	f, err := Compile(c)
	if err != nil || f.Notify || f.Flags != unix.SECCOMP_FILTER_FLAG_LOG|unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW|unix.SECCOMP_FILTER_FLAG_TSYNC {
		t.Errorf("%+v, %v", f, err)
	}
	c.Syscalls, c.ListenerPath = append(c.Syscalls, rules("write", specs.ActNotify)), "/x"
	f, err = Compile(c)
	if err != nil || !f.Notify || f.Flags&unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV == 0 {
		t.Errorf("%+v, %v", f, err)
	}
}

// allNamed is a list of names such as engines send, with every name.
func allNamed() *specs.LinuxSeccomp {
	list := make([]string, 0, nameCount)
	for n := range nameCount {
		if n%5 > 0 {
			list = append(list, nameAt(n))
		}
	}
	return refusing(specs.LinuxSyscall{Names: list, Action: specs.ActAllow})
}

// TestSearch: a call costs a logarithm.
func TestSearch(t *testing.T) {
	f, err := compileFor(allNamed(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	code := compiled(t, f)
	for abi := range 3 {
		for n := range nameCount {
			nr, ok := abis[abi].number(n)
			if !ok {
				continue
			}
			d := &data{number: nr, token: abis[abi].token}
			want := eperm
			if n%5 > 0 {
				want = allow
			}
			if got := ask(t, code, d); got != want {
				t.Errorf("%s %s: %#x", abis[abi].name, nameAt(n), got)
			}
			if steps := steps(code, d); steps > 20 {
				t.Errorf("%s: %d instructions", nameAt(n), steps)
			}
		}
	}
}

func steps(code []instruction, d *data) (n int) {
	for pc := 0; code[pc].code != returnThis; n++ {
		word, _ := d.word(offNumber)
		i := code[pc]
		switch {
		case i.code == load && i.k == offToken, i.code == load:
			pc++
		case i.code == jump:
			pc += int(i.k) + 1
		case i.code == ifEqual && d.token == i.k, i.code == ifAtLeast && word >= i.k:
			pc += int(i.jt) + 1
		default:
			pc += int(i.jf) + 1
		}
	}
	return n + 1
}

func TestWords(t *testing.T) {
	if list := Architectures(); len(list) != 23 || !slices.Contains(list, "SCMP_ARCH_X32") || !slices.Contains(list, "SCMP_ARCH_S390X") {
		t.Errorf("architectures %v", list)
	}
	if len(Actions()) != 9 || len(Operators()) != 7 || len(Flags()) != 4 {
		t.Errorf("%v %v %v", Actions(), Operators(), Flags())
	}
}

func BenchmarkCompile(b *testing.B) {
	c := allNamed()
	for b.Loop() {
		if _, err := Compile(c); err != nil {
			b.Fatal(err)
		}
	}
}
