package lifecycle_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"airplant/internal/testenv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestFieldsOfRoot: what acts on the host is refused by name, with the reason,
// and nothing is left.
func TestFieldsOfRoot(t *testing.T) {
	for want, change := range map[string]func(*specs.Spec){
		"process.scheduler: sched_setattr: operation not permitted (instruction ": func(s *specs.Spec) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedFIFO, Priority: 1}
		},
		"take CAP_SYS_NICE on the host, which no user namespace gives": func(s *specs.Spec) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedOther, Nice: -20}
		},
		"the real-time class takes CAP_SYS_NICE on the host": func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_RT}
		},
		"linux.intelRdt: the resctrl filesystem belongs to": func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "x"} },
		"linux.netDevices: to take a device out of the": func(s *specs.Spec) {
			s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"lo": {Name: "x"}}
		},
		"linux.memoryPolicy: set_mempolicy: invalid argument": func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "700"}
		},
	} {
		b := oneID(t).bundle(t, "true")
		change(b.spec)
		b.fails(want)
	}
}

// TestSharedMounts: with linux.rootfsPropagation shared a volume that is too
// tells the host what is mounted below it, and nothing else of the container
// does; without it nothing does.
func TestSharedMounts(t *testing.T) {
	testenv.Root(t)
	for _, c := range []struct {
		root, volume, want string
	}{
		{"rshared", "rshared", "inside"},
		{"shared", "rprivate", ""},
		{"rslave", "rshared", ""},
		{"", "rshared", ""},
		{"private", "rshared", ""},
	} {
		b := hostRoot(t).script(t, "mount -t tmpfs none /m/inside && mount -t tmpfs none /t && echo ok")
		b.mkdir("t")
		b.spec.Process.Capabilities = caps("CAP_SYS_ADMIN")
		b.spec.Linux.RootfsPropagation = c.root
		dir := b.host()
		b.check(os.Mkdir(dir+"/inside", 0o755))
		b.mount("bind", dir, "/m", "rbind", c.volume)
		b.save()
		// The host's mounts are shared with nobody but this shell.
		cmd := b.oci("run", "--bundle", b.dir, "c")
		script := "mount --make-rprivate / && mount --bind " + b.dir + " " + b.dir + " && mount --make-shared " + b.dir + " && mount --bind " + dir + " " + dir + ` && "$@"; grep -c -E "` + b.dir + `/rootfs|/m/inside" /proc/self/mountinfo; grep -q "/data/inside " /proc/self/mountinfo && echo inside`
		cmd = exec.Command("unshare", append([]string{"-m", "sh", "-c", script, "sh"}, cmd.Args...)...)
		r := do(t, cmd)
		want := "ok\n0\n"
		if c.want != "" {
			want = "ok\n0\ninside\n"
		}
		if r.out != want || r.err != "" {
			t.Errorf("%+v: %+v, want %q", c, r, want)
		}
	}
}

// TestJoinMountNamespace has a container live in the mounts of another, in a
// directory of its own, without changing them.
func TestJoinMountNamespace(t *testing.T) {
	c := oneID(t)
	first := c.script(t, "mkdir -p /t/root/bin /t/root/proc; cp /bin/busybox /t/root/bin/sh; echo file >/t/root/file; touch /t/ready; exec sleep 1000")
	first.mount("tmpfs", "tmpfs", "/t")
	first.mount("bind", first.host(), "/host")
	first.spec.Process.Args[2] = strings.Replace(first.spec.Process.Args[2], "touch /t/ready", "touch /host/ready", 1)
	first.save()
	first.must("run", "-d", "--bundle", first.dir, "c")
	defer first.must("delete", "-f", "c")
	first.await("files", func() bool { _, err := os.Stat(first.host() + "/ready"); return err == nil })
	pid := first.status().Pid
	before, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	first.check(err)
	for root, want := range map[string]string{"/t/root": "file\n/\n", "/": ""} {
		b := c.script(t, "read x </file && echo $x; cd / && pwd")
		b.spec.Mounts, b.spec.Root = nil, &specs.Root{Path: root}
		b.spec.Linux.MaskedPaths, b.spec.Linux.ReadonlyPaths = nil, nil
		b.join(pid, "mount", "user", "pid")
		r := b.run()
		if want != "" && r.out != want || want == "" && (r.out != "/\n" || r.status != 0) {
			t.Errorf("%s: %+v, want %q", root, r, want)
		}
		b.nothingLeft()
	}
	if after, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid)); err != nil || string(after) != string(before) {
		t.Errorf("mounts were\n%s\nand are\n%s", before, after)
	}
}

// TestTimeInJoinedUserNamespace: the clocks of a container that joins a user
// namespace.
func TestTimeInJoinedUserNamespace(t *testing.T) {
	c := oneID(t)
	first := c.bundle(t, "sleep", "1000")
	first.save()
	first.must("run", "-d", "--bundle", first.dir, "c")
	defer first.must("delete", "-f", "c")
	b := c.bundle(t, "cat", "/proc/self/timens_offsets")
	b.join(first.status().Pid, "user")
	b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	b.spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 100_000}, "boottime": {Secs: 7}}
	if got := strings.Join(strings.Fields(b.says()), " "); got != "monotonic 100000 0 boottime 7 0" {
		t.Errorf("%q", got)
	}
	b.spec.Linux.TimeOffsets["boottime"] = specs.LinuxTimeOffset{Secs: -1 << 40}
	b.fails("set the boottime clock: write: numerical result out of range")
}

