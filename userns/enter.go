package userns

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"airplant/internal/birth"

	"golang.org/x/sys/unix"
)

// Enter runs a program in a new user namespace with the given map and in a
// mount namespace of its own, with our descriptors 0 to 2, and gives its exit
// status. The program has all capabilities there, and ends when we do.
//
// What comes from signals, which may be nil, is sent on to the program.
//
// It is how ordinary Go code comes to run with mapped ids: the path is then
// /proc/self/exe, in which the new process is still we.
func Enter(m Map, by MapBy, path string, args, env []string, signals <-chan os.Signal) (status int, err error) {
	return enter(m, by, path, args, env, nil, signals)
}

// EnterWith is [Enter] for a program whose descriptors 0 and 1 are the given
// ones; what it says on descriptor 2 goes to said.
func EnterWith(m Map, by MapBy, path string, args, env []string, in, out *os.File, said io.Writer) (status int, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	heard := make(chan error, 1)
	go func() { _, err := io.Copy(said, io.LimitReader(r, 1<<12)); heard <- err }()
	status, err = enter(m, by, path, args, env, []*os.File{in, out, w}, nil)
	return status, errors.Join(err, w.Close(), <-heard)
}

// enter gives the program our first descriptors, or those of a list.
func enter(m Map, by MapBy, path string, args, env []string, files []*os.File, signals <-chan os.Signal) (status int, err error) {
	for _, s := range append(append([]string{path}, args...), env...) {
		if err := birth.Terminated("argument", s); err != nil {
			return 0, err
		}
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	// The program's end with us hangs on the thread that forks (prctl(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	inputs := birth.Inputs{birth.Report: int(theirs.Fd())}
	for n, f := range files {
		inputs[given(n)] = int(f.Fd())
	}
	p := entering(m, by, path, args, env, len(files))
	child, err := birth.Fork(p, inputs, unix.CLONE_NEWUSER|unix.CLONE_NEWNS, birth.NoFail())
	if err = errors.Join(err, theirs.Close()); err != nil {
		return 0, fmt.Errorf("make a user namespace: %w", err)
	}
	defer func() { err = errors.Join(err, child.Free(), child.PidFD.Close()) }()
	if err := m.Write(by, child.PID); err != nil {
		_ = unix.PidfdSendSignal(int(child.PidFD.Fd()), unix.SIGKILL, nil, 0)
		_, waitErr := child.Wait()
		return 0, errors.Join(fmt.Errorf("write the id maps: %w", err), waitErr)
	}
	_, err = ours.Write([]byte{0})
	if err == nil {
		_, err = p.ReadReport(ours)
	}
	stop := relay(signals, child.PidFD)
	status, waitErr := child.Wait()
	stop()
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, errors.Join(err, waitErr)
	}
	return status, waitErr
}

// relay sends signals on until stop is called.
func relay(signals <-chan os.Signal, pidfd *os.File) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case s := <-signals:
				if s, ok := s.(unix.Signal); ok {
					_ = unix.PidfdSendSignal(int(pidfd.Fd()), s, nil, 0) // it may have ended
				}
			case <-end:
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

func given(n int) birth.Input { return birth.Input(fmt.Sprintf("descriptor %d", n)) }

// entering is the program of Enter, a prelude alone.
func entering(m Map, by MapBy, path string, args, env []string, files int) *birth.Program {
	p := &birth.Program{}
	s := &p.Prelude
	if by == MapSelf {
		for _, f := range [][2]string{{"setgroups", "deny"}, {"gid_map", Text(m.GIDs)}, {"uid_map", Text(m.UIDs)}} {
			fd, label := birth.Cell(f[0]), "write "+f[0]
			s.Do(label, birth.Openat, birth.Int(unix.AT_FDCWD), birth.Str("/proc/self/"+f[0]), birth.Int(unix.O_WRONLY|unix.O_CLOEXEC), birth.Int(0)).Into(fd)
			s.Do(label, birth.Write, birth.Load(fd), birth.Str(f[1]), birth.Int(len(f[1])))
		}
	}
	gone, ok := &birth.Mark{}, &birth.Mark{}
	s.Do("wait for the id maps", birth.Read, birth.In(birth.Report), birth.Ptr(birth.Cell("byte")), birth.Int(1)).On(0, 0, gone).OnOK(ok)
	s.Here(gone)
	s.Do("the parent has gone", birth.ExitGroup, birth.Int(1))
	s.Here(ok)
	s.Do("become group 0", birth.Setresgid, birth.Int(0), birth.Int(0), birth.Int(0))
	s.Do("become user 0", birth.Setresuid, birth.Int(0), birth.Int(0), birth.Int(0))
	s.Do("stay dumpable", birth.Prctl, birth.Int(unix.PR_SET_DUMPABLE), birth.Int(1), birth.Int(0), birth.Int(0), birth.Int(0))
	s.Do("die with the parent", birth.Prctl, birth.Int(unix.PR_SET_PDEATHSIG), birth.Int(int(unix.SIGKILL)), birth.Int(0), birth.Int(0), birth.Int(0))
	for n := range files {
		s.Do("take a descriptor", birth.Dup3, birth.In(given(n)), birth.Int(n), birth.Int(0))
	}
	s.Do("unblock signals", birth.RtSigprocmask, birth.Int(unix.SIG_SETMASK), birth.Ptr(birth.Words("none", 0)), birth.Null(), birth.Int(8))
	s.Do("execute "+strings.Join(args, " "), birth.Execve, birth.Str(path), birth.Ptr(birth.Vector(args)), birth.Ptr(birth.Vector(env)))
	return p
}
