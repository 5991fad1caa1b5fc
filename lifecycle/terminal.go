package lifecycle

import (
	"errors"
	"fmt"
	"io"
	"os"

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
	saved  *unix.Termios // of our terminal, to restore
	done   chan struct{} // the output has ended
}

// relayTerminal takes a container's terminal from the socket and connects it
// to ours, which becomes raw: keys like Ctrl-C go to the container. Ours is on
// our descriptors 0 and 1, which a container without a terminal would inherit;
// they are no argument, because the fork cannot take others.
func relayTerminal(socket *os.File) (*relay, error) {
	master, err := receiveFile(socket)
	if err != nil {
		return nil, fmt.Errorf("take the container's terminal: %w", err)
	}
	t := &relay{master: master, done: make(chan struct{})}
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
	go func() {
		// It ends with EIO when the last process has closed the other end.
		_, _ = io.Copy(os.Stdout, master) //nolint:forbidigo // see above
		close(t.done)
	}()
	return t, nil
}

// resize gives the container's terminal the size of ours.
func (t *relay) resize() {
	if size := ourSize(); size != nil {
		_ = unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, size)
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

// end waits for the rest of the output and restores our terminal.
func (t *relay) end() error {
	<-t.done
	return errors.Join(os.NewSyscallError("ioctl", unix.IoctlSetTermios(0, unix.TCSETS, t.saved)), t.master.Close())
}

// receiveFile reads one descriptor from a unix socket (SCM_RIGHTS, unix(7)).
func receiveFile(socket *os.File) (*os.File, error) {
	text, control := make([]byte, 64), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(socket.Fd()), text, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("no descriptor came")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.New("no descriptor came")
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}
