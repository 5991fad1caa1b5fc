# For scripts that look at one container, c, of the bundle b of a temporary
# directory: FLAGS are those of `airplant oci`, a way to a cgroup.
. ./lib.sh
rootless=
[ "$(id -u)" = 0 ] || rootless=--rootless
dir=$(mktemp -d)
cd "$dir"
oci="$airplant oci --root $dir/state $*"
mkdir -m 700 state
trap '$oci delete -f c >/dev/null 2>&1 || true' EXIT
bundle b $rootless
cp b/config.json plain.json

# with configures it anew: with RESOURCES COMMAND [ANNOTATIONS [PATH]]
with() {
	cp plain.json b/config.json
	program b "$2"
	limits b "$1"
	sed -i '1s|{|&"annotations": {'"${3-}"'},|' b/config.json
	[ -z "${4-}" ] || groupPath b "$4"
}
pid() { $oci state c | sed -n 's/.*"pid": \([0-9]*\).*/\1/p'; }
group() { echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(pid)/cgroup")"; }
is() { same "$1" "$(cat "$g/$1")" "$2"; }
# usage prints a number of `events --stats`, the first one that follows a
# member's name: usage '"usage":{"total"'.
usage() { $oci events --stats c | sed -n "s/.*$1:\([0-9]*\).*/\1/p"; }
cpu_time() { usage '"usage":{"total"'; }
now() { sed 's/\.\([0-9]*\) .*/\10000000/' /proc/uptime; } # nanoseconds
# until_true waits a minute for a command to succeed: the machine is slow.
until_true() {
	for i in $(seq 60); do
		"$@" && return
		sleep 1
	done
	fail "in vain for a minute: $*"
}
stopped() { $oci state c | grep -q '"status": "stopped"'; }
