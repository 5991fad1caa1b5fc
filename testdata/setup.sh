#!/bin/sh
# What root's tests need of a Debian machine: programs, and two unprivileged
# accounts. A normal user never calls this. It may be called any number of
# times and changes nothing when all is there.
#
#   setup.sh run|test|bench|conformance|vm|engines
#                                  install what is missing, make the accounts
#   setup.sh as ACCOUNT PROGRAM... run a program under an account
set -eu
umask 022

# What each purpose needs, as package=proof. A proof is a command, whoever
# installed it, or a file.
run='
ca-certificates=/etc/ssl/certs/ca-certificates.crt
uidmap=newuidmap'
bench="$run
bubblewrap=bwrap
busybox-static=/var/lib/dpkg/info/busybox-static.md5sums
crun=crun
mmdebstrap=mmdebstrap
podman=podman
runc=runc
skopeo=skopeo
umoci=umoci"
conformance="$run
crun=crun
runc=runc"
test="$bench
buildah=buildah
conmon=conmon
docker-registry=docker-registry
fuse-overlayfs=fuse-overlayfs
fuse3=fusermount3
iproute2=ip
jq=jq
procps=ps
python3-seccomp=/usr/share/doc/python3-seccomp/copyright
qemu-user-static=qemu-aarch64-static
slirp4netns=slirp4netns
strace=strace"
vm='
busybox-static=/var/lib/dpkg/info/busybox-static.md5sums
cpio=cpio
e2fsprogs=mke2fs
kmod=depmod
mmdebstrap=mmdebstrap
qemu-system-x86=qemu-system-x86_64'
engines="$run
buildah=buildah
busybox-static=/var/lib/dpkg/info/busybox-static.md5sums
catatonit=catatonit
conmon=conmon
containerd=containerd
containernetworking-plugins=/usr/lib/cni/bridge
criu=criu
crun=crun
iproute2=ip
iptables=iptables
jq=jq
podman=podman
procps=ps
runc=runc
slirp4netns=slirp4netns"

say() { echo "setup: $*" >&2; }

# missing prints the packages of a list whose proof is not there.
missing() {
	for entry in $1; do
		case ${entry#*=} in
		/*) [ -e "${entry#*=}" ] ;;
		*) command -v "${entry#*=}" >/dev/null ;;
		esac || printf '%s ' "${entry%%=*}"
	done
}

# packages installs what is missing. A machine that cannot is told, and the
# tests then skip and count what they could not do.
packages() {
	lack=$(missing "$1")
	[ -n "$lack" ] || return 0
	command -v apt-get >/dev/null || {
		say "no apt-get, not installed: $lack"
		return 0
	}
	say "installing $lack"
	# A registry and podman's socket would be started as services.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086 # a list of packages
	{ apt-get -qq update &&
		apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends $lack; } >/dev/null ||
		say "apt-get did not install all of: $lack"
}

# account makes an account, without subordinate ids whatever useradd is
# configured to give, and the runtime directory that a login would make.
account() {
	if ! grep -q "^$1:" /etc/passwd; then
		getent passwd "$2" >/dev/null && set -- "$1" ""
		useradd --create-home --shell /bin/sh ${2:+--uid "$2"} \
			-K SUB_UID_COUNT=0 -K SUB_GID_COUNT=0 "$1"
		say "made account $1"
	fi
	uid=$(id -u "$1")
	[ -d "/run/user/$uid" ] || {
		mkdir -p "/run/user/$uid"
		chmod 700 "/run/user/$uid"
		chown "$1:" "/run/user/$uid"
	}
}

# subids gives an account exactly one range of 65536 ids in a file of
# subuid(5) format: its own, if it has one, or the first free one from 524288.
# A count of 0 takes away all it has.
subids() {
	awk -F: -v name="$1" -v want="$3" '
		$1 == name { mine++; size = $3; next }
		END { exit !(want ? mine == 1 && size == want : mine == 0) }' "$2" && return
	awk -F: -v OFS=: -v name="$1" -v want="$3" '
		$1 == name { next }
		{ print; if ($2 + $3 > start) start = $2 + $3 }
		END { if (start < 524288) start = 524288; if (want) print name, start, want }' "$2" >"$2.new"
	mv "$2.new" "$2"
	say "$2: $1 has $3 ids"
}

accounts() {
	touch /etc/subuid /etc/subgid
	account airplant-test 4242
	account airplant-plain 4243
	for file in /etc/subuid /etc/subgid; do
		subids airplant-test $file 65536
		subids airplant-plain $file 0
	done
}

# as runs a copy of the program, because the account may not reach the
# original: a checkout is often below root's home directory.
as() {
	name=$1 program=$2
	shift 2
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	chmod 755 "$dir"
	install -m 755 "$program" "$dir"
	uid=$(id -u "$name")
	home=$(getent passwd "$name" | cut -d: -f6)
	cd "$home"
	env -i HOME="$home" USER="$name" LOGNAME="$name" PATH="$PATH" TERM="${TERM:-dumb}" \
		LANG=C.UTF-8 XDG_RUNTIME_DIR="/run/user/$uid" \
		setpriv --reuid "$name" --regid "$name" --init-groups "$dir/${program##*/}" "$@"
}

case ${1-} in
run) packages "$run" && accounts ;;
bench) packages "$bench" && accounts ;;
conformance) packages "$conformance" ;;
engines) packages "$engines" && accounts ;;
test) packages "$test" && accounts ;;
vm) packages "$vm" ;;
as) shift && as "$@" ;;
*)
	sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
