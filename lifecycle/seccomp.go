package lifecycle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"airplant/internal/birth"
	"airplant/internal/sys"
	"airplant/lifecycle/plan"
	"airplant/lifecycle/seccomp"

	"github.com/go-json-experiment/json"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Files of a container's folder.
const (
	// filterFile is the compiled filter, which exec uses too: config.json may
	// have changed since create.
	filterFile = "seccomp"
	// failureFile takes the failure of a created container's last steps; see
	// [plan.Failure].
	failureFile = "failure"
)

// Listener is the agent that answers for a filter with SCMP_ACT_NOTIFY.
type Listener struct {
	Path     string `json:"path"`
	Metadata string `json:"metadata,omitempty"`
}

// listenerOf finds the agent of a configuration; nil where nothing is asked.
func listenerOf(spec *specs.Spec, bundle string) *Listener {
	c := spec.Linux.Seccomp
	if !plan.MayFilter(c) || c.ListenerPath == "" {
		return nil
	}
	isNotify := func(s specs.LinuxSyscall) bool { return s.Action == specs.ActNotify }
	if c.DefaultAction != specs.ActNotify && !slices.ContainsFunc(c.Syscalls, isNotify) {
		return nil
	}
	path := c.ListenerPath
	if !filepath.IsAbs(path) {
		path = filepath.Join(bundle, path)
	}
	return &Listener{Path: path, Metadata: c.ListenerMetadata}
}

// filterOf begins to compile a configuration's filter, which is needed when the
// plan is completed.
func (r *Runtime) filterOf(c *specs.LinuxSeccomp) func() (*seccomp.Filter, error) {
	if !plan.MayFilter(c) {
		return nil
	}
	var f *seccomp.Filter
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		dir := ""
		if r.Filters != nil {
			dir = r.Filters()
		}
		if dir == "" {
			f, err = seccomp.Compile(c)
			return
		}
		f, err = seccomp.Cached(dir, c)
	}()
	return func() (*seccomp.Filter, error) {
		<-done
		return f, err
	}
}

// keepFilter stores the filter of a container in its folder.
func (c *container) keepFilter(f *seccomp.Filter) error {
	if f == nil {
		return nil
	}
	c.Filtered = true
	return os.WriteFile(filepath.Join(c.path, filterFile), f.Marshal(c.ID), 0o600)
}

// keptFilter reads it for a further process of the container. A container that
// has one gets no process without.
func (r *Runtime) keptFilter(rec *Record) func() (*seccomp.Filter, error) {
	if !rec.Filtered {
		return nil
	}
	return func() (*seccomp.Filter, error) {
		text, err := sys.ReadFile(filepath.Join(r.Root, rec.ID, filterFile))
		if err != nil {
			return nil, err
		}
		f, err := seccomp.Unmarshal(rec.ID, text)
		if err != nil {
			return nil, fmt.Errorf("read the seccomp filter of %s: %w", rec.ID, err)
		}
		return f, nil
	}
}

