package plan

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"airplant/internal/birth"
	"airplant/internal/lookup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Values of the fields that the kernel takes as numbers.
var (
	personalities = lookup.Table[specs.LinuxPersonalityDomain, int]{
		{specs.PerLinux, 0}, {specs.PerLinux32, 8}, // <sys/personality.h>
	}
	ioClasses = lookup.Table[specs.IOPriorityClass, int]{
		{specs.IOPRIO_CLASS_RT, 1}, {specs.IOPRIO_CLASS_BE, 2}, {specs.IOPRIO_CLASS_IDLE, 3}, // ioprio_set(2)
	}
	schedulers = lookup.Table[specs.LinuxSchedulerPolicy, uint32]{
		{specs.SchedOther, unix.SCHED_NORMAL},
		{specs.SchedFIFO, unix.SCHED_FIFO},
		{specs.SchedRR, unix.SCHED_RR},
		{specs.SchedBatch, unix.SCHED_BATCH},
		{specs.SchedISO, 4},
		{specs.SchedIdle, unix.SCHED_IDLE},
		{specs.SchedDeadline, unix.SCHED_DEADLINE},
	}
	schedulerFlags = lookup.Table[specs.LinuxSchedulerFlag, uint64]{
		{specs.SchedFlagResetOnFork, unix.SCHED_FLAG_RESET_ON_FORK},
		{specs.SchedFlagReclaim, unix.SCHED_FLAG_RECLAIM},
		{specs.SchedFlagDLOverrun, unix.SCHED_FLAG_DL_OVERRUN},
		{specs.SchedFlagKeepPolicy, unix.SCHED_FLAG_KEEP_POLICY},
		{specs.SchedFlagKeepParams, unix.SCHED_FLAG_KEEP_PARAMS},
		{specs.SchedFlagUtilClampMin, unix.SCHED_FLAG_UTIL_CLAMP_MIN},
		{specs.SchedFlagUtilClampMax, unix.SCHED_FLAG_UTIL_CLAMP_MAX},
	}
	memoryPolicies = lookup.Table[specs.MemoryPolicyModeType, int]{
		{specs.MpolDefault, unix.MPOL_DEFAULT},
		{specs.MpolBind, unix.MPOL_BIND},
		{specs.MpolInterleave, unix.MPOL_INTERLEAVE},
		{specs.MpolWeightedInterleave, unix.MPOL_WEIGHTED_INTERLEAVE},
		{specs.MpolPreferred, unix.MPOL_PREFERRED},
		{specs.MpolPreferredMany, unix.MPOL_PREFERRED_MANY},
		{specs.MpolLocal, unix.MPOL_LOCAL},
	}
	memoryPolicyFlags = lookup.Table[specs.MemoryPolicyFlagType, int]{
		{specs.MpolFNumaBalancing, unix.MPOL_F_NUMA_BALANCING},
		{specs.MpolFRelativeNodes, unix.MPOL_F_RELATIVE_NODES},
		{specs.MpolFStaticNodes, unix.MPOL_F_STATIC_NODES},
	}
)

// attributes sets what the process inherits as a task: personality, priorities
// and where it may run. The kernel asks for privilege where one would take from
// others.
func (b *builder) attributes() error {
	p, l := b.spec.Process, b.spec.Linux
	if l.Personality != nil {
		b.do("set linux.personality", birth.Personality, birth.Int(personalities.Get(l.Personality.Domain)))
	}
	if l.MemoryPolicy != nil {
		b.memoryPolicy(l.MemoryPolicy)
	}
	if io := p.IOPriority; io != nil {
		const process = 1 // IOPRIO_WHO_PROCESS
		b.do("set process.ioPriority", birth.IoprioSet, birth.Int(process), birth.Int(0), birth.Int(ioClasses.Get(io.Class)<<13|io.Priority))
	}
	if p.Scheduler != nil {
		b.do("set process.scheduler", birth.SchedSetattr, birth.Int(0), birth.Ptr(schedulerAttr(p.Scheduler)), birth.Int(0))
	}
	// The other half, process.execCPUAffinity.initial, is the parent's: it is for
	// the time before the process is in its cgroup.
	if a := p.ExecCPUAffinity; a != nil && b.entered != nil && a.Final != "" {
		set, err := bitmap(a.Final)
		if err != nil {
			return fmt.Errorf("process.execCPUAffinity: %w", err)
		}
		b.do("set process.execCPUAffinity to "+a.Final, birth.SchedSetaffinity, birth.Int(0), birth.Int(len(set)), birth.Ptr(birth.Bytes(a.Final, set)))
	}
	return nil
}

// InitialCPUs are the CPUs on which a further process begins, or nil.
func InitialCPUs(p *specs.Process) ([]byte, error) {
	if p.ExecCPUAffinity == nil || p.ExecCPUAffinity.Initial == "" {
		return nil, nil
	}
	return bitmap(p.ExecCPUAffinity.Initial)
}

