package cgroup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Why a client of our own: the usual package adds 0.6 MB and 10 µs of package
// init to every command, and authenticates by uid, which fails for root in a
// user namespace. What is needed here is one connection, calls one after the
// other, and one signal.

// Bus is the socket of a manager: of a message bus, or systemd's private one
// where no bus is installed.
type Bus string

// private are systemd's own sockets, which speak without a bus between.
func (b Bus) private() bool { return filepath.Base(string(b)) == "private" }

// findBus looks for the socket of the user's manager, or for root of the
// system's. It does not connect: a choice is made at every start of a
// container.
func findBus(c Caller) Bus {
	list := []string{"/run/dbus/system_bus_socket", "/run/systemd/private"}
	if !c.Privileged {
		if !filepath.IsAbs(c.RuntimeDir) {
			return ""
		}
		// systemd/private is there whenever the user's manager runs, a
		// bus socket alone may be of another's.
		list = []string{filepath.Join(c.RuntimeDir, "bus"), filepath.Join(c.RuntimeDir, "systemd/private")}
	}
	if unix.Access(list[1], unix.F_OK) != nil && unix.Access("/run/systemd/system", unix.F_OK) != nil {
		return "" // another init
	}
	for _, name := range list {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			return Bus(name)
		}
	}
	return ""
}

// conn is a connection. It is used by one goroutine.
type conn struct {
	fd     int
	direct bool
	serial uint32
	buf    []byte
	// signals are those that came while an answer was waited for.
	signals []*message
}

// dial connects, authenticates and, on a bus, says hello.
//
//	\0 AUTH EXTERNAL ──────────> the kernel tells the peer who we are
//	   <── DATA                  (which uid? an empty answer: that one)
//	   DATA ───────────────────>
//	   <── OK
//	   BEGIN ──────────────────>
func dial(ctx context.Context, bus Bus) (c *conn, err error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	c = &conn{fd: fd, direct: bus.private()}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("systemd at %s: %w", bus, err), unix.Close(fd))
		}
	}()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: string(bus)}); err != nil {
		return nil, err
	}
	if err := c.send(ctx, []byte("\x00AUTH EXTERNAL\r\nDATA\r\n")); err != nil {
		return nil, err
	}
	for _, want := range []string{"DATA", "OK "} {
		line, err := c.line(ctx)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(line, want) {
			return nil, fmt.Errorf("authentication refused: %q", line)
		}
	}
	if err := c.send(ctx, []byte("BEGIN\r\n")); err != nil || c.direct {
		return c, err
	}
	_, err = c.call(ctx, dbusName, "/org/freedesktop/DBus", dbusName, "Hello", "", nil)
	return c, err
}

const dbusName = "org.freedesktop.DBus"

func (c *conn) close() error { return unix.Close(c.fd) }

func (c *conn) send(ctx context.Context, data []byte) error {
	for len(data) > 0 {
		n, err := retry(func() (int, error) { return unix.SendmsgN(c.fd, data, nil, nil, unix.MSG_NOSIGNAL) })
		if errors.Is(err, unix.EAGAIN) {
			n, err = 0, pollUntil(ctx, c.fd, unix.POLLOUT)
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// fillTo reads until there are n bytes.
func (c *conn) fillTo(ctx context.Context, n int) error {
	chunk := make([]byte, 4096)
	for len(c.buf) < n {
		got, err := retry(func() (int, error) { return unix.Read(c.fd, chunk) })
		switch {
		case errors.Is(err, unix.EAGAIN):
			if err := pollUntil(ctx, c.fd, unix.POLLIN); err != nil {
				return err
			}
		case err != nil:
			return err
		case got == 0:
			return errors.New("connection closed")
		default:
			c.buf = append(c.buf, chunk[:got]...)
		}
	}
	return nil
}

// line reads a line of the authentication.
func (c *conn) line(ctx context.Context) (string, error) {
	for {
		if i := bytes.Index(c.buf, []byte("\r\n")); i >= 0 {
			line := string(c.buf[:i])
			c.buf = c.buf[i+2:]
			return line, nil
		}
		if len(c.buf) > 4096 {
			return "", errWire
		}
		if err := c.fillTo(ctx, len(c.buf)+1); err != nil {
			return "", err
		}
	}
}

func (c *conn) receive(ctx context.Context) (*message, error) {
	if err := c.fillTo(ctx, 16); err != nil {
		return nil, err
	}
	_, total, _, err := headerSize(c.buf)
	if err != nil {
		return nil, err
	}
	if err := c.fillTo(ctx, total); err != nil {
		return nil, err
	}
	m, err := decode(bytes.Clone(c.buf[:total]))
	c.buf = c.buf[total:]
	return m, err
}

// replyError is an error that the other side returned.
type replyError struct{ name, text string }

func (e *replyError) Error() string {
	if e.text != "" {
		return e.text
	}
	return e.name
}

// call calls a method and waits for its answer.
func (c *conn) call(ctx context.Context, to, object, iface, member, signature string, body []byte) (*message, error) {
	c.serial++
	serial := c.serial
	if c.direct {
		to = ""
	}
	if err := c.send(ctx, encodeCall(serial, to, object, iface, member, signature, body)); err != nil {
		return nil, err
	}
	for {
		m, err := c.receive(ctx)
		switch {
		case err != nil:
			return nil, err
		case m.kind == signalKind && len(c.signals) < 1000:
			c.signals = append(c.signals, m)
		case m.kind == methodReturn && m.serial == serial:
			return m, nil
		case m.kind == errorReply && m.serial == serial:
			e := &replyError{name: m.fields[fieldError]}
			if strings.HasPrefix(m.fields[fieldSignature], "s") {
				e.text = m.decoder().string()
			}
			return nil, e
		}
	}
}

// signal returns the next signal.
func (c *conn) signal(ctx context.Context) (*message, error) {
	if len(c.signals) > 0 {
		m := c.signals[0]
		c.signals = c.signals[1:]
		return m, nil
	}
	for {
		m, err := c.receive(ctx)
		if err != nil || m.kind == signalKind {
			return m, err
		}
	}
}

// patience is how long systemd may take. A manager that has to fork or reload
// takes seconds on a busy host.
const patience = 30 * time.Second

// deadline says in words that systemd took too long.
func deadline(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("systemd does not answer: %w", err)
	}
	return err
}
