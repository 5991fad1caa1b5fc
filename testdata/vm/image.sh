#!/bin/sh
# Makes what a virtual machine boots: Debian's cloud kernel, a small initramfs
# with the modules for its disk, and a root file system with systemd. All is
# kept in a cache and made again when this file or init changes. Needs root.
#
#   image.sh              print the directory with vmlinuz, initrd and root.img
#   image.sh apparmor     ... with AppArmor's user space
#   image.sh selinux      ... with SELinux's reference policy, and labels
#   image.sh podman       ... with podman
set -eu
umask 022
here=$(dirname "$(readlink -f "$0")")
flavour=${1:-plain}

packages=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,uidmap,busybox-static,procps,mount,kmod
case $flavour in
plain) ;;
apparmor) packages=$packages,apparmor ;;
selinux) packages=$packages,selinux-basics,selinux-policy-default,auditd ;;
podman) packages=$packages,podman,conmon,catatonit ;;
*)
	sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac

key=$(cat "$0" "$here/init" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/airplant-vm
image=$cache/$flavour-$key
[ -e "$image/done" ] && echo "$image" && exit

rm -rf "$image" # half made
mkdir -p "$image"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
exec 3>&1 1>&2

# The kernel: only its files, none of the programs that install one.
version=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: linux-image-//p' | head -n 1)
mkdir "$work/deb" "$work/kernel"
(cd "$work/deb" && apt-get -q -o APT::Sandbox::User=root download "linux-image-$version")
dpkg-deb -x "$work"/deb/*.deb "$work/kernel"
cp "$work/kernel/boot/vmlinuz-$version" "$image/vmlinuz"

# The root file system.
mmdebstrap --quiet --variant=minbase --include="$packages" \
	--aptopt='APT::Install-Recommends "false"' \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	bookworm "$work/root"
root=$work/root
mkdir -p "$root/lib/modules" "$root/airplant"
cp -a "$work/kernel/lib/modules/$version" "$root/lib/modules/"
depmod -b "$root" "$version"
echo vm >"$root/etc/hostname"
echo 'airplant-test:524288:65536' | tee "$root/etc/subuid" >"$root/etc/subgid"
chroot "$root" useradd -u 4242 -m -s /bin/sh -K SUB_UID_COUNT=0 -K SUB_GID_COUNT=0 airplant-test
mkdir -p "$root/var/lib/systemd/linger" "$root/etc/systemd/system/user@.service.d"
: >"$root/var/lib/systemd/linger/airplant-test"
# Debian delegates fewer controllers to users; an administrator adds the rest.
cat >"$root/etc/systemd/system/user@.service.d/delegate.conf" <<-EOF
	[Service]
	Delegate=cpu cpuset io memory pids
EOF
cat >"$root/etc/systemd/system/airplant.service" <<-EOF
	[Unit]
	Description=tests
	After=multi-user.target user@4242.service
	Wants=user@4242.service
	[Service]
	Type=oneshot
	ExecStart=/bin/sh /airplant/guest.sh
	StandardOutput=tty
	StandardError=tty
	TTYPath=/dev/ttyS0
	ExecStopPost=/bin/systemctl poweroff --force
	TimeoutStartSec=1200
EOF
# An emulated machine on a busy host is slow: nothing is given up for that.
for manager in system user; do
	mkdir -p "$root/etc/systemd/$manager.conf.d"
	printf '[Manager]\nDefaultTimeoutStartSec=600s\nDefaultTimeoutStopSec=60s\nDefaultDeviceTimeoutSec=600s\n' \
		>"$root/etc/systemd/$manager.conf.d/slow.conf"
done
: >"$root/etc/fstab" # init mounts both disks
mkdir -p "$root/etc/systemd/system/graphical.target.wants"
ln -s ../airplant.service "$root/etc/systemd/system/graphical.target.wants/"
# Nothing waits for what the tests do not use.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
	fstrim.timer getty@tty1.service serial-getty@ttyS0.service systemd-timesyncd.service systemd-networkd.service; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
truncate -s 1500M "$image/root.img"
mke2fs -q -t ext4 -d "$root" -L root "$image/root.img"

# The initramfs.
mkdir -p "$work/init/bin" "$work/init/mod" "$work/init/dev" "$work/init/proc" "$work/init/root"
cp "$root/bin/busybox" "$work/init/bin/"
install -m 755 "$here/init" "$work/init/init"
for module in virtio_pci virtio_blk; do
	modprobe -d "$root" -S "$version" --show-depends $module
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$work/modules"
n=10
while read -r file; do
	cp "$file" "$work/init/mod/$n-${file##*/}"
	n=$((n + 1))
done <"$work/modules"
(cd "$work/init" && find . | cpio --quiet -o -H newc) >"$image/initrd"

: >"$image/done"
# Older ones are of no use any more.
find "$cache" -mindepth 1 -maxdepth 1 -name "$flavour-*" ! -name "$flavour-$key" -exec rm -rf {} +
echo "$image" >&3
