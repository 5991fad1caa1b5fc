package lifecycle_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"airplant/internal/sys"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// agent is somebody who answers for filters.
type agent struct {
	t      *testing.T
	path   string
	socket *net.UnixListener
	// told is each process that it was given.
	told chan specs.ContainerProcessState
	// answer decides about one call; nil lets it through.
	answer func(n sys.Notification) *sys.NotifyAnswer
}

// listens makes an agent in the bundle, where the caller reaches it.
func (b *box) listens(t *testing.T) *agent {
	t.Helper()
	a := &agent{t: t, path: filepath.Join(b.dir, "agent"), told: make(chan specs.ContainerProcessState, 8)}
	var err error
	a.socket, err = net.ListenUnix("unix", &net.UnixAddr{Name: a.path, Net: "unix"})
	b.check(err)
	b.check(os.Chmod(a.path, 0o777))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := a.socket.AcceptUnix()
			if err != nil {
				return
			}
			if f := a.take(c); f != nil {
				go a.serve(f)
			}
		}
	}()
	t.Cleanup(func() { a.socket.Close(); <-done })
	return a
}

// take reads what comes with a listener.
func (a *agent) take(c *net.UnixConn) *os.File {
	defer c.Close()
	text, oob := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(8))
	n, oobn, _, _, err := c.ReadMsgUnix(text, oob)
	if err != nil {
		a.t.Error(err)
		return nil
	}
	rest, err := io.ReadAll(c)
	if err != nil {
		a.t.Error(err)
	}
	var state specs.ContainerProcessState
	if err := json.Unmarshal(append(text[:n], rest...), &state); err != nil {
		a.t.Error(err)
	}
	list, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(list) != 1 {
		a.t.Errorf("%d control messages, %v", len(list), err)
		return nil
	}
	fds, err := unix.ParseUnixRights(&list[0])
	if err != nil || len(fds) != len(state.Fds) || state.Fds[0] != specs.SeccompFdName {
		a.t.Errorf("%d descriptors named %q, %v", len(fds), state.Fds, err)
		return nil
	}
	a.told <- state
	return os.NewFile(uintptr(fds[0]), "listener")
}

// serve answers until the filter has no processes.
func (a *agent) serve(f *os.File) {
	defer f.Close()
	for {
		// The kernel tells of the end by a hang-up.
		p := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); errors.Is(err, unix.EINTR) {
			continue
		}
		if p[0].Revents&unix.POLLIN == 0 {
			return
		}
		n, err := sys.NotifyReceive(f)
		if err != nil {
			return
		}
		r := &sys.NotifyAnswer{Flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if a.answer != nil {
			if got := a.answer(n); got != nil {
				r = got
			}
		}
		r.ID = n.ID
		if err := sys.NotifySend(f, *r); err != nil && !errors.Is(err, unix.ENOENT) {
			a.t.Error(err)
		}
	}
}

// next is the next process that the agent was told of.
func (a *agent) next() specs.ContainerProcessState {
	a.t.Helper()
	select {
	case s := <-a.told:
		return s
	case <-time.After(20 * time.Second):
		a.t.Fatal("the agent was told of nothing")
		return specs.ContainerProcessState{}
	}
}

// notifying asks about all calls that the setup, too, could need.
func notifying(a *agent) *specs.LinuxSeccomp {
	c := letting(rule(specs.ActNotify, 0, "write sendmsg writev getppid execve exit_group close mkdir mkdirat"))
	c.ListenerPath, c.ListenerMetadata = a.path, "what the agent wants"
	c.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv, "SECCOMP_FILTER_FLAG_TSYNC"}
	return c
}

// refusesMkdir answers mkdir with an errno.
func refusesMkdir(errno unix.Errno) func(sys.Notification) *sys.NotifyAnswer {
	return func(n sys.Notification) *sys.NotifyAnswer {
		if n.Number == unix.SYS_MKDIRAT || int(n.Number) == sysMkdir {
			return &sys.NotifyAnswer{Error: -int32(errno)}
		}
		return nil
	}
}

// TestNotify: whoever the caller is, the agent gets the listener, and answers
// even for write, sendmsg and execve.
func TestNotify(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		for _, noNew := range []bool{false, true} {
			b := c.bundle(t, "sh", "-c", "echo before; mkdir /tmp/x; echo after")
			a := b.listens(t)
			a.answer = refusesMkdir(unix.EMLINK)
			b.spec.Process.NoNewPrivileges = noNew
			b.spec.Linux.Seccomp = notifying(a)
			b.spec.Annotations = map[string]string{"k": "v"}
			r := b.run()
			if r.out != "before\nafter\n" || !strings.Contains(r.err, "Too many links") {
				t.Errorf("%+v", r)
			}
			s := a.next()
			if s.Pid == 0 || s.Pid != s.State.Pid || s.State.ID != "c" || s.State.Status != specs.StateCreating || s.State.Bundle != b.dir ||
				s.Metadata != "what the agent wants" || s.Version != specs.Version || s.State.Annotations["k"] != "v" {
				t.Errorf("%+v", s)
			}
			b.nothingLeft()
		}
	})
}

