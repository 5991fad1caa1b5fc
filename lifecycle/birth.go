package lifecycle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"airplant/internal/birth"
	"airplant/internal/sys"
	"airplant/lifecycle/cgroup"
	"airplant/lifecycle/plan"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// CommandError is returned when a container's program cannot be executed;
// errors.Is tells why, with fs.ErrNotExist for a program that is not there.
type CommandError struct {
	Command string
	Err     error
}

func (e *CommandError) Error() string { return fmt.Sprintf("execute %q: %v", e.Command, e.Err) }

func (e *CommandError) Unwrap() error { return e.Err }

// newborn is a container's first process from fork to execve.
type newborn struct {
	container *container
	plan      *plan.Plan
	inject    birth.Options
	child     *birth.Child
	reports   *os.File // our end of the channel
	console   *os.File // our end, where the terminal is ours to relay
	target    *os.File // pidfd of a container to enter; not ours to close
	stdin     *os.File // of a hook; not ours to close
	failure   *os.File // takes what fails under a seccomp filter
	agent     *os.File // answers for the filter, as listener says
	listener  *Listener
	record    *Record // of the container that is entered, and whose cgroup into is
	warn      func(error)
	group     *group        // the container's cgroup, to be made
	into      *cgroup.Group // a cgroup that is there, to be entered; not ours to close
	copied    chan error    // the end of tmpcopyup, where there is one
	given     given
}

// close closes the descriptors; the process lives on.
func (b *newborn) close() error {
	err := errors.Join(b.child.PidFD.Close(), b.child.Free(), b.closeMore())
	if b.group != nil && b.group.made != nil {
		err = errors.Join(err, b.group.made.Close())
	}
	return err
}

// closeMore closes the descriptors that not every process has.
func (b *newborn) closeMore() error {
	var errs []error
	for _, f := range []*os.File{b.reports, b.console, b.failure, b.agent} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// bear makes a container up to the point where its process waits for start,
// or executes its program. When it fails, nothing of the container is left.
// meanwhile is done while the process sets itself up.
func (r *Runtime) bear(id string, spec *specs.Spec, o *CreateOptions, wait bool, meanwhile func()) (_ *newborn, err error) {
	g, err := r.planGroup(id, spec)
	if err != nil {
		return nil, err
	}
	p, err := r.plan(spec, o, wait, g)
	if err != nil {
		return nil, err
	}
	if p.MapBy == userns.MapHelpers {
		if _, err := userns.FindHelpers(); err != nil {
			return nil, err
		}
	}
	c, err := r.add(id)
	if err != nil {
		return nil, err
	}
	b := &newborn{container: c, plan: p, inject: birth.NoFail(), warn: r.Warn, group: g}
	if o.Inject != nil {
		b.inject = *o.Inject
	}
	defer func() {
		if err != nil {
			err = b.explained(errors.Join(err, b.takeBack(), b.undo(o.PidFile)))
			r.poststop(&c.Record)
		}
	}()
	b.listener = listenerOf(spec, o.Bundle)
	if !wait {
		if b.agent, err = b.listener.dial(); err != nil {
			return nil, err
		}
	}
	c.Record = Record{
		ID: id, Bundle: o.Bundle, Rootfs: rootfs(spec, o.Bundle), Created: time.Now().UTC(),
		Annotations: spec.Annotations, Owner: os.Geteuid(), OwnPIDs: ownPIDs(spec), Hooks: spec.Hooks, making: true,
		Listener: b.listener,
	}
	if err := b.groupFirst(); err != nil {
		return nil, err
	}
	if err := b.fork(o); err != nil {
		return nil, err
	}
	if err := b.leaveJoined(); err != nil {
		return nil, err
	}
	c.ExecveAt = p.ExecveAt()
	if err := c.keepFilter(p.Filter()); err != nil {
		return nil, err
	}
	if err := c.started(b.child.PID, spec); err != nil {
		return nil, b.because(err)
	}
	if o.PidFile != "" {
		if err := writePidFile(o.PidFile, b.child.PID); err != nil {
			return nil, err
		}
	}
	if err := b.sendPidfd(o.PidfdSocket); err != nil {
		return nil, err
	}
	if err := b.give(spec.Linux); err != nil {
		return nil, b.because(err)
	}
	if err := b.hooksOnCreate(spec.Hooks); err != nil {
		return nil, err
	}
	if err := b.goOn(); err != nil {
		return nil, err
	}
	if meanwhile != nil {
		meanwhile()
	}
	if err := c.keepConfig(spec); err != nil {
		return nil, err
	}
	if err := b.await(wait); err != nil {
		return nil, err
	}
	// A process whose copy has failed ends as if it had executed its program.
	if err := b.explained(nil); err != nil {
		return nil, err
	}
	return b, errors.Join(b.given.devices.Close(), c.complete())
}

func rootfs(spec *specs.Spec, bundle string) string {
	if filepath.IsAbs(spec.Root.Path) {
		return spec.Root.Path
	}
	return filepath.Join(bundle, spec.Root.Path)
}

func ownPIDs(spec *specs.Spec) bool { return owns(spec, specs.PIDNamespace) }

// owns reports whether a container has a namespace that is made for it.
func owns(spec *specs.Spec, kind specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == kind && n.Path == ""
	})
}

// files are the descriptors that the program takes.
type files map[birth.Input]*os.File

