# The machine has cgroup version 2 with controllers, and a user's systemd.
. ./lib.sh
for c in cpu io memory pids; do
	grep -qw $c /sys/fs/cgroup/cgroup.controllers || fail "no controller $c"
	grep -qw $c /sys/fs/cgroup/user.slice/user-$uid.slice/user@$uid.service/cgroup.controllers || fail "the user has no controller $c"
done
as_user systemctl --user is-system-running || true
dir=$(mktemp -d)
bundle "$dir"
program "$dir" "cat /proc/self/cgroup"
[ "$($airplant oci run -b "$dir" boot)" = "0::/" ] || fail "the container does not see its cgroup as the root"
