package seccomp

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// reference answers from the configuration itself, slowly: for each rule in
// turn, with the arguments as C would see them.
type reference struct {
	c       *specs.LinuxSeccomp
	machine string
}

func (r *reference) abiOf(d *data) *abi {
	for i := range abis {
		a := &abis[i]
		if a.machine != r.machine || a.token != d.token || !a.native && !slices.Contains(r.c.Architectures, a.name) {
			continue
		}
		if a.token == unix.AUDIT_ARCH_X86_64 && (a.column == x32) != (d.number >= x32Bit) {
			continue
		}
		return a
	}
	return nil
}

func (r *reference) ask(d *data) uint32 {
	other, _ := action(r.c.DefaultAction, r.c.DefaultErrnoRet)
	a := r.abiOf(d)
	if a == nil {
		switch {
		case d.token != unix.AUDIT_ARCH_X86_64 || r.machine != "amd64":
			return unix.SECCOMP_RET_KILL_PROCESS
		case !lets(other):
			return newer(other)
		case d.number == 1<<32-1:
			return other
		}
		return unix.SECCOMP_RET_KILL_PROCESS
	}
	last := uint32(0)
	var calls []string // the names of this call
	for _, s := range r.c.Syscalls {
		for _, name := range s.Names {
			n, ok := lookup(name)
			if !ok {
				continue
			}
			nr, ok := a.number(n)
			if !ok {
				continue
			}
			if nr == d.number {
				calls = []string{name}
			}
			if a.column != arm || nr < armPrivate {
				last = max(last, nr)
			}
		}
	}
	name := ""
	for n := range nameCount {
		if nr, ok := a.number(n); ok && nr == d.number {
			name = nameAt(n)
		}
	}
	if act, ok := r.rules(a, name, d, other); ok {
		return act
	}
	if len(calls) == 0 && last != 0 && d.number > last {
		return newer(other)
	}
	return other
}

// rules finds the best rule for a call.
func (r *reference) rules(a *abi, name string, d *data, other uint32) (uint32, bool) {
	type candidate struct {
		act   uint32
		rank  int
		match bool
	}
	var list []candidate
	call, _ := lookup(name)
	each := func(names []string, do func(s *specs.LinuxSyscall, act uint32)) {
		for i := range r.c.Syscalls {
			s := &r.c.Syscalls[i]
			act, _ := action(s.Action, s.ErrnoRet)
			if act != other && slices.ContainsFunc(s.Names, func(n string) bool { return slices.Contains(names, n) }) {
				do(s, act)
			}
		}
	}
	always, found := uint32(0), false
	each([]string{name}, func(s *specs.LinuxSyscall, act uint32) {
		if len(s.Args) == 0 && !found {
			always, found = act, true
		}
	})
	if found {
		return always, true
	}
	each([]string{name}, func(s *specs.LinuxSyscall, act uint32) {
		var seen [maxArgs]int
		for _, c := range s.Args {
			seen[c.Index]++
		}
		if slices.Max(seen[:]) > 1 {
			for _, c := range s.Args {
				rank := -10
				if c.Op == specs.OpEqualTo {
					rank--
				}
				list = append(list, candidate{act, rank, r.matches(a, call, c, d)})
			}
			return
		}
		one := candidate{act, -10 * len(s.Args), true}
		for _, c := range s.Args {
			one.match = one.match && r.matches(a, call, c, d)
			if c.Op == specs.OpEqualTo {
				one.rank--
			}
		}
		list = append(list, one)
	})
	if name == "socketcall" || name == "ipc" {
		for _, m := range multiplexed {
			if m.by != name || d.args[0]&m.mask != m.number {
				continue
			}
			implied, found := uint32(0), false
			each([]string{m.name}, func(s *specs.LinuxSyscall, act uint32) {
				if len(s.Args) == 0 && !found {
					implied, found = act, true
				}
			})
			if !found {
				// Of refusals on conditions the most exact is the rule.
				best := 1
				each([]string{m.name}, func(s *specs.LinuxSyscall, act uint32) {
					rank := -10 * len(s.Args)
					if act&0xffff0000 != unix.SECCOMP_RET_ALLOW && act&0xffff0000 != unix.SECCOMP_RET_LOG && best > 0 {
						implied, found, best = act, true, rank
					}
				})
			}
			if found {
				list = append(list, candidate{implied, -10, true})
			}
		}
	}
	slices.SortStableFunc(list, func(x, y candidate) int { return x.rank - y.rank })
	for _, c := range list {
		if c.match {
			return c.act, true
		}
	}
	return 0, false
}

// matches compares in the types of C.
func (r *reference) matches(a *abi, call int, c specs.LinuxSeccompArg, d *data) bool {
	v := d.args[c.Index]
	want, mask := c.Value, ^uint64(0)
	if c.Op == specs.OpMaskedEqual {
		want, mask = c.ValueTwo&c.Value, c.Value
	}
	switch a.width(call, int(c.Index)) {
	case 32:
		// An int that is negative and a large unsigned are the same bits.
		if s := uint64(int64(int32(uint32(v)))); want>>31 == 1<<33-1 || mask != ^uint64(0) && want>>32 != 0 && want>>31&1 == 1 && want>>32 == mask>>32 {
			v = s
		} else {
			v = uint64(uint32(v))
		}
	case 16:
		if s := uint64(int64(int16(uint16(v)))); want>>15 == 1<<49-1 || mask != ^uint64(0) && want>>16 != 0 && want>>15&1 == 1 && want>>16 == mask>>16 {
			v = s
		} else {
			v = uint64(uint16(v))
		}
	}
	switch c.Op {
	case specs.OpNotEqual:
		return v != want
	case specs.OpLessThan:
		return v < want
	case specs.OpLessEqual:
		return v <= want
	case specs.OpEqualTo:
		return v == want
	case specs.OpGreaterEqual:
		return v >= want
	case specs.OpGreaterThan:
		return v > want
	}
	return v&mask == want
}

