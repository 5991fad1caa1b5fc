# AppArmor is on, and a process is confined or not.
. ./lib.sh
grep -qw apparmor /sys/kernel/security/lsm || fail "no AppArmor"
say "label: $(cat /proc/self/attr/current)"
