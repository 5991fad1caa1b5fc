package lifecycle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"airplant/internal/birth"
	"airplant/lifecycle/plan"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// CreateOptions are the choices of `create` and `run`.
type CreateOptions struct {
	Bundle        string // absolute path of the bundle
	PidFile       string // takes the pid of the first process
	ConsoleSocket string // takes the terminal's master
	PreserveFDs   int
	ListenFDs     int
	NoPivot       bool
	NoNewKeyring  bool
	DieWithParent bool

	// Inject makes an instruction fail; see [birth.Options]. Tests only.
	Inject *birth.Options
}

// LoadSpec reads the configuration of a bundle.
func LoadSpec(bundle string) (*specs.Spec, error) {
	name := filepath.Join(bundle, "config.json")
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	spec := &specs.Spec{}
	if err := json.Unmarshal(text, spec); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return spec, nil
}

// Plan is what creating the container would do.
func (r *Runtime) Plan(spec *specs.Spec, o *CreateOptions, wait bool) (*plan.Plan, error) {
	host := *r.Host
	if spec.Process != nil && spec.Root != nil && !slices.ContainsFunc(spec.Process.Env, isHome) {
		host.Home = homeOf(spec, o.Bundle)
	}
	return plan.New(spec, &host, &plan.Options{
		Bundle: o.Bundle, Wait: wait, PreserveFDs: o.PreserveFDs, ListenFDs: o.ListenFDs,
		NoPivot: o.NoPivot, NoNewKeyring: o.NoNewKeyring, DieWithParent: o.DieWithParent,
	})
}

func isHome(e string) bool { return len(e) >= 5 && e[:5] == "HOME=" }

// Create makes a container that waits for [Runtime.Start].
func (r *Runtime) Create(id string, spec *specs.Spec, o *CreateOptions) error {
	if err := checkConsole(spec, o.ConsoleSocket, true); err != nil {
		return err
	}
	b, err := r.bear(id, spec, o, true)
	if err != nil {
		return err
	}
	return errors.Join(b.container.close(), b.close())
}

// checkConsole refuses a console socket without a terminal, and a terminal
// that nobody would hold.
func checkConsole(spec *specs.Spec, socket string, detached bool) error {
	terminal := spec.Process != nil && spec.Process.Terminal
	switch {
	case terminal && socket == "" && detached:
		return errors.New("process.terminal is set: a detached container needs --console-socket")
	case terminal && socket == "" && !IsTerminal(os.Stdin):
		return fmt.Errorf("process.terminal is set: %w", ErrNoTerminal)
	case !terminal && socket != "":
		return errors.New("--console-socket is given, but process.terminal is not set")
	}
	return nil
}

// newborn is a container's first process from fork to execve.
type newborn struct {
	container *container
	plan      *plan.Plan
	child     *birth.Child
	reports   *os.File // our end of the channel
	console   *os.File // our end, where the terminal is ours to relay
}

// close closes the descriptors; the process lives on.
func (b *newborn) close() error {
	err := errors.Join(b.reports.Close(), b.child.PidFD.Close())
	if b.console != nil {
		err = errors.Join(err, b.console.Close())
	}
	return err
}

// bear makes a container up to the point where its process waits for start,
// or executes its program. When it fails, nothing of the container is left.
func (r *Runtime) bear(id string, spec *specs.Spec, o *CreateOptions, wait bool) (_ *newborn, err error) {
	p, err := r.Plan(spec, o, wait)
	if err != nil {
		return nil, err
	}
	helpers := userns.Helpers{}
	if p.MapBy == plan.MapHelpers {
		if helpers, err = userns.FindHelpers(); err != nil {
			return nil, err
		}
	}
	rec := Record{
		ID: id, Bundle: o.Bundle, Rootfs: rootfs(spec, o.Bundle), Created: time.Now().UTC(),
		Annotations: spec.Annotations, Owner: r.Host.UID, OwnPIDs: ownPIDs(spec),
	}
	c, err := r.add(rec)
	if err != nil {
		return nil, err
	}
	b := &newborn{container: c, plan: p}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.undo(o.PidFile))
		}
	}()
	if err := b.fork(o); err != nil {
		return nil, err
	}
	if err := b.writeMaps(helpers); err != nil {
		return nil, err
	}
	if err := c.started(b.child.PID); err != nil {
		return nil, b.because(err)
	}
	if o.PidFile != "" {
		if err := writePidFile(o.PidFile, b.child.PID); err != nil {
			return nil, err
		}
	}
	return b, b.await(wait)
}

