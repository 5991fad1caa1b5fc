package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ociUpdate has runc's flags. A number is a text here, to tell 0 and -1 from
// what is not given.
type ociUpdate struct {
	Resources         string `short:"r" help:"File with linux.resources of the specification, - for standard input; other flags are ignored then." placeholder:"FILE"`
	BlkioWeight       string `help:"Weight of block devices, 10 to 1000." placeholder:"N"`
	CPUPeriod         string `name:"cpu-period" help:"Period of the quota, in microseconds." placeholder:"N"`
	CPUQuota          string `name:"cpu-quota" help:"Time in a period, in microseconds; -1 for no limit." placeholder:"N"`
	CPUBurst          string `name:"cpu-burst" help:"Time that may be saved up, in microseconds." placeholder:"N"`
	CPUShare          string `name:"cpu-share" help:"Share of processors against other groups." placeholder:"N"`
	CPURtPeriod       string `name:"cpu-rt-period" help:"Not in version 2 of cgroups." placeholder:"N"`
	CPURtRuntime      string `name:"cpu-rt-runtime" help:"Not in version 2 of cgroups." placeholder:"N"`
	CPUIdle           string `name:"cpu-idle" help:"1 for a group that runs when nothing else does, 0 for others." placeholder:"N"`
	CpusetCpus        string `name:"cpuset-cpus" help:"Processors to use." placeholder:"LIST"`
	CpusetMems        string `name:"cpuset-mems" help:"Memory nodes to use." placeholder:"LIST"`
	Memory            string `help:"Limit of memory; -1 for none." placeholder:"SIZE"`
	MemoryReservation string `help:"Memory that is protected." placeholder:"SIZE"`
	MemorySwap        string `help:"Limit of memory and swap together; -1 for none." placeholder:"SIZE"`
	KernelMemory      string `hidden:"" help:"Ignored: part of --memory."`
	KernelMemoryTCP   string `name:"kernel-memory-tcp" hidden:"" help:"Ignored: part of --memory."`
	PidsLimit         string `help:"Limit of processes and threads; -1 for none." placeholder:"N"`
	L3CacheSchema     string `name:"l3-cache-schema" help:"Not supported: Intel RDT." placeholder:"TEXT"`
	MemBwSchema       string `name:"mem-bw-schema" help:"Not supported: Intel RDT." placeholder:"TEXT"`
	ID                string `arg:"" help:"Name of the container."`
}

func (c *ociUpdate) Run(e *env, g *ociGlobals) error {
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	limits, err := c.limits(e)
	if err != nil {
		return err
	}
	return r.Update(c.ID, limits)
}

// limits are those of the file, or of the flags.
func (c *ociUpdate) limits(e *env) (*specs.LinuxResources, error) {
	for name, value := range map[string]string{"l3-cache-schema": c.L3CacheSchema, "mem-bw-schema": c.MemBwSchema} {
		if value != "" {
			return nil, fmt.Errorf("--%s is not supported", name)
		}
	}
	if c.Resources == "" {
		return c.fromFlags()
	}
	in := e.stdin
	if c.Resources != "-" {
		f, err := os.Open(c.Resources)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(in, most))
	if err != nil {
		return nil, fmt.Errorf("read resources: %w", err)
	}
	limits := &specs.LinuxResources{}
	if err := json.Unmarshal(text, limits); err != nil {
		return nil, fmt.Errorf("read resources: %w", err)
	}
	return limits, nil
}

// fromFlags makes resources of what is given.
func (c *ociUpdate) fromFlags() (*specs.LinuxResources, error) {
	p := &parser{}
	cpu := &specs.LinuxCPU{
		Shares: p.unsigned("cpu-share", c.CPUShare), Period: p.unsigned("cpu-period", c.CPUPeriod),
		Quota: p.signed("cpu-quota", c.CPUQuota), Burst: p.unsigned("cpu-burst", c.CPUBurst),
		RealtimePeriod: p.unsigned("cpu-rt-period", c.CPURtPeriod), RealtimeRuntime: p.signed("cpu-rt-runtime", c.CPURtRuntime),
		Idle: p.signed("cpu-idle", c.CPUIdle), Cpus: c.CpusetCpus, Mems: c.CpusetMems,
	}
	memory := &specs.LinuxMemory{
		Limit: p.size("memory", c.Memory), Reservation: p.size("memory-reservation", c.MemoryReservation),
		Swap: p.size("memory-swap", c.MemorySwap),
	}
	limits := &specs.LinuxResources{CPU: cpu, Memory: memory}
	if n := p.signed("pids-limit", c.PidsLimit); n != nil {
		limits.Pids = &specs.LinuxPids{Limit: n}
	}
	if n := p.unsigned("blkio-weight", c.BlkioWeight); n != nil {
		if *n > math.MaxUint16 {
			return nil, fmt.Errorf("--blkio-weight %d is out of range", *n)
		}
		weight := uint16(*n)
		limits.BlockIO = &specs.LinuxBlockIO{Weight: &weight}
	}
	return limits, p.err
}

// parser reads numbers and keeps the errors.
type parser struct{ err error }

func (p *parser) fail(flag, text string) {
	p.err = errors.Join(p.err, fmt.Errorf("--%s %q is not a number in range", flag, text))
}

func (p *parser) unsigned(flag, text string) *uint64 {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		p.fail(flag, text)
	}
	return &n
}

func (p *parser) signed(flag, text string) *int64 {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		p.fail(flag, text)
	}
	return &n
}

func (p *parser) size(flag, text string) *int64 {
	if text == "" {
		return nil
	}
	n, ok := parseSize(text)
	if !ok {
		p.fail(flag, text)
	}
	return &n
}

// parseSize reads bytes as docker and runc do: a number, perhaps with a
// fraction, and a unit in powers of 1024: 512k, 1.5GiB, 64M. -1 is no limit.
func parseSize(text string) (int64, bool) {
	if text == "-1" {
		return -1, true
	}
	lower := strings.ToLower(strings.TrimSpace(text))
	digits := strings.TrimRight(lower, "kmgtpib ")
	unit := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSpace(lower[len(digits):]), "b"), "i")
	power := strings.Index("kmgtp", unit) + 1
	if unit == "" {
		power = 0
	}
	n, err := strconv.ParseFloat(digits, 64)
	// strconv also reads exponents, hexadecimal numbers and "nan".
	if err != nil || strings.Trim(digits, "0123456789.") != "" || len(unit) > 1 || unit != "" && power == 0 {
		return 0, false
	}
	if whole, err := strconv.ParseInt(digits, 10, 64); err == nil && power == 0 {
		return whole, true
	}
	n *= math.Pow(1024, float64(power))
	if n >= 1<<63 {
		return 0, false
	}
	return int64(n), true
}
