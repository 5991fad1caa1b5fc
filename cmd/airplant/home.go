package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"airplant/lifecycle"
	"airplant/userns"

	"golang.org/x/sys/unix"
)

// home finds where our containers and images are.
func (e *env) home() (lifecycle.Home, error) {
	data := e.getenv("XDG_DATA_HOME")
	if data == "" {
		if e.getenv("HOME") == "" {
			return lifecycle.Home{}, errors.New("HOME and XDG_DATA_HOME are not set")
		}
		data = filepath.Join(e.getenv("HOME"), ".local", "share")
	}
	runtime, err := lifecycle.DefaultRoot(e.getenv("XDG_RUNTIME_DIR"), "")
	return lifecycle.Home{Data: filepath.Join(data, "airplant"), Runtime: runtime}, err
}

// workerName is our name in namespace P, where files of all our ids can be
// read, written and removed.
const workerName = "airplant-worker"

// identity finds out who containers may be.
func identity() (*userns.Identity, error) {
	return userns.Choose(os.Geteuid(), os.Getegid(), os.Geteuid() == 0)
}

// inWorker runs a command of ours in P.
func (e *env) inWorker(args ...string) error {
	return e.enterP("/proc/self/exe", append([]string{workerName}, args...)...)
}

// errandArgs is the command line of an errand in P. A request is JSON, no flag.
func errandArgs(verb, request string) []string {
	return []string{workerName, "errand", "--", verb, request}
}

// enterP runs a program in P, where 0 is the caller and the other ids are its
// subordinate ones.
func (e *env) enterP(path string, args ...string) error {
	id, err := identity()
	if err != nil {
		return err
	}
	m := id.Map()
	signals, stop := relayed()
	defer stop()
	status, err := userns.Enter(m, m.By(id.UID, id.GID, id.Rung == userns.Direct), path, args, e.environ, signals)
	if err == nil && status != 0 {
		err = exitStatus(status)
	}
	return err
}

// relayed catches the signals that end a program, so that one in P can clean up
// and end by itself. Those that a terminal sends have reached it already.
func relayed() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 4)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP} {
		if !signal.Ignored(s) { // by nohup, say
			signal.Notify(signals, s)
		}
	}
	if !inForeground() {
		return signals, func() { signal.Stop(signals) }
	}
	passed, end := make(chan os.Signal, 4), make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				if s != unix.SIGINT && s != unix.SIGQUIT {
					passed <- s
				}
			case <-end:
				return
			}
		}
	}()
	return passed, func() {
		signal.Stop(signals)
		close(end)
	}
}

// inForeground tells whether the keys of our terminal reach us.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// removeAsRoot removes a tree that may hold files of other ids of ours.
func (e *env) removeAsRoot(path string) error {
	if err := e.inWorker("remove-tree", path); err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

// removeTreeCmd is for the worker alone.
type removeTreeCmd struct {
	Path string `arg:""`
}

func (c *removeTreeCmd) Run(*env) error { return os.RemoveAll(c.Path) }

type unshareCmd struct {
	Args []string `arg:"" optional:"" help:"Program and its arguments; a shell without them."`
}

func (c *unshareCmd) Run(e *env) error {
	if !e.worker {
		return e.inWorker(append([]string{"unshare", "--"}, c.Args...)...)
	}
	args := c.Args
	if len(args) == 0 {
		if args = []string{e.getenv("SHELL")}; args[0] == "" {
			args[0] = "/bin/sh"
		}
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return &exited{err, 127}
	}
	return &exited{os.NewSyscallError("execve", unix.Exec(path, args, e.environ)), 126}
}
