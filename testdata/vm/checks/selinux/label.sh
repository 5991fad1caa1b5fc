# SELinux: the label of a container's process, of its keys and of its mounts.
# The policy is Debian's, and permissive.
. ./lib.sh
work=$(mktemp -d)
chmod 755 "$work"
oci() { $airplant oci --root "$work/state" "$@"; }
b=$work/bundle
bundle "$b"

# Types that Debian's policy has: it knows no container_t.
label=system_u:system_r:unconfined_t:s0
files=system_u:object_r:tmp_t:s0
process=", \"selinuxLabel\": \"$label\""
linux=", \"mountLabel\": \"$files\""
mounts=', {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}, {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"}, {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]}'

# current PROGRAM... without the NUL at the end of a label.
current() { tr -d '\000'; }

config "$b" '["cat", "/proc/self/attr/current"]' "$process"
same "run" "$(oci run --bundle "$b" c 2>&1 | current)" "$label"
# ls of busybox prints labels only where it was built to; the kernel's table of
# mounts has the option.
config "$b" '["sh", "-c", "grep -E \" /(t|dev|dev/pts) \" /proc/self/mountinfo | grep -c context="]' "$process" "$linux" "$mounts"
ln -sf busybox "$b/rootfs/bin/grep"
same "mounts with a label" "$(oci run --bundle "$b" c 2>&1)" 3
config "$b" '["sleep", "1000"]' "$process" "$linux" "$mounts"
oci run -d --bundle "$b" c
pid=$(oci state c | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
for dir in t dev/pts dev/mqueue; do
	same "the label of /$dir" "$(stat -c %C "/proc/$pid/root/$dir")" "$files"
done
same "the first process" "$(current <"/proc/$pid/attr/current")" "$label"
same "exec" "$(oci exec c cat /proc/self/attr/current 2>&1 | current)" "$label"
same "exec --process-label" "$(oci exec --process-label system_u:system_r:init_t:s0 c cat /proc/self/attr/current 2>&1 | current)" "system_u:system_r:init_t:s0"
oci delete -f c
config "$b" '["true"]' ', "selinuxLabel": "no:such:label:s0"'
case $(oci run --bundle "$b" c 2>&1) in
*"process.selinuxLabel"*"the policy does not know the label"* | *"label the session keyring"*) ;;
*) same "an unknown label" "$(oci run --bundle "$b" c 2>&1)" "an error that says so" ;;
esac
ended
