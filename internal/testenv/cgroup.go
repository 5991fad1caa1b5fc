package testenv

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// v2Enter shows only the version 2 hierarchy at /sys/fs/cgroup, makes a
// cgroup ($1) that belongs to the account ($2:$3) the way systemd delegates
// one, enters a leaf of it and becomes the command.
const v2Enter = `set -e
view() { umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; }
view
top=/sys/fs/cgroup/$1 owner=$2:$3
mkdir -p "$top/self"
for dir in "$top" "$top/self"; do
	chown "$owner" "$dir" "$dir/cgroup.procs" "$dir/cgroup.threads" "$dir/cgroup.subtree_control"
done
echo $$ >"$top/self/cgroup.procs"
shift 3
exec "$@"
`

// v2Leave ends what is left in the cgroup and removes it, leaves first. The
// kernel empties a cgroup a little after the processes have gone.
const v2Leave = `umount -R -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup || exit
top=/sys/fs/cgroup/$1
[ -d "$top" ] || exit 0
echo 1 >"$top/cgroup.kill"
for try in 1 2 3 4 5 6 7 8 9 10; do
	find "$top" -depth -type d -exec rmdir {} + 2>/dev/null
	[ -d "$top" ] || exit 0
	sleep 0.1
done
echo "$top stays" >&2
exit 1
`

// V2Command is [User.Command] in a host that has cgroup version 2 alone, as a
// member of a cgroup that is delegated to the account. It needs root. On a
// host that runs version 1 the hierarchy has no controllers, but freezes and
// kills.
func (u User) V2Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	Root(t)
	Need(t, "unshare", "setpriv", "umount", "mount")
	group := "airplant-" + filepath.Base(u.TempDir(t))
	t.Cleanup(func() {
		out, err := exec.Command("unshare", "-m", "sh", "-c", v2Leave, "sh", group).CombinedOutput()
		if err != nil {
			t.Errorf("remove cgroup %s: %v: %s", group, err, out)
		}
	})
	uid, gid := strconv.Itoa(u.UID), strconv.Itoa(u.GID)
	inner := u.Command(t, name, args...)
	line := []string{
		"unshare", "-m", "sh", "-c", v2Enter, "sh", group, uid, gid,
		"setpriv", "--reuid", uid, "--regid", gid, "--groups", joinInts(u.Groups), "--",
	}
	line = append(append(line, inner.Path), inner.Args[1:]...)

	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = inner.Dir, inner.Env, inner.WaitDelay
	return cmd
}

func joinInts(ints []int) string {
	list := make([]string, len(ints))
	for i, n := range ints {
		list[i] = strconv.Itoa(n)
	}
	return strings.Join(list, ",")
}
