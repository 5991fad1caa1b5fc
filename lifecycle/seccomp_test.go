package lifecycle_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// probe puts the program of testdata/probe in a bundle, and reports whether the
// gate of 32-bit programs is there: not every kernel has it, and not every
// hypervisor.
func (b *box) probe() (gate bool) {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "probe")
	cmd := exec.Command("go", "build", "-o", file, "./testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(file)
	b.check(err)
	b.write("bin/probe", string(text))
	const getpid = "20"
	out, err := exec.Command(file, "i386", getpid).Output()
	return err == nil && string(out) == "ok\n"
}

// calls are arguments of probe.
func calls(list ...string) []string {
	return strings.Fields("probe " + strings.Join(list, " -- "))
}

// probed is a call of probe, and what it should say.
type probed struct{ call, want string }

// expects has a container make all the calls.
func (b *box) expects(cases []probed) {
	b.t.Helper()
	var list []string
	for _, c := range cases {
		list = append(list, c.call)
	}
	b.spec.Process.Args = calls(list...)
	got := lines(b.says())
	for n, c := range cases {
		if got[n] != c.want {
			b.t.Errorf("%s: %s, want %s", c.call, got[n], c.want)
		}
	}
}

func nr(call int, args ...any) string {
	return strings.TrimSpace(strconv.Itoa(call) + " " + fmt.Sprintln(args...))
}

func letting(rules ...specs.LinuxSyscall) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow, Syscalls: rules,
		Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32, specs.ArchAARCH64, specs.ArchARM},
	}
}

func rule(act specs.LinuxSeccompAction, errno uint, names string, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
	s := specs.LinuxSyscall{Names: strings.Fields(names), Action: act, Args: args}
	if errno != 0 {
		s.ErrnoRet = &errno
	}
	return s
}

// TestSeccomp: the filter is there, the kernel compares as it should, and the
// process is as it would be without, whoever the caller is.
func TestSeccomp(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.bundle(t, "cat", "/proc/self/status")
		for _, noNew := range []bool{false, true} {
			b.spec.Process.NoNewPrivileges = noNew
			b.spec.Linux.Seccomp = nil
			keys := []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Uid", "Gid"}
			without := b.says()
			b.spec.Linux.Seccomp = letting(rule(specs.ActErrno, 99, "setdomainname"))
			with := b.says()
			if fields(with, keys...) != fields(without, keys...) {
				t.Errorf("with a filter: %s, without: %s", fields(with, keys...), fields(without, keys...))
			}
			if got := fields(with, "Seccomp", "Threads"); got != "2 1" {
				t.Errorf("mode and threads are %s", got)
			}
		}
	})
}

// TestSeccompInTheKernel has the traps of 32-bit arguments and of other ABIs.
func TestSeccompInTheKernel(t *testing.T) {
	b := oneID(t).bundle(t)
	gate := b.probe()
	isALG := specs.LinuxSeccompArg{Index: 0, Value: unix.AF_ALG, Op: specs.OpEqualTo}
	b.spec.Linux.Seccomp = letting(rule(specs.ActErrno, 99, "socket", isALG), rule(specs.ActErrno, 98, "getpid"))
	cases := []probed{
		{nr(unix.SYS_SOCKET, unix.AF_UNIX, 1, 0), "ok"},
		{nr(unix.SYS_SOCKET, unix.AF_ALG, 5, 0), "99"},
		{nr(unix.SYS_SOCKET, unix.AF_ALG|1<<32, 5, 0), "99"},
		{nr(unix.SYS_SOCKET, uint64(unix.AF_ALG)|1<<63, 5, 0), "99"},
		{nr(unix.SYS_GETPID), "98"},
	}
	if runtime.GOARCH == "amd64" {
		cases = append(cases, []probed{
			{nr(unix.SYS_GETPID | 1<<30), "98"}, // x32
			{nr(unix.SYS_SOCKET|1<<30, unix.AF_ALG|1<<32, 5, 0), "99"},
		}...)
	}
	b.expects(cases)
	t.Run("i386", func(t *testing.T) {
		const socket, socketcall, getpid = 359, 102, 20
		if !gate { // CONFIG_IA32_EMULATION, int 0x80: then there is no way around the filter either
			b.spec.Process.Args = calls("i386 " + nr(getpid))
			if r := b.run(); r.status == 0 || strings.Contains(r.out, "ok") {
				t.Errorf("a call by a gate that is not there: %+v", r)
			}
			return
		}
		b.expects([]probed{
			{"i386 " + nr(socket, unix.AF_UNIX, 1, 0), "ok"},
			{"i386 " + nr(socket, unix.AF_ALG, 5, 0), "99"},
			{"i386 " + nr(socketcall, 1, 0), "99"}, // to make a socket
			{"i386 " + nr(getpid), "98"},
		})
	})
	// Without the architecture the call is the end.
	if runtime.GOARCH == "amd64" {
		b.spec.Linux.Seccomp.Architectures = nil
		b.spec.Process.Args = calls(nr(unix.SYS_GETPID | 1<<30))
		if r := b.run(); r.status != 128+int(unix.SIGSYS) {
			t.Errorf("a call of another architecture: %+v", r)
		}
	}
}