// schedulerAttr is struct sched_attr of sched_setattr(2), version 1.
func schedulerAttr(s *specs.Scheduler) *birth.Data {
	var flags uint64
	for _, f := range s.Flags {
		flags |= schedulerFlags.Get(f)
	}
	const size = 56
	d := binary.LittleEndian.AppendUint32(nil, size)
	d = binary.LittleEndian.AppendUint32(d, schedulers.Get(s.Policy))
	d = binary.LittleEndian.AppendUint64(d, flags)
	d = binary.LittleEndian.AppendUint32(d, uint32(s.Nice))
	d = binary.LittleEndian.AppendUint32(d, uint32(s.Priority))
	for _, ns := range []uint64{s.Runtime, s.Deadline, s.Period} {
		d = binary.LittleEndian.AppendUint64(d, ns)
	}
	d = append(d, make([]byte, size-len(d))...)
	return birth.Bytes(fmt.Sprintf("{%s, nice %d, priority %d}", s.Policy, s.Nice, s.Priority), d)
}

func (b *builder) memoryPolicy(m *specs.LinuxMemoryPolicy) {
	mode := memoryPolicies.Get(m.Mode)
	for _, f := range m.Flags {
		mode |= memoryPolicyFlags.Get(f)
	}
	nodes, _ := bitmap(m.Nodes) // checked before
	if m.Nodes == "" {
		b.do("set linux.memoryPolicy", birth.SetMempolicy, birth.Int(mode), birth.Null(), birth.Int(0))
		return
	}
	// The kernel reads one bit less than it is told (set_mempolicy(2), bugs).
	b.do("set linux.memoryPolicy", birth.SetMempolicy, birth.Int(mode), birth.Ptr(birth.Bytes(m.Nodes, nodes)), birth.Int(8*len(nodes)+1))
}

// bitmap reads a list like 0-3,7 (cpuset(7), list format) into whole 64-bit
// words.
func bitmap(list string) ([]byte, error) {
	const most = 8192
	words := make([]uint64, 1)
	for item := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(item) == "" {
			continue
		}
		from, to, isRange := strings.Cut(strings.TrimSpace(item), "-")
		if !isRange {
			to = from
		}
		lo, err := strconv.ParseUint(from, 10, 16)
		hi, err2 := strconv.ParseUint(to, 10, 16)
		if err != nil || err2 != nil || lo > hi || hi >= most {
			return nil, fmt.Errorf("%q is not a list like 0-3,7", list)
		}
		for n := lo; n <= hi; n++ {
			for uint64(len(words)) <= n/64 {
				words = append(words, 0)
			}
			words[n/64] |= 1 << (n % 64)
		}
	}
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b, nil
}

// checkAttributes refuses values that are not in the tables.
func checkAttributes(spec *specs.Spec, _ *Host) error {
	p, l := spec.Process, spec.Linux
	if x := l.Personality; x != nil {
		if !personalities.Has(x.Domain) || len(x.Flags) > 0 {
			return fmt.Errorf("linux.personality: unknown domain %q, or flags", x.Domain)
		}
	}
	if x := p.IOPriority; x != nil {
		if !ioClasses.Has(x.Class) || x.Priority < 0 || x.Priority > 7 {
			return fmt.Errorf("process.ioPriority: class %q with priority %d", x.Class, x.Priority)
		}
	}
	if x := p.Scheduler; x != nil {
		if !schedulers.Has(x.Policy) {
			return fmt.Errorf("process.scheduler: unknown policy %q", x.Policy)
		}
		for _, f := range x.Flags {
			if !schedulerFlags.Has(f) {
				return fmt.Errorf("process.scheduler: unknown flag %q", f)
			}
		}
	}
	if x := p.ExecCPUAffinity; x != nil {
		for _, list := range []string{x.Initial, x.Final} {
			if _, err := bitmap(list); err != nil {
				return fmt.Errorf("process.execCPUAffinity: %w", err)
			}
		}
	}
	return checkMemoryPolicy(l.MemoryPolicy)
}

func checkMemoryPolicy(m *specs.LinuxMemoryPolicy) error {
	if m == nil {
		return nil
	}
	if !memoryPolicies.Has(m.Mode) {
		return fmt.Errorf("linux.memoryPolicy: unknown mode %q", m.Mode)
	}
	for _, f := range m.Flags {
		if !memoryPolicyFlags.Has(f) {
			return fmt.Errorf("linux.memoryPolicy: unknown flag %q", f)
		}
	}
	if _, err := bitmap(m.Nodes); err != nil {
		return fmt.Errorf("linux.memoryPolicy: %w", err)
	}
	return nil
}
