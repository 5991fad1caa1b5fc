package lifecycle

import (
	"errors"
	"os"
	"os/signal"
	"runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// RunOptions are the choices of `run`.
type RunOptions struct {
	CreateOptions
	Detach bool
	Keep   bool // do not remove the container when it has ended
}

// Run creates and starts a container. In the foreground it relays the
// terminal and signals, waits, removes the container and returns its exit
// status: 128 and the signal for a process that was killed.
func (r *Runtime) Run(id string, spec *specs.Spec, o *RunOptions) (status int, err error) {
	if err := checkConsole(spec, o.ConsoleSocket, o.Detach); err != nil {
		return 0, err
	}
	if o.DieWithParent {
		// The signal comes when the thread ends that forked (prctl(2)).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	b, err := r.bear(id, spec, &o.CreateOptions, false)
	if err != nil {
		return 0, err
	}
	if err := b.container.unlock(); err != nil {
		return 0, err
	}
	if o.Detach {
		return 0, errors.Join(b.container.close(), b.close())
	}
	status, err = b.foreground()
	if !o.Keep {
		err = errors.Join(err, b.container.relock(), b.container.remove())
	}
	return status, errors.Join(err, b.close())
}

// foreground waits for the container's end.
func (b *newborn) foreground() (int, error) {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	defer signal.Stop(signals)
	var t *relay
	if b.console != nil {
		var err error
		if t, err = relayTerminal(b.console); err != nil {
			return 0, err
		}
	}
	go func() {
		for s := range signals {
			b.forward(s, t)
		}
	}()
	status, err := waitFor(b.child.PID)
	if t != nil {
		err = errors.Join(err, t.end())
	}
	return status, err
}

// forward hands a signal on to the container. A signal that ends nothing or
// belongs to us stays: the end of a child, the Go runtime's own, the window's
// size, and what the terminal sends to its background processes.
func (b *newborn) forward(s os.Signal, t *relay) {
	switch s {
	case unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE, unix.SIGTTIN, unix.SIGTTOU:
		return
	case unix.SIGWINCH:
		if t != nil {
			t.resize()
			return
		}
	}
	if sig, ok := s.(unix.Signal); ok {
		// The process may just have ended.
		_ = unix.PidfdSendSignal(int(b.child.PidFD.Fd()), sig, nil, 0)
	}
}
