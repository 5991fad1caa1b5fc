package cgroup

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// setting is one value for one file.
type setting struct {
	controller string
	// files are alternatives, the best first: which of them exist depends on
	// the kernel's configuration.
	files []string
	value string
	// optional: a kernel without any of the files does what is wanted.
	optional bool
	// keep puts the first word that the file has before the value.
	keep bool
}

func set(file, value string) setting {
	controller, _, _ := strings.Cut(file, ".")
	return setting{controller: controller, files: []string{file}, value: value}
}

// settings compiles resources, in the order in which they are to be written.
// Zero is "not set" throughout: engines send it for what nobody asked for.
func settings(r *specs.LinuxResources) ([]setting, error) {
	if r == nil {
		return nil, nil
	}
	var all []setting
	for _, part := range []func(*specs.LinuxResources) ([]setting, error){
		memory, cpu, pids, blockIO, hugepages, rdma, network, unified,
	} {
		list, err := part(r)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	for i := range all {
		// Without the controller there is no limit either.
		all[i].optional = all[i].optional || all[i].value == "max"
	}
	return all, nil
}

// Needed lists the controllers that resources need, each once. Errors name a
// field below resources that is wrong, or that version 2 does not have.
func Needed(r *specs.LinuxResources) ([]string, error) {
	var list []string
	all, err := settings(r)
	for _, s := range all {
		if s.controller != "cgroup" && !s.optional && !slices.Contains(list, s.controller) {
			list = append(list, s.controller)
		}
	}
	return list, err
}

// unsupported is the error for what exists in version 1 alone.
func unsupported(field, instead string) error {
	return fmt.Errorf("resources.%s: version 2 of cgroups has no such setting; %s", field, instead)
}

func memory(r *specs.LinuxResources) ([]setting, error) {
	m := r.Memory
	if m == nil {
		return nil, nil
	}
	switch {
	case m.KernelTCP != nil && *m.KernelTCP > 0:
		return nil, unsupported("memory.kernelTCP", "memory.limit includes it")
	case m.Swappiness != nil && *m.Swappiness > 0:
		return nil, unsupported("memory.swappiness", "limit memory.swap")
	case m.DisableOOMKiller != nil && *m.DisableOOMKiller:
		return nil, unsupported("memory.disableOOMKiller", `slow down with unified "memory.high"`)
	}
	var list []setting
	limited, both := number(m.Limit), number(m.Swap)
	swap, ok, err := swapMax(limited, both)
	if err != nil {
		return nil, err
	}
	if ok {
		s := set("memory.swap.max", swap)
		s.optional = swap == "max" || swap == "0" // a kernel without swap accounting has no file
		list = append(list, s)
	}
	if limited != 0 {
		list = append(list, set("memory.max", limit(limited)))
	}
	if n := number(m.Reservation); n != 0 {
		list = append(list, set("memory.low", limit(n)))
	}
	return list, nil
}

func number(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func cpu(r *specs.LinuxResources) ([]setting, error) {
	c := r.CPU
	if c == nil {
		return nil, nil
	}
	if number(c.RealtimeRuntime) != 0 || c.RealtimePeriod != nil && *c.RealtimePeriod != 0 {
		return nil, unsupported("cpu.realtimeRuntime and realtimePeriod", "use process.scheduler")
	}
	var list []setting
	// The kernel refuses a weight for an idle group.
	if c.Idle != nil && *c.Idle == 0 {
		s := set("cpu.idle", "0")
		s.optional = true
		list = append(list, s)
	}
	if c.Shares != nil && *c.Shares != 0 {
		list = append(list, set("cpu.weight", strconv.FormatUint(cpuWeight(*c.Shares), 10)))
	}
	if c.Idle != nil && *c.Idle != 0 {
		list = append(list, set("cpu.idle", strconv.FormatInt(*c.Idle, 10)))
	}
	list = append(list, bandwidth(c)...)
	for _, s := range []setting{set("cpuset.cpus", c.Cpus), set("cpuset.mems", c.Mems)} {
		if s.value == "" {
			continue
		}
		if _, err := cpuBits(s.value); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// bandwidth sets quota, period and burst. A quota alone keeps the period,
// which is the kernel's doing, and a period alone keeps the quota.
func bandwidth(c *specs.LinuxCPU) []setting {
	var list []setting
	quota, period := number(c.Quota), uint64(0)
	if c.Period != nil {
		period = *c.Period
	}
	s := set("cpu.max", "")
	switch {
	case quota != 0 && period != 0:
		s.value = fmt.Sprintf("%s %d", limit(quota), period)
	case quota != 0:
		s.value = limit(quota)
	case period != 0:
		s.value, s.keep = strconv.FormatUint(period, 10), true
	}
	if s.value != "" {
		list = append(list, s)
	}
	if c.Burst != nil {
		s := set("cpu.max.burst", strconv.FormatUint(*c.Burst, 10))
		s.optional = *c.Burst == 0 // Linux 5.14
		list = append(list, s)
	}
	return list
}

// pids limits tasks. 0 is no limit: a group with none could not be entered.
func pids(r *specs.LinuxResources) ([]setting, error) {
	if r.Pids == nil || r.Pids.Limit == nil {
		return nil, nil
	}
	s := set("pids.max", limit(*r.Pids.Limit))
	if *r.Pids.Limit <= 0 {
		s.value, s.optional = "max", true
	}
	return []setting{s}, nil
}

func blockIO(r *specs.LinuxResources) ([]setting, error) {
	b := r.BlockIO
	if b == nil {
		return nil, nil
	}
	if b.LeafWeight != nil && *b.LeafWeight != 0 {
		return nil, unsupported("blockIO.leafWeight", "use blockIO.weight")
	}
	var list []setting
	if b.Weight != nil && *b.Weight != 0 {
		list = append(list, weight("", *b.Weight)...)
	}
	for _, d := range b.WeightDevice {
		if d.LeafWeight != nil && *d.LeafWeight != 0 {
			return nil, unsupported("blockIO.weightDevice.leafWeight", "use weight")
		}
		if d.Weight != nil && *d.Weight != 0 {
			list = append(list, weight(fmt.Sprintf("%d:%d ", d.Major, d.Minor), *d.Weight)...)
		}
	}
	for _, kind := range []struct {
		key  string
		list []specs.LinuxThrottleDevice
	}{
		{"rbps", b.ThrottleReadBpsDevice},
		{"wbps", b.ThrottleWriteBpsDevice},
		{"riops", b.ThrottleReadIOPSDevice},
		{"wiops", b.ThrottleWriteIOPSDevice},
	} {
		for _, d := range kind.list {
			rate := "max" // 0 took a limit away in version 1
			if d.Rate != 0 {
				rate = strconv.FormatUint(d.Rate, 10)
			}
			list = append(list, set("io.max", fmt.Sprintf("%d:%d %s=%s", d.Major, d.Minor, kind.key, rate)))
		}
	}
	return list, nil
}

// weight sets the io weight for both of the schedulers that know one: BFQ's
// scale is version 1's own. Either may be absent, both may not.
func weight(device string, w uint16) []setting {
	bfq := set("io.bfq.weight", fmt.Sprintf("%s%d", device, w))
	cost := set("io.weight", fmt.Sprintf("%s%d", device, ioWeight(w)))
	bfq.optional = true
	cost.files = append(cost.files, "io.bfq.weight")
	if device == "" {
		cost.value = fmt.Sprintf("default %d", ioWeight(w))
	}
	return []setting{bfq, cost}
}
