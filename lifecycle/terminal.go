package lifecycle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ErrNoTerminal is returned when a terminal is asked for and there is none.
var ErrNoTerminal = errors.New("standard input is not a terminal")

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// relay copies between our terminal and that of a container.
type relay struct {
	master *os.File
	fd     int           // the master's: File.Fd would make it block
	saved  *unix.Termios // of our terminal, to restore
	done   chan struct{} // the output has ended
}

// relayTerminal takes a container's terminal from the socket and connects it
// to ours, which becomes raw: keys like Ctrl-C go to the container. Ours is on
// our descriptors 0 and 1, which a container without a terminal would inherit;
// they are no argument, because the fork cannot take others.
func relayTerminal(socket *os.File) (*relay, error) {
	fd, err := receiveFile(socket)
	if err != nil {
		return nil, fmt.Errorf("take the container's terminal: %w", err)
	}
	// Reads can be ended then, by a deadline. Nobody else has it open.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	master := os.NewFile(uintptr(fd), "terminal")
	t := &relay{master: master, fd: fd, done: make(chan struct{})}
	if t.saved, err = unix.IoctlGetTermios(0, unix.TCGETS); err != nil {
		return nil, errors.Join(ErrNoTerminal, master.Close())
	}
	raw := *t.saved
	// As cfmakeraw(3).
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(0, unix.TCSETS, &raw); err != nil {
		return nil, errors.Join(os.NewSyscallError("ioctl", err), master.Close())
	}
	t.resize()
	go func() { _, _ = io.Copy(master, os.Stdin) }() //nolint:forbidigo // see above
	go t.print(os.Stdout)                            //nolint:forbidigo // see above
	return t, nil
}

// pending is more than a terminal holds of unread output (the kernel's
// TTYB_DEFAULT_MEM_LIMIT and what is read ahead).
const pending = 128 << 10

// print copies the output until the last process has closed the other end,
// which is EIO, or until end, and then what is there already: a read moves it
// to where it can be read first (n_tty_read), so nothing is missed.
func (t *relay) print(to *os.File) {
	defer close(t.done)
	if _, err := io.Copy(to, t.master); !errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	buf := make([]byte, 4096)
	for left := pending; left > 0; {
		n, err := unix.Read(t.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
		left -= n
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// resize gives the container's terminal the size of ours.
func (t *relay) resize() {
	if size := ourSize(); size != nil {
		_ = unix.IoctlSetWinsize(t.fd, unix.TIOCSWINSZ, size)
	}
}

// ourSize is the size of our terminal, nil where it does not know it either,
// as on a serial line.
func ourSize() *unix.Winsize {
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil || size.Row == 0 || size.Col == 0 {
		return nil
	}
	return size
}

// sized is the configuration with the size of our terminal for that of the
// container: a program that asks at once would be there before the relay.
func sized(spec *specs.Spec) *specs.Spec {
	size := ourSize()
	if spec.Process == nil || !spec.Process.Terminal || size == nil {
		return spec
	}
	s, p := *spec, *spec.Process
	p.ConsoleSize = &specs.Box{Height: uint(size.Row), Width: uint(size.Col)}
	s.Process = &p
	return &s
}

// end prints the rest of the output and restores our terminal. It does not wait
// for processes that outlive the first and hold the terminal open, as they can
// outside a pid namespace of the container's own.
func (t *relay) end() error {
	err := t.master.SetReadDeadline(time.Unix(0, 1))
	if err == nil {
		<-t.done
	}
	return errors.Join(err, os.NewSyscallError("ioctl", unix.IoctlSetTermios(0, unix.TCSETS, t.saved)), t.master.Close())
}

// receiveFile reads one descriptor from a unix socket (SCM_RIGHTS, unix(7)).
func receiveFile(socket *os.File) (int, error) {
	text, control := make([]byte, 64), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(socket.Fd()), text, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return -1, errors.New("no descriptor came")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, errors.New("no descriptor came")
	}
	return fds[0], nil
}
