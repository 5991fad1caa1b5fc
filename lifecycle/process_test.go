package lifecycle_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"airplant/internal/testenv"
	"airplant/lifecycle/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// fields reads lines of /proc/PID/status.
func fields(status string, keys ...string) string {
	var list []string
	for _, key := range keys {
		m := regexp.MustCompile(`(?m)^` + key + `:[ \t]*(.*?)[ \t]*$`).FindStringSubmatch(status)
		if m == nil {
			return "no line " + key + " in " + status
		}
		list = append(list, m[1])
	}
	return strings.Join(list, " ")
}

// TestCapabilities: exactly the configured ones, whoever the process is.
func TestCapabilities(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		const killAndChown, kill = "0000000000000021", "0000000000000020"
		chown := []string{"CAP_CHOWN", "CAP_KILL"}
		root := c.inside.UID == 0
		for _, s := range []struct {
			sets *specs.LinuxCapabilities
			want string // inheritable, permitted, effective, bounding, ambient
		}{
			{nil, "0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000"},
			{&specs.LinuxCapabilities{Bounding: chown, Permitted: chown, Effective: chown}, "0000000000000000 0000000000000021 0000000000000021 " + killAndChown + " 0000000000000000"},
			{&specs.LinuxCapabilities{Bounding: chown, Permitted: chown, Effective: chown, Inheritable: chown[1:], Ambient: chown[1:]}, kill + " 0000000000000021 0000000000000021 " + killAndChown + " " + kill},
		} {
			b := c.bundle(t, "cat", "/proc/self/status")
			b.spec.Process.Capabilities = s.sets
			want := s.want
			if !root && s.sets != nil { // execve keeps the ambient ones only (capabilities(7))
				f := strings.Fields(s.want)
				f[1], f[2] = f[4], f[4]
				want = strings.Join(f, " ")
			}
			if got := fields(b.says(), "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"); got != want {
				t.Errorf("%+v: %s, want %s", s.sets, got, want)
			}
		}
	})
}

// TestCapabilitiesOfNobody: what cannot be granted is a warning (config.md of
// the specification, Linux Process), and the container has the rest.
func TestCapabilitiesOfNobody(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.bundle(t, "cat", "/proc/self/status")
		b.spec.Linux.Resources = nil // device rules forbid CAP_MKNOD to root
		all := append(plan.AllCapabilities(), "CAP_FLY")
		b.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Permitted: all, Effective: all}
		want, warning := uint64(1)<<(unix.CAP_LAST_CAP+1)-1, `process.capabilities.bounding: unknown capability "CAP_FLY"`
		if c.user.UID == 0 && c.plain && !capable(t, unix.CAP_SYS_RESOURCE) {
			want &^= 1 << unix.CAP_SYS_RESOURCE
			warning = "process.capabilities: CAP_SYS_RESOURCE cannot be granted"
		}
		r := b.run()
		if got := fields(r.out, "CapBnd"); r.status != 0 || got != fmt.Sprintf("%016x", want) || !strings.Contains(r.err, warning) {
			t.Errorf("bounding set %s, want %016x; %+v", got, want, r)
		}
		b.spec.Version = "1.0.2"
		if r := b.run(); r.status == 0 || !strings.Contains(r.err, `unknown capability "CAP_FLY"`) {
			t.Errorf("a configuration of version 1.0: %+v", r)
		}
	})
}

func TestNoNewPrivileges(t *testing.T) {
	for want, set := range map[string]bool{"0": false, "1": true} {
		b := oneID(t).bundle(t, "cat", "/proc/self/status")
		b.spec.Process.NoNewPrivileges = set
		if got := fields(b.says(), "NoNewPrivs", "Seccomp"); got != want+" 0" {
			t.Errorf("%v: %s", set, got)
		}
	}
}

