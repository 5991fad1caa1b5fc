package cgroup

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"airplant/internal/testenv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func ref[T any](v T) *T { return &v }

func TestHierarchies(t *testing.T) {
	const table = `25 1 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
33 25 0:29 /docker/1 /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
34 25 0:27 / /mnt/again rw - cgroup cgroup rw,cpu,cpuacct
35 25 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`
	var got []string
	for _, h := range hierarchies(table) {
		got = append(got, h.Mount+" "+strings.Join(h.Controllers, ","))
	}
	want := []string{"/sys/fs/cgroup/freezer freezer", "/sys/fs/cgroup/cpu,cpuacct cpu,cpuacct"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestChooseV1(t *testing.T) {
	v1 := []Hierarchy{{Mount: v2 + "/freezer", Controllers: []string{"freezer"}}, {Mount: v2 + "/pids", Controllers: []string{"pids"}}}
	hybrid := Host{Caller: root, Mount: v2 + "/unified", Hybrid: true, Own: top, Target: top, V1: v1}
	for name, test := range map[string]struct {
		host Host
		req  Request
		v1   bool
		path string
	}{
		"version 1 alone":       {Host{Caller: root, V1: v1}, Request{ID: "ID"}, true, "/airplant-ID"},
		"a given path":          {Host{Caller: root, V1: v1}, Request{Path: "a/b"}, true, "/a/b"},
		"hybrid, nothing asked": {hybrid, Request{ID: "ID"}, false, "/airplant-ID"},
		"hybrid, a limit":       {hybrid, Request{ID: "ID", Limited: true}, true, "/airplant-ID"},
		"a user":                {Host{Caller: user, V1: v1}, Request{ID: "ID", Limited: true}, false, ""},
		"systemd":               {Host{Caller: root, V1: v1}, Request{ID: "ID", Manager: Systemd}, false, ""},
		"disabled":              {Host{Caller: root, V1: v1}, Request{ID: "ID", Manager: Disabled}, false, ""},
	} {
		p, err := Choose(test.host, test.req)
		if err != nil || len(p.V1) > 0 != test.v1 || p.Path != test.path || p.ByPID() != test.v1 && p.Kind != Systemd {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	p, _ := Choose(hybrid, Request{Path: "/x", Limited: true})
	if got := p.Missing(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ref(int64(9))}, Memory: &specs.LinuxMemory{Limit: ref(int64(9))}}); !slices.Equal(got, []string{"memory"}) {
		t.Errorf("missing: %v", got)
	}
}

func TestDevicesV1(t *testing.T) {
	dev := func(allow bool, kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		return specs.LinuxDeviceCgroup{Allow: allow, Type: kind, Major: &major, Minor: &minor, Access: access}
	}
	for name, test := range map[string]struct {
		rules []specs.LinuxDeviceCgroup
		want  string // without those that always follow
	}{
		"nothing but one":      {[]specs.LinuxDeviceCgroup{{Access: "rwm"}, dev(true, "c", 10, 229, "rwm")}, "deny a; deny a; allow c 10:229 rwm"},
		"all but one":          {[]specs.LinuxDeviceCgroup{{Allow: true, Type: "a"}, dev(false, "b", 8, -1, "w")}, "deny a; allow a; deny b 8:* w"},
		"both kinds":           {[]specs.LinuxDeviceCgroup{dev(true, "a", 5, -1, "r")}, "deny a; allow b 5:* r; allow c 5:* r"},
		"taken back":           {[]specs.LinuxDeviceCgroup{dev(true, "c", 9, 1, "rw"), dev(false, "c", 9, 1, "w")}, "deny a; allow c 9:1 rw; deny c 9:1 w"},
		"a part is taken back": {[]specs.LinuxDeviceCgroup{dev(true, "c", 9, -1, "rw"), dev(false, "c", 9, 1, "rw")}, "error"},
		"by a wider rule":      {[]specs.LinuxDeviceCgroup{dev(true, "c", 9, 1, "rw"), dev(false, "c", 9, -1, "rw")}, "error"},
		"of another access":    {[]specs.LinuxDeviceCgroup{dev(true, "c", 9, 1, "r"), dev(false, "c", 9, -1, "w")}, "deny a; allow c 9:1 r; deny c 9:* w"},
	} {
		list, err := rulesV1(test.rules)
		got := "error"
		if err == nil {
			got = strings.Join(list[:len(list)-len(always)], "; ")
		}
		if got != test.want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestSettingsV1(t *testing.T) {
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ref(int64(1 << 20)), Swap: ref(int64(-1)), Swappiness: ref(uint64(0)), DisableOOMKiller: ref(true)},
		CPU:    &specs.LinuxCPU{Shares: ref(uint64(512)), Quota: ref(int64(-7)), RealtimePeriod: ref(uint64(0)), Cpus: "0"},
		Pids:   &specs.LinuxPids{Limit: ref(int64(-1))},
		BlockIO: &specs.LinuxBlockIO{
			Weight: ref(uint16(10)), ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{{Rate: 5}},
		},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4096}},
		Network:        &specs.LinuxNetwork{ClassID: ref(uint32(3)), Priorities: []specs.LinuxInterfacePriority{{Name: "lo", Priority: 2}}},
	}
	list, err := settingsV1(r)
	var got []string
	for _, s := range list {
		got = append(got, s.files[0]+"="+s.value)
	}
	want := "memory.limit_in_bytes=1048576 memory.memsw.limit_in_bytes=-1 memory.swappiness=0 memory.oom_control=1 cpu.shares=512 " +
		"cpu.cfs_quota_us=-1 cpuset.cpus=0 blkio.weight=10 blkio.throttle.read_bps_device=0:0 5 net_cls.classid=3 net_prio.ifpriomap=lo 2 " +
		"pids.max=max hugetlb.2MB.limit_in_bytes=4096"
	if strings.Join(got, " ") != want || err != nil {
		t.Errorf("%s, %v", strings.Join(got, " "), err)
	}
	if _, err := settingsV1(&specs.LinuxResources{Unified: map[string]string{"memory.high": "1"}}); err == nil {
		t.Error("unified is let through")
	}
}

