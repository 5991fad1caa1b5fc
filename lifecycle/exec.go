package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"airplant/internal/birth"
	"airplant/internal/sys"
	"airplant/lifecycle/landlock"
	"airplant/lifecycle/plan"

	"github.com/go-json-experiment/json"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ExecOptions are the choices of `exec`.
type ExecOptions struct {
	PidFile       string
	ConsoleSocket string
	PidfdSocket   string
	PreserveFDs   int
	ListenFDs     int
	Detach        bool
	// Cgroup is a cgroup below the container's that the process goes into.
	Cgroup string
}

// Process is the configured process of a container, to be changed for an exec.
// The container is created, running or, if that may be, paused.
func (r *Runtime) Process(id string, ignorePaused bool) (*specs.Process, error) {
	rec, status, err := r.made(id)
	if err != nil {
		return nil, err
	}
	if status == specs.StateStopped || status == StatePaused && !ignorePaused {
		return nil, fmt.Errorf("%w: cannot exec in a container that is %s", ErrState, status)
	}
	// Not the bundle's: what changes there must not change what an exec may do.
	var kept struct {
		Process *specs.Process `json:"process"`
	}
	text, err := sys.ReadFile(filepath.Join(r.Root, rec.ID, configFile))
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err == nil && kept.Process == nil {
		err = errors.New("no process")
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration of %s: %w", id, err)
	}
	return kept.Process, nil
}

// Exec runs a further process in a container, in all its namespaces. In the
// foreground it waits and returns the exit status, as [Runtime.Run] does.
func (r *Runtime) Exec(id string, process *specs.Process, o *ExecOptions) (status int, err error) {
	spec := &specs.Spec{Process: process}
	if err := checkConsole(spec, o.ConsoleSocket, o.Detach); err != nil {
		return 0, err
	}
	if !o.Detach && o.ConsoleSocket == "" {
		spec = sized(spec)
	}
	rec, err := r.read(id)
	if err != nil {
		return 0, err
	}
	if rec.Paused && len(rec.Cgroup.V1) > 0 {
		return 0, fmt.Errorf("%w: in a paused container of cgroup version 1 a process would never begin: it is frozen on its way", ErrState)
	}
	b, err := r.enter(&rec, spec.Process, o)
	if err != nil {
		return 0, err
	}
	if o.Detach {
		return 0, b.close()
	}
	signals := make(chan os.Signal, len(forwarded))
	signal.Notify(signals, forwarded...)
	status, err = b.foreground(signals)
	return status, errors.Join(err, b.close())
}

// enter makes the process, up to its execve.
func (r *Runtime) enter(rec *Record, process *specs.Process, o *ExecOptions) (_ *newborn, err error) {
	target, err := openFirst(rec)
	if err != nil {
		return nil, err
	}
	defer target.Close()
	inside, err := namespacesOf(rec.PID)
	if err != nil {
		return nil, err
	}
	common, err := host()
	if err != nil {
		return nil, err
	}
	host := *common
	host.Home = homeOf(process.User.UID, "/proc/"+strconv.Itoa(rec.PID)+"/root")
	inside.Landlock = rec.Annotations[landlock.Annotation]
	if err := modules(&specs.Spec{Process: process, Annotations: rec.Annotations}, &host); err != nil {
		return nil, err
	}
	p, err := plan.NewExec(process, &host, &plan.Options{
		PreserveFDs: o.PreserveFDs, ListenFDs: o.ListenFDs, NoNewKeyring: true, Filter: r.keptFilter(rec),
	}, inside)
	if err != nil {
		return nil, err
	}
	b := &newborn{plan: p, inject: birth.NoFail(), target: target, warn: r.Warn}
	b.record, b.listener = rec, rec.Listener
	if b.into, err = subGroup(rec, o.Cgroup); err != nil {
		return nil, err
	}
	defer b.leaveGroup()
	defer func() {
		if err != nil {
			err = errors.Join(err, b.discard(o.PidFile))
		}
	}()
	if b.agent, err = b.listener.dial(); err != nil {
		return nil, err
	}
	restore, err := beginOn(process)
	if err != nil {
		return nil, err
	}
	err = b.fork(&CreateOptions{ConsoleSocket: o.ConsoleSocket})
	if err = errors.Join(err, restore()); err != nil {
		return nil, err
	}
	if err := b.leaveJoined(); err != nil {
		return nil, err
	}
	if o.PidFile != "" {
		if err := writePidFile(o.PidFile, b.child.PID); err != nil {
			return nil, err
		}
	}
	if err := b.sendPidfd(o.PidfdSocket); err != nil {
		return nil, err
	}
	return b, b.await(false)
}

// openFirst opens a pidfd of a container's first process. It is compared with
// the record after it is open, so it is of that process and of no later one of
// the same pid. The caller closes it.
func openFirst(rec *Record) (*os.File, error) {
	if rec.PID == 0 {
		return nil, fmt.Errorf("%w: container not running", ErrState)
	}
	fd, err := unix.PidfdOpen(rec.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("%w: container not running", ErrState)
	}
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	if !alive(rec) {
		return nil, errors.Join(fmt.Errorf("%w: container not running", ErrState), f.Close())
	}
	return f, nil
}

// namespacesOf finds the namespaces of a process that are not ours. To enter
// those that are would be refused, or be for nothing.
func namespacesOf(pid int) (*plan.Enter, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	e := &plan.Enter{}
	for _, n := range []struct {
		name string
		flag uint64
	}{
		{"user", unix.CLONE_NEWUSER},
		{"mnt", unix.CLONE_NEWNS},
		{"pid", unix.CLONE_NEWPID},
		{"net", unix.CLONE_NEWNET},
		{"ipc", unix.CLONE_NEWIPC},
		{"uts", unix.CLONE_NEWUTS},
		{"cgroup", unix.CLONE_NEWCGROUP},
		{"time", unix.CLONE_NEWTIME},
	} {
		ours, err := os.Readlink("/proc/self/ns/" + n.name)
		if errors.Is(err, os.ErrNotExist) {
			continue // a kernel without it
		}
		theirs, err2 := os.Readlink(dir + "/ns/" + n.name)
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("look at the container's namespaces: %w", err)
		}
		if ours != theirs {
			e.Namespaces |= n.flag
		}
	}
	groups, err := sys.ReadFile(dir + "/setgroups")
	e.NoGroups = strings.TrimSpace(string(groups)) == "deny"
	return e, err
}