func rootfs(spec *specs.Spec, bundle string) string {
	if filepath.IsAbs(spec.Root.Path) {
		return spec.Root.Path
	}
	return filepath.Join(bundle, spec.Root.Path)
}

func ownPIDs(spec *specs.Spec) bool {
	return slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.PIDNamespace && n.Path == ""
	})
}

// fork opens what the program needs, compiles it and makes the process.
func (b *newborn) fork(o *CreateOptions) (err error) {
	files := map[birth.Input]*os.File{}
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
	}()
	if b.reports, files[birth.Report], err = socketPair(); err != nil {
		delete(files, birth.Report)
		return err
	}
	if err := b.openSockets(files, o); err != nil {
		return err
	}
	opts := birth.NoFail()
	if o.Inject != nil {
		opts = *o.Inject
	}
	exe, err := birth.Executable(&b.plan.Program, b.plan.MainInputs(), opts)
	if err != nil {
		return err
	}
	files[plan.Executable] = exe
	in := birth.Inputs{}
	for name, f := range files {
		if files[name], err = above(f, b.plan.FreeFD()); err != nil {
			delete(files, name)
			return err
		}
		in[name] = int(files[name].Fd())
	}
	b.child, err = birth.Fork(&b.plan.Program, in, b.plan.CloneFlags, opts)
	return explainFork(err)
}

func (b *newborn) openSockets(files map[birth.Input]*os.File, o *CreateOptions) error {
	for name := range b.plan.MainInputs() {
		var f *os.File
		var err error
		switch {
		case name == plan.Listener:
			f, err = b.container.listen()
		case name == plan.Console && o.ConsoleSocket != "":
			f, err = dialConsole(o.ConsoleSocket)
		case name == plan.Console:
			b.console, f, err = socketPair()
		default:
			continue
		}
		if err != nil {
			return err
		}
		files[name] = f
	}
	return nil
}

// writeMaps writes the id maps, if that is the parent's part, and lets the
// process go on.
func (b *newborn) writeMaps(helpers userns.Helpers) error {
	var err error
	switch b.plan.MapBy {
	case plan.MapHelpers:
		err = helpers.Write(b.child.PID, b.plan.Map)
	case plan.MapDirect:
		err = userns.WriteDirect(b.child.PID, b.plan.Map)
	default:
		return nil
	}
	if err != nil {
		return b.because(fmt.Errorf("write the id maps: %w", err))
	}
	if _, err := b.reports.Write([]byte{0}); err != nil {
		return b.because(fmt.Errorf("tell the container's process to go on: %w", err))
	}
	return nil
}

// because replaces an error that follows from the end of the child by what the
// child reported of it.
func (b *newborn) because(err error) error {
	var p [1]unix.PollFd
	p[0] = unix.PollFd{Fd: int32(b.reports.Fd()), Events: unix.POLLIN}
	if n, _ := unix.Poll(p[:], 0); n == 1 {
		if _, report := b.plan.ReadReport(b.reports); report != nil && !errors.Is(report, io.EOF) {
			return report
		}
	}
	return err
}

// await reads the child's word: that it is ready, or, by the end of file, that
// it has executed its program.
func (b *newborn) await(wait bool) error {
	point, err := b.plan.ReadReport(b.reports)
	switch {
	case wait && err == nil && point == plan.Ready, !wait && errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, io.EOF):
		return errors.New("the container's process was killed while it was set up")
	case err == nil:
		return fmt.Errorf("the container's process sent an unknown message %d", point)
	}
	return err
}

// undo ends the process, if there is one, and removes the container's folder.
func (b *newborn) undo(pidFile string) error {
	var errs []error
	if b.child != nil {
		if err := unix.PidfdSendSignal(int(b.child.PidFD.Fd()), unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
			errs = append(errs, os.NewSyscallError("pidfd_send_signal", err))
		}
		_, err := waitFor(b.child.PID)
		errs = append(errs, err, b.child.PidFD.Close())
	}
	if b.reports != nil {
		errs = append(errs, b.reports.Close())
	}
	if b.console != nil {
		errs = append(errs, b.console.Close())
	}
	if pidFile != "" {
		if err := os.Remove(pidFile); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, b.container.remove())...)
}

// waitFor reaps a child and gives its exit status as shells do.
func waitFor(pid int) (int, error) {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("wait4", err)
		}
		if ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return ws.ExitStatus(), nil
	}
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
