#!/bin/sh
# containerd as root, with its runc v2 shim and a runtime. See lib.sh.
. "$(dirname "$0")/lib.sh"

# Cgroups are below one of the name of the namespace, which is ours.
c() { ctr -a "$WORK/c.sock" -n "$GROUP" "$@"; }

# The weight that ctr sends else is the default, but needs a controller.
run() { c run --cpu-shares 0 --runc-binary "$PROGRAM" --runc-root "$WORK/runtime" "$@"; }

state() { c task ls | awk -v id="$1" '$1 == id { print $3 }'; }

away() {
	c task kill -s KILL "$1"
	stopped() { [ "$(state "$1")" = STOPPED ]; }
	await stopped "$1"
	c task rm "$1" || [ $? -eq 137 ]
	c container rm "$1"
}

foreground() {
	same hi "$(run --rm "$BOX" hi echo hi)"
	exits 7 run --rm "$BOX" seven sh -c 'exit 7'
	same b "$(run --rm --env A=b "$BOX" env sh -c 'echo $A')"
}

with_terminal() {
	has '/dev/pts/0' terminal ctr -a "$WORK/c.sock" -n "$GROUP" run --cpu-shares 0 --rm -t --runc-binary "$PROGRAM" --runc-root "$WORK/runtime" "$BOX" tty tty
}

executed() {
	run -d "$BOX" executed sleep 100
	same RUNNING "$(state executed)"
	same within "$(c task exec --exec-id e1 executed echo within)"
	same 1000 "$(c task exec --exec-id e0 --user 1000 executed id -u)"
	exits 4 c task exec --exec-id e2 executed sh -c 'exit 4'
	has '/dev/pts/' terminal ctr -a "$WORK/c.sock" -n "$GROUP" task exec -t --exec-id e3 executed tty
	has 'sleep 100' sh -c "tr '\\0' ' ' </proc/$(c task ps executed | awk 'NR == 2 { print $1 }')/cmdline"
	away executed
}

paused() {
	mkdir -p "$WORK/ticks"
	run -d --mount "type=bind,src=$WORK/ticks,dst=/ticks,options=rbind:rw" "$BOX" paused sh -c 'while :; do echo x >>/ticks/file; sleep 0.05; done'
	await test -s "$WORK/ticks/file"
	c task pause paused
	same PAUSED "$(state paused)"
	sleep 0.2
	before=$(wc -c <"$WORK/ticks/file")
	sleep 0.5
	same "$before" "$(wc -c <"$WORK/ticks/file")"
	c task resume paused
	same RUNNING "$(state paused)"
	more() { [ "$(wc -c <"$WORK/ticks/file")" -gt "$before" ]; }
	await more
	away paused
}

killed() {
	run -d "$BOX" killed sh -c 'trap "exit 5" USR1; while :; do sleep 0.1; done'
	sleep 1
	c task kill -s USR1 killed
	ended() { [ "$(state killed)" = STOPPED ]; }
	await ended
	has "exit code 5" c task rm killed
	c container rm killed
	has 'not found' c container info killed
}

measured() {
	run -d "$BOX" measured sleep 100
	has '^measured ' c task metrics measured
	away measured
}

grouped() {
	run -d "$BOX" grouped sleep 100
	pid=$(c task ls | awk '$1 == "grouped" { print $2 }')
	same "0::/$GROUP/grouped" "$(cat "/proc/$pid/cgroup" | grep ^0)"
	away grouped
	[ ! -e "/sys/fs/cgroup/$GROUP/grouped" ] || fail 'the cgroup stays'
}

filtered() {
	has '^Seccomp:.2$' run --rm --seccomp "$BOX" filtered cat /proc/self/status
}

networks() {
	same "$(readlink /proc/self/ns/net)" "$(run --rm --net-host "$BOX" nethost readlink /proc/self/ns/net)"
	has 'Read-only' run --rm --read-only "$BOX" readonly touch /file
	has 'Seccomp' run --rm --privileged "$BOX" privileged cat /proc/self/status
}

at_once() {
	pids=''
	for n in $(seq 20); do
		run --rm "$BOX" "many$n" sh -c 'sleep 1; exit 3' &
		pids="$pids $!"
	done
	for pid in $pids; do exits 3 wait "$pid"; done
	nothing
}

nothing() {
	same '' "$(c task ls -q)"
	same '' "$(c container ls -q)"
	same '' "$(find "$WORK/runtime" -mindepth 2 -maxdepth 2 2>/dev/null)"
	same '' "$(find "/sys/fs/cgroup/$GROUP" -mindepth 1 -type d ! -name self)"
	same '' "$(grep "$WORK/state/.*rootfs" /proc/self/mounts)"
}

main() {
	export PROGRAM="$2" BOX=localhost/box:1
	root "$WORK/root"
	serve "$1" "$2" || {
		tail "$WORK/containerd.log" >&2
		exit 1
	}
	feature 'ctr run, status, env' foreground
	feature 'ctr run -t' with_terminal
	feature 'exec, exec --user, exec -t, ps' executed
	feature 'pause, resume' paused
	feature 'kill, status, delete' killed
	feature 'metrics' measured
	feature 'cgroup' grouped
	feature 'seccomp' filtered
	feature '--net-host, --read-only, --privileged' networks
	feature '20 tasks at once' at_once
	feature 'nothing is left' nothing
	kill "$(cat "$WORK/containerd.pid")"
}

case $1 in
--feature) "$2" ;;
--version) containerd --version | sed 's/.* \([0-9][^~ ]*\).*/\1/' ;;
*) main "$@" ;;
esac
