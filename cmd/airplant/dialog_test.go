package main_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// terminal runs a command as the leader of a session on a new terminal of 24
// by 80 characters, and has a dialog with it. The command has to end by
// itself, with status 0 or that of the dialog's last line, and leave the
// terminal as it was.
func (s *story) terminal(ts *testscript.TestScript, args []string) {
	p, slave, err := newPTY()
	ts.Check(err)
	defer p.close()
	ts.Check(p.resize(24, 80))
	before, err := p.settings()
	ts.Check(err)
	cmd := &exec.Cmd{
		Path: s.look(ts, args[1]), Args: args[1:], Env: s.environ(ts), Dir: ts.MkAbs("."),
		Stdin: slave, Stdout: slave, Stderr: slave,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: true},
	}
	ts.Check(errors.Join(cmd.Start(), slave.Close()))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	d := &talk{ts: ts, pty: p}
	err = d.hold(ts.ReadFile(args[0]))
	if err == nil {
		select {
		case <-ended:
		case <-time.After(patience):
			err = errors.New("the command does not end")
		}
	}
	if err != nil {
		_ = cmd.Process.Kill()
		<-ended
		d.fail(err)
	}
	<-p.done
	after, err := p.settings()
	ts.Check(err)
	d.tell()
	if got := cmd.ProcessState.ExitCode(); got != d.status {
		ts.Fatalf("exit status %d, want %d", got, d.status)
	}
	if before != after {
		ts.Fatalf("the terminal's settings were %+v and are %+v", before, after)
	}
}

// console listens on a socket and takes the terminal that comes.
func (s *story) console(ts *testscript.TestScript, args []string) {
	// From a short name: a socket's path holds 108 bytes (unix(7)).
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: ts.Getenv("XDG_RUNTIME_DIR") + "/s", Net: "unix"})
	ts.Check(err)
	l.SetUnlinkOnClose(false)
	ts.Check(os.Rename(ts.Getenv("XDG_RUNTIME_DIR")+"/s", ts.MkAbs(args[0])))
	if s.master != nil {
		s.master.close()
		s.master = nil
	}
	s.masters = make(chan received, 1)
	go func() {
		defer l.Close()
		f, err := receive(l)
		s.masters <- received{f, err}
	}()
}

// pidfd takes a pidfd that came through the console's socket.
func (s *story) pidfd(ts *testscript.TestScript, args []string) {
	r := <-s.masters
	ts.Check(r.err)
	defer r.master.Close()
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", r.master.Fd()))
	ts.Check(err)
	if want := "\nPid:\t" + ts.ReadFile(args[0]) + "\n"; !strings.Contains(string(info), want) {
		ts.Fatalf("no pidfd of %s: %s", ts.ReadFile(args[0]), info)
	}
}

// received is what came through a console socket.
type received struct {
	master *os.File
	err    error
}

func receive(l *net.UnixListener) (*os.File, error) {
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	text, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, m, _, _, err := conn.ReadMsgUnix(text, rights)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("%d messages came: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("%d descriptors came: %w", len(fds), err)
	}
	// For Go's poller, which lets close end a read.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, err
	}
	// The peer closes its end, and sends nothing more.
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("after the terminal: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), string(text[:n])), nil
}

// dialog talks to the terminal that came through the console socket.
func (s *story) dialog(ts *testscript.TestScript, args []string) {
	if s.master == nil {
		got := <-s.masters
		ts.Check(got.err)
		s.master = watch(got.master)
	}
	d := &talk{ts: ts, pty: s.master}
	if err := d.hold(ts.ReadFile(args[0])); err != nil {
		d.fail(err)
	}
	d.tell()
}

// talk is a dialog with a terminal. Its lines are
//
//	see REGEXP      wait until this is printed, after what was seen before
//	type TEXT       type a line
//	key ^C          press a key with Control
//	resize 40 120   change the window to 40 lines of 120 characters
//	status 3        the command shall end with this status
type talk struct {
	ts     *testscript.TestScript
	pty    *pty
	status int
}

func (d *talk) hold(lines string) error {
	for line := range strings.Lines(lines) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if err := d.say(line); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return nil
}

func (d *talk) say(line string) error {
	verb, text, _ := strings.Cut(line, " ")
	switch verb {
	case "see":
		want, err := regexp.Compile(text)
		if err != nil {
			return err
		}
		return d.pty.await(want)
	case "type":
		_, err := d.pty.master.WriteString(text + "\r")
		return err
	case "key":
		k, err := key(text)
		if err == nil {
			_, err = d.pty.master.Write(k)
		}
		return err
	case "resize":
		var rows, columns uint16
		if _, err := fmt.Sscan(text, &rows, &columns); err != nil {
			return err
		}
		return d.pty.resize(rows, columns)
	case "status":
		_, err := fmt.Sscan(text, &d.status)
		return err
	}
	return errors.New("unknown word of a dialog")
}

// tell makes what was printed the standard output of the story's command.
func (d *talk) tell() { fmt.Fprint(d.ts.Stdout(), d.pty.printed()) }

func (d *talk) fail(err error) {
	d.ts.Fatalf("%v\nprinted so far: %q", err, d.pty.printed())
}
