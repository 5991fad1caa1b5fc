package testenv

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The accounts that testdata/setup.sh makes for root.
const (
	subidsAccount = "airplant-test"
	plainAccount  = "airplant-plain"
)

// User is an unprivileged account that tests run programs under.
type User struct {
	Name     string
	UID, GID int
	Groups   []int  // supplementary groups
	Home     string // home directory
	Runtime  string // XDG_RUNTIME_DIR, "" if there is none
	SubUIDs  Range  // from /etc/subuid, empty if there are none
	SubGIDs  Range  // from /etc/subgid
	path     string // PATH
}

// Range is Count ids from Start.
type Range struct{ Start, Count int }

// Subids is an account with subordinate ids: for root the one made for it,
// otherwise the user who runs the tests. Without one, or without user
// namespaces, the test is skipped.
func Subids(t testing.TB) User {
	t.Helper()
	u := account(t, subidsAccount)
	if u.SubUIDs.Count == 0 || u.SubGIDs.Count == 0 {
		Skip(t, "no subordinate ids for "+u.Name+" in /etc/subuid and /etc/subgid")
	}
	Need(t, "newuidmap", "newgidmap")
	return u
}

// Plain is an account that has no subordinate ids. A normal user who has
// some is taken with newuidmap and newgidmap missing from PATH.
func Plain(t testing.TB) User {
	t.Helper()
	u := account(t, plainAccount)
	if u.SubUIDs.Count == 0 {
		return u
	}
	if os.Geteuid() == 0 {
		t.Fatalf("%s has subordinate ids: run testdata/setup.sh", u.Name)
	}
	u.path = pathWithout(t, u.path, "newuidmap", "newgidmap")
	u.SubUIDs, u.SubGIDs = Range{}, Range{}
	return u
}

// NoSubids is Plain for tests of what a host without subordinate ids gives: a
// user who has some cannot be such a host.
func NoSubids(t testing.TB) User {
	t.Helper()
	if u := account(t, plainAccount); u.SubUIDs.Count > 0 {
		Skip(t, u.Name+" has subordinate ids, and the test is for a user without")
	}
	return Plain(t)
}

// account is the named account for root, and the present user for others.
func account(t testing.TB, name string) User {
	t.Helper()
	var found *user.User
	var err error
	if os.Geteuid() == 0 {
		found, err = user.Lookup(name)
	} else {
		found, err = user.Current()
	}
	if err != nil {
		Skip(t, err.Error()+": testdata/setup.sh makes the accounts")
	}
	u, err := describe(found)
	if err != nil {
		t.Fatalf("account %s: %v", found.Username, err)
	}
	// Hardened hosts and chroots refuse user namespaces, without which
	// nothing rootless runs.
	Need(t, "unshare")
	if out, err := u.Command(t, "unshare", "--user", "true").CombinedOutput(); err != nil {
		Skip(t, fmt.Sprintf("no user namespaces for %s: %s", u.Name, out))
	}
	return u
}

func describe(from *user.User) (User, error) {
	u := User{Name: from.Username, Home: from.HomeDir, path: fullPath()}
	var err error
	if u.UID, err = strconv.Atoi(from.Uid); err != nil {
		return u, err
	}
	if u.GID, err = strconv.Atoi(from.Gid); err != nil {
		return u, err
	}
	groups, err := from.GroupIds()
	if err != nil {
		return u, err
	}
	for _, group := range groups {
		gid, err := strconv.Atoi(group)
		if err != nil {
			return u, err
		}
		u.Groups = append(u.Groups, gid)
	}
	u.Runtime = "/run/user/" + from.Uid
	if os.Geteuid() == u.UID {
		u.Runtime = os.Getenv("XDG_RUNTIME_DIR")
	}
	if u.SubUIDs, err = subRange("/etc/subuid", from); err != nil {
		return u, err
	}
	u.SubGIDs, err = subRange("/etc/subgid", from)
	return u, err
}

// subRange is the first range of the user in a file of subuid(5) format.
func subRange(file string, of *user.User) (Range, error) {
	f, err := os.Open(file)
	if os.IsNotExist(err) {
		return Range{}, nil
	} else if err != nil {
		return Range{}, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		field := strings.Split(lines.Text(), ":")
		if len(field) != 3 || field[0] != of.Username && field[0] != of.Uid {
			continue
		}
		start, err := strconv.Atoi(field[1])
		if err != nil {
			return Range{}, fmt.Errorf("%s: %w", file, err)
		}
		count, err := strconv.Atoi(field[2])
		if err != nil {
			return Range{}, fmt.Errorf("%s: %w", file, err)
		}
		return Range{start, count}, nil
	}
	return Range{}, lines.Err()
}

// fullPath is PATH with the directories for system programs at its end.
func fullPath() string {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, dir := range systemDirs {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, ":")
}

// pathWithout makes a directory with links to every program of path but the
// named ones.
func pathWithout(t testing.TB, path string, hidden ...string) string {
	t.Helper()
	links := t.TempDir()
	for _, dir := range filepath.SplitList(path) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // PATH may name what does not exist
		}
		for _, e := range entries {
			if slices.Contains(hidden, e.Name()) {
				continue
			}
			err := os.Symlink(filepath.Join(dir, e.Name()), filepath.Join(links, e.Name()))
			if err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
		}
	}
	return links
}

// Command is a program to be run under the account, in its home directory and
// with a login's environment. It is killed when the test ends.
func (u User) Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	if !strings.Contains(name, "/") && find(name) != "" {
		name = find(name)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = u.Home
	cmd.Env = u.Env()
	cmd.WaitDelay = 10 * time.Second // for a pipe that a daemon still holds
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.credential()}
	return cmd
}

// Env is the environment that a login would give the account, and what a
// rerun of a test needs to know.
func (u User) Env() []string {
	env := []string{
		"HOME=" + u.Home,
		"LANG=C.UTF-8",
		"LOGNAME=" + u.Name,
		"PATH=" + u.path,
		"USER=" + u.Name,
	}
	if u.Runtime != "" {
		env = append(env, "XDG_RUNTIME_DIR="+u.Runtime)
	}
	for _, key := range []string{envDir, envSkips, envRequire, envBinary, "TERM", "TMPDIR"} {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	return env
}

// credential is nil when the process already has the account's identity.
func (u User) credential() *syscall.Credential {
	if os.Geteuid() == u.UID {
		return nil
	}
	c := &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)}
	for _, group := range u.Groups {
		c.Groups = append(c.Groups, uint32(group))
	}
	return c
}

// TempDir is a directory of the account's own, which everybody may traverse.
// Its name is short enough for sockets below it. It is removed at the end.
func (u User) TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "at-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.remove(t, dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // other accounts look inside
		t.Fatal(err)
	}
	if os.Geteuid() != u.UID {
		if err := os.Chown(dir, u.UID, u.GID); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// remove takes dir away. What belongs to subordinate ids cannot be removed by
// the user, only by root of a user namespace that has them.
func (u User) remove(t testing.TB, dir string) {
	t.Helper()
	err := os.RemoveAll(dir)
	if err != nil && os.Geteuid() != 0 && u.SubUIDs.Count > 0 {
		// Not exec.CommandContext: the test's context has ended by now.
		out, unshareErr := exec.Command("unshare", "--map-root-user", "--map-auto",
			"rm", "-rf", "--", dir).CombinedOutput()
		if unshareErr != nil {
			t.Errorf("%v: %s", unshareErr, out)
		}
		return
	}
	if err != nil {
		t.Error(err)
	}
}
