#!/bin/sh
# Makes an OCI image layout of a minimal Debian, tag "latest", for the tests
# that want real input. It is made once: where the layout is, nothing happens.
#
#   debian-image.sh LAYOUT
#
# As root or, with subordinate ids, as a normal user. Status 77: the mirror
# cannot be reached, or a program is missing, which standard error names.
set -eu
umask 022
layout=$1
[ -e "$layout/index.json" ] && exit

for program in mmdebstrap umoci; do
	command -v $program >/dev/null || {
		echo "not installed: $program" >&2
		exit 77
	}
done
suite=bookworm
mode=root
[ "$(id -u)" = 0 ] || mode=unshare
mkdir -p "${layout%/*}"
work=$(mktemp -d "${layout%/*}/new.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# A machine that has no Debian keyring of its own has no mmdebstrap either.
# Without manuals and translations it is half the size.
mmdebstrap --mode=$mode --variant=minbase --format=tar \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	$suite "$work/root.tar" >"$work/log" 2>&1 || {
	status=$?
	grep '^E: ' "$work/log" | head -n 2 >&2 || :
	# A mirror that does not answer is a machine without network.
	grep -qE 'Could not (resolve|connect)|Temporary failure|Unable to connect|Network is unreachable' "$work/log" && status=77
	exit $status
}
umoci init --layout "$work/layout"
umoci new --image "$work/layout:latest"
umoci raw add-layer --image "$work/layout:latest" "$work/root.tar"
umoci config --image "$work/layout:latest" --config.cmd bash --config.env LANG=C.UTF-8 \
	--config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# umoci makes what only the owner can read.
chmod -R a+rX "$work/layout"
# Whoever comes first wins: a rename does not replace a directory with files.
mv -T "$work/layout" "$layout" 2>/dev/null || [ -e "$layout/index.json" ]
