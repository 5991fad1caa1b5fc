package cgroup

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// settingsV1 compiles resources for version 1, whose numbers the runtime-spec
// has. Zero is "not set", as in [settings].
func settingsV1(r *specs.LinuxResources) ([]setting, error) {
	if r == nil {
		return nil, nil
	}
	if len(r.Unified) > 0 {
		return nil, errors.New("resources.unified: the controllers of this host are version 1's, which has no such files")
	}
	list := slices.Concat(memoryV1(r.Memory), cpuV1(r.CPU), blockIOV1(r.BlockIO), networkV1(r.Network))
	limits, err := pids(r)
	if err != nil {
		return nil, err
	}
	list = append(list, limits...)
	pages, err := hugepages(r)
	if err != nil {
		return nil, err
	}
	for _, s := range pages {
		if !s.optional {
			s.files = []string{s.files[0][:len(s.files[0])-len("max")] + "limit_in_bytes"}
			list = append(list, s)
		}
	}
	devices, err := rdma(r)
	return append(list, devices...), err
}

// neededV1 lists the controllers of version 1 that resources need, each once.
func neededV1(r *specs.LinuxResources) ([]string, error) {
	var list []string
	all, err := settingsV1(r)
	for _, s := range all {
		if !s.optional && !slices.Contains(list, s.controller) {
			list = append(list, s.controller)
		}
	}
	return list, err
}

// signedV1 sets a number that may be negative, for none.
func signedV1(file string, n *int64) []setting {
	if number(n) == 0 {
		return nil
	}
	return []setting{set(file, strconv.FormatInt(max(*n, -1), 10))}
}

func unsignedV1(file string, n *uint64) []setting {
	if n == nil || *n == 0 {
		return nil
	}
	return []setting{set(file, strconv.FormatUint(*n, 10))}
}

func memoryV1(m *specs.LinuxMemory) []setting {
	if m == nil {
		return nil
	}
	list := signedV1("memory.limit_in_bytes", m.Limit)
	swap := signedV1("memory.memsw.limit_in_bytes", m.Swap)
	if len(swap) == 0 && number(m.Limit) < 0 {
		swap = []setting{set("memory.memsw.limit_in_bytes", "-1")} // no limit of memory is none of swap
	}
	for i := range swap {
		swap[i].optional = swap[i].value == "-1" // a kernel without swap accounting has no file
	}
	list = slices.Concat(list, swap, signedV1("memory.soft_limit_in_bytes", m.Reservation), signedV1("memory.kmem.tcp.limit_in_bytes", m.KernelTCP))
	if m.Swappiness != nil {
		list = append(list, set("memory.swappiness", strconv.FormatUint(*m.Swappiness, 10)))
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		list = append(list, set("memory.oom_control", "1"))
	}
	return list
}

func cpuV1(c *specs.LinuxCPU) []setting {
	if c == nil {
		return nil
	}
	list := slices.Concat(
		unsignedV1("cpu.shares", c.Shares),
		unsignedV1("cpu.cfs_period_us", c.Period), signedV1("cpu.cfs_quota_us", c.Quota), unsignedV1("cpu.cfs_burst_us", c.Burst),
		unsignedV1("cpu.rt_period_us", c.RealtimePeriod), signedV1("cpu.rt_runtime_us", c.RealtimeRuntime),
		signedV1("cpu.idle", c.Idle),
	)
	for _, s := range []setting{set("cpuset.cpus", c.Cpus), set("cpuset.mems", c.Mems)} {
		if s.value != "" {
			list = append(list, s)
		}
	}
	return list
}

func blockIOV1(b *specs.LinuxBlockIO) (list []setting) {
	if b == nil {
		return nil
	}
	weight := func(device, kind string, w *uint16) {
		if w == nil || *w == 0 {
			return
		}
		s := set("blkio."+kind, fmt.Sprintf("%s%d", device, *w))
		if kind == "weight" || kind == "weight_device" {
			s.files = append(s.files, "blkio.bfq."+kind) // CFQ went with Linux 5.0
		}
		list = append(list, s)
	}
	weight("", "weight", b.Weight)
	weight("", "leaf_weight", b.LeafWeight)
	for _, d := range b.WeightDevice {
		device := fmt.Sprintf("%d:%d ", d.Major, d.Minor)
		weight(device, "weight_device", d.Weight)
		weight(device, "leaf_weight_device", d.LeafWeight)
	}
	for _, kind := range []struct {
		key  string
		list []specs.LinuxThrottleDevice
	}{
		{"read_bps", b.ThrottleReadBpsDevice},
		{"write_bps", b.ThrottleWriteBpsDevice},
		{"read_iops", b.ThrottleReadIOPSDevice},
		{"write_iops", b.ThrottleWriteIOPSDevice},
	} {
		for _, d := range kind.list {
			list = append(list, set("blkio.throttle."+kind.key+"_device", fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate)))
		}
	}
	return list
}

func networkV1(n *specs.LinuxNetwork) (list []setting) {
	if n == nil {
		return nil
	}
	if n.ClassID != nil && *n.ClassID != 0 {
		list = append(list, set("net_cls.classid", strconv.FormatUint(uint64(*n.ClassID), 10)))
	}
	for _, p := range n.Priorities {
		list = append(list, set("net_prio.ifpriomap", fmt.Sprintf("%s %d", p.Name, p.Priority)))
	}
	return list
}

// applyV1 writes settings. Which of a limit of memory and one of memory and swap
// has to come first, or of a quota and its period, depends on the values that
// are there: what is refused as invalid is tried again after the others.
func (g *Group) applyV1(list []setting) error {
	for {
		var later []setting
		var first error
		for _, s := range list {
			err := g.applyOneV1(s)
			switch {
			case errors.Is(err, unix.EINVAL):
				later = append(later, s)
				if first == nil {
					first = err
				}
			case err != nil:
				return err
			}
		}
		if len(later) == 0 || len(later) == len(list) {
			return first
		}
		list = later
	}
}

func (g *Group) applyOneV1(s setting) error {
	d, ok := g.controller(s.controller)
	for _, file := range s.files {
		if !ok {
			break
		}
		if err := d.write(file, s.value); !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	switch {
	case s.optional:
		return nil
	case !ok:
		return fmt.Errorf("%s: %w: %s of version 1", s.files[0], ErrController, s.controller)
	}
	return fmt.Errorf("%s in %s: %w: the kernel has no such file", s.files[0], d.file.Name(), ErrController)
}

// updateV1 changes the limits that are set in r and leaves the others.
func (g *Group) updateV1(r *specs.LinuxResources) error {
	list, err := settingsV1(r)
	if err != nil || r == nil {
		return err
	}
	rules, err := rulesV1(r.Devices)
	if err != nil {
		return err
	}
	if m, ok := g.controller("memory"); ok {
		if err := m.checkMemory(r, "memory.usage_in_bytes"); err != nil {
			return err
		}
	}
	if err := g.applyV1(list); err != nil {
		return err
	}
	return g.devicesV1(rules)
}
