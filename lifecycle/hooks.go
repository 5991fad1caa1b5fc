package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"airplant/internal/birth"
	"airplant/lifecycle/plan"

	"github.com/go-json-experiment/json"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hookState is what a hook reads: the container's state of the runtime-spec.
func hookState(rec *Record, status specs.ContainerState) []byte {
	s := specs.State{Version: specs.Version, ID: rec.ID, Status: status, Bundle: rec.Bundle, Annotations: rec.Annotations}
	if status != specs.StateStopped {
		s.Pid = rec.PID
	}
	text, err := json.Marshal(&s)
	if err != nil {
		// Strings of a configuration that was JSON are JSON again.
		return []byte("{}")
	}
	return text
}

// onHost runs hooks in our own namespaces, in their order, until one fails.
func onHost(kind string, hooks []specs.Hook, state []byte) error {
	for n := range hooks {
		if err := hookOnHost(&hooks[n], state); err != nil {
			return fmt.Errorf("hook %s %s: %w", kind, hooks[n].Path, err)
		}
	}
	return nil
}

// hookOnHost runs one, with its own environment and none of ours.
func hookOnHost(h *specs.Hook, state []byte) error {
	ctx, cancel := hookContext(h)
	defer cancel()
	var out tail
	cmd := exec.CommandContext(ctx, h.Path)
	if len(h.Args) > 0 {
		cmd.Args = h.Args
	}
	cmd.Env = append([]string{}, h.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(state), &out, &out
	// A grandchild may keep the output open.
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("did not end in %d s", *h.Timeout)
	case err != nil && out.Len() > 0:
		return fmt.Errorf("%w: %s", err, out.String())
	case errors.Is(err, exec.ErrWaitDelay):
		return nil
	}
	return err
}

func hookContext(h *specs.Hook) (context.Context, context.CancelFunc) {
	if h.Timeout == nil {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), time.Duration(*h.Timeout)*time.Second)
}

// tail keeps the end of a hook's output for its error.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4096
	t.Buffer.Write(p)
	if over := t.Len() - most; over > 0 {
		t.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string {
	return strings.ReplaceAll(strings.TrimSpace(t.Buffer.String()), "\n", "; ")
}

// inContainer runs hooks in the container's namespaces.
func inContainer(kind string, hooks []specs.Hook, rec *Record, state []byte) error {
	for n := range hooks {
		if err := hookInContainer(&hooks[n], rec, state); err != nil {
			return fmt.Errorf("hook %s %s: %w", kind, hooks[n].Path, err)
		}
	}
	return nil
}

func hookInContainer(h *specs.Hook, rec *Record, state []byte) (err error) {
	target, err := openFirst(rec)
	if err != nil {
		return err
	}
	defer target.Close()
	inside, err := namespacesOf(rec.PID)
	if err != nil {
		return err
	}
	common, err := host()
	if err != nil {
		return err
	}
	p, err := plan.NewHook(h, common, inside)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	// A hook need not read its input, nor all of it.
	go func() { _, _ = w.Write(state); _ = w.Close() }()
	defer r.Close()
	b := &newborn{plan: p, inject: birth.NoFail(), target: target, stdin: r, record: rec}
	if b.into, err = openGroup(rec); err != nil {
		return err
	}
	defer b.leaveGroup()
	err = b.fork(&CreateOptions{})
	if err == nil {
		err = b.leaveJoined()
	}
	if err == nil {
		err = b.await(false)
	}
	if err != nil {
		return errors.Join(err, b.discard(""))
	}
	return errors.Join(b.waitForHook(h), b.close())
}

// waitForHook waits for the hook's end, or ends it when its time is over.
func (b *newborn) waitForHook(h *specs.Hook) error {
	patience := -1
	if h.Timeout != nil {
		patience = *h.Timeout * 1000
	}
	late, err := waitFor(b.child.PidFD, patience)
	if err != nil {
		return err
	}
	if late {
		_ = unix.PidfdSendSignal(int(b.child.PidFD.Fd()), unix.SIGKILL, nil, 0) // it may just have ended
	}
	status, err := b.child.Wait()
	switch {
	case err != nil:
		return err
	case late:
		return fmt.Errorf("did not end in %d s", *h.Timeout)
	case status != 0:
		return fmt.Errorf("exit status %d", status)
	}
	return nil
}

// waitFor waits until the process of a pidfd ends, some milliseconds at most,
// or for ever if they are negative.
func waitFor(pidfd *os.File, ms int) (late bool, err error) {
	deadline := time.Now().Add(time.Duration(ms) * time.Millisecond)
	poll := []unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, ms)
		switch {
		case errors.Is(err, unix.EINTR):
			if ms >= 0 {
				ms = max(0, int(time.Until(deadline).Milliseconds()))
			}
			continue
		case err != nil:
			return false, os.NewSyscallError("poll", err)
		}
		return n == 0, nil
	}
}

// hooksOnCreate runs the hooks for the moment between mounts and pivot_root,
// when the process says that it has come.
func (b *newborn) hooksOnCreate(hooks *specs.Hooks) error {
	if !plan.HooksOnCreate(hooks) {
		return nil
	}
	told, err := b.hear()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the container's process was killed while it was set up")
	case err != nil:
		return err
	case told.Point != plan.Mounted:
		return fmt.Errorf("the container's process sent an unknown message %d", told.Point)
	}
	rec := &b.container.Record
	state := hookState(rec, specs.StateCreating)
	if err := onHost("prestart", hooks.Prestart, state); err != nil { //nolint:staticcheck // deprecated, and sent
		return err
	}
	if err := onHost("createRuntime", hooks.CreateRuntime, state); err != nil {
		return err
	}
	if err := inContainer("createContainer", hooks.CreateContainer, rec, state); err != nil {
		return err
	}
	return b.goOn()
}

// poststop runs the hooks for a container that is gone; their errors are
// warnings.
func (r *Runtime) poststop(rec *Record) {
	if rec.Hooks == nil {
		return
	}
	state := hookState(rec, specs.StateStopped)
	for n := range rec.Hooks.Poststop {
		if err := onHost("poststop", rec.Hooks.Poststop[n:n+1], state); err != nil && r.Warn != nil {
			r.Warn(err)
		}
	}
}
