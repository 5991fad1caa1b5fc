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
	if !o.Detach && o.ConsoleSocket == "" {
		spec = sized(spec)
	}
	var signals chan os.Signal
	listen := func() {
		if !o.Detach {
			signals = make(chan os.Signal, len(forwarded))
			signal.Notify(signals, forwarded...)
		}
	}
	b, err := r.birth(id, spec, &o.CreateOptions, listen)
	if err != nil {
		return 0, err
	}
	if o.Detach {
		return 0, errors.Join(b.container.close(), b.close())
	}
	status, err = b.foreground(signals)
	if o.Keep {
		err = errors.Join(err, b.container.close())
	} else {
		err = errors.Join(err, r.removeEnded(b.container))
	}
	return status, errors.Join(err, b.close())
}

// birth makes a container and starts it. Mostly the process executes its
// program without a stop; for hooks at that moment it waits, as after create.
func (r *Runtime) birth(id string, spec *specs.Spec, o *CreateOptions, meanwhile func()) (*newborn, error) {
	h := spec.Hooks
	wait := h != nil && len(h.StartContainer)+len(h.Poststart) > 0
	b, err := r.bear(id, spec, o, wait, meanwhile)
	if err != nil {
		return nil, err
	}
	if wait {
		err = start(b.container)
	}
	if err == nil {
		err = b.container.unlock()
	}
	if err != nil {
		return nil, errors.Join(err, b.discard(o.PidFile), r.removeEnded(b.container))
	}
	return b, nil
}

// removeEnded removes a container whose lock we may have let go, if nobody else
// has done so meanwhile, and runs its last hooks.
func (r *Runtime) removeEnded(c *container) error {
	err := c.relock()
	switch {
	case errors.Is(err, ErrNotExist):
		return c.close()
	case err != nil:
		return errors.Join(err, c.close())
	}
	r.poststop(&c.Record)
	return c.remove()
}

// forwarded are the signals that are handed on. Those that the terminal sends
// to background processes stay, and so do the end of a child and what the Go
// runtime uses. Each costs a little to listen to, so the rest is left out.
var forwarded = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGCONT, unix.SIGTSTP, unix.SIGWINCH,
}

// foreground waits for the container's end.
func (b *newborn) foreground(signals <-chan os.Signal) (int, error) {
	var t *relay
	if b.console != nil {
		var err error
		if t, err = relayTerminal(b.console); err != nil {
			_ = unix.PidfdSendSignal(int(b.child.PidFD.Fd()), unix.SIGKILL, nil, 0) // it may have ended
			_, waitErr := b.child.Wait()
			return 0, errors.Join(err, waitErr)
		}
	}
	go func() {
		for s := range signals {
			b.forward(s, t)
		}
	}()
	status, err := b.child.Wait()
	if t != nil {
		err = errors.Join(err, t.end())
	}
	return status, err
}

// forward hands a signal on to the container; the window's size belongs to the
// terminal, where there is one.
func (b *newborn) forward(s os.Signal, t *relay) {
	if s == unix.SIGWINCH && t != nil {
		t.resize()
		return
	}
	if sig, ok := s.(unix.Signal); ok {
		// The process may just have ended.
		_ = unix.PidfdSendSignal(int(b.child.PidFD.Fd()), sig, nil, 0)
	}
}
