package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"airplant/internal/birth"
	"airplant/lifecycle/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func splitPath(path string) (dir, name string) { return filepath.Dir(path), filepath.Base(path) }

// writePidFile replaces the file at once, so that nobody reads half a number.
func writePidFile(name string, pid int) error {
	dir, base := splitPath(name)
	tmp := filepath.Join(dir, "."+base+".new")
	if err := os.WriteFile(tmp, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

// Start lets a created container execute its program.
func (r *Runtime) Start(id string) (err error) {
	c, err := r.open(id)
	if err != nil {
		return err
	}
	if s := r.held(&c.Record); s != specs.StateCreated {
		return errors.Join(fmt.Errorf("%w: cannot start a container that is %s", ErrState, s), c.close())
	}
	err = start(c)
	if err == nil {
		return c.close()
	}
	// A hook or execve has failed: the container is stopped, and can only be
	// deleted.
	return errors.Join(err, end(&c.Record), c.close())
}

// start runs the hooks of start around the program's execve. The lock is let go
// for those after it, which may use the container, or never end.
func start(c *container) error {
	hooks := c.Hooks
	if hooks == nil {
		hooks = &specs.Hooks{}
	}
	err := inContainer("startContainer", hooks.StartContainer, &c.Record, hookState(&c.Record, specs.StateCreated))
	if err == nil {
		err = c.sendStart()
	}
	if err == nil {
		err = c.unlock()
	}
	if err == nil {
		err = onHost("poststart", hooks.Poststart, hookState(&c.Record, specs.StateRunning))
	}
	return err
}

// sendStart tells the process to go on, and waits for its execve.
func (c *container) sendStart() error {
	conn, err := c.dial()
	if err != nil {
		return fmt.Errorf("start %s: %w", c.ID, err)
	}
	defer conn.Close()
	if err := os.Remove(filepath.Join(c.path, startSocket)); err != nil {
		return err
	}
	agent, err := c.Listener.dial()
	if err != nil {
		return err
	}
	// A process that has ended says why before its end of the socket closes.
	_, told := conn.Write([]byte{0})
	// The plan is not known here any more, so the report names no instruction;
	// only execve and the little around it can fail by now.
	hear := (&birth.Program{}).ReadReport
	switch {
	case agent != nil && told != nil:
		told = errors.Join(told, agent.Close())
	case agent != nil:
		err = c.Listener.handOver(conn, agent, hear, processState(&c.Record, specs.StateCreated, c.PID))
		if errors.Is(err, io.EOF) {
			told = errKilled
		} else if err != nil {
			return fmt.Errorf("start %s: %w", c.ID, err)
		}
	}
	_, err = hear(conn)
	if errors.Is(err, io.EOF) {
		if err := c.startFailed(); err != nil {
			return err
		}
	}
	var report *birth.Error
	switch {
	case errors.Is(err, io.EOF) && told == nil:
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("start %s: %w", c.ID, told)
	case errors.As(err, &report):
		return fmt.Errorf("execute the program of %s: %w", c.ID, report.Errno)
	}
	return err
}

// Kill sends a signal to the first process, or, with all, to every process of
// the container. The end of the first process of a pid namespace ends all. It
// needs no lock, so that it is heard while a hook of start runs.
func (r *Runtime) Kill(id string, sig unix.Signal, all bool) error {
	rec, status, err := r.made(id)
	if err != nil {
		return err
	}
	if status == specs.StateStopped {
		if all {
			return nil
		}
		return fmt.Errorf("%w: container not running", ErrState)
	}
	if all && (!rec.OwnPIDs || sig != unix.SIGKILL) {
		return signalAll(&rec, sig)
	}
	return signalFirst(&rec, sig)
}

// signalFirst signals the first process.
func signalFirst(rec *Record, sig unix.Signal) error {
	f, err := openFirst(rec)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.PidfdSendSignal(int(f.Fd()), sig, nil, 0); err != nil {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	if sig == unix.SIGKILL && len(rec.Cgroup.V1) > 0 {
		return letDie(rec)
	}
	return nil
}

// letDie thaws a group of version 1: what is frozen there does not even end by
// SIGKILL.
func letDie(rec *Record) error {
	_, err := withGroup(rec, func(_ context.Context, g *cgroup.Group) error { return g.LetDie() })
	if errors.Is(err, cgroup.ErrGone) {
		return nil
	}
	return err
}

// Delete removes a container that is stopped or only created; with force it
// kills a running one, and a container that does not exist is no error.
func (r *Runtime) Delete(id string, force bool) (err error) {
	c, err := r.lock(id)
	if err != nil {
		if force && errors.Is(err, ErrNotExist) {
			return nil
		}
		return err
	}
	if c.Record, err = r.read(id); err != nil {
		return errors.Join(err, c.close())
	}
	if c.PID != 0 && alive(&c.Record) {
		if s := r.held(&c.Record); s != specs.StateCreated && s != specs.StateStopped && !force {
			return errors.Join(fmt.Errorf("%w: cannot delete container %s that is not stopped: %s", ErrState, id, s), c.close())
		}
		if err := end(&c.Record); err != nil {
			return errors.Join(err, c.close())
		}
	}
	r.poststop(&c.Record)
	return c.remove()
}

// end kills the first process and waits until it has gone, and with it all
// processes of its pid namespace. Somebody else may have to reap it.
func end(rec *Record) error {
	f, err := openFirst(rec)
	if errors.Is(err, ErrState) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.PidfdSendSignal(int(f.Fd()), unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	if len(rec.Cgroup.V1) > 0 {
		if err := letDie(rec); err != nil {
			return err
		}
	}
	late, err := waitFor(f, int(killPatience.Milliseconds()))
	if late {
		err = fmt.Errorf("process %d does not end", rec.PID)
	}
	return err
}