// groupV1 makes a group with a sleeping process, on a host with version 1.
func groupV1(t *testing.T, r *specs.LinuxResources) (*Group, *exec.Cmd) {
	t.Helper()
	testenv.Root(t)
	request := Request{ID: "test-" + strconv.Itoa(os.Getpid()), Path: "/airplant-test/" + strconv.FormatInt(time.Now().UnixNano(), 36), Limited: true}
	h, err := Look(caller(), request)
	if err != nil {
		t.Fatal(err)
	}
	if len(h.V1) == 0 {
		testenv.Skip(t, "no hierarchy of cgroup version 1 that can be written")
	}
	p, err := Choose(h, request)
	if err != nil {
		t.Fatal(err)
	}
	if missing := p.Missing(r); len(missing) > 0 {
		testenv.Skip(t, "not mounted in version 1: "+strings.Join(missing, ", "))
	}
	cmd := exec.Command("sh", "-c", "while :; do sleep 0.05; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	g, err := Create(p, Options{Resources: r, PID: cmd.Process.Pid})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = g.Abandon() // for a failed test
		_ = g.Close()
	})
	return g, cmd
}

func (g *Group) says(t *testing.T, controller, file string) string {
	t.Helper()
	d, ok := g.controller(controller)
	if !ok {
		t.Fatalf("no %s", controller)
	}
	text, err := d.read(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(text)
}

// TestGroupV1 goes through the life of a group in the kernel.
func TestGroupV1(t *testing.T) {
	made, cmd := groupV1(t, &specs.LinuxResources{
		Memory:  &specs.LinuxMemory{Limit: ref(int64(64 << 20))},
		CPU:     &specs.LinuxCPU{Shares: ref(uint64(512)), Quota: ref(int64(50000)), Period: ref(uint64(100000)), Cpus: "0", Mems: "0"},
		Pids:    &specs.LinuxPids{Limit: ref(int64(100))},
		Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}, {Allow: true, Type: "c", Major: ref(int64(10)), Minor: ref(int64(229)), Access: "rwm"}},
	})
	g, err := Open(made.Place()) // all else is by what is remembered
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for file, want := range map[string]string{
		"memory memory.limit_in_bytes": strconv.Itoa(64 << 20), "cpu cpu.shares": "512", "cpu cpu.cfs_quota_us": "50000",
		"cpuset cpuset.cpus": "0", "pids pids.max": "100",
	} {
		controller, name, _ := strings.Cut(file, " ")
		if got := g.says(t, controller, name); got != want {
			t.Errorf("%s: %s", file, got)
		}
	}
	if got := g.says(t, "devices", "devices.list"); !strings.HasPrefix(got, "c 10:229 rwm\n") || strings.Contains(got, "a *:*") {
		t.Errorf("devices.list: %s", got)
	}
	if err := g.Update(&specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ref(int64(128 << 20))}, Pids: &specs.LinuxPids{Limit: ref(int64(7))},
		CPU: &specs.LinuxCPU{Quota: ref(int64(400000)), Period: ref(uint64(200000))},
	}); err != nil {
		t.Fatal(err)
	}
	if got := g.says(t, "pids", "pids.max") + " " + g.says(t, "cpu", "cpu.cfs_quota_us") + " " + g.says(t, "memory", "memory.limit_in_bytes"); got != "7 400000 134217728" {
		t.Errorf("after update: %s", got)
	}
	s, err := g.Stats()
	for start := time.Now(); err == nil && s.CPU.Usage == 0 && time.Since(start) < 5*time.Second; time.Sleep(10 * time.Millisecond) {
		s, err = g.Stats() // it has slept since it came
	}
	if err != nil || s.Memory == nil || s.Memory.Limit != 128<<20 || s.Pids == nil || s.Pids.Limit != 7 || s.Pids.Current == 0 || s.CPU.Usage == 0 {
		t.Errorf("stats: %+v, %v", s, err)
	}
	pids, err := g.Pids()
	if err != nil || !slices.Contains(pids, cmd.Process.Pid) {
		t.Errorf("pids: %v, %v", pids, err)
	}
	g.frozenAndKilled(t, cmd)
	if err := g.Remove(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	for _, p := range g.parts {
		if _, err := os.Stat(p.Mount + g.place.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", p.Mount, err)
		}
	}
	if _, err := Open(made.Place()); !errors.Is(err, ErrGone) {
		t.Errorf("opened after its end: %v", err)
	}
}

