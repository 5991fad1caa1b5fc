# The scope that systemd makes: scope.sh [--user], for whose manager it is.
manager=${1-}
set -- --systemd-cgroup
. ./container.sh
ctl="systemctl $manager"
slice=airplant-check.slice unit=airplant-props.scope
# shown compares a property of the scope.
shown() { same "$1" "$($ctl show -p "$1" --value $unit)" "$2"; }

with '"memory": {"limit": 67108864, "swap": 67108864}, "pids": {"limit": 30}, "cpu": {"quota": 20000, "period": 50000, "shares": 512, "cpus": "0"}' \
	'exec sleep 1000' \
	'"org.systemd.property.TimeoutStopSec": "7", "org.systemd.property.MemoryHigh": "uint64 60000000", "org.systemd.property.Description": "'"'the check'"'"' \
	$slice:airplant:props
$oci run -d -b b c
g=$(group)
say "cgroup: $g"
case $g in *"/airplant.slice/$slice/$unit") ;; *) fail "it is in $g" ;; esac
shown Description "the check"
shown Slice $slice
shown TimeoutStopUSec 7s
shown Delegate yes
shown MemoryMax 67108864
shown MemoryHigh 59998208
shown MemorySwapMax 0
shown TasksMax 30
shown CPUQuotaPerSecUSec 400ms
shown CPUQuotaPeriodUSec 50ms
shown CPUWeight 59
shown AllowedCPUs 0
# limited compares the kernel's view.
limited() {
	is memory.max "$1"
	is memory.swap.max 0
	is pids.max "$2"
	is cpu.max "$3"
	is cpu.weight 59
	is cpuset.cpus "$4"
	is memory.high 59998208
}
limited 67108864 30 "20000 50000" 0

# What is changed is told to systemd, which writes it all anew at a reload.
$oci update --memory 80M --memory-swap 80M --pids-limit 40 --cpu-quota 30000 --cpu-period 50000 --cpuset-cpus 1 c
limited 83886080 40 "30000 50000" 1
shown MemoryMax 83886080
shown TasksMax 40
shown AllowedCPUs 1
$ctl daemon-reload
$ctl set-property --runtime $unit TasksAccounting=yes
limited 83886080 40 "30000 50000" 1
$oci update --cpu-period 25000 c # alone: the quota stays as it is
is cpu.max "30000 25000"
$ctl daemon-reload
$ctl set-property --runtime $unit CPUAccounting=yes
is cpu.max "30000 25000"
say "properties, updates, reload"

# Whoever stops the unit stops the container.
$oci pause c
$oci resume c
$ctl stop $unit
until_true stopped
$oci delete c
[ ! -e "$g" ] || fail "$g is left"

# One that systemd does not know, or has another type for, is an error.
for wrong in 'NoSuchThing": "true' 'MemoryHigh": "'"'much'"; do
	with '' 'true' '"org.systemd.property.'"$wrong"'"' $slice:airplant:props
	$oci run -b b c 2>err && fail "property $wrong is accepted"
	say "refused: $(cat err)"
	grep -q "airplant-props.scope: " err || fail "which?"
	$oci state c 2>/dev/null && fail "a container is left"
	$ctl is-active --quiet $unit && fail "a scope is left"
done

# It ends by itself at its time.
with '' 'exec sleep 1000' '"org.systemd.property.RuntimeMaxSec": "5"' $slice:airplant:props
$oci run -d -b b c
until_true stopped
say "RuntimeMaxSec: stopped"
$oci delete c
ended
