package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// insideArg marks the process that is the first of a run's pid namespace.
const insideArg = "conformance-inside"

// errand is what the inside has to do. It travels as JSON.
type errand struct {
	Program string // absolute
	Suite   string // the working directory
	Runtime string // the script that calls the runtime
	Dir     string // of this run: out, err, status, tmp, state
	View    view
	Timeout time.Duration
}

// report is what the inside has to say, in the file "status".
type report struct {
	Status   syscall.WaitStatus
	TimedOut bool
	Left     []string // ids of containers that the program did not delete
}

// grace is what a program and its descendants get to end after the time is up.
const grace = 5 * time.Second

// runInside runs one program as the parent of all that loses its own. When it
// returns, the kernel ends whatever is left in the pid namespace.
func runInside(text string) error {
	var e errand
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	if err := e.View.show(); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	// A signal for the group of the caller is no business of the program's.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
	var r report
	var err error
	if r.Status, r.TimedOut, err = e.runProgram(); err != nil {
		return err
	}
	if r.Left, err = e.deleteAll(); err != nil {
		return err
	}
	out, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(e.Dir, "status"), out, 0o644)
}

func (e errand) runProgram() (syscall.WaitStatus, bool, error) {
	stdout, err := os.Create(filepath.Join(e.Dir, "out"))
	if err != nil {
		return 0, false, err
	}
	defer stdout.Close()
	stderr, err := os.Create(filepath.Join(e.Dir, "err"))
	if err != nil {
		return 0, false, err
	}
	defer stderr.Close()
	cmd := exec.Command(e.Program)
	cmd.Dir = e.Suite
	cmd.Env = []string{
		"RUNTIME=" + e.Runtime, "TMPDIR=" + filepath.Join(e.Dir, "tmp"), "HOME=/root", "LANG=C.UTF-8",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return 0, false, err
	}
	return reap(cmd.Process.Pid, e.Timeout)
}

// reap waits for a child, and for every orphan that comes to us meanwhile,
// since a container is stopped only once its first process is gone. It kills
// the child's process group when the time is up.
func reap(pid int, timeout time.Duration) (status syscall.WaitStatus, timedOut bool, err error) {
	deadline := time.Now().Add(timeout)
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return 0, timedOut, fmt.Errorf("wait: %w", err)
		case got == pid:
			return ws, timedOut, nil
		case got > 0:
			continue
		}
		if time.Now().After(deadline) {
			timedOut = true
			if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
				return 0, timedOut, fmt.Errorf("kill: %w", err)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// deleteAll deletes the containers that are left, as their runtime does it.
func (e errand) deleteAll() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(e.Dir, "state"))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, entry := range entries {
		ids = append(ids, entry.Name())
		cmd := exec.Command(e.Runtime, "delete", "--force", entry.Name())
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			return ids, err
		}
		if _, _, err := reap(cmd.Process.Pid, grace); err != nil {
			return ids, err
		}
	}
	return ids, nil
}
