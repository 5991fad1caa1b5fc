# Limits, by each of the ways to a cgroup.
. ./lib.sh
try() {
	say "-- $1"
	shift
	"$@" || fail "$*"
}
try "root, by mkdir" sh -eu limits.sh
try "root, a scope of the system's manager" sh -eu limits.sh --systemd-cgroup
try "user, a delegated scope (systemd-run --user --scope)" \
	as_user systemd-run -q --user --scope -p Delegate=yes sh -eu limits.sh
try "user, a scope of the user's manager" as_user sh -eu limits.sh --systemd-cgroup
