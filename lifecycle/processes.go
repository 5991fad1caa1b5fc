package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"airplant/internal/sys"
	"airplant/lifecycle/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Processes lists the pids of a container's processes in our pid namespace; a
// stopped one has none.
func (r *Runtime) Processes(id string) ([]int, error) {
	rec, status, err := r.made(id)
	if err != nil {
		return nil, err
	}
	if status == specs.StateStopped {
		return []int{}, nil
	}
	return processesOf(&rec)
}

// processesOf finds them by the container's cgroup or, without one, by its pid
// namespace. Where it has neither of its own, they are the first process, its
// descendants, and all that bear its mark.
func processesOf(rec *Record) (list []int, err error) {
	if found, err := withGroup(rec, func(_ context.Context, g *cgroup.Group) error {
		list, err = g.Pids()
		return err
	}); found || err != nil {
		return list, err
	}
	return byNamespace(rec)
}

func byNamespace(rec *Record) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	namespace := ""
	if rec.OwnPIDs {
		if namespace, err = os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", rec.PID)); err != nil {
			return nil, err
		}
	}
	list, parents := []int{rec.PID}, map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == rec.PID {
			continue
		}
		if namespace == "" {
			parents[pid] = parentOf(pid)
			continue
		}
		if of, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err == nil && of == namespace {
			list = append(list, pid)
		}
	}
	marked, err := rec.Kin.processes()
	list = slices.Concat(list, descendants(rec.PID, parents), marked)
	slices.Sort(list)
	return slices.Compact(list), err
}

// parentOf is field 4 of /proc/PID/stat, 0 for a process that is gone.
func parentOf(pid int) int {
	text, err := sys.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(f) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(f[1]) // a number in every kernel
	return parent
}

func descendants(of int, parents map[int]int) (list []int) {
	for pid, parent := range parents {
		if parent == of {
			list = append(list, pid)
			list = append(list, descendants(pid, parents)...)
		}
	}
	slices.Sort(list)
	return list
}

// signalAll signals every process of the container.
func signalAll(rec *Record, sig unix.Signal) error {
	if found, err := withGroup(rec, func(ctx context.Context, g *cgroup.Group) error {
		if sig == unix.SIGKILL {
			return g.Kill()
		}
		return g.Signal(ctx, sig)
	}); found || err != nil {
		return err
	}
	if sig == unix.SIGKILL && !rec.OwnPIDs {
		return errors.Join(signalFirst(rec, sig), endRest(rec))
	}
	pids, err := processesOf(rec)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := signalMember(rec, pid, sig); err != nil {
			return err
		}
	}
	return nil
}

// signalMember signals a process that was found to be the container's. In a pid
// namespace of its own that is looked at again once the pidfd is open.
func signalMember(rec *Record, pid int, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil //nolint:nilerr // it has ended
	}
	defer unix.Close(fd)
	if rec.OwnPIDs {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
		first, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", rec.PID))
		if err != nil || err2 != nil || theirs != first {
			return nil //nolint:nilerr // it has ended
		}
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	return nil
}

// Pause stops all processes of a container: its cgroup is frozen. Without one it
// is done by SIGSTOP, which their parents in the container can see.
func (r *Runtime) Pause(id string) error {
	return r.change(id, "running or created", []specs.ContainerState{specs.StateRunning, specs.StateCreated}, func(c *container) error {
		frozen, err := withGroup(&c.Record, func(ctx context.Context, g *cgroup.Group) error { return g.Freeze(ctx) })
		if frozen || err != nil {
			if err == nil {
				c.Paused = true
				err = c.save()
			}
			return err
		}
		// Until it is stopped itself, a process may make others.
		for seen := 0; ; {
			pids, err := processesOf(&c.Record)
			if err != nil || len(pids) == seen {
				c.Paused = true
				return errors.Join(err, c.save())
			}
			seen = len(pids)
			if err := signalAll(&c.Record, unix.SIGSTOP); err != nil {
				return err
			}
		}
	})
}

// Resume lets a paused container go on.
func (r *Runtime) Resume(id string) error {
	return r.change(id, "paused", []specs.ContainerState{StatePaused}, func(c *container) error {
		thawed, err := withGroup(&c.Record, func(ctx context.Context, g *cgroup.Group) error { return g.Thaw(ctx) })
		if err == nil && !thawed {
			err = signalAll(&c.Record, unix.SIGCONT)
		}
		if err != nil {
			return err
		}
		c.Paused = false
		return c.save()
	})
}

// change does something to a container that is in one of the given states.
func (r *Runtime) change(id, what string, from []specs.ContainerState, do func(*container) error) error {
	c, err := r.open(id)
	if err != nil {
		return err
	}
	if s := r.held(&c.Record); !slices.Contains(from, s) {
		return errors.Join(fmt.Errorf("%w: the container is %s, not %s", ErrState, s, what), c.close())
	}
	return errors.Join(do(c), c.close())
}

// StatePaused is a state that the runtime-spec does not have, and runc does.
const StatePaused specs.ContainerState = "paused"
