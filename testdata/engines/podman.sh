#!/bin/sh
# Podman, by a normal user, with a runtime. See lib.sh.
. "$(dirname "$0")/lib.sh"

p() { podman "$@"; }

tidy() {
	p rm -af -t 0
	p pod rm -af -t 0
}

prepare() {
	export CONTAINERS_CONF="$WORK/containers.conf" CONTAINERS_STORAGE_CONF="$WORK/storage.conf"
	cat >"$CONTAINERS_CONF" <<-END
		[containers]
		netns = "none"
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "file"
		runtime = "$1"
		[engine.runtimes]
		$1 = ["$2"]
	END
	cat >"$CONTAINERS_STORAGE_CONF" <<-END
		[storage]
		driver = "overlay"
		graphroot = "$WORK/storage"
		runroot = "$XDG_RUNTIME_DIR/storage"
	END
	root "$WORK/root"
	tar -C "$WORK/root" -cf "$WORK/box.tar" .
	p import -q "$WORK/box.tar" box
}

finish() {
	p rm -af -t 0
	p pod rm -af
	p rmi -af
	p system migrate
	# Files of subordinate ids.
	unshare --map-root-user --map-auto rm -rf "$WORK/storage"
}

run() {
	same hi "$(p run --rm box echo hi)"
	exits 7 p run --rm box sh -c 'exit 7'
	same 12 "$(echo hello world | p run --rm -i box wc -c)"
}

detached() {
	p run -d --name detached box sh -c 'echo logged; echo wrong >&2; exec sleep 100'
	await has '^logged$' p logs detached
	await has '^wrong$' p logs detached
	has '^detached Up' p ps --format '{{.Names}} {{.Status}}'
	p rm -f -t 0 detached
	same '' "$(p ps -aq --filter name=detached)"
}

foreground_terminal() {
	has '/dev/pts/0' terminal podman run --rm -it box tty
	has '40 120' terminal "stty rows 40 cols 120; podman run --rm -it box sh -c 'sleep 0.5; stty size'"
}

executed() {
	p run -d --name executed --env A=b box sleep 100
	same b "$(p exec executed sh -c 'echo $A')"
	exits 4 p exec executed sh -c 'exit 4'
	same 1000 "$(p exec -u 1000 -w /tmp executed id -u)"
	has '/dev/pts/0' terminal podman exec -it executed tty
	p exec -d executed touch /tmp/behind
	await p exec executed test -e /tmp/behind
	p rm -f -t 0 executed
}

stopped() {
	p run -d --name stopped box sh -c 'trap "exit 3" TERM; echo ready; while :; do sleep 0.1; done'
	await has ready p logs stopped
	p stop -t 10 stopped
	same 'exited 3' "$(p inspect --format '{{.State.Status}} {{.State.ExitCode}}' stopped)"
	p start stopped
	await has '^running$' p inspect --format '{{.State.Status}}' stopped
	pid=$(p inspect --format '{{.State.Pid}}' stopped)
	p restart -t 0 stopped
	[ "$pid" != "$(p inspect --format '{{.State.Pid}}' stopped)" ] || fail "the same process"
	p rm -f -t 0 stopped
}

killed() {
	p run -d --name killed box sleep 100
	p kill killed
	same 137 "$(p wait killed)"
	p rm killed
	p run -d --name killed box sh -c 'trap "exit 5" USR1; echo ready; while :; do sleep 0.1; done'
	await has ready p logs killed
	p kill -s USR1 killed
	same 5 "$(p wait killed)"
	p rm killed
}

paused() {
	p run -d --name paused box sh -c 'while :; do echo x; sleep 0.05; done'
	await has x p logs paused
	p pause paused
	same paused "$(p inspect --format '{{.State.Status}}' paused)"
	sleep 0.2
	before=$(p logs paused | wc -l)
	sleep 0.5
	same "$before" "$(p logs paused | wc -l)"
	p unpause paused
	same running "$(p inspect --format '{{.State.Status}}' paused)"
	more() { [ "$(p logs paused | wc -l)" -gt "$before" ]; }
	await more
	p rm -f -t 0 paused
}

copied() {
	p run -d --name copied -v named:/data box sleep 100
	echo in >"$WORK/in"
	p cp "$WORK/in" copied:/tmp/file
	p cp "$WORK/in" copied:/data/file
	same in "$(p exec copied cat /tmp/file)"
	same in "$(p exec copied cat /data/file)"
	p exec copied sh -c 'echo out >/tmp/file'
	p cp copied:/tmp/file "$WORK/out"
	same out "$(cat "$WORK/out")"
	p rm -f -t 0 copied
	p volume rm named
}