// TestNotifyOfCreateAndExec: the listener comes at start, and again for exec.
func TestNotifyOfCreateAndExec(t *testing.T) {
	b := subids(t).bundle(t, "sh", "-c", "while :; do sleep 0.1; done")
	a := b.listens(t)
	a.answer = refusesMkdir(unix.EMLINK)
	b.spec.Linux.Seccomp = notifying(a)
	b.spec.Process.NoNewPrivileges = false
	b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	b.spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1 << 20}}
	b.save()
	b.must("create", "--bundle", b.dir, "c")
	defer b.must("delete", "-f", "c")
	if len(a.told) > 0 {
		t.Error("a created container has a listener")
	}
	b.must("start", "c")
	first := b.status().Pid
	if s := a.next(); s.Pid != first || s.State.Pid != first || s.State.Status != specs.StateCreated {
		t.Errorf("%+v", s)
	}
	r := do(t, b.oci("exec", "c", "mkdir", "/tmp/y"))
	if r.status == 0 || !strings.Contains(r.err, "Too many links") {
		t.Errorf("%+v", r)
	}
	if s := a.next(); s.Pid == first || s.State.Pid != first || s.State.Status != specs.StateRunning {
		t.Errorf("%+v", s)
	}
	if up := b.must("exec", "c", "cut", "-d.", "-f1", "/proc/uptime"); len(strings.TrimSpace(up)) < 7 {
		t.Errorf("the time namespace's uptime is %s", up)
	}
	a.next()
}

// TestNotifyWithoutAgent: nothing of the container runs, and nothing is left.
func TestNotifyWithoutAgent(t *testing.T) {
	b := oneID(t).bundle(t, "touch", "/tmp/ran")
	b.mkdir("tmp")
	a := b.listens(t)
	b.spec.Linux.Seccomp = notifying(a)
	a.socket.Close()
	for _, path := range []string{"/no/such/agent", a.path} {
		b.spec.Linux.Seccomp.ListenerPath = path
		b.fails("linux.seccomp.listenerPath")
	}
	b.must("create", "--bundle", b.dir, "c")
	if r := do(t, b.oci("start", "c")); r.status == 0 || !strings.Contains(r.err, "linux.seccomp.listenerPath") {
		t.Errorf("start: %+v", r)
	}
	b.await("stopped", func() bool { return b.status().Status == specs.StateStopped })
	b.must("delete", "c")
	b.spec.Linux.Seccomp.ListenerPath, b.spec.Linux.Seccomp.ListenerMetadata = "", ""
	b.fails("linux.seccomp.listenerPath is empty")
	if _, err := os.Stat(b.root("tmp/ran")); err == nil {
		t.Error("the program has run")
	}
	b.nothingLeft()
}

// TestNotifyAgentDies: what it was to answer fails, and is not let through.
func TestNotifyAgentDies(t *testing.T) {
	b := oneID(t).bundle(t, "sh", "-c", "mkdir /tmp/x || exit 9")
	path := filepath.Join(b.dir, "agent")
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	b.check(err)
	defer socket.Close()
	b.check(os.Chmod(path, 0o777))
	go func() {
		// One that takes the listener with it.
		if c, err := socket.AcceptUnix(); err == nil {
			c.Close()
		}
	}()
	c := letting(rule(specs.ActNotify, 0, "mkdir mkdirat"))
	c.ListenerPath = path
	b.spec.Linux.Seccomp = c
	r := b.run()
	closed := strings.Contains(r.err, "linux.seccomp.listenerPath") // before it was sent
	if r.status != 9 && !closed {
		t.Errorf("%+v", r)
	}
	if r.status == 9 && !strings.Contains(r.err, "not implemented") {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(b.root("tmp/x")); err == nil {
		t.Error("the call went through")
	}
	b.nothingLeft()
}

// TestNotifyAgentDoesNotAccept: a full queue ends the patience.
func TestNotifyAgentDoesNotAccept(t *testing.T) {
	t.Parallel()
	b := oneID(t).bundle(t, "true")
	path := filepath.Join(b.dir, "agent")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	b.check(err)
	defer unix.Close(fd)
	b.check(unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	b.check(unix.Listen(fd, 0))
	b.check(os.Chmod(path, 0o777))
	c, err := net.Dial("unix", path)
	b.check(err)
	defer c.Close()
	s := letting(rule(specs.ActNotify, 0, "mkdir mkdirat"))
	s.ListenerPath = path
	b.spec.Linux.Seccomp = s
	b.fails("linux.seccomp.listenerPath")
	b.nothingLeft()
}