// TestGroups: exactly the configured ones where setgroups is allowed. Else the
// caller's stay, and nobody can ask for others.
func TestGroups(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.bundle(t, "cat", "/proc/self/status")
		if c.groups {
			b.spec.Process.User.AdditionalGids = []uint32{c.inside.GID, c.inside.GID + 1}
			want := fmt.Sprintf("%d %d", c.inside.GID, c.inside.GID+1)
			if got := fields(b.says(), "Groups"); got != want {
				t.Errorf("groups %q, want %q", got, want)
			}
			b.spec.Process.User.AdditionalGids = nil
			if got := fields(b.says(), "Groups"); got != "" {
				t.Errorf("groups %q, want none", got)
			}
			return
		}
		b.says()
		if c.plain {
			return // an engine's ids are not known here
		}
		b.spec.Process.User.AdditionalGids = []uint32{c.inside.GID}
		b.fails("setgroups(2) is denied")
	})
}

// TestLimits: those of the configuration, and the limit of open files that the
// caller had, not the one that the Go runtime makes of it.
func TestLimits(t *testing.T) {
	c := oneID(t)
	testenv.Need(t, "prlimit")
	b := c.script(t, "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc; ulimit -St")
	b.spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 512, Hard: 1024}, {Type: "RLIMIT_CPU", Soft: 77, Hard: 1<<64 - 1}}
	b.save()
	cmd := b.oci("run", "--bundle", b.dir, "c")
	cmd.Args = append([]string{"prlimit", "--nofile=333:4444", cmd.Path}, cmd.Args[1:]...)
	path, err := exec.LookPath("prlimit")
	b.check(err)
	cmd.Path = path
	if r := do(t, cmd); r.out != "333\n4444\n1\n2\n77\n" {
		t.Errorf("%+v", r)
	}
	b.spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 20, Hard: 30}}
	b.spec.Process.Args[2] = "ulimit -Sn; ulimit -Hn"
	if got := b.says(); got != "20\n30\n" {
		t.Errorf("limits of open files %q", got)
	}
}

