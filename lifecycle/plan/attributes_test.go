package plan_test

import (
	"strings"
	"testing"

	"airplant/lifecycle/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestAttributes(t *testing.T) {
	spec := with(oneID(), func(s *specs.Spec) {
		s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
		s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}
		s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 3}
		s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 5}
	})
	p, err := plan.New(spec, user(), &plan.Options{Bundle: "/bundle"})
	if err == nil {
		err = p.Complete()
	}
	if err != nil {
		t.Fatal(err)
	}
	text := p.Explain()
	for _, want := range []string{
		"personality(8)  # set linux.personality",
		"set_mempolicy(32770, 0, 65)  # set linux.memoryPolicy",
		"ioprio_set(1, 0, 16387)  # set process.ioPriority",
		"sched_setattr(0, {SCHED_BATCH, nice 5, priority 0}, 0)  # set process.scheduler",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the plan", want)
		}
	}
}

func TestBadAttributes(t *testing.T) {
	for want, change := range map[string]func(*specs.Spec){
		"linux.personality": func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: "MINIX"} },
		"linux.memoryPolicy": func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "2-1"}
		},
		"process.ioPriority": func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: "IOPRIO_CLASS_BE", Priority: 9}
		},
		"process.scheduler":       func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: "SCHED_NONE"} },
		"process.execCPUAffinity": func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "x"} },
	} {
		if err := refuse(with(oneID(), change), user()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