topped() {
	p run -d --name topped box sleep 100
	has '^1  *sleep 100' p top topped pid args
	has 'sleep 100 *$' p top topped
	p rm -f -t 0 topped
}

counted() {
	p run -d --name counted box sleep 100
	same counted "$(p stats --no-stream --format '{{.Name}}' counted)"
	p rm -f -t 0 counted
}

healthy() {
	p run -d --name healthy --health-cmd 'test -e /tmp/well' --health-interval disable box sleep 100
	exits 1 p healthcheck run healthy
	p exec healthy touch /tmp/well
	p healthcheck run healthy
	same healthy "$(p inspect --format '{{.State.Health.Status}}' healthy)"
	p rm -f -t 0 healthy
}

inited() {
	p run -d --init --name inited box sh -c 'sleep 100; true'
	same sh "$(p exec inited sh -c 'cat /proc/[0-9]*/comm' | sed -n 2p)"
	has init p exec inited cat /proc/1/cmdline
	p rm -f -t 0 inited
}

kept_ids() {
	same "$(id -u):$(id -g)" "$(p run --rm --userns keep-id box sh -c 'echo $(id -u):$(id -g)')"
	p run --rm --userns keep-id -v "$WORK:/work" box touch /work/mine
	same "$(id -u)" "$(stat -c %u "$WORK/mine")"
}

kept_groups() {
	[ -r "$SHARED" ] || fail 'the test itself cannot read the file'
	exits 1 p run --rm -v "$SHARED:/file" box cat /file
	same shared "$(p run --rm --group-add keep-groups -v "$SHARED:/file" box cat /file)"
}

users() {
	has '^uid=1000.* gid=1000.* groups=44' p run --rm --user 1000:1000 --group-add 44 box id
	has '^CapBnd:.0*$' p run --rm --cap-drop all box cat /proc/self/status
	has '^NoNewPrivs:.1$' p run --rm --security-opt no-new-privileges box cat /proc/self/status
}

network_none() { same lo: "$(p run --rm --network none box sh -c "tail -n +3 /proc/net/dev" | awk '$1 == "lo:" || $2 > 0 { print $1 }')"; }

network_host() { same "$(readlink /proc/self/ns/net)" "$(p run --rm --network host box readlink /proc/self/ns/net)"; }

network_slirp() {
	p run -d --name slirp --network slirp4netns -p 127.0.0.1:18771:80 box \
		sh -c 'while :; do echo hello | nc -l -p 80; done'
	has tap0 p exec slirp cat /proc/net/dev
	await has hello sh -c 'busybox nc 127.0.0.1 18771 </dev/null'
	p rm -f -t 0 slirp
}

volumes() {
	mkdir -p "$WORK/volume"
	p run --rm -v "$WORK/volume:/data" -w /data box sh -c 'echo kept >file'
	same kept "$(cat "$WORK/volume/file")"
	has 'Read-only file system' p run --rm -v "$WORK/volume:/data:ro" box touch /data/file
	p run --rm -v named:/data box sh -c 'echo named >/data/file'
	same named "$(p run --rm -v named:/data box cat /data/file)"
	p volume rm named
	p run --rm -v "$WORK/volume:/data:O" box sh -c 'echo other >/data/file'
	same kept "$(cat "$WORK/volume/file")"
}

tmpfses() {
	has '^tmpfs /scratch tmpfs .*size=1024k' p run --rm --tmpfs /scratch:size=1m box cat /proc/mounts
	same box "$(p run --rm --tmpfs /etc box sh -c 'test -s /etc/passwd && echo box')"
}

read_only() {
	has 'Read-only file system' p run --rm --read-only box touch /file
	p run --rm --read-only box touch /tmp/file
}

seccomp() {
	has '^Seccomp:.2$' p run --rm box cat /proc/self/status
	cat >"$WORK/profile.json" <<-'END'
		{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
		  {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 42}]}
	END
	has 'No message of desired type' p run --rm --security-opt "seccomp=$WORK/profile.json" box mkdir /tmp/x
	has '^Seccomp:.0$' p run --rm --security-opt seccomp=unconfined box cat /proc/self/status
}

