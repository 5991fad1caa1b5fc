#!/bin/sh
# Boots a virtual machine, runs guest.sh in it with the files of a directory
# beside it, and ends as guest.sh did. The machine is emulated (TCG), so that
# it works where KVM does not; nothing it writes is kept.
#
#   run.sh DIRECTORY [plain|apparmor|selinux|podman]
set -eu
here=$(dirname "$(readlink -f "$0")")
files=$1 flavour=${2:-plain}
image=$("$here/image.sh" "$flavour")
append="console=ttyS0 quiet loglevel=3 systemd.show_status=0 panic=-1 systemd.unified_cgroup_hierarchy=1"
lsm=lockdown,yama,landlock
case $flavour in
apparmor) lsm=$lsm,apparmor ;;
selinux) lsm=$lsm,selinux append="$append selinux=1 enforcing=0" ;;
esac
append="$append lsm=$lsm"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/files"
cp -r "$files"/. "$work/files"
cp "$here"/guest.sh "$here"/lib.sh "$here"/container.sh "$here"/limits.sh "$here"/devices.sh "$here"/scope.sh "$work/files"
chmod -R a+rX "$work/files"
truncate -s "$(($(du -sm "$work/files" | cut -f1) * 5 / 4 + 16))M" "$work/files.img"
mke2fs -q -t ext4 -m 0 -d "$work/files" "$work/files.img"

# A machine that hangs is ended: the boot takes seconds, the tests a minute or
# two on a busy host.
timeout --foreground "${VM_TIMEOUT:-900}" qemu-system-x86_64 \
	-accel tcg,thread=multi -cpu max -smp 2 -m 1536 \
	-nodefaults -no-reboot -display none -serial stdio \
	-kernel "$image/vmlinuz" -initrd "$image/initrd" -append "$append" \
	-drive file="$image/root.img",if=virtio,format=raw,snapshot=on \
	-drive file="$work/files.img",if=virtio,format=raw,snapshot=on \
	</dev/null | sed -u 's/\r//g' | tee "$work/log" || echo "vm: qemu ended with an error" >&2

status=$(sed -n 's/^vm: status \([0-9]*\)$/\1/p' "$work/log" | tail -n 1)
[ -n "$status" ] || echo "vm: it ended before its tests did" >&2
exit "${status:-1}"
