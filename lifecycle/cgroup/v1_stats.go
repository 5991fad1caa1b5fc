package cgroup

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// statsV1 reads what the group has used, into the words of version 2.
func (g *Group) statsV1() (*Stats, error) {
	s, r := &Stats{}, &reader{}
	for _, part := range []struct {
		controller string
		read       func()
	}{
		{"cpuacct", func() {
			s.CPU.Usage, s.CPU.User, s.CPU.System = r.nanoseconds("cpuacct.usage"), r.nanoseconds("cpuacct.usage_user"), r.nanoseconds("cpuacct.usage_sys")
		}},
		{"cpu", func() { r.throttlingV1(&s.CPU) }},
		{"memory", func() { s.Memory = r.memoryV1() }},
		{"pids", func() { s.Pids = r.pids() }},
		{"blkio", func() { s.IO = r.ioV1() }},
		{"hugetlb", func() { s.Hugetlb = r.hugetlbV1() }},
	} {
		if d, ok := g.controller(part.controller); ok {
			r.dir = d
			part.read()
		}
	}
	return s, gone(r.err)
}

func (r *reader) nanoseconds(file string) time.Duration {
	return time.Duration(r.number(file))
}

func (r *reader) throttlingV1(c *CPUStats) {
	s := r.flat("cpu.stat")
	c.Periods, c.Throttled, c.ThrottledTime = s["nr_periods"], s["nr_throttled"], time.Duration(s["throttled_time"])
	c.Bursts, c.BurstTime = s["nr_bursts"], time.Duration(s["burst_time"])
}

// limitV1 reads a limit; none is the greatest number of whole pages.
func (r *reader) limitV1(file string) uint64 {
	n := r.number(file)
	if n >= 1<<63-1<<16 {
		return Unlimited
	}
	return n
}

func (r *reader) memoryV1() *MemoryStats {
	m := &MemoryStats{
		Usage: r.number("memory.usage_in_bytes"), Limit: r.limitV1("memory.limit_in_bytes"), Low: r.limitV1("memory.soft_limit_in_bytes"),
		Peak: r.number("memory.max_usage_in_bytes"), SwapLimit: Unlimited,
		Events: map[string]uint64{"max": r.number("memory.failcnt"), "oom_kill": r.flat("memory.oom_control")["oom_kill"]},
		Stat:   r.flat("memory.stat"),
	}
	m.Stat["file"], m.Stat["kernel"] = m.Stat["cache"], r.number("memory.kmem.usage_in_bytes")
	if r.dir.has("memory.memsw.usage_in_bytes") {
		m.Swap = r.number("memory.memsw.usage_in_bytes") - min(m.Usage, r.number("memory.memsw.usage_in_bytes"))
		if both := r.limitV1("memory.memsw.limit_in_bytes"); both != Unlimited && m.Limit <= both {
			m.SwapLimit = both - m.Limit
		}
	}
	return m
}

func (r *reader) ioV1() *IOStats {
	s := &IOStats{}
	at := map[string]int{}
	for _, file := range []string{"blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"} {
		text, _ := r.text(file)
		bytes := strings.Contains(file, "bytes")
		for line := range strings.Lines(text) { // 8:0 Read 4096
			f := strings.Fields(line)
			if len(f) != 3 {
				continue
			}
			n, ok := at[f[0]]
			if !ok {
				list := ioDevices(f[0] + " rios=0\n")
				if len(list) == 0 {
					continue
				}
				n, at[f[0]] = len(s.Devices), len(s.Devices)
				s.Devices = append(s.Devices, list[0])
			}
			if value, err := strconv.ParseUint(f[2], 10, 64); err == nil {
				s.Devices[n].count(f[1], bytes, value)
			}
		}
	}
	return s
}

func (d *IODevice) count(kind string, bytes bool, n uint64) {
	to := map[string][2]*uint64{
		"Read": {&d.Reads, &d.ReadBytes}, "Write": {&d.Writes, &d.WriteBytes}, "Discard": {&d.Discards, &d.DiscardBytes},
	}[kind]
	switch {
	case to[0] == nil:
	case bytes:
		*to[1] = n
	default:
		*to[0] = n
	}
}

func (r *reader) hugetlbV1() map[string]HugetlbStats {
	sizes := map[string]HugetlbStats{}
	files, err := r.dir.files()
	if err != nil && r.err == nil {
		r.err = err
	}
	for _, name := range files {
		size, is := strings.CutSuffix(strings.TrimPrefix(name, "hugetlb."), ".usage_in_bytes")
		if is && !strings.Contains(size, ".") {
			prefix := "hugetlb." + size
			sizes[size] = HugetlbStats{Usage: r.number(name), Limit: r.limitV1(prefix + ".limit_in_bytes"), Failed: r.number(prefix + ".failcnt")}
		}
	}
	return sizes
}

// watchV1 has the kernel count in an eventfd how often the memory runs out
// (Documentation/admin-guide/cgroup-v1/memory.rst, section 10).
func (g *Group) watchV1() (*Watch, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	w := &Watch{fd: fd, group: g}
	m, ok := g.controller("memory")
	if !ok {
		return w, nil
	}
	control, err := m.openat("memory.oom_control", unix.O_RDONLY)
	if err == nil {
		err = errors.Join(m.write("cgroup.event_control", fmt.Sprintf("%d %d", fd, control)), unix.Close(control))
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// eventsV1 is [Watch.read] for a group of version 1.
func (w *Watch) eventsV1() (Events, error) {
	now, err := w.group.eventsV1()
	if errors.Is(err, ErrGone) || err == nil && w.group.removed() {
		return Events{}, io.EOF
	}
	if err != nil {
		return Events{}, err
	}
	e := Events{Populated: now["populated"] == 1, Frozen: now["frozen"] == 1}
	if m, ok := w.group.controller("memory"); ok {
		r := &reader{dir: m}
		e.OOMKills = r.flat("memory.oom_control")["oom_kill"]
		e.OOM, e.Max = e.OOMKills, r.number("memory.failcnt")
		if r.err != nil {
			return e, r.err
		}
	}
	return e, nil
}