ulimits() { same '100 200' "$(p run --rm --ulimit nofile=100:200 box sh -c 'echo $(ulimit -Sn) $(ulimit -Hn)')"; }

sysctls() {
	same 3000 "$(p run --rm --ipc private --sysctl kernel.msgmax=3000 box cat /proc/sys/kernel/msgmax)"
	same 80 "$(p run --rm --sysctl net.ipv4.ip_unprivileged_port_start=80 box cat /proc/sys/net/ipv4/ip_unprivileged_port_start)"
}

pods() {
	p pod create --name two --share ipc,net,uts
	p run -d --pod two --name server box sh -c 'while :; do echo from the pod | nc -l -p 80; done'
	await has 'from the pod' p run --rm --pod two box nc 127.0.0.1 80
	same "$(p exec server readlink /proc/self/ns/ipc)" "$(p run --rm --pod two box readlink /proc/self/ns/ipc)"
	p pod stop -t 0 two
	p pod start two
	same running "$(p inspect --format '{{.State.Status}}' server)"
	p pod rm -f -t 0 two
	same '' "$(p ps -aq --filter name=server)"
}

built() {
	mkdir -p "$WORK/context"
	echo copied >"$WORK/context/file"
	cat >"$WORK/context/Containerfile" <<-'END'
		FROM localhost/box
		COPY file /file
		RUN cat /file >/made && id -u >>/made
		CMD ["cat", "/made"]
	END
	p build -q --network none -t built "$WORK/context"
	same 'copied 0' "$(p run --rm built | tr '\n' ' ' | sed 's/ $//')"
}

# rest is what containers leave in the state of the runtimes, in cgroups, mounts
# and processes. The cache of compiled filters, one a profile, is meant to stay.
rest() {
	find "$XDG_RUNTIME_DIR/airplant" "$XDG_RUNTIME_DIR/crun" "$XDG_RUNTIME_DIR/runc" \
		-mindepth 1 ! -path '*/airplant/oci' ! -path '*/airplant/seccomp*' 2>/dev/null
	find "/sys/fs/cgroup/$GROUP" -mindepth 1 -type d -name '*libpod-*'
	podman unshare cat /proc/mounts | grep -e "$WORK/.*/merged" -e "$XDG_RUNTIME_DIR.*/shm"
	cat "/proc/"[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -ao "conmon [^/]*$WORK[^ ]*"
	p ps -aq
}

in_a_row() {
	for _ in $(seq 200); do p run --rm box true; done
	nothing() { [ -z "$(rest)" ]; }
	(await nothing) || fail "left: $(rest)"
}

at_once() {
	pids=''
	for n in $(seq 50); do
		p run --rm --name "many$n" box sh -c "sleep 1; exit 3" &
		pids="$pids $!"
	done
	for pid in $pids; do exits 3 wait "$pid"; done
	nothing() { [ -z "$(rest)" ]; }
	(await nothing) || fail "left: $(rest)"
}

main() {
	prepare "$@" >"$WORK/prepare" 2>&1 || {
		cat "$WORK/prepare" >&2
		exit 1
	}
	feature 'run, status, stdin' run
	feature 'run -it' foreground_terminal
	feature 'run -d, logs, ps, rm' detached
	feature 'exec, exec -it, exec -d' executed
	feature 'stop, start again, restart' stopped
	feature 'kill' killed
	feature 'pause, unpause' paused
	feature 'cp' copied
	feature 'top' topped
	feature 'stats' counted
	feature 'healthcheck run' healthy
	feature '--init' inited
	feature '--userns keep-id' kept_ids
	feature '--group-add keep-groups' kept_groups
	feature '--user, --cap-drop, no-new-privileges' users
	feature '--network none' network_none
	feature '--network host' network_host
	feature '--network slirp4netns, -p' network_slirp
	feature 'volumes: bind, ro, named, O' volumes
	feature '--tmpfs' tmpfses
	feature '--read-only' read_only
	feature 'seccomp: default, profile, unconfined' seccomp
	feature '--ulimit' ulimits
	feature '--sysctl' sysctls
	feature 'pod of two' pods
	feature 'build' built
	if [ "$1" = airplant ]; then
		LIMIT=1500
		feature '200 in a row leave nothing' in_a_row
		feature '50 at once leave nothing' at_once
	fi
	finish >/dev/null 2>&1
}

case $1 in
--feature) "$2" ;;
--version) podman --version | sed 's/.* //' ;;
*) main "$@" ;;
esac