func (f files) close() error {
	var errs []error
	for _, file := range f {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}

// fork makes the process and lets it execute the main section, which is made
// while the kernel makes the namespaces and the maps are written.
func (b *newborn) fork(o *CreateOptions) (err error) {
	f, in, err := b.open(o)
	defer func() { err = errors.Join(err, f.close()) }()
	if err != nil {
		return err
	}
	compiled := make(chan error, 1)
	compile := func() {
		sys.GrowStack()
		err := b.plan.Complete()
		if err == nil {
			err = b.plan.Compile(f[plan.Executable], b.plan.MainInputs(), b.inject)
		}
		compiled <- err
	}
	late := b.group != nil && b.group.plan.ByPID() // only then is the cgroup's path known
	if !late {
		go compile()
	}
	err = b.clone(in)
	if err == nil && !b.plan.Joins {
		err = b.writeMaps()
	}
	if late {
		if err == nil {
			err = b.groupAround()
		}
		compile()
	}
	if err := errors.Join(err, <-compiled); err != nil {
		return err
	}
	for _, note := range b.plan.Notes() {
		b.warning(note)
	}
	return b.goOn()
}

// explained is the error of the copying in place of one that follows from it.
// The process has ended, or has closed its end, and so the copying ends.
func (b *newborn) explained(err error) error {
	if b.copied != nil {
		if why, first := <-b.copied; first && why != nil {
			return why
		}
	}
	return err
}

// open opens what the program needs, with numbers above those of the main
// section.
func (b *newborn) open(o *CreateOptions) (f files, in birth.Inputs, err error) {
	f, in = files{}, birth.Inputs{}
	wanted := append(b.plan.Inputs(), plan.Executable)
	for _, name := range wanted {
		file, err := b.openOne(name, o)
		if err != nil {
			return f, nil, err
		}
		if file, err = above(file, b.plan.FreeFD()); err != nil {
			return f, nil, err
		}
		f[name], in[name] = file, int(file.Fd())
	}
	return f, in, nil
}

func (b *newborn) openOne(name birth.Input, o *CreateOptions) (theirs *os.File, err error) {
	switch {
	case name == birth.Report:
		b.reports, theirs, err = socketPair()
	case name == plan.Listener:
		theirs, err = b.container.listen()
	case name == plan.Console && o.ConsoleSocket != "":
		theirs, err = dialSocket("console", o.ConsoleSocket)
	case name == plan.Console:
		b.console, theirs, err = socketPair()
	case name == plan.Target:
		theirs, err = duplicate(b.target)
	case name == plan.Stdin:
		theirs, err = duplicate(b.stdin)
	case name == plan.Failure:
		theirs, err = b.shareFailure()
	case name == plan.Executable:
		theirs, err = birth.Memfd()
	case name == plan.CopyUp:
		var ours *os.File
		if ours, theirs, err = socketPair(); err == nil {
			b.copied = make(chan error, 1)
			go func() { b.copied <- b.copies(ours); close(b.copied) }()
		}
	default:
		theirs, err = b.openMapped(name)
	}
	return theirs, err
}

// openMapped makes a mount that only the parent can make.
func (b *newborn) openMapped(name birth.Input) (*os.File, error) {
	for _, m := range b.plan.MappedMounts() {
		if m.Input == name {
			return mappedMount(&m)
		}
	}
	return nil, fmt.Errorf("no descriptor for input %q", name)
}

// writeMaps writes the id maps, if that is the parent's part.
func (b *newborn) writeMaps() error {
	err := b.plan.Map.Write(b.plan.MapBy, b.child.PID)
	if err != nil {
		return b.because(fmt.Errorf("write the id maps: %w", err))
	}
	return nil
}

// goOn lets the process go on from where it waits for us.
func (b *newborn) goOn() error {
	if _, err := b.reports.Write([]byte{0}); err != nil {
		return b.because(fmt.Errorf("let the container's process go on: %w", err))
	}
	return nil
}

// leaveJoined follows the program from the process that has joined namespaces
// to the one that it has forked into them.
func (b *newborn) leaveJoined() error {
	if !b.plan.Joins {
		return nil
	}
	told, err := b.hear()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the container's process was killed while it joined namespaces")
	case err != nil:
		return err
	case told.Point != plan.Forked:
		return fmt.Errorf("the container's process sent an unknown message %d", told.Point)
	}
	// It is our child too, and not yet waited for, so its pid is its own.
	fd, err := unix.PidfdOpen(int(told.Value), 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	_, err = b.child.Wait()
	err = errors.Join(err, b.child.PidFD.Close())
	b.child.PID, b.child.PidFD = int(told.Value), os.NewFile(uintptr(fd), "pidfd")
	if err = errors.Join(err, b.writeMaps()); err != nil {
		return err
	}
	return b.goOn()
}

// undo ends the process, if there is one, and removes the container's folder.
func (b *newborn) undo(pidFile string) error {
	return errors.Join(b.discard(pidFile), b.group.undo(), b.container.remove())
}

// discard ends the process, if there is one, and closes what belongs to it.
func (b *newborn) discard(pidFile string) error {
	var errs []error
	if b.child != nil {
		if err := unix.PidfdSendSignal(int(b.child.PidFD.Fd()), unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
			errs = append(errs, os.NewSyscallError("pidfd_send_signal", err))
		}
		_, err := b.child.Wait()
		errs = append(errs, err, b.child.PidFD.Close(), b.child.Free())
	}
	errs = append(errs, b.closeMore())
	if pidFile != "" {
		if err := os.Remove(pidFile); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// explainFork adds what the kernel means by an errno of clone(2).
func explainFork(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("make namespaces: %w: user namespaces are not allowed here; see `airplant doctor`", err)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("make namespaces: %w: a limit in /proc/sys/user, or of the nesting of namespaces, is reached", err)
	case err != nil:
		return fmt.Errorf("make namespaces: %w", err)
	}
	return nil
}
