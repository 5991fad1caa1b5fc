package lifecycle_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"airplant/internal/testenv"
	"airplant/lifecycle"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// caller is somebody who runs containers, in one of the situations that make a
// difference.
type caller struct {
	name string
	user testenv.User
	wrap []string   // programs that bring the situation about
	ids  userns.Map // of the containers' user namespaces
	// plain: containers have no user namespace of their own.
	plain bool
	// groups: setgroups is allowed, so that a process has no groups but those
	// of its configuration.
	groups bool
	// inside is the user that the container's process is.
	inside specs.User
}

// situations are all of them. Each may skip.
var situations = map[string]func(t *testing.T) *caller{
	"one id":          oneID,
	"subids":          subids,
	"keep-id":         keepID,
	"keep one id":     keepOne,
	"foreign root":    foreignRoot,
	"engine":          engine,
	"root":            hostRoot,
	"root in subids":  rootWithMap,
	"root in keep-id": rootKeeps,
}

// everybody runs a test in each situation.
func everybody(t *testing.T, test func(t *testing.T, c *caller)) {
	t.Helper()
	for name, situation := range situations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := situation(t)
			c.name = name
			test(t, c)
		})
	}
}

// oneID has no subordinate ids.
func oneID(t *testing.T) *caller {
	u := testenv.Plain(t)
	return &caller{user: u, ids: userns.One(u.UID, u.GID, 0, 0)}
}

func ranges(r testenv.Range) []userns.Range {
	return []userns.Range{{First: uint32(r.Start), Count: uint32(r.Count)}}
}

func subids(t *testing.T) *caller {
	u := testenv.Subids(t)
	return &caller{user: u, ids: userns.Ranges(u.UID, u.GID, ranges(u.SubUIDs), ranges(u.SubGIDs)), groups: true}
}

// keepID is the same user inside and outside.
func keepID(t *testing.T) *caller {
	c := subids(t)
	u := c.user
	c.ids = userns.KeepID(u.UID, u.GID, u.UID, u.GID, ranges(u.SubUIDs), ranges(u.SubGIDs))
	c.inside = specs.User{UID: uint32(u.UID), GID: uint32(u.GID)}
	return c
}

// keepOne has no user 0 inside.
func keepOne(t *testing.T) *caller {
	c := oneID(t)
	c.ids = userns.One(c.user.UID, c.user.GID, c.user.UID, c.user.GID)
	c.inside = specs.User{UID: uint32(c.user.UID), GID: uint32(c.user.GID)}
	return c
}

// foreignRoot is uid 0 of a user namespace with that id alone.
func foreignRoot(t *testing.T) *caller {
	c := oneID(t)
	testenv.Need(t, "unshare")
	c.wrap, c.ids = []string{"unshare", "--user", "--map-root-user"}, userns.One(0, 0, 0, 0)
	return c
}

// engine is uid 0 of a user namespace that has subordinate ids, and a mount
// namespace, where containers have no user namespace of their own: as podman
// and BuildKit run without root.
func engine(t *testing.T) *caller {
	c := subids(t)
	testenv.Need(t, "unshare")
	c.wrap, c.plain = []string{"unshare", "--user", "--map-root-user", "--map-auto", "--mount"}, true
	return c
}

func hostRoot(t *testing.T) *caller {
	testenv.Root(t)
	return &caller{user: testenv.User{Name: "root", Home: "/"}, plain: true, groups: true}
}

// rootWithMap gives a container the ids of nobody else.
func rootWithMap(t *testing.T) *caller {
	c := hostRoot(t)
	c.plain = false
	list := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1 << 20, Size: 1 << 16}}
	c.ids = userns.Map{UIDs: list, GIDs: list}
	return c
}

func rootKeeps(t *testing.T) *caller {
	c := hostRoot(t)
	c.plain, c.inside = false, specs.User{UID: 7, GID: 8}
	list := []specs.LinuxIDMapping{{ContainerID: 7, HostID: 1 << 20, Size: 4}}
	c.ids = userns.Map{UIDs: list, GIDs: list}
	return c
}

// spec is the example configuration for the caller, without a terminal.
func (c *caller) spec(args ...string) *specs.Spec {
	s := lifecycle.Example()
	if !c.plain {
		lifecycle.Unprivileged(s, c.ids)
	}
	s.Process.Terminal, s.Process.Args, s.Process.User = false, args, c.inside
	if len(c.wrap) > 0 && c.plain {
		s.Linux.Resources = nil
	}
	return s
}

// command is a program under the caller's account and in its situation.
func (c *caller) command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	line := append(slices.Clone(c.wrap), name)
	line = append(line, args...)
	cmd := c.user.Command(t, line[0], line[1:]...)
	if c.user.UID == 0 {
		cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
	}
	return cmd
}

// outside is the id on the host of a user in the container.
func (c *caller) outside(id uint32) uint32 {
	for _, m := range c.ids.UIDs {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + id - m.ContainerID
		}
	}
	return id
}

func lines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

// settle lets all further commands be in one and the same situation, which a
// process keeps until the test ends.
func (c *caller) settle(t *testing.T) {
	t.Helper()
	testenv.Need(t, "nsenter")
	keeper := c.command(t, "sleep", "1000")
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keeper.Process.Kill(); _ = keeper.Wait() })
	dir := fmt.Sprintf("/proc/%d/", keeper.Process.Pid)
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(dir + "cmdline") // it has executed sleep, so the namespaces are there
		if err == nil && strings.HasPrefix(string(text), "sleep\x00") {
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("%v does not begin: %q, %v", c.wrap, text, err)
		}
	}
	enter := []string{"nsenter", "--target", strconv.Itoa(keeper.Process.Pid), "--user", "--preserve-credentials"}
	if slices.Contains(c.wrap, "--mount") {
		enter = append(enter, "--mount")
	}
	c.wrap = enter
}
