# What limits do to a container, end to end: limits.sh [FLAGS OF airplant oci].
# It is run by whoever is to be shown to have limits, with a way to a cgroup.
. ./container.sh

# Memory: who takes more than the limit is killed.
with '"memory": {"limit": 33554432, "swap": 33554432}' 'dd if=/dev/zero of=/dev/null bs=100M count=1; exit $?'
status=0
$oci run -b b c 2>err || status=$?
[ $status = 137 ] || fail "100 MB within 32 MB: exit status $status: $(cat err)"
say "memory: killed at 32 MB"

# Pids: who makes too many is refused.
with '"pids": {"limit": 8}' 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 3 \& done; wait'
$oci run -b b c >out 2>&1 || true
grep -qi "fork" out || fail "12 processes within 8: $(cat out)"
say "pids: $(grep -i fork out | head -n 1)"

# Processor: a fifth of one.
with '"memory": {"limit": 67108864, "swap": 67108864}, "pids": {"limit": 30}, "cpu": {"quota": 20000, "period": 100000, "shares": 512}' \
	'while :; do :; done'
$oci run -d -b b c
g=$(group)
say "cgroup: $g"
is memory.max 67108864
is memory.swap.max 0
is pids.max 30
is cpu.max "20000 100000"
is cpu.weight 59
sleep 1
a=$(cpu_time) at=$(now)
sleep 4
b=$(cpu_time) bt=$(now)
percent=$(((b - a) / ((bt - at) / 100)))
say "cpu: $percent % of one processor, by a quota of 20 %"
[ $percent -ge 10 ] && [ $percent -le 24 ] || fail "the quota is not kept"
$oci events --stats c | grep -q '"throttledPeriods":[1-9]' || fail "no throttling in $($oci events --stats c)"

# What it uses, as the kernel counts it.
$oci events --stats c >stats
grep -q '^{"type":"stats","id":"c","data":{"cpu":{"usage":{"total":[1-9]' stats || fail "$(cat stats)"
same "pids" "$(usage '"pids":{"current"')" 1
same "the limit of memory in stats" "$(usage '"usage":{"limit"')" 67108864

# Update.
$oci update --pids-limit 40 --memory 48M --memory-swap 48M --cpu-quota 50000 --cpu-period 100000 c
is pids.max 40
is memory.max 50331648
is cpu.max "50000 100000"
echo '{"pids": {"limit": 50}, "memory": {"reservation": 1048576}, "unified": {"memory.high": "45000000"}}' | $oci update -r - c
is pids.max 50
is memory.low 1048576
is memory.high 44998656
is memory.max 50331648

# Events: the end of memory.
$oci events --interval 1s c >events &
sleep 1
status=0
$oci update --memory 16M --memory-swap 16M c
echo '{"unified": {"memory.high": "max"}}' | $oci update -r - c
$oci exec c dd if=/dev/zero of=/dev/null bs=100M count=1 || status=$?
[ $status = 137 ] || fail "exec of 100 MB within 16 MB: $status"
until_true grep -q '"type":"oom","id":"c"' events
say "oom event, and exec is in the cgroup"

# Pause.
$oci pause c
grep -q 'frozen 1' "$g/cgroup.events" || fail "not frozen"
$oci exec c true 2>/dev/null && fail "exec in a paused container"
a=$(cpu_time)
sleep 1
[ "$(cpu_time)" = "$a" ] || fail "it runs while paused"
$oci resume c
grep -q 'frozen 0' "$g/cgroup.events" || fail "still frozen"
say "pause, resume"

# Kill all, and nothing is left; a frozen one, too.
$oci exec -d c sleep 1000
$oci pause c
$oci kill --all c KILL
until_true stopped
$oci delete c
[ ! -e "$g" ] || fail "$g is left"
wait # events ends with the container
say "kill, delete"
ended