// frozenAndKilled: what is frozen does nothing, and can be killed all the same.
func (g *Group) frozenAndKilled(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := g.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := g.says(t, "cpuacct", "cpuacct.usage")
	time.Sleep(100 * time.Millisecond)
	if frozen, err := g.Frozen(); err != nil || !frozen || before != g.says(t, "cpuacct", "cpuacct.usage") {
		t.Errorf("frozen: %v, %v", frozen, err)
	}
	if err := g.Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	w, err := g.Watch()
	if err != nil {
		t.Fatal(err)
	}
	if e, err := w.Next(t.Context()); err != nil || !e.Populated || e.Frozen {
		t.Errorf("events: %+v, %v", e, err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(g.Freeze(t.Context()), g.Kill()); err != nil {
		t.Fatal(err)
	}
	state, err := cmd.Process.Wait()
	if err != nil || state.Sys().(interface{ Signal() unix.Signal }).Signal() != unix.SIGKILL {
		t.Errorf("%v, %v", state, err)
	}
}

// TestGroupV1Busy: a group with processes is another's, and one that cannot be
// made leaves nothing.
func TestGroupV1Busy(t *testing.T) {
	g, cmd := groupV1(t, nil)
	p := Plan{Kind: Cgroupfs, Mount: g.place.Mount, Path: g.place.Path, V1: g.place.V1}
	if _, err := Create(p, Options{PID: os.Getpid()}); !errors.Is(err, ErrBusy) {
		t.Errorf("made again: %v", err)
	}
	if pids, err := g.Pids(); err != nil || !slices.Contains(pids, cmd.Process.Pid) {
		t.Errorf("%v, %v", pids, err)
	}
	p.Path += "-other"
	bad := &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "60000"}}
	if _, err := Create(p, Options{PID: cmd.Process.Pid, Resources: bad}); err == nil {
		t.Error("made with processors that are not there")
	}
	for _, part := range g.parts {
		if _, err := os.Stat(part.Mount + p.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("left in %s: %v", part.Mount, err)
		}
	}
}
