#!/bin/sh
# Engines with airplant, crun and runc, on one host.
#
#	run.sh AIRPLANT [ENGINE...]    print a table; needs root
#
# RUNTIMES names the runtimes, ONLY the functions of features, VERBOSE=1 shows
# what a failing one said, TABLE is a file for the table.
set -eu
airplant=$(realpath "$1")
cd "$(dirname "$0")"
shift
[ $# -gt 0 ] || set -- podman containerd buildah
owner=airplant-test
# The account has a group that is no group of its user namespace.
groups=$(id -g $owner),44
top=$(mktemp -d /tmp/engines.XXXXXX)
chmod 755 "$top"
trap 'rm -rf "$top"' EXIT
cp -r . "$top/scripts"
cd "$top/scripts"
install -m 755 "$airplant" "$top/airplant-oci"

program() {
	case $1 in
	airplant) echo "$top/airplant-oci" ;;
	*) command -v "$1" ;;
	esac
}

# inside runs a script in a view of the host with cgroup version 2 alone and a
# /dev/net/tun for everybody, in a cgroup of its own, which goes with all that is
# in it.
inside='set -eu
owner=$1 groups=$2
shift 2
umount -R -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs -o mode=755 none /dev/net
mknod -m 666 /dev/net/tun c 10 200
chmod 666 /dev/net/tun
here=/sys/fs/cgroup/$GROUP
mkdir "$here" "$here/self"
for dir in "$here" "$here/self"; do
	chown "$owner:" "$dir" "$dir/cgroup.procs" "$dir/cgroup.threads" "$dir/cgroup.subtree_control"
done
(
	sh -c "echo \$PPID" >"$here/self/cgroup.procs"
	[ "$owner" = root ] || set -- setpriv --reuid "$owner" --regid "$owner" --groups "$groups" "$@"
	cd /
	exec "$@"
) || true
echo 1 >"$here/cgroup.kill"
for try in 1 2 3 4 5 6 7 8 9 10; do
	find "$here" -depth -type d -exec rmdir {} + 2>/dev/null || true
	[ -d "$here" ] || exit 0
	sleep 0.2
done
echo "$here stays" >&2'

# trial ENGINE RUNTIME prints the lines of one script.
trial() {
	user=root
	[ "$1" != podman ] && [ "$1" != buildah ] || user=$owner
	WORK=$(mktemp -d "$top/w.XXXXXX")
	GROUP=airplant-engines-${WORK##*.}
	SHARED=$top/shared
	mkdir -p "$WORK/run"
	echo shared >"$SHARED"
	chgrp 44 "$SHARED"
	chmod 640 "$SHARED"
	chown -R "$user:" "$WORK"
	home=$(getent passwd $user | cut -d: -f6)
	env -i PATH="$PATH" LANG=C.UTF-8 TERM=xterm USER=$user LOGNAME=$user HOME="$home" \
		XDG_RUNTIME_DIR="$WORK/run" WORK="$WORK" GROUP="$GROUP" SHARED="$SHARED" \
		${ONLY:+"ONLY=$ONLY"} ${VERBOSE:+VERBOSE=1} \
		unshare -m sh -c "$inside" sh $user "$groups" \
		sh "$top/scripts/$1.sh" "$2" "$(program "$2")" </dev/null
	rm -rf "$WORK"
}

lines=$top/lines
for engine; do
	for runtime in ${RUNTIMES:-airplant crun runc}; do
		trial "$engine" "$runtime" | while IFS='	' read -r feature result; do
			printf '%s\t%s\t%s\t%s\t%s\n' "$engine" "$(sh "$engine.sh" --version)" "$feature" "$runtime" "$result"
		done | tee -a "$lines" >&2
	done
done
./table.awk "$lines" | tee ${TABLE:+"$TABLE"}
! grep '	airplant	FAIL' "$lines" >&2
