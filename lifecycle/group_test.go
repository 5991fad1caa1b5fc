package lifecycle_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"airplant/internal/testenv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// delegated is the directory of the cgroup that is ours, as RerunV2 makes it.
func delegated(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			dir := filepath.Join("/sys/fs/cgroup", p)
			if f, err := os.OpenFile(filepath.Join(dir, "cgroup.procs"), os.O_WRONLY, 0); err == nil {
				f.Close()
				return dir
			}
		}
	}
	testenv.Skip(t, "no cgroup is delegated to this user")
	return ""
}

// cgroupOf is a process's path in the version 2 hierarchy, as we see it.
func cgroupOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut("\n"+string(text), "\n0::")
	line, _, _ := strings.Cut(after, "\n")
	return line
}

// TestCgroup: a container is born in a cgroup of its own, sees it as the root,
// is frozen and listed by it, takes further processes into it, and leaves
// nothing of it.
func TestCgroup(t *testing.T) {
	if testenv.Plain(t).RerunV2(t) {
		return
	}
	dir := delegated(t)
	b := oneID(t).script(t, "grep ^0: /proc/self/cgroup >/tmp/seen; mkdir /sys/fs/cgroup/below; exec sleep 1000")
	b.mount("tmpfs", "tmpfs", "/tmp")
	for n := range b.spec.Mounts {
		if b.spec.Mounts[n].Type == "cgroup" {
			b.spec.Mounts[n].Options = []string{"nosuid", "nodev", "noexec", "rw"}
		}
	}
	b.save()
	b.must("create", "--bundle", b.dir, "c")
	pid := b.status().Pid
	name := filepath.Base(cgroupOf(t, pid))
	if !strings.HasPrefix(name, "airplant-c-") {
		t.Errorf("created in %q", name)
	}
	group := filepath.Join(dir, name)
	b.must("start", "c")
	b.await("the container's own group", func() bool {
		_, err := os.Stat(filepath.Join(group, "below"))
		return err == nil
	})
	if got := b.must("exec", "c", "sh", "-c", "cat /tmp/seen; grep ^0: /proc/self/cgroup"); got != "0::/\n0::/\n" {
		t.Errorf("seen inside: %q", got)
	}
	if got := b.must("exec", "--cgroup", "below", "c", "grep", "^0:", "/proc/self/cgroup"); got != "0::/below\n" {
		t.Errorf("exec --cgroup: %q", got)
	}
	b.failing("does not exist", "exec", "--cgroup", "absent", "c", "true")
	b.must("pause", "c")
	events, err := os.ReadFile(filepath.Join(group, "cgroup.events"))
	if err != nil || !strings.Contains(string(events), "frozen 1") || b.status().Status != "paused" {
		t.Errorf("paused: %s %v", events, err)
	}
	b.must("resume", "c")
	if got := b.must("ps", "--format", "json", "c"); got != fmt.Sprintf("[%d]\n", pid) {
		t.Errorf("ps: %q, want %d", got, pid)
	}
	b.failing("controller", "update", "--memory", "64M", "c")
	b.must("pause", "c")
	b.must("delete", "--force", "c")
	if _, err := os.Stat(group); !os.IsNotExist(err) {
		t.Errorf("%s: %v", group, err)
	}
	b.nothingLeft()
}

// TestCgroupsPath: directories that were made for a container go with it, and
// one that has processes is another's.
func TestCgroupsPath(t *testing.T) {
	if testenv.Plain(t).RerunV2(t) {
		return
	}
	dir := delegated(t)
	b := oneID(t).bundle(t, "sleep", "1000")
	b.spec.Linux.CgroupsPath = strings.TrimPrefix(dir, "/sys/fs/cgroup") + "/pod/c"
	b.save()
	b.must("run", "--detach", "--bundle", b.dir, "c")
	b.failing("has processes", "run", "--detach", "--bundle", b.dir, "second")
	if got := b.status().Status; got != specs.StateRunning {
		t.Errorf("the first is %s", got)
	}
	b.must("kill", "--all", "c", "KILL")
	b.await("its end", func() bool { return b.status().Status == specs.StateStopped })
	b.must("delete", "c")
	if _, err := os.Stat(filepath.Join(dir, "pod")); !os.IsNotExist(err) {
		t.Errorf("pod: %v", err)
	}
	for path, want := range map[string]string{"../x": "upwards", "/": "root", "/a/cgroup.procs/x": "kernel"} {
		b.spec.Linux.CgroupsPath = path
		b.fails(want)
	}
	b.nothingLeft()
}

