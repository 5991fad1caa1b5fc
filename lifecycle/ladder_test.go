package lifecycle_test

import (
	"strings"
	"testing"

	"airplant/internal/testenv"
	"airplant/userns"
)

// masked is root of a user namespace in a container whose /proc and /sys are
// partly covered, as engines cover them.
func masked(t *testing.T) *caller {
	c := oneID(t)
	testenv.Need(t, "unshare", "mount")
	const cover = `mount -t tmpfs none /proc/sys/dev && mount -t tmpfs none /sys/kernel/mm && exec "$@"`
	c.wrap = []string{"unshare", "--user", "--map-root-user", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc", "sh", "-c", cover, "sh"}
	c.ids = userns.One(0, 0, 0, 0)
	return c
}

// warnings are the lines of standard error, without what is the same in all.
func warnings(t *testing.T, r result) []string {
	t.Helper()
	var list []string
	for _, l := range lines(r.err) {
		text, ok := strings.CutPrefix(l, "airplant: warning: mount ")
		if !ok {
			t.Fatalf("%+v", r)
		}
		where, _, _ := strings.Cut(text, ":")
		list = append(list, where)
	}
	return list
}

// TestCoveredProc: where a new proc and sysfs are refused, the container gets
// what there is, and each is said once.
func TestCoveredProc(t *testing.T) {
	c := masked(t)
	b := c.script(t, `
		test -e /proc/self/status && echo proc
		(echo 1 >/proc/sys/kernel/core_uses_pid) 2>/dev/null && echo written
		(cat /proc/1/environ >/dev/null) 2>&1
		test -d /sys/kernel && echo sys
		(echo 1 >/sys/x) 2>&1
		cat /proc/keys; ls /sys/firmware`)
	r := b.run()
	if got := strings.Join(warnings(t, r), " "); got != "/proc /sys" {
		t.Errorf("warnings on %q", got)
	}
	const want = "proc\ncat: can't open '/proc/1/environ': Permission denied\nsys\nsh: can't create /sys/x: Read-only file system\n"
	if r.status != 0 || r.out != want {
		t.Errorf("%+v, want %s", r, want)
	}
	b.nothingLeft()
}

// TestUncoveredProc is the twin: the same host, not covered, has nothing to
// say, and the container sees its own processes only.
func TestUncoveredProc(t *testing.T) {
	c := masked(t)
	for n, w := range c.wrap {
		if strings.HasPrefix(w, "mount -t") {
			c.wrap[n] = `exec "$@"`
		}
	}
	if got := c.script(t, "readlink /proc/self; ls -d /proc/[0-9]*").says(); got != "2\n/proc/1\n" {
		t.Errorf("%q", got)
	}
}

// TestCgroupReadOnly: who asks for a writable cgroup mount, and gets none, is
// told; who asks for a read-only one has it.
func TestCgroupReadOnly(t *testing.T) {
	b := oneID(t).script(t, "(mkdir /sys/fs/cgroup/x) 2>/dev/null || echo read-only")
	b.spec.Linux.Namespaces = without(b.spec, "cgroup")
	if got := b.says(); got != "read-only\n" {
		t.Errorf("%q", got)
	}
	for i := range b.spec.Mounts {
		if m := &b.spec.Mounts[i]; m.Destination == "/sys/fs/cgroup" {
			m.Options = []string{"nosuid"}
		}
	}
	r := b.run()
	if got := strings.Join(warnings(t, r), " "); got != "/sys/fs/cgroup" || r.out != "read-only\n" {
		t.Errorf("%+v", r)
	}
}