// TestSeccompKills: the status says so.
func TestSeccompKills(t *testing.T) {
	for _, act := range []specs.LinuxSeccompAction{specs.ActKill, specs.ActKillProcess, specs.ActKillThread, specs.ActTrap} {
		b := oneID(t).bundle(t, "mkdir", "/tmp")
		b.spec.Linux.Seccomp = letting(rule(act, 0, "mkdir mkdirat"))
		if r := b.run(); r.status != 128+int(unix.SIGSYS) {
			t.Errorf("%s: %+v", act, r)
		}
		b.nothingLeft()
	}
}

// nothingButExecve lets a program start, and no more: what the setup does after
// the filter, too.
func nothingButExecve() *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{rule(specs.ActAllow, 0, "execve")}}
}

// TestSeccompNothingElse: the filter need not allow what airplant does itself,
// and a failure of execve is told all the same.
func TestSeccompNothingElse(t *testing.T) {
	for _, noNew := range []bool{false, true} {
		for _, c := range []*specs.LinuxSeccomp{nothingButExecve(), letting(rule(specs.ActKillProcess, 0, "write exit_group exit capset prctl read"))} {
			b := oneID(t).bundle(t, "/bin/broken")
			b.write("bin/broken", "\x7fELF is what it is not")
			b.spec.Process.NoNewPrivileges = noNew
			b.spec.Linux.Seccomp = c
			b.fails(`execute "/bin/broken": exec format error`)
			b.nothingLeft()
			b.save()
			b.must("create", "--bundle", b.dir, "c")
			if r := do(t, b.oci("start", "c")); r.status == 0 || !strings.Contains(r.err, "exec format error") {
				t.Errorf("start: %+v", r)
			}
			b.must("delete", "c")
			b.nothingLeft()
		}
	}
}

// TestSeccompRefusesExecve: then nothing runs.
func TestSeccompRefusesExecve(t *testing.T) {
	b := oneID(t).bundle(t, "true")
	b.spec.Linux.Seccomp = letting(rule(specs.ActErrno, 0, "execve"))
	b.fails(`execute "true": operation not permitted`)
	b.spec.Linux.Seccomp = letting(rule(specs.ActKillProcess, 0, "execve"))
	if r := b.run(); r.status != 128+int(unix.SIGSYS) {
		t.Errorf("%+v", r)
	}
	b.nothingLeft()
}

