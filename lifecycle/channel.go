package lifecycle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"airplant/internal/birth"
	"airplant/lifecycle/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// socketPair makes the channel between us and a new process. Messages keep
// their bounds, and the end of one side is seen by the other.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs"), nil
}

// hear reads the child's next word, or io.EOF when it has executed its program
// or died, and io.ErrUnexpectedEOF when it surely died. That the program cannot
// be executed is a [CommandError]. Notices are handed on as warnings.
func (b *newborn) hear() (birth.Told, error) { return b.hearOn(b.reports) }

func (b *newborn) hearOn(reports io.Reader) (birth.Told, error) {
	for {
		told, err := b.hearOne(reports)
		if told.Notice == "" || err != nil {
			return told, err
		}
		b.warning(told.Notice)
	}
}

func (b *newborn) warning(text string) {
	if b.warn != nil {
		b.warn(errors.New(text))
	}
}

func (b *newborn) hearOne(reports io.Reader) (birth.Told, error) {
	told, err := b.plan.ReadReport(reports)
	if errors.Is(err, unix.ECONNRESET) {
		// The child has died with something from us unread, of which the kernel
		// tells before it gives what the child wrote.
		if told, err = b.plan.ReadReport(reports); errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = b.silent(err)
	}
	var report *birth.Error
	if errors.As(err, &report) {
		if b.plan.IsCommand(report.Index) {
			return told, &CommandError{Command: b.plan.Command(), Err: report.Errno}
		}
		if why := plan.Why(report); why != "" {
			return told, fmt.Errorf("%w: %s", err, why)
		}
	}
	return told, err
}

// because replaces an error that follows from the end of the child by what the
// child reported of it.
func (b *newborn) because(err error) error {
	var p [1]unix.PollFd
	p[0] = unix.PollFd{Fd: int32(b.reports.Fd()), Events: unix.POLLIN}
	for {
		if n, _ := unix.Poll(p[:], 0); n != 1 {
			return err
		}
		switch told, report := b.hearOne(b.reports); {
		case report == nil && told.Notice != "":
			b.warning(told.Notice)
		case report == nil, errors.Is(report, io.EOF), errors.Is(report, io.ErrUnexpectedEOF):
			return err
		default:
			return report
		}
	}
}

var errKilled = errors.New("the container's process was killed while it was set up")

// await reads the child's word: that it is ready, or, by the end of file, that
// it has executed its program.
func (b *newborn) await(wait bool) error {
	if b.agent != nil {
		err := b.handOver()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errKilled
		}
		if err != nil {
			return err
		}
	}
	told, err := b.hear()
	switch {
	case wait && err == nil && told.Point == plan.Ready, !wait && errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errKilled
	case err == nil:
		return fmt.Errorf("the container's process sent an unknown message %d", told.Point)
	}
	return err
}

// handOver gives the agent the filter's listener.
func (b *newborn) handOver() error {
	rec, status := b.record, specs.StateRunning
	if b.container != nil {
		rec, status = &b.container.Record, specs.StateCreating
	}
	agent := b.agent
	b.agent = nil
	return b.listener.handOver(b.reports, agent, b.hearOn, processState(rec, status, b.child.PID))
}

// inFolder is a socket's address that is short whatever the folder's path is:
// sun_path holds 108 bytes only (unix(7)).
func inFolder(dir *os.File, name string) *unix.SockaddrUnix {
	return &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + name}
}

// listen makes the socket in the container's folder on which a created
// container waits.
func (c *container) listen() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), startSocket)
	if err := unix.Bind(fd, inFolder(c.dir, startSocket)); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), f.Close())
	}
	if err := unix.Listen(fd, 1); err != nil {
		return nil, errors.Join(os.NewSyscallError("listen", err), f.Close())
	}
	return f, nil
}

// dial connects to a created container.
func (c *container) dial() (*os.File, error) {
	return connect(unix.SOCK_SEQPACKET, inFolder(c.dir, startSocket))
}

// dialSocket connects to an engine's socket, which is for the named purpose.
func dialSocket(purpose, path string) (*os.File, error) {
	dir, name := splitPath(path)
	folder, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("%s socket: %w", purpose, err)
	}
	defer folder.Close()
	f, err := connect(unix.SOCK_STREAM, inFolder(folder, name))
	if err != nil {
		return nil, fmt.Errorf("%s socket %s: %w", purpose, path, err)
	}
	return f, nil
}

// sendPidfd sends a pidfd of the process to an engine's socket, if there is one.
func (b *newborn) sendPidfd(socket string) error {
	if socket == "" {
		return nil
	}
	conn, err := dialSocket("pidfd", socket)
	if err != nil {
		return err
	}
	return errors.Join(sendFile(conn, b.child.PidFD, "pidfd"), conn.Close())
}

// sendFile sends a descriptor, with its name, over a unix socket (SCM_RIGHTS,
// unix(7)).
func sendFile(socket, file *os.File, name string) error {
	rights := unix.UnixRights(int(file.Fd()))
	return os.NewSyscallError("sendmsg", unix.Sendmsg(int(socket.Fd()), []byte(name), rights, nil, 0))
}

func connect(kind int, to unix.Sockaddr) (*os.File, error) { return connectIn(kind, to, 0) }

// connectIn waits some seconds at most, and so do writes to the socket; for ever
// if they are 0 (socket(7), SO_SNDTIMEO).
func connectIn(kind int, to unix.Sockaddr, seconds int64) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	if seconds > 0 {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: seconds}); err != nil {
			return nil, errors.Join(os.NewSyscallError("setsockopt", err), f.Close())
		}
	}
	for {
		if err = unix.Connect(fd, to); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("connect", err), f.Close())
	}
	return f, nil
}

// above gives a copy of f with a number of at least lowest, and closes f.
func above(f *os.File, lowest int) (*os.File, error) {
	if int(f.Fd()) >= lowest {
		return f, nil
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, lowest)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("fcntl", err), f.Close())
	}
	return os.NewFile(uintptr(fd), f.Name()), f.Close()
}

// duplicate gives a second descriptor of f.
func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