// some values that are near a bound.
var interesting = []uint64{
	0, 1, 2, 16, 38, 40, 0xff, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7e020000, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 38 | 1<<32, 1<<33 - 1,
	0xffffffff00000000, 0xffffffff80000000, 0xffffffffffff8000, 1<<63 - 1, 1 << 63, 1<<64 - 1,
}

func value(r *rand.Rand) uint64 {
	switch r.IntN(4) {
	case 0:
		return r.Uint64()
	case 1:
		return uint64(r.IntN(64))
	}
	return interesting[r.IntN(len(interesting))]
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// someName prefers calls with conditions that matter, and few names, so that
// rules meet.
func someName(r *rand.Rand) string {
	if r.IntN(3) == 0 {
		return pick(r, []string{"socket", "ioctl", "clone", "personality", "socketcall", "ipc", "semop", "chmod", "chown", "mknod", "msgget", "write", "ptrace", "bind", "cacheflush", "no_such_call"})
	}
	return nameAt(r.IntN(nameCount))
}

func randomConfig(r *rand.Rand) *specs.LinuxSeccomp {
	c := &specs.LinuxSeccomp{ListenerPath: "/listener"}
	c.DefaultAction, c.DefaultErrnoRet = someAction(r)
	for i := range abis {
		if r.IntN(2) == 0 {
			c.Architectures = append(c.Architectures, abis[i].name)
		}
	}
	for range r.IntN(60) {
		s := specs.LinuxSyscall{Names: []string{someName(r)}}
		for range r.IntN(8) {
			s.Names = append(s.Names, someName(r))
		}
		s.Action, s.ErrnoRet = someAction(r)
		if r.IntN(2) == 0 {
			for range 1 + r.IntN(3) {
				s.Args = append(s.Args, specs.LinuxSeccompArg{
					Index: uint(r.IntN(maxArgs)), Value: value(r), ValueTwo: value(r), Op: pick(r, operators).name,
				})
			}
		}
		c.Syscalls = append(c.Syscalls, s)
	}
	return c
}

func someAction(r *rand.Rand) (specs.LinuxSeccompAction, *uint) {
	a := pick(r, actions).name
	if (a == specs.ActErrno || a == specs.ActTrace) && r.IntN(2) == 0 {
		n := uint(1 + r.IntN(40))
		return a, &n
	}
	return a, nil
}

// randomData is a call that the configuration says something of, mostly.
func randomData(r *rand.Rand, c *specs.LinuxSeccomp) *data {
	a := &abis[r.IntN(len(abis))]
	d := &data{token: a.token, number: uint32(r.IntN(600)) + a.offset}
	if len(c.Syscalls) > 0 && r.IntN(4) > 0 {
		if n, ok := lookup(pick(r, pick(r, c.Syscalls).Names)); ok {
			if nr, ok := a.number(n); ok {
				d.number = nr
			}
		}
	}
	if r.IntN(20) == 0 {
		a = &abis[x86]
		n, _ := lookup(pick(r, []string{"socketcall", "ipc"}))
		d.token = a.token
		d.number, _ = a.number(n)
	}
	if r.IntN(50) == 0 {
		d.number = pick(r, []uint32{0, x32Bit, x32Bit - 1, 1<<32 - 1, 1 << 31, armPrivate, armPrivate + 2})
	}
	if r.IntN(100) == 0 {
		d.token = r.Uint32()
	}
	for i := range d.args {
		d.args[i] = value(r)
		if len(c.Syscalls) > 0 && r.IntN(2) == 0 {
			if s := pick(r, c.Syscalls); len(s.Args) > 0 {
				d.args[i] = pick(r, s.Args).Value
			}
		}
		if a.bits == 32 {
			d.args[i] = uint64(uint32(d.args[i]))
		}
	}
	return d
}

// TestAgainstReference compares compiled programs with the reference.
func TestAgainstReference(t *testing.T) {
	for seed := range uint64(150) {
		check(t, seed, 300)
	}
}

func check(t *testing.T, seed uint64, calls int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	c := randomConfig(r)
	for _, machine := range []string{"amd64", "arm64"} {
		f, err := compileFor(c, machine)
		if err != nil {
			t.Fatal(err)
		}
		code := compiled(t, f)
		ref := &reference{c, machine}
		for range calls {
			d := randomData(r, c)
			if got, want := ask(t, code, d), ref.ask(d); got != want {
				t.Fatalf("seed %d, %s, %+v: %#x, want %#x\n%+v", seed, machine, d, got, want, c)
			}
		}
	}
}

// FuzzReference looks for a configuration on which they differ.
func FuzzReference(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { check(t, seed, 100) })
}

// FuzzCompile has foreign configurations: an error, or a program that the
// kernel takes.
func FuzzCompile(f *testing.F) {
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86"],"flags":["SECCOMP_FILTER_FLAG_LOG"],
		"syscalls":[{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":38,"op":"SCMP_CMP_NE"}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := &specs.LinuxSeccomp{}
		if json.Unmarshal(text, c) != nil {
			return
		}
		for _, machine := range []string{"amd64", "arm64"} {
			if filter, err := compileFor(c, machine); err == nil {
				compiled(t, filter)
			}
		}
	})
}
