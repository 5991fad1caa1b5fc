# Processors, block devices and huge pages: devices.sh [FLAGS OF airplant oci],
# run as limits.sh is.
. ./container.sh
disk=$(mountpoint -d /)
major=${disk%:*} minor=${disk#*:}
dd if=/dev/urandom of=b/rootfs/tmp/data bs=1M count=4 2>/dev/null
sync
read_data() { dd if="$1" of=/dev/null bs=64k iflag=direct 2>/dev/null; }
# took prints the milliseconds of a command.
took() {
	at=$(now)
	"$@" >/dev/null
	echo $((($(now) - at) / 1000000))
}

with '"cpu": {"cpus": "1", "mems": "0", "quota": 40000, "period": 100000, "burst": 10000}, "blockIO": {"throttleReadBpsDevice": [{"major": '$major', "minor": '$minor', "rate": 1048576}], "throttleWriteIOPSDevice": [{"major": '$major', "minor": '$minor', "rate": 90}]}' \
	'exec sleep 1000'
$oci run -d -b b c
g=$(group)
is cpuset.cpus 1
is cpuset.mems 0
is cpu.max.burst 10000
is io.max "$disk rbps=1048576 wbps=max riops=max wiops=90"
same "processors of the container" "$($oci exec c grep Cpus_allowed_list /proc/self/status | tr -d ' \t')" "Cpus_allowed_list:1"

slow=$(took $oci exec c dd if=/tmp/data of=/dev/null bs=64k iflag=direct 2>err)
echo '{"blockIO": {"throttleReadBpsDevice": [{"major": '$major', "minor": '$minor', "rate": 0}]}}' | $oci update -r - c
fast=$(took $oci exec c dd if=/tmp/data of=/dev/null bs=64k iflag=direct 2>err)
say "io: 4 MB in $slow ms at 1 MB/s, in $fast ms without"
[ "$slow" -ge 3500 ] && [ "$fast" -lt $((slow / 2)) ] || fail "the rate is not kept"
is io.max "$disk rbps=max wbps=max riops=max wiops=90"
$oci events --stats c | grep -q '"major":'$major',"minor":'$minor',"op":"[Rr]ead","value":[1-9]' || fail "stats have no blocks: $($oci events --stats c)"

# A weight needs a scheduler that knows one.
if [ -e "$g/io.weight" ] || [ -e "$g/io.bfq.weight" ]; then
	$oci update --blkio-weight 500 c
	say "io weight: $(cat "$g"/io*.weight)"
else
	$oci update --blkio-weight 500 c 2>err && fail "a weight without a scheduler is accepted"
	say "io weight: $(cat err)"
fi

$oci update --cpuset-cpus 0 --cpu-idle 1 c
is cpuset.cpus 0
is cpu.idle 1
same "processors after the update" "$($oci exec c grep Cpus_allowed_list /proc/self/status | tr -d ' \t')" "Cpus_allowed_list:0"
$oci update --cpuset-cpus 77 c 2>err && fail "processor 77 is accepted"
is cpuset.cpus 0

if [ -e "$g/hugetlb.2MB.max" ]; then
	echo '{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}' | $oci update -r - c
	is hugetlb.2MB.max 4194304
	say "huge pages: limited"
else
	echo '{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}' | $oci update -r - c 2>err && fail "huge pages are limited without a controller"
	say "huge pages: $(cat err)"
fi
$oci delete -f c
[ ! -e "$g" ] || fail "$g is left"
ended
