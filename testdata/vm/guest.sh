# Runs in the virtual machine as root, from a service of its own: every script
# of /airplant/checks, with the functions of lib.sh.
cd /airplant || exit
. ./lib.sh

echo "vm: $(uname -r), systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'), up $(cut -d' ' -f1 /proc/uptime) s"
echo "vm: the user's controllers: $(cat /sys/fs/cgroup/user.slice/user-$uid.slice/user@$uid.service/cgroup.controllers)"
[ -r /sys/kernel/security/lsm ] || mount -t securityfs none /sys/kernel/security 2>/dev/null
[ -r /sys/kernel/security/lsm ] && echo "vm: security modules: $(cat /sys/kernel/security/lsm)"

failed=0 runs=0
for script in checks/*.sh; do
	[ -e "$script" ] || continue
	echo "vm: == $script"
	runs=$((runs + 1))
	sh -eu "$script" 2>&1 || {
		echo "vm: FAILED: $script"
		failed=$((failed + 1))
	}
done
[ $runs -gt 0 ] || { echo "vm: nothing was tested" && failed=1; }
echo "vm: $runs scripts, $failed failed, up $(cut -d' ' -f1 /proc/uptime) s"
echo "vm: status $((failed > 0))"
