package lifecycle_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"airplant/internal/testenv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestGroupVersion1: the host's root has limits where the controllers are version
// 1's, by all verbs, and nothing stays of the groups.
func TestGroupVersion1(t *testing.T) {
	const top = "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(top, "pids/cgroup.procs")); err != nil {
		testenv.Skip(t, "the controller pids is not one of cgroup version 1")
	}
	for name, c := range map[string]*caller{"root": hostRoot(t), "root in subids": rootWithMap(t)} {
		b := c.bundle(t, "sleep", "1000")
		group := filepath.Base(b.dir)
		limit := int64(50)
		b.spec.Linux.CgroupsPath = "/airplant-test-" + group + "/c"
		b.spec.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}}
		b.spec.Linux.Namespaces = append(without(b.spec, specs.CgroupNamespace), specs.LinuxNamespace{Type: specs.CgroupNamespace})
		b.save()
		files := func(name string) string {
			t.Helper()
			text, err := os.ReadFile(filepath.Join(top, "pids", b.spec.Linux.CgroupsPath, name))
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(string(text))
		}
		b.must("create", "--bundle", b.dir, "c")
		if got := files("pids.max"); got != "50" {
			t.Errorf("%s: %s", name, got)
		}
		b.must("start", "c")
		// Its cgroup namespace begins at the group, for exec too.
		if got := b.must("exec", "c", "sh", "-c", "grep :pids: /proc/self/cgroup; grep :freezer: /proc/self/cgroup"); strings.Count(got, ":/\n") != 2 {
			t.Errorf("%s: exec in %s", name, got)
		}
		b.must("update", "--pids-limit", "60", "c")
		if got := files("pids.max"); got != "60" {
			t.Errorf("%s: after update %s", name, got)
		}
		if got := b.must("events", "--stats", "c"); !strings.Contains(got, `"pids":{"current":1,"limit":60}`) {
			t.Errorf("%s: %s", name, got)
		}
		b.must("pause", "c")
		b.failing("cannot exec in a container that is paused", "exec", "c", "true")
		b.failing("would never begin", "exec", "--ignore-paused", "--detach", "c", "true")
		b.must("resume", "c")
		b.must("pause", "c")
		b.must("kill", "--all", "c", "KILL")
		b.await("its end", func() bool { return b.status().Status == specs.StateStopped })
		b.must("delete", "c")
		b.must("run", "--detach", "--bundle", b.dir, "c")
		b.must("pause", "c")
		b.must("delete", "--force", "c")
		b.nothingLeft()
		left, err := filepath.Glob(top + "/*/airplant-test-" + group)
		b.check(err)
		if len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

// TestVersion1Failing: a container that fails once it is in its groups leaves
// none.
func TestVersion1Failing(t *testing.T) {
	c := hostRoot(t)
	if _, err := os.Stat("/sys/fs/cgroup/pids/cgroup.procs"); err != nil {
		testenv.Skip(t, "the controller pids is not one of cgroup version 1")
	}
	b := c.bundle(t, "nothing")
	limit := int64(50)
	b.spec.Linux.CgroupsPath = "/airplant-test-" + filepath.Base(b.dir)
	b.spec.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}}
	b.fails(`execute "nothing"`)
	left, err := filepath.Glob("/sys/fs/cgroup/*" + b.spec.Linux.CgroupsPath)
	b.check(err)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