// shareFailure makes the file of [plan.Failure]: in memory, or, for the start
// of a created container, which is another process, in its folder.
func (b *newborn) shareFailure() (theirs *os.File, err error) {
	if slices.Contains(b.plan.Inputs(), plan.Listener) {
		b.failure, err = os.OpenFile(filepath.Join(b.container.path, failureFile), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	} else {
		var fd int
		fd, err = unix.MemfdCreate("failure", unix.MFD_CLOEXEC)
		b.failure = os.NewFile(uintptr(fd), "memfd:failure")
	}
	if err != nil {
		b.failure = nil
		return nil, err
	}
	if err := b.failure.Truncate(birth.MessageLen); err != nil {
		return nil, err
	}
	return duplicate(b.failure)
}

// silent is what the process could not say, once it has ended or executed its
// program: an error of the plan, or what was heard.
func (b *newborn) silent(heard error) error {
	if b.failure == nil {
		return heard
	}
	if err := b.plan.ReadSilent(b.failure); !errors.Is(err, io.EOF) {
		return err
	}
	return heard
}

// startFailed reads what failed at the start of a created container.
func (c *container) startFailed() error {
	f, err := os.Open(filepath.Join(c.path, failureFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	// The plan is not known here any more, but for where it ends.
	err = (&birth.Program{}).ReadSilent(f)
	var report *birth.Error
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &report) && report.Index < c.ExecveAt:
		return fmt.Errorf("install the seccomp filter of %s: %w", c.ID, report.Errno)
	case errors.As(err, &report):
		return fmt.Errorf("execute the program of %s: %w", c.ID, report.Errno)
	}
	return err
}

// rights reads messages from a socket and keeps the descriptor that comes with
// one.
type rights struct {
	socket *os.File
	passed *os.File
}

func (r *rights) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(int(r.socket.Fd()), p, oob, unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, os.NewSyscallError("recvmsg", err)
		case n == 0:
			return 0, io.EOF
		}
		list, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err == nil && len(list) == 1 {
			if fds, err := unix.ParseUnixRights(&list[0]); err == nil && len(fds) == 1 {
				r.passed = os.NewFile(uintptr(fds[0]), "seccomp listener")
			}
		}
		return n, nil
	}
}

// patience is how long an agent may keep us waiting, in seconds.
const patience = 10

// dial connects to the agent.
func (l *Listener) dial() (*os.File, error) {
	if l == nil {
		return nil, nil
	}
	dir, name := splitPath(l.Path)
	folder, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("linux.seccomp.listenerPath: %w", err)
	}
	defer folder.Close()
	f, err := connectIn(unix.SOCK_STREAM, inFolder(folder, name), patience)
	if err != nil {
		return nil, fmt.Errorf("linux.seccomp.listenerPath %s: %w", l.Path, err)
	}
	return f, nil
}

// handOver takes the listener's descriptor from a process, gives it to the
// agent with what the specification says of it, and lets the process go on. hear
// reads one message. The connection to the agent is closed.
func (l *Listener) handOver(socket, agent *os.File, hear func(io.Reader) (birth.Told, error), state *specs.ContainerProcessState) (err error) {
	defer func() { err = errors.Join(err, agent.Close()) }()
	in := &rights{socket: socket}
	told, err := hear(in)
	switch {
	case err != nil:
		return err
	case told.Point != plan.Listening || in.passed == nil:
		return fmt.Errorf("the container's process sent message %d in place of its seccomp listener", told.Point)
	}
	defer in.passed.Close()
	state.Version, state.Fds, state.Metadata = specs.Version, []string{specs.SeccompFdName}, l.Metadata
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	n, err := unix.SendmsgN(int(agent.Fd()), text, unix.UnixRights(int(in.passed.Fd())), nil, unix.MSG_NOSIGNAL)
	for err == nil && n < len(text) {
		text = text[n:]
		n, err = unix.SendmsgN(int(agent.Fd()), text, nil, nil, unix.MSG_NOSIGNAL)
	}
	if err != nil {
		return fmt.Errorf("linux.seccomp.listenerPath %s: %w", l.Path, os.NewSyscallError("sendmsg", err))
	}
	// Its end tells the agent that this is all.
	if err := unix.Shutdown(int(agent.Fd()), unix.SHUT_WR); err != nil {
		return os.NewSyscallError("shutdown", err)
	}
	_, err = socket.Write([]byte{0})
	return err
}

// processState is what an agent learns of a process.
func processState(rec *Record, status specs.ContainerState, pid int) *specs.ContainerProcessState {
	return &specs.ContainerProcessState{Pid: pid, State: specs.State{
		Version: specs.Version, ID: rec.ID, Status: status, Pid: rec.PID, Bundle: rec.Bundle, Annotations: rec.Annotations,
	}}
}
