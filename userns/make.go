package userns

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"airplant/internal/birth"

	"golang.org/x/sys/unix"
)

// Make makes a user namespace that nobody lives in, for its maps alone, and
// opens it. It takes CAP_SETUID and CAP_SETGID over the ids. The caller closes
// the file.
func Make(m Map) (_ *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	p := &birth.Program{}
	p.Prelude.Do("wait", birth.Read, birth.In(birth.Report), birth.Ptr(birth.Cell("byte")), birth.Int(1))
	p.Prelude.Do("end", birth.ExitGroup, birth.Int(0))
	child, err := birth.Fork(p, birth.Inputs{birth.Report: int(theirs.Fd())}, unix.CLONE_NEWUSER, birth.NoFail())
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	defer func() {
		_ = unix.PidfdSendSignal(int(child.PidFD.Fd()), unix.SIGKILL, nil, 0)
		_, waitErr := child.Wait()
		err = errors.Join(err, waitErr, child.Free(), child.PidFD.Close())
	}()
	if err := WriteDirect(child.PID, m); err != nil {
		return nil, fmt.Errorf("write id maps: %w", err)
	}
	return os.Open("/proc/" + strconv.Itoa(child.PID) + "/ns/user")
}
