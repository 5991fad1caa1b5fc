package main_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// pty is a terminal whose user is the test.
type pty struct {
	master *os.File
	done   chan struct{} // closed when nobody holds the other end any more

	mu     sync.Mutex
	output []byte // all that was printed
	seen   int    // how much of it was waited for
}

// newPTY makes a terminal and gives its other end, which programs use.
func newPTY() (*pty, *os.File, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	var number int
	err = control(master, func(m int) error {
		if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		number, err = unix.IoctlGetInt(m, unix.TIOCGPTN)
		return err
	})
	if err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("unlock a terminal: %w", err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return watch(master), slave, nil
}

// control uses a descriptor without taking it from Go's poller, as Fd would.
func control(f *os.File, use func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Control(func(fd uintptr) { inner = use(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// watch collects what is printed on a terminal.
func watch(master *os.File) *pty {
	p := &pty{master: master, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			p.mu.Lock()
			p.output = append(p.output, buf[:n]...)
			p.mu.Unlock()
			if err != nil {
				return // EIO: the last process has closed the other end
			}
		}
	}()
	return p
}

func (p *pty) close() {
	p.master.Close()
	<-p.done
}

// printed is all that was printed so far.
func (p *pty) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.output)
}

// await waits for output that matches, after what was waited for before.
func (p *pty) await(want *regexp.Regexp) error {
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		ended := false
		select {
		case <-p.done:
			ended = true
		default:
		}
		p.mu.Lock()
		at := want.FindIndex(p.output[p.seen:])
		if at != nil {
			p.seen += at[1]
		}
		p.mu.Unlock()
		switch {
		case at != nil:
			return nil
		case ended:
			return fmt.Errorf("the terminal has ended without %s", want)
		case time.Since(start) > patience:
			return fmt.Errorf("no %s on the terminal", want)
		}
	}
}

// resize changes the window's size; the kernel tells the foreground group.
func (p *pty) resize(rows, columns uint16) error {
	return control(p.master, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	})
}

// settings are those of the terminal, to be compared.
func (p *pty) settings() (unix.Termios, error) {
	var t unix.Termios
	err := control(p.master, func(fd int) error {
		got, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil {
			t = *got
		}
		return err
	})
	return t, err
}

// key is the byte that a key with Control sends: ^C, ^D, ^Z.
func key(name string) ([]byte, error) {
	if len(name) != 2 || name[0] != '^' || !bytes.ContainsAny([]byte(name[1:]), `ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`) {
		return nil, fmt.Errorf("unknown key %q", name)
	}
	return []byte{name[1] & 0x1f}, nil
}
