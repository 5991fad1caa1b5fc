package seccomp

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"airplant/internal/testenv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// peer is a process with libseccomp.
type peer struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

// python is Debian's, for which python3-seccomp is made.
const python = "/usr/bin/python3"

func libseccomp(t *testing.T) *peer {
	t.Helper()
	if exec.Command(python, "-c", "import seccomp").Run() != nil {
		testenv.Skip(t, "python3-seccomp is not installed")
	}
	cmd := exec.Command(python, "testdata/libseccomp.py")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, &stderr)
		}
	})
	p := &peer{t, in, bufio.NewScanner(out)}
	p.out.Buffer(nil, 1<<20)
	return p
}

func (p *peer) ask(request any) string {
	p.t.Helper()
	text, err := json.Marshal(request)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(text, '\n')); err != nil {
		p.t.Fatal(err)
	}
	if !p.out.Scan() {
		p.t.Fatalf("libseccomp gave no answer: %s", text)
	}
	return p.out.Text()
}

func allNames() []string {
	list := make([]string, nameCount)
	for n := range list {
		list[n] = nameAt(n)
	}
	return list
}

// TestNumbers compares the tables with libseccomp's.
func TestNumbers(t *testing.T) {
	p := libseccomp(t)
	known := strings.Fields(p.ask(map[string]any{"known": allNames()}))
	if len(known) < nameCount*8/10 {
		t.Fatalf("libseccomp knows only %d names", len(known))
	}
	for i := range abis {
		a := &abis[i]
		theirs := strings.Fields(p.ask(map[string]any{"resolve": a.name, "names": known}))
		for k, text := range theirs {
			want, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			n, _ := lookup(known[k])
			got, ok := a.number(n)
			if by := multiplexer(known[k]); a.column == x86 && by != "" {
				// It names the call that these are a part of.
				got, _ = a.number(must(lookup(by)))
				ok = true
			}
			if ok != (want >= 0) || ok && uint32(want) != got {
				t.Errorf("%s %s: %d %v, libseccomp has %d", a.name, known[k], got, ok, want)
			}
		}
	}
}

// TestAgainstLibseccomp compares programs where both mean the same to say:
// values that fit the argument, and no two actions for one call.
func TestAgainstLibseccomp(t *testing.T) {
	p := libseccomp(t)
	known := strings.Fields(p.ask(map[string]any{"known": allNames()}))
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 2))
		machine := pick(r, []string{"amd64", "arm64"})
		c := plainConfig(r, machine, known)
		program, err := hex.DecodeString(p.ask(struct {
			*specs.LinuxSeccomp
			Machine string `json:"machine"`
		}{c, machine}))
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := decode(program)
		if err != nil {
			t.Fatal(err)
		}
		f, err := compileFor(c, machine)
		if err != nil {
			t.Fatal(err)
		}
		ours := compiled(t, f)
		for range 400 {
			d := plainData(r, c, machine)
			got, want := ask(t, ours, d), ask(t, theirs, d)
			other, _ := action(c.DefaultAction, nil)
			if got == newer(other) && (want == other || want == unix.SECCOMP_RET_KILL_PROCESS) {
				continue // runc adds that to what libseccomp made
			}
			if got != want {
				t.Fatalf("seed %d, %+v: %#x, libseccomp has %#x\n%+v", seed, d, got, want, c)
			}
		}
	}
}

func plainConfig(r *rand.Rand, machine string, names []string) *specs.LinuxSeccomp {
	c := &specs.LinuxSeccomp{ListenerPath: "/listener", DefaultAction: pick(r, []specs.LinuxSeccompAction{specs.ActErrno, specs.ActAllow, specs.ActKillProcess})}
	for i := range abis {
		if a := &abis[i]; a.machine == machine && (a.native || r.IntN(2) == 0) {
			c.Architectures = append(c.Architectures, a.name)
		}
	}
	conditional := pick(r, []specs.LinuxSeccompAction{specs.ActTrap, specs.ActLog})
	for range 1 + r.IntN(80) {
		s := specs.LinuxSyscall{Names: []string{pick(r, names)}, Action: pick(r, []specs.LinuxSeccompAction{specs.ActTrap, specs.ActAllow, specs.ActNotify})}
		if multiplexer(s.Names[0]) != "" {
			s.Action = conditional // two for one call are an error there
		}
		if r.IntN(3) == 0 && multiplexer(s.Names[0]) == "" && s.Names[0] != "ipc" && s.Names[0] != "socketcall" {
			s.Action = conditional
			for range 1 + r.IntN(2) {
				s.Args = append(s.Args, specs.LinuxSeccompArg{
					Index: uint(r.IntN(maxArgs)), Value: uint64(1 + r.IntN(1<<15)), ValueTwo: uint64(r.IntN(1 << 15)), Op: pick(r, operators).name,
				})
			}
		}
		c.Syscalls = append(c.Syscalls, s)
	}
	return c
}

func must(n int, _ bool) int { return n }

// multiplexer is the call by which x86 makes a call.
func multiplexer(name string) string {
	for _, m := range multiplexed {
		if name == m.name {
			return m.by
		}
	}
	return ""
}

func plainData(r *rand.Rand, c *specs.LinuxSeccomp, machine string) *data {
	for {
		d := randomData(r, c)
		known := d.number != 1<<32-1
		for i := range abis {
			known = known && (abis[i].token != d.token || abis[i].machine == machine)
		}
		for i := range d.args {
			d.args[i] &= 1<<15 - 1
		}
		if known {
			return d
		}
	}
}
