package lifecycle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"

	"airplant/lifecycle/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// beginOn lets this thread, and so what it forks, run on the CPUs that
// process.execCPUAffinity.initial names: they are for the time before the
// process is in the container's cgroup. The function it returns undoes it.
func beginOn(process *specs.Process) (restore func() error, err error) {
	cpus, err := plan.InitialCPUs(process)
	if err != nil || cpus == nil {
		return func() error { return nil }, err
	}
	var wanted, before unix.CPUSet
	for n := range min(len(cpus)/8, len(wanted)) {
		for bit := range 64 {
			if binary.LittleEndian.Uint64(cpus[8*n:])&(1<<bit) != 0 {
				wanted.Set(64*n + bit)
			}
		}
	}
	runtime.LockOSThread()
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		runtime.UnlockOSThread()
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	if err := unix.SchedSetaffinity(0, &wanted); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("process.execCPUAffinity.initial %q: %w", process.ExecCPUAffinity.Initial, err)
	}
	return func() error {
		err := unix.SchedSetaffinity(0, &before)
		if err == nil {
			runtime.UnlockOSThread()
		}
		return errors.Join(os.NewSyscallError("sched_setaffinity", err))
	}, nil
}