// TestSignals: a Go program has handlers and masks, and the caller ignores some;
// the container's program gets none of that.
func TestSignals(t *testing.T) {
	b := oneID(t).bundle(t, "cat", "/proc/self/status")
	b.save()
	cmd := b.oci("run", "--bundle", b.dir, "c")
	cmd.Args = append([]string{"sh", "-c", `trap "" PIPE HUP USR1; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	r := do(t, cmd)
	if got := fields(r.out, "SigBlk", "SigIgn", "SigCgt"); got != strings.Repeat(" 0000000000000000", 3)[1:] {
		t.Errorf("blocked, ignored, caught: %s", got)
	}
}

// TestSession: the process leads a session of its own, as TIOCSTI and signals
// of the caller's terminal would reach it else.
func TestSession(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.bundle(t, "cat", "/proc/self/stat")
		f := strings.Fields(b.says()) // pid, name, state, parent, group, session, terminal
		if len(f) < 7 || f[0] != "1" || f[4] != "1" || f[5] != "1" || f[6] != "0" {
			t.Errorf("stat: %v", f)
		}
	})
}

// TestDescriptors: 0 to 2, those that are preserved, and no other that the
// caller or we have open.
func TestDescriptors(t *testing.T) {
	c := oneID(t)
	b := c.script(t, `for f in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do test -e /proc/$$/fd/$f && echo $f; done; echo $LISTEN_FDS $LISTEN_PID; cat <&3`)
	b.save()
	for _, s := range []struct {
		preserve, env, want string
	}{
		{"--preserve-fds=2", "", "0 1 2 3 4 hello"},
		{"--preserve-fds=1", "", "0 1 2 3 hello"},
		{"--preserve-fds=0", "LISTEN_FDS=2", "0 1 2 3 4 2 1 hello"},
		{"--preserve-fds=1", "LISTEN_FDS=1", "0 1 2 3 4 1 1 hello"},
	} {
		cmd := b.oci("run", s.preserve, "--bundle", b.dir, "c")
		cmd.Env = append(cmd.Env, s.env)
		for range 12 { // more than are preserved: strays
			r, w, err := os.Pipe()
			b.check(err)
			_, err = w.WriteString("hello\n")
			b.check(err)
			b.check(w.Close())
			defer r.Close()
			cmd.ExtraFiles = append(cmd.ExtraFiles, r)
		}
		out := do(t, cmd).out
		if got := strings.Join(strings.Fields(out), " "); got != s.want {
			t.Errorf("%s %s: %q, want %q", s.preserve, s.env, got, s.want)
		}
	}
	// Without --preserve-fds nothing of the caller's is open.
	b.spec.Process.Args[2] = `readlink /proc/self/fd/3 || echo none`
	b.save()
	cmd := b.oci("run", "--bundle", b.dir, "c")
	cmd.ExtraFiles = []*os.File{os.Stdin, os.Stdin}
	if r := do(t, cmd); r.out != "none\n" {
		t.Errorf("descriptor 3: %+v", r)
	}
	cmd = b.oci("run", "--preserve-fds=3", "--bundle", b.dir, "c")
	if r := do(t, cmd); r.status != 1 || !strings.Contains(r.err, "descriptor 3 is to be preserved") {
		t.Errorf("%+v", r)
	}
}

// TestOOMScore: it can be raised; what is refused without root is no error, for
// engines always send it, and is said.
func TestOOMScore(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.bundle(t, "cat", "/proc/self/oom_score_adj")
		b.spec.Process.OOMScoreAdj = ptr(700)
		if got := b.says(); got != "700\n" {
			t.Errorf("raised: %q", got)
		}
		b.spec.Process.OOMScoreAdj = ptr(-900)
		want, warning := "0\n", "airplant: warning: process.oomScoreAdj -900: without CAP_SYS_RESOURCE it can only be raised: it stays\n"
		if c.user.UID == 0 && c.plain && capable(t, unix.CAP_SYS_RESOURCE) {
			want, warning = "-900\n", ""
		}
		if r := b.run(); r.out != want || r.err != warning || r.status != 0 {
			t.Errorf("lowered: %+v, want %q", r, want)
		}
	})
}

// capable says whether the tests have a capability; root may lack some.
func capable(t *testing.T, c int) bool {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	mask, err := strconv.ParseUint(fields(string(status), "CapEff"), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask&(1<<c) != 0
}

func ptr[T any](v T) *T { return &v }

// TestMemoryOfCreated: a created container holds next to nothing once its
// creator has gone, and is no copy of it.
func TestMemoryOfCreated(t *testing.T) {
	b := oneID(t).bundle(t, "true")
	b.save()
	b.must("create", "--bundle", b.dir, "c")
	defer b.must("delete", "c")
	s := b.status()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", s.Pid))
	b.check(err)
	var clean, dirty int
	_, err = fmt.Sscan(fields(string(text), "Private_Clean", "Private_Dirty"), &clean, new(string), &dirty)
	b.check(err)
	t.Logf("private memory: %d kB", clean+dirty)
	if clean+dirty == 0 || clean+dirty > 256 {
		t.Errorf("private memory: %d kB clean, %d kB dirty", clean, dirty)
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.Pid))
	if err != nil || exe != "/memfd:airplant (deleted)" {
		t.Errorf("it executes %s, %v", exe, err)
	}
	if err := unix.Kill(s.Pid, 0); err != nil {
		t.Errorf("it has ended: %v", err)
	}
}

// TestExecHasTheRecorded: what exec gives a process comes from the configuration
// that the container was made of, whatever became of the bundle since.
func TestExecHasTheRecorded(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		if len(c.wrap) > 0 {
			c.settle(t)
		}
		b := c.bundle(t, "sleep", "1000")
		b.spec.Process.Capabilities = caps("CAP_KILL")
		b.spec.Process.NoNewPrivileges = true
		b.spec.Process.Env = []string{"PATH=/bin", "A=recorded"}
		b.save()
		b.must("run", "--detach", "--bundle", b.dir, "c")
		b.spec.Process.Capabilities = caps("CAP_KILL", "CAP_SYS_ADMIN", "CAP_NET_RAW")
		b.spec.Process.NoNewPrivileges = false
		b.spec.Process.Env = []string{"PATH=/bin", "A=changed"}
		b.save()
		look := func() {
			t.Helper()
			got := b.must("exec", "c", "sh", "-c", "echo $A; grep -E 'CapBnd|CapEff|NoNewPrivs' /proc/self/status")
			if want := "recorded\nCapEff:\t0000000000000020\nCapBnd:\t0000000000000020\nNoNewPrivs:\t1\n"; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		look()
		b.check(os.Remove(filepath.Join(b.dir, "config.json")))
		look()
		b.must("delete", "-f", "c")
		b.nothingLeft()
	})
}