// TestDevices: a fifo is made by everybody, a node by the host's root alone.
func TestDevices(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, "stat -c '%F %a %u' /dev/pipe; stat -c '%F %a %t:%T' /dev/own")
		mode := os.FileMode(0o640)
		b.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/pipe", Type: "p", FileMode: &mode, UID: &c.inside.UID}}
		owner := c.inside.UID
		want := fmt.Sprintf("fifo 640 %d\n", owner)
		if c.user.UID == 0 && c.plain && capable(t, unix.CAP_MKNOD) {
			b.spec.Linux.Devices = append(b.spec.Linux.Devices, specs.LinuxDevice{Path: "/dev/own", Type: "c", Major: 1, Minor: 3, FileMode: &mode})
			want += "character special file 640 1:3\n"
		} else {
			b.spec.Process.Args[2] = "stat -c '%F %a %u' /dev/pipe"
		}
		if got := b.says(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestNetworkDevices: root gives a container a device with its addresses, under
// another name; when the container cannot be made, it is back as it was.
func TestNetworkDevices(t *testing.T) {
	testenv.Root(t)
	testenv.Need(t, "ip")
	b := hostRoot(t).script(t, "ip -o addr show dev eth7 | grep -o -E 'inet6? [^ ]*' | grep -v fe80; cat /sys/class/net/eth7/operstate; cat /sys/class/net/eth7/address")
	b.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"give0": {Name: "eth7"}}
	b.save()
	const script = `ip link add give0 type veth peer name keep0 && ip link set keep0 up && ip link set give0 address 02:00:00:00:00:09 up &&
		ip addr add 192.0.2.9/24 dev give0 && ip addr add 2001:db8::9/64 dev give0 nodad; "$@"; echo status $?; ip -o addr show dev give0 2>&1 | grep -o -E 'inet [^ ]*|does not exist'`
	run := func() result {
		cmd := b.oci("run", "--bundle", b.dir, "c")
		return do(t, exec.Command("unshare", append([]string{"-n", "sh", "-c", script, "sh"}, cmd.Args...)...))
	}
	if r := run(); r.out != "inet 192.0.2.9/24\ninet6 2001:db8::9/64\nup\n02:00:00:00:00:09\nstatus 0\ndoes not exist\n" && r.out != "inet 192.0.2.9/24\ninet6 2001:db8::9/64\nup\n02:00:00:00:00:09\nstatus 0\n" || r.err != "" {
		t.Errorf("%+v", r)
	}
	b.spec.Process.Args = []string{"/no/such"}
	b.save()
	if r := run(); r.out != "status 1\ninet 192.0.2.9/24\n" {
		t.Errorf("%+v", r)
	}
	b.nothingLeft()
	b.spec.Process.Args, b.spec.Linux.NetDevices["give0"] = []string{"true"}, specs.LinuxNetDevice{Name: "lo"}
	b.save()
	if r := run(); r.out != "status 1\ninet 192.0.2.9/24\n" || !strings.Contains(r.err, "linux.netDevices: give0: file exists") {
		t.Errorf("%+v", r)
	}
	b.nothingLeft()
}

// TestResctrlIsMissing: root on a machine without it is told so.
func TestResctrlIsMissing(t *testing.T) {
	testenv.Root(t)
	if _, err := os.Stat("/sys/fs/resctrl/schemata"); err == nil {
		t.Log("this machine has resctrl")
		return
	}
	b := hostRoot(t).bundle(t, "true")
	b.spec.Linux.IntelRdt = &specs.LinuxIntelRdt{L3CacheSchema: "L3:0=f"}
	b.fails("linux.intelRdt: the resctrl filesystem is not mounted, or this machine has none")
}

// TestExecAffinity: the parent begins on the first CPUs, and the process ends
// up on the last.
func TestExecAffinity(t *testing.T) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil || !all.IsSet(0) || !all.IsSet(1) {
		testenv.Skip(t, "needs the CPUs 0 and 1")
	}
	b := oneID(t).bundle(t, "sleep", "1000")
	b.save()
	b.must("run", "-d", "--bundle", b.dir, "c")
	defer b.must("delete", "-f", "c")
	for _, c := range []struct{ initial, final, want string }{{"0", "", "0"}, {"0", "1", "1"}, {"", "1", "1"}} {
		p := *b.spec.Process
		p.Args = []string{"grep", "Cpus_allowed_list", "/proc/self/status"}
		p.ExecCPUAffinity = &specs.CPUAffinity{Initial: c.initial, Final: c.final}
		r := b.execProcess(&p)
		if r.status != 0 || strings.TrimSpace(r.out) != "Cpus_allowed_list:\t"+c.want {
			t.Errorf("%+v: %+v", c, r)
		}
	}
	p := *b.spec.Process
	p.Args, p.ExecCPUAffinity = []string{"true"}, &specs.CPUAffinity{Initial: "900"}
	if r := b.execProcess(&p); r.status != 255 || !strings.Contains(r.err, `process.execCPUAffinity.initial "900": invalid argument`) {
		t.Errorf("%+v", r)
	}
}
