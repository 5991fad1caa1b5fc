package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// result is what all runtimes made of one program.
type result struct {
	program  string
	verdicts []verdict // in the order of the subjects
}

// firstID is the first of the 65536 ids that a user namespace gets: nobody has
// them, so on the host its root is nobody.
const firstID = 1 << 20

// runner holds what all runs share.
type runner struct {
	dir      string
	options  options
	suite    suite
	subjects []subject
	self     string     // a copy of this program that everybody can execute
	v1       sync.Mutex // the programs of version 1 share paths of cgroups
}

// runAll runs every program with every subject: a program's subjects one after
// the other, several programs at a time.
func runAll(ctx context.Context, dir string, o options, s suite, subjects []subject) ([]result, error) {
	r := &runner{dir: dir, options: o, suite: s, subjects: subjects, self: filepath.Join(dir, "conformance")}
	if err := copyProgram(r.self, "/proc/self/exe"); err != nil {
		return nil, err
	}
	results := make([]result, len(s.programs))
	next := make(chan int)
	failures := make(chan error, o.jobs)
	for range o.jobs {
		go func() {
			var err error
			for i := range next {
				if err == nil {
					results[i], err = r.program(ctx, s.programs[i])
				}
			}
			failures <- err
		}()
	}
	for i := range s.programs {
		next <- i
	}
	close(next)
	var err error
	for range o.jobs {
		err = errors.Join(err, <-failures)
	}
	sober(results)
	return results, err
}

func (r *runner) program(ctx context.Context, name string) (result, error) {
	res := result{program: name}
	v := viewOf(name)
	for _, s := range r.subjects {
		if v == viewV1 && !hasV1() {
			res.verdicts = append(res.verdicts, verdict{markNone, "this host has no cgroup version 1"})
			continue
		}
		if v == viewV1 && s.Rootless {
			res.verdicts = append(res.verdicts, verdict{markNone, "cgroup version 1 is root's"})
			continue
		}
		s.Rootless = s.Rootless || wantsAll(name) && !hasCapability(unix.CAP_SYS_RESOURCE)
		got, err := r.one(ctx, name, s, v)
		if err != nil {
			return res, fmt.Errorf("%s with %s: %w", name, s.Name, err)
		}
		if err := r.keep(name, s, got); err != nil {
			return res, err
		}
		res.verdicts = append(res.verdicts, judge(got))
	}
	return res, nil
}

// one runs a program with a subject and removes all traces.
func (r *runner) one(ctx context.Context, program string, s subject, v view) (o outcome, err error) {
	if v == viewV1 {
		r.v1.Lock()
		defer r.v1.Unlock()
	}
	name := program + "-" + s.Name
	dir := filepath.Join(r.dir, name)
	e := errand{
		Program: filepath.Join(r.suite.dir, program), Suite: r.suite.dir, Runtime: filepath.Join(dir, s.Name),
		Dir: dir, View: v, Timeout: r.options.timeout,
	}
	owner := 0
	if s.Rootless {
		owner = firstID
	}
	for _, sub := range []string{"", "tmp", "state"} {
		path := filepath.Join(dir, sub)
		if err := errors.Join(os.Mkdir(path, 0o755), os.Chown(path, owner, owner)); err != nil {
			return o, err
		}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.WriteFile(e.Runtime, []byte(s.script(filepath.Join(dir, "state"), v)), 0o755); err != nil {
		return o, err
	}
	if err := r.enter(ctx, e, filepath.Base(r.dir)+"-"+name, s.Rootless); err != nil {
		return o, err
	}
	return e.outcome()
}

// enter starts this program again in namespaces of its own, for one errand. If
// we die, the kernel ends it, and with it all that is in its pid namespace.
func (r *runner) enter(ctx context.Context, e errand, name string, rootless bool) (err error) {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
	if rootless {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: firstID, Size: 1 << 16}}
		attr.GidMappings, attr.GidMappingsEnableSetgroups = attr.UidMappings, true
		attr.Credential = &syscall.Credential{}
	}
	if e.View == viewV2 {
		g, err := newGroup(name, rootless)
		if g != nil {
			defer func() { err = errors.Join(err, g.remove()) }()
		}
		if err != nil {
			return err
		}
		if g != nil {
			dir, err := os.Open(g.dir)
			if err != nil {
				return err
			}
			defer dir.Close()
			attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
			attr.Unshareflags |= syscall.CLONE_NEWCGROUP
		}
	}
	var complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, r.self, insideArg, string(text))
	cmd.Stderr, cmd.SysProcAttr = &complaints, attr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(complaints.String()))
	}
	return nil
}

// outcome reads what the inside wrote.
func (e errand) outcome() (outcome, error) {
	var o outcome
	var r report
	text, err := os.ReadFile(filepath.Join(e.Dir, "status"))
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return o, err
	}
	if e.View == viewV1 {
		sweepV1(r.Left)
	}
	stdout, err := os.ReadFile(filepath.Join(e.Dir, "out"))
	if err != nil {
		return o, err
	}
	stderr, err := os.ReadFile(filepath.Join(e.Dir, "err"))
	return outcome{stdout: string(stdout), stderr: string(stderr), status: r.Status, timedOut: r.TimedOut}, err
}

// keep writes what a program printed to the directory that was asked for.
func (r *runner) keep(program string, s subject, o outcome) error {
	if r.options.output == "" {
		return nil
	}
	if err := os.MkdirAll(r.options.output, 0o755); err != nil {
		return err
	}
	base := filepath.Join(r.options.output, program+"."+s.Name)
	return errors.Join(
		os.WriteFile(base+".out", []byte(o.stdout), 0o644),
		os.WriteFile(base+".err", []byte(o.stderr), 0o644))
}

func copyProgram(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}
