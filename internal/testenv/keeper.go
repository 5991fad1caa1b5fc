package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// orphanGrace is how long a process may take to end after its test has.
// podman's cleanup process, which nobody waits for, needs a second or two.
const orphanGrace = 5 * time.Second

// superviseSelf runs this binary again with the same arguments and waits for
// it and for every orphan below it. It returns the exit status for the run.
func superviseSelf(env []string) (int, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("become a subreaper: %w", err)
	}
	// What tests make for other accounts has to be reachable for them,
	// whatever the caller's umask.
	unix.Umask(0o022)
	// The parent-death signal is sent when the forking thread ends, not the
	// process (prctl(2)), so this thread has to stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP)
	defer signal.Stop(signals)

	pid, err := forkSelf(env)
	if err != nil {
		return 0, fmt.Errorf("run the tests: %w", err)
	}
	go func() {
		for s := range signals {
			_ = unix.Kill(pid, s.(syscall.Signal))
		}
	}()
	code, err := waitFor(pid)
	if err != nil {
		return 0, err
	}
	if left := orphans(); len(left) > 0 {
		for _, what := range left {
			fmt.Fprintf(os.Stderr, "testenv: left behind: %s\n", what)
		}
		code = max(code, 1)
	}
	return code, nil
}

// forkSelf starts the tests, for root in a private mount namespace.
func forkSelf(env []string) (int, error) {
	exe, err := os.Executable()
	if err != nil {
		return 0, err
	}
	attr := &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL},
	}
	if os.Geteuid() != 0 {
		return syscall.ForkExec(exe, os.Args, attr)
	}
	attr.Sys.Unshareflags = unix.CLONE_NEWNS
	pid, err := syscall.ForkExec(exe, os.Args, attr)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		// Root without CAP_SYS_ADMIN cannot mount either. In a chroot the
		// root may be no mount point, whose propagation could be changed.
		attr.Sys.Unshareflags = 0
		return syscall.ForkExec(exe, os.Args, attr)
	}
	return pid, err
}

// waitFor reaps whatever ends until pid does.
func waitFor(pid int) (int, error) {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for the tests: %w", err)
		case got == pid && status.Signaled():
			fmt.Fprintf(os.Stderr, "testenv: the tests were ended by %v\n", status.Signal())
			return 128 + int(status.Signal()), nil
		case got == pid:
			return status.ExitStatus(), nil
		}
	}
}

// orphans reaps what ends within the grace time, kills the rest, and returns
// a line for each process that had to be killed.
func orphans() []string {
	var killed []string
	seen := map[int]bool{}
	deadline := time.Now().Add(orphanGrace)
	for {
		got, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.ECHILD):
			return killed
		case got > 0 || errors.Is(err, unix.EINTR):
			continue
		case time.Now().After(deadline):
			// A killed process hands its own children to us, so that this
			// round may not be the last.
			for _, child := range children() {
				if !seen[child.pid] {
					seen[child.pid] = true
					killed = append(killed, "process "+child.String())
				}
				_ = unix.Kill(child.pid, unix.SIGKILL)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}
