package cgroup

import (
	"math"
	"time"
)

// The shapes that engines parse, as runc's events command has them. Version 1
// has left its names in them; what version 2 does not count is 0 or absent.
type (
	// Event is a line of the command.
	Event struct {
		Type string `json:"type"` // stats or oom
		ID   string `json:"id"`
		Data any    `json:"data,omitempty"`
	}
	// Report is the data of stats.
	Report struct {
		CPU       reportCPU                `json:"cpu"`
		CPUSet    struct{}                 `json:"cpuset"`
		Memory    reportMemory             `json:"memory"`
		Pids      reportPids               `json:"pids"`
		Blkio     reportIO                 `json:"blkio"`
		Hugetlb   map[string]reportHugetlb `json:"hugetlb"`
		Rdma      struct{}                 `json:"rdma"`
		IntelRdt  struct{}                 `json:"intel_rdt"`
		Interface []struct{}               `json:"network_interfaces"`
	}
	reportCPU struct {
		Usage struct {
			Total  uint64 `json:"total,omitempty"`
			Kernel uint64 `json:"kernel"`
			User   uint64 `json:"user"`
		} `json:"usage"`
		Throttling struct {
			Periods   uint64 `json:"periods,omitempty"`
			Throttled uint64 `json:"throttledPeriods,omitempty"`
			Time      uint64 `json:"throttledTime,omitempty"`
		} `json:"throttling"`
		PSI *reportPSI `json:"psi,omitempty"`
	}
	reportMemory struct {
		Cache     uint64            `json:"cache,omitempty"`
		Usage     reportUsage       `json:"usage"`
		Swap      reportUsage       `json:"swap"`
		Kernel    reportUsage       `json:"kernel"`
		KernelTCP reportUsage       `json:"kernelTCP"`
		Raw       map[string]uint64 `json:"raw,omitempty"`
		PSI       *reportPSI        `json:"psi,omitempty"`
	}
	reportUsage struct {
		Limit   uint64 `json:"limit"`
		Usage   uint64 `json:"usage,omitempty"`
		Max     uint64 `json:"max,omitempty"`
		Failcnt uint64 `json:"failcnt"`
	}
	reportPids struct {
		Current uint64 `json:"current,omitempty"`
		Limit   uint64 `json:"limit,omitempty"`
	}
	reportIO struct {
		Bytes    []reportEntry `json:"ioServiceBytesRecursive,omitempty"`
		Serviced []reportEntry `json:"ioServicedRecursive,omitempty"`
		PSI      *reportPSI    `json:"psi,omitempty"`
	}
	reportEntry struct {
		Major uint64 `json:"major,omitempty"`
		Minor uint64 `json:"minor,omitempty"`
		Op    string `json:"op,omitempty"`
		Value uint64 `json:"value,omitempty"`
	}
	reportHugetlb struct {
		Usage   uint64 `json:"usage,omitempty"`
		Failcnt uint64 `json:"failcnt"`
	}
	reportPSI struct {
		Some reportPressure `json:"some"`
		Full reportPressure `json:"full"`
	}
	reportPressure struct {
		Avg10  float64 `json:"avg10"`
		Avg60  float64 `json:"avg60"`
		Avg300 float64 `json:"avg300"`
		Total  uint64  `json:"total"` // microseconds
	}
)

// Report puts statistics into the form of engines.
func (s *Stats) Report() *Report {
	r := &Report{}
	c := &r.CPU
	c.Usage.Total, c.Usage.Kernel, c.Usage.User = nanoseconds(s.CPU.Usage), nanoseconds(s.CPU.System), nanoseconds(s.CPU.User)
	c.Throttling.Periods, c.Throttling.Throttled, c.Throttling.Time = s.CPU.Periods, s.CPU.Throttled, nanoseconds(s.CPU.ThrottledTime)
	c.PSI = s.CPU.PSI.report()
	if s.Memory != nil {
		r.Memory = s.Memory.report()
	}
	if s.Pids != nil {
		r.Pids = reportPids{Current: s.Pids.Current, Limit: s.Pids.Limit}
		if s.Pids.Limit == Unlimited {
			r.Pids.Limit = 0
		}
	}
	if s.IO != nil {
		r.Blkio = s.IO.report()
	}
	for size, h := range s.Hugetlb {
		if r.Hugetlb == nil {
			r.Hugetlb = map[string]reportHugetlb{}
		}
		r.Hugetlb[size] = reportHugetlb{Usage: h.Usage, Failcnt: h.Failed}
	}
	return r
}

func (m *MemoryStats) report() reportMemory {
	r := reportMemory{
		Cache: m.Stat["file"], Raw: m.Stat, PSI: m.PSI.report(),
		Usage: reportUsage{Limit: m.Limit, Usage: m.Usage, Max: m.Peak, Failcnt: m.Events["max"]},
		// Version 1's limit is of both together.
		Swap:      reportUsage{Limit: sum(m.SwapLimit, m.Limit), Usage: m.Swap + m.Usage},
		Kernel:    reportUsage{Limit: Unlimited, Usage: m.Stat["kernel"]},
		KernelTCP: reportUsage{Limit: Unlimited, Usage: m.Stat["sock"]},
	}
	return r
}

// sum adds limits.
func sum(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return Unlimited
	}
	return a + b
}

func (s *IOStats) report() reportIO {
	r := reportIO{PSI: s.PSI.report()}
	for _, d := range s.Devices {
		r.Bytes = append(r.Bytes, reportEntry{d.Major, d.Minor, "Read", d.ReadBytes}, reportEntry{d.Major, d.Minor, "Write", d.WriteBytes})
		r.Serviced = append(r.Serviced, reportEntry{d.Major, d.Minor, "Read", d.Reads}, reportEntry{d.Major, d.Minor, "Write", d.Writes})
	}
	return r
}

func (p *PSI) report() *reportPSI {
	if p == nil {
		return nil
	}
	return &reportPSI{Some: p.Some.report(), Full: p.Full.report()}
}

func (p Pressure) report() reportPressure {
	return reportPressure{p.Avg10, p.Avg60, p.Avg300, uint64(p.Total.Microseconds())}
}

func nanoseconds(d time.Duration) uint64 { return uint64(max(d, 0).Nanoseconds()) }
