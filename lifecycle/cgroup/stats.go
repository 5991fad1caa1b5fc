package cgroup

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Unlimited is a limit that is not set.
const Unlimited = math.MaxUint64

// Stats is what a group has used. A part whose controller the group has not
// got is nil.
type Stats struct {
	CPU    CPUStats
	Memory *MemoryStats
	Pids   *PidsStats
	IO     *IOStats
	// Hugetlb is by page size, as "2MB".
	Hugetlb map[string]HugetlbStats
}

// CPUStats are of cpu.stat: times are counted without a controller, too.
type CPUStats struct {
	Usage, User, System time.Duration
	// Periods of a quota, those that it ended early, and for how long.
	Periods, Throttled uint64
	ThrottledTime      time.Duration
	Bursts             uint64
	BurstTime          time.Duration
	PSI                *PSI
}

// MemoryStats are in bytes.
type MemoryStats struct {
	Usage, Limit, Low uint64
	Peak              uint64 // 0 before Linux 5.19
	Swap, SwapLimit   uint64
	Events            map[string]uint64 // memory.events: low, high, max, oom, oom_kill
	Stat              map[string]uint64 // memory.stat
	PSI               *PSI
}

// PidsStats counts tasks.
type PidsStats struct{ Current, Limit uint64 }

// IOStats are by device.
type IOStats struct {
	Devices []IODevice
	PSI     *PSI
}

// IODevice is what a device has done, in bytes and operations.
type IODevice struct {
	Major, Minor                                                 uint64
	ReadBytes, WriteBytes, Reads, Writes, DiscardBytes, Discards uint64
}

// HugetlbStats are in bytes, and how often the limit was met.
type HugetlbStats struct{ Usage, Limit, Failed uint64 }

// PSI is the pressure on a resource, Documentation/accounting/psi.rst: the
// share of time that some, or all, tasks waited for it.
type PSI struct{ Some, Full Pressure }

// Pressure is in percent over 10, 60 and 300 seconds, and in total.
type Pressure struct {
	Avg10, Avg60, Avg300 float64
	Total                time.Duration
}

// Stats reads what the group has used.
func (g *Group) Stats() (*Stats, error) {
	if len(g.parts) > 0 {
		return g.statsV1()
	}
	r := &reader{dir: g.dir}
	s := &Stats{CPU: r.cpu(), Memory: r.memory(), Pids: r.pids(), IO: r.io(), Hugetlb: r.hugetlb()}
	if r.err != nil {
		return nil, r.err
	}
	return s, nil
}

// reader reads files that may be absent and keeps the first error that is of
// another kind.
type reader struct {
	dir dir
	err error
}

func (r *reader) text(file string) (string, bool) {
	text, err := r.dir.read(file)
	// A controller may be off, pressure may be disabled (psi=0).
	absent := errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP)
	if err != nil && !absent && r.err == nil {
		r.err = err
	}
	return text, err == nil
}

func (r *reader) number(file string) uint64 {
	text, ok := r.text(file)
	if !ok {
		return 0
	}
	n, err := parseMax(strings.TrimSpace(text))
	if err != nil && r.err == nil {
		r.err = err
	}
	return n
}

func (r *reader) flat(file string) map[string]uint64 {
	text, _ := r.text(file)
	return flatKeyed(text)
}

func (r *reader) cpu() CPUStats {
	usec := func(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }
	s := r.flat("cpu.stat")
	return CPUStats{
		Usage: usec(s["usage_usec"]), User: usec(s["user_usec"]), System: usec(s["system_usec"]),
		Periods: s["nr_periods"], Throttled: s["nr_throttled"], ThrottledTime: usec(s["throttled_usec"]),
		Bursts: s["nr_bursts"], BurstTime: usec(s["burst_usec"]),
		PSI: r.psi("cpu.pressure"),
	}
}

func (r *reader) memory() *MemoryStats {
	if !r.dir.has("memory.current") {
		return nil
	}
	return &MemoryStats{
		Usage: r.number("memory.current"), Limit: r.number("memory.max"), Low: r.number("memory.low"),
		Peak: r.number("memory.peak"),
		Swap: r.number("memory.swap.current"), SwapLimit: r.number("memory.swap.max"),
		Events: r.flat("memory.events"), Stat: r.flat("memory.stat"),
		PSI: r.psi("memory.pressure"),
	}
}

func (r *reader) pids() *PidsStats {
	if !r.dir.has("pids.current") {
		return nil
	}
	return &PidsStats{Current: r.number("pids.current"), Limit: r.number("pids.max")}
}

func (r *reader) io() *IOStats {
	text, ok := r.text("io.stat")
	if !ok {
		return nil
	}
	return &IOStats{Devices: ioDevices(text), PSI: r.psi("io.pressure")}
}

// ioDevices parses lines "8:0 rbytes=1 wbytes=2 …".
func ioDevices(text string) []IODevice {
	var list []IODevice
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		major, minor, _ := strings.Cut(f[0], ":")
		var d IODevice
		var err1, err2 error
		d.Major, err1 = strconv.ParseUint(major, 10, 32)
		d.Minor, err2 = strconv.ParseUint(minor, 10, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		fields := map[string]*uint64{
			"rbytes": &d.ReadBytes, "wbytes": &d.WriteBytes, "rios": &d.Reads,
			"wios": &d.Writes, "dbytes": &d.DiscardBytes, "dios": &d.Discards,
		}
		for _, pair := range f[1:] {
			key, value, _ := strings.Cut(pair, "=")
			if n, err := strconv.ParseUint(value, 10, 64); err == nil && fields[key] != nil {
				*fields[key] = n
			}
		}
		list = append(list, d)
	}
	return list
}

func (r *reader) hugetlb() map[string]HugetlbStats {
	var sizes map[string]HugetlbStats
	entries, err := r.dir.files()
	if err != nil && r.err == nil {
		r.err = err
	}
	for _, name := range entries {
		size, is := strings.CutPrefix(name, "hugetlb.")
		size, usage := strings.CutSuffix(size, ".current")
		if !is || !usage || strings.Contains(size, ".") {
			continue
		}
		if sizes == nil {
			sizes = map[string]HugetlbStats{}
		}
		sizes[size] = HugetlbStats{
			Usage: r.number(name), Limit: r.number("hugetlb." + size + ".max"),
			Failed: r.flat("hugetlb." + size + ".events")["max"],
		}
	}
	return sizes
}

func (r *reader) psi(file string) *PSI {
	text, ok := r.text(file)
	if !ok {
		return nil
	}
	p, err := parsePSI(text)
	if err != nil && r.err == nil {
		r.err = err
	}
	return p
}

// parsePSI parses lines "some avg10=0.00 avg60=0.00 avg300=0.00 total=0".
func parsePSI(text string) (*PSI, error) {
	p := &PSI{}
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		to := &p.Some
		if kind == "full" {
			to = &p.Full
		}
		for _, pair := range strings.Fields(rest) {
			key, value, _ := strings.Cut(pair, "=")
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return nil, err
			}
			switch key {
			case "avg10":
				to.Avg10 = n
			case "avg60":
				to.Avg60 = n
			case "avg300":
				to.Avg300 = n
			case "total":
				to.Total = time.Duration(n) * time.Microsecond
			}
		}
	}
	return p, nil
}

// parseMax reads a number, or "max" as Unlimited.
func parseMax(text string) (uint64, error) {
	if text == "max" {
		return Unlimited, nil
	}
	return strconv.ParseUint(text, 10, 64)
}