// TestSeccompOfExec: a further process has the filter of its container's
// creation, whatever config.json says by then, and none without it.
func TestSeccompOfExec(t *testing.T) {
	for name, c := range map[string]func(*testing.T) *caller{"one id": oneID, "subids": subids} {
		t.Run(name, func(t *testing.T) {
			b := c(t).bundle(t, "sleep", "1000")
			b.probe()
			b.spec.Process.NoNewPrivileges = false
			b.spec.Linux.Seccomp = letting(rule(specs.ActErrno, 77, "getpid"))
			b.save()
			b.must("run", "-d", "--bundle", b.dir, "c")
			defer b.must("delete", "-f", "c")
			b.spec.Linux.Seccomp = nil
			b.save()
			args := append([]string{"exec", "c"}, calls(nr(unix.SYS_GETPID))...)
			if got := b.must(args...); got != "77\n" {
				t.Errorf("exec says %q", got)
			}
			if got := fields(b.must("exec", "c", "cat", "/proc/self/status"), "Seccomp", "NoNewPrivs"); got != "2 0" {
				t.Errorf("mode and no_new_privs are %s", got)
			}
			b.write("bin/broken", "\x7fELF is what it is not")
			if r := do(t, b.oci("exec", "c", "/bin/broken")); !strings.Contains(r.err, `execute "/bin/broken": exec format error`) {
				t.Errorf("a broken program: %+v", r)
			}
			file := filepath.Join(b.state(), "c", "seccomp")
			for _, spoil := range []func() error{
				func() error { return os.Truncate(file, 100) },
				func() error { return os.Remove(file) },
			} {
				b.check(spoil())
				if r := do(t, b.oci("exec", "c", "true")); r.status == 0 || !strings.Contains(r.err, "filter") && !strings.Contains(r.err, "no such file") {
					t.Errorf("without its filter: %+v", r)
				}
			}
		})
	}
}

// TestSeccompJoin has a container in the namespaces of another, and one with a
// time namespace.
func TestSeccompJoin(t *testing.T) {
	c := subids(t)
	first := c.bundle(t, "sleep", "1000")
	first.save()
	first.must("run", "-d", "--bundle", first.dir, "c")
	defer first.must("delete", "-f", "c")
	b := c.bundle(t, "cat", "/proc/self/status")
	b.join(first.status().Pid, "user", "network", "ipc", "pid")
	b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	b.spec.Linux.Seccomp = letting(rule(specs.ActErrno, 0, "mount"))
	b.spec.Process.NoNewPrivileges = false
	if got := fields(b.says(), "Seccomp"); got != "2" {
		t.Errorf("mode %s", got)
	}
}

func TestSeccompIsChecked(t *testing.T) {
	b := oneID(t).bundle(t, "true")
	b.spec.Linux.Seccomp = letting(rule("SCMP_ACT_PERHAPS", 0, "mount"))
	b.fails(`linux.seccomp.syscalls[0]: unknown action "SCMP_ACT_PERHAPS"`)
	var many []specs.LinuxSyscall
	for n := range uint64(3000) {
		many = append(many, rule(specs.ActErrno, 0, "ptrace", specs.LinuxSeccompArg{Index: 2, Value: n<<32 | n, Op: specs.OpEqualTo}))
	}
	b.spec.Linux.Seccomp = letting(many...)
	b.fails("linux.seccomp: too many rules")
	// As good as none.
	b.spec.Linux.Seccomp = &specs.LinuxSeccomp{}
	b.says()
	b.nothingLeft()
}

// TestTraceSeccomp: between the filter and the program there is nothing.
func TestTraceSeccomp(t *testing.T) {
	for _, noNew := range []bool{false, true} {
		b := oneID(t).bundle(t, "true")
		b.spec.Process.NoNewPrivileges = noNew
		b.spec.Linux.Seccomp = letting(rule(specs.ActErrno, 0, "mount"))
		plan := explain(b)
		traces := b.trace(nil, "run", "--bundle", b.dir, "c")
		follow(t, plan, traces, 0)
		for _, trace := range traces {
			at := -1
			for n, line := range trace {
				if strings.HasPrefix(line, "seccomp(") {
					at = n
				}
			}
			if at >= 0 && !strings.HasPrefix(trace[at+1], "execve(") {
				t.Errorf("after the filter: %s", trace[at+1])
			}
		}
	}
}
