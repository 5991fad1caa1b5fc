# SELinux is on, permissive, and a process has a label of Debian's policy.
. ./lib.sh
[ "$(cat /sys/fs/selinux/enforce)" = 0 ] || fail "SELinux is not permissive"
label=$(tr -d '\0' </proc/self/attr/current)
say "label: $label"
case $label in *_u:*_r:*_t*) ;; *) fail "no label of the policy" ;; esac
