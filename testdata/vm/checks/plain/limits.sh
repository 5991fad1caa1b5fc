# Limits, by each of the ways to a cgroup.
. ./lib.sh
failed=0
try() {
	say "-- $1"
	shift
	"$@" || { say "FAILED: $*" && failed=1; }
}
scope="systemd-run -q --user --scope -p Delegate=yes"
for script in limits.sh devices.sh; do
	try "root, by mkdir" sh -eu $script --cgroup-manager cgroupfs
	try "root, a scope of the system's manager" sh -eu $script --systemd-cgroup
	try "user, a delegated scope (systemd-run --user --scope)" as_user $scope sh -eu $script --cgroup-manager cgroupfs
	try "user, a scope of the user's manager" as_user sh -eu $script --systemd-cgroup
done
try "properties of the system's scopes" sh -eu scope.sh
try "properties of the user's scopes" as_user sh -eu scope.sh --user
[ $failed = 0 ]
