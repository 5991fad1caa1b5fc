# Functions for checks in the virtual machine. A check is a script that begins
# with `. ./lib.sh`, is run by root in /airplant (read-only; airplant, the
# binary, is there) by sh -eu, and fails by its exit status. What it tells
# goes to the log.
uid=4242
name=airplant-test
airplant=/airplant/airplant

# as_user runs a program as the user whose manager (systemd --user) runs.
as_user() {
	setpriv --reuid $uid --regid $uid --init-groups env -i PATH="$PATH" HOME=/home/$name USER=$name LOGNAME=$name \
		XDG_RUNTIME_DIR=/run/user/$uid DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$uid/bus "$@"
}

say() { echo "vm: $*"; }

fail() {
	echo "vm: FAILED: $*"
	exit 1
}

# same compares: same WHAT GOT WANT. A script goes on after a difference, to
# show them all, and ends by ended.
differences=0
same() {
	[ "$2" = "$3" ] && return
	say "DIFFERS: $1: got '$2', want '$3'"
	differences=$((differences + 1))
}
ended() { [ $differences = 0 ] || fail "$differences differences"; }

# bundle makes a bundle of busybox in a new directory: bundle DIR [--rootless],
# for whoever calls it. It is changed with what follows.
bundle() (
	mkdir -p "$1/rootfs/bin" "$1/rootfs/proc" "$1/rootfs/dev" "$1/rootfs/sys" "$1/rootfs/tmp"
	cp /bin/busybox "$1/rootfs/bin/"
	for applet in sh sleep cat dd echo grep head yes true kill ls mkdir; do
		ln -sf busybox "$1/rootfs/bin/$applet"
	done
	dir=$1
	shift
	$airplant oci spec -b "$dir" "$@"
)

# program sets what a bundle runs: program DIR COMMAND, by sh -c. limits puts
# members into its linux.resources: limits DIR '"pids": {"limit": 5}'. Both
# know the form in which `airplant oci spec` writes.
program() {
	sed -i '/"args": \[/,/\]/c\		"args": ["sh", "-c", "'"$2"'"],' "$1/config.json"
	sed -i 's/"terminal": true/"terminal": false/' "$1/config.json"
}
limits() {
	[ -n "$2" ] || return 0
	if grep -q '"resources": {' "$1/config.json"; then
		sed -i 's|"resources": {|&'"$2"',|' "$1/config.json"
	else
		sed -i 's|"linux": {|&"resources": {'"$2"'},|' "$1/config.json"
	fi
}
groupPath() { sed -i 's|"linux": {|&"cgroupsPath": "'"$2"'",|' "$1/config.json"; }

# config writes a config.json of its own, for root in /:
# config DIR ARGS [PROCESS [LINUX [MOUNTS [NAMESPACES]]]], the process's
# arguments, and further members and entries, all as JSON.
config() {
	cat >"$1/config.json" <<-END
		{"ociVersion": "1.3.0", "root": {"path": "rootfs"},
		 "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": $2, "env": ["PATH=/bin"] ${3-}},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
		  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]} ${5-}],
		 "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"} ${6-}] ${4-}}}
	END
}