// TestLimitsNeedControllers: a limit that cannot be had is refused by name,
// and one that means none is not.
func TestLimitsNeedControllers(t *testing.T) {
	if testenv.Plain(t).RerunV2(t) {
		return
	}
	dir := delegated(t)
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil || strings.Contains(string(text), "pids") {
		testenv.Skip(t, "the cgroup has controllers")
	}
	b := oneID(t).bundle(t, "true")
	limit, none := int64(100), int64(-1)
	b.spec.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}}
	b.fails("needs the cgroup controller pids")
	b.spec.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}
	b.fails("needs the cgroup controller memory")
	b.spec.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &none}, Memory: &specs.LinuxMemory{Limit: &none}}
	b.says()
	b.nothingLeft()
}

// TestNothingSurvives: without a pid namespace and without a cgroup, daemons
// that have forked twice, in a session of their own, end with the container:
// by delete --force, by kill --all, and when the first process has long gone.
func TestNothingSurvives(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		if len(c.wrap) > 0 {
			c.settle(t) // else each command is in a user namespace of its own, a stranger to the container's
		}
		for _, how := range []string{"delete", "kill", "ended"} {
			last := "exec sleep 1000"
			if how == "ended" {
				last = "exit 0"
			}
			b := c.script(t, "(setsid sh -c 'setsid sleep 1001 & echo $! >/tmp/daemon; exit' &); while ! [ -s /tmp/daemon ]; do sleep 0.01; done; "+last)
			b.mkdir("tmp")
			b.mount("bind", b.host(), "/tmp", "bind")
			b.spec.Linux.Namespaces = without(b.spec, specs.PIDNamespace)
			b.spec.Linux.CgroupsPath = ""
			b.save()
			b.must("--cgroup-manager", "disabled", "run", "--detach", "--bundle", b.dir, "c")
			var daemon int
			b.await("the daemon", func() bool {
				text, err := os.ReadFile(filepath.Join(b.host(), "daemon"))
				daemon, _ = strconv.Atoi(strings.TrimSpace(string(text)))
				return err == nil && daemon > 0
			})
			alive := func() bool {
				text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", daemon))
				return err == nil && strings.Contains(string(text), "1001")
			}
			b.await("the daemon's program", alive)
			if how != "ended" && !slices.Contains(lines(strings.ReplaceAll(strings.Trim(b.must("ps", "--format", "json", "c"), "[]\n"), ",", "\n")), strconv.Itoa(daemon)) {
				t.Errorf("%s: ps does not show the daemon", how)
			}
			switch how {
			case "kill":
				b.must("kill", "--all", "c", "KILL")
				b.await("the daemon's end", func() bool { return !alive() })
				b.await("the container's end", func() bool { return b.status().Status == specs.StateStopped })
			case "ended":
				b.await("the container's end", func() bool { return b.status().Status == specs.StateStopped })
			}
			b.must("delete", "--force", "c")
			if alive() {
				t.Errorf("%s: the daemon %d survives", how, daemon)
			}
		}
	})
}

// failing runs a verb that fails, without side effects.
func (b *box) failing(want string, args ...string) {
	b.t.Helper()
	if r := do(b.t, b.oci(args...)); r.status == 0 || !strings.Contains(r.err, want) {
		b.t.Errorf("%v: exit status %d, standard error %q, want %q", args, r.status, r.err, want)
	}
}
