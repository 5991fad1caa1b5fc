# The tests of lifecycle/cgroup, with controllers, as a user in a leaf of a
# scope that is delegated. None may be skipped.
. ./lib.sh
as_user AIRPLANT_TEST_REQUIRE=all systemd-run -q --user --scope -p Delegate=yes sh -euc '
	g=/sys/fs/cgroup$(sed "s/^0:://" /proc/self/cgroup)
	mkdir "$g/self"
	echo $$ >"$g/self/cgroup.procs"
	cd /tmp
	exec /airplant/cgroup.test -test.v
'
