package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"airplant/internal/sys"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// kin is how processes of a container are told that share our pid namespace
// and have no cgroup: by its mount namespace and its user namespace, if they were
// made for it. A process can leave the first, if it may make another; it cannot
// leave the second but for one below it. Neither forking twice, nor a session,
// nor the death of all parents changes them, which is how daemons hide from a
// search of the process tree.
//
// The numbers are of the kind that the kernel never gives twice (Linux 6.11 for
// mount namespaces, 6.18 for others), so that they still mean the same when the
// container's first process has gone. 0 is unknown.
type kin struct {
	Mount uint64 `json:"mount,omitempty"`
	User  uint64 `json:"user,omitempty"`
}

// kinOf reads the mark of a container by its first process, which lives. A
// namespace that was there before the container is no mark: others live in it.
func kinOf(pid int, spec *specs.Spec) (k kin) {
	if owns(spec, specs.MountNamespace) {
		k.Mount = visibleID(pid, "mnt")
	}
	if owns(spec, specs.UserNamespace) {
		k.User = visibleID(pid, "user")
	}
	return k
}

// visibleID is the number of a namespace, 0 without one to be seen.
func visibleID(pid int, kind string) uint64 {
	fd, err := openVisible(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	return sys.NamespaceID(fd)
}

// openVisible waits until we may look at a process that has just been made.
// Where its prelude changes ids, as for keep-id, nobody may from then until its
// execveat, for it shares our memory, which is not dumpable then (ptrace(2)). So
// that we could look a moment ago says nothing of now.
func openVisible(path string) (fd int, err error) {
	for start := time.Now(); time.Since(start) < time.Second; time.Sleep(100 * time.Microsecond) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
			break
		}
	}
	return fd, err
}

// namespaceID is 0 for a process that is gone, or that we may not look at.
func namespaceID(pid int, kind string) uint64 {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	return sys.NamespaceID(fd)
}

// has reports whether a process is one of them.
func (k kin) has(pid int) bool {
	if k.Mount != 0 && namespaceID(pid, "mnt") == k.Mount {
		return true
	}
	if k.User == 0 {
		return false
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/user", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	for err == nil {
		if sys.NamespaceID(fd) == k.User {
			unix.Close(fd)
			return true
		}
		// Refused for what is not below our own.
		var up int
		up, err = unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
		unix.Close(fd)
		fd = up
	}
	return false
}

// processes lists them all.
func (k kin) processes() ([]int, error) {
	if k == (kin{}) {
		return nil, nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var list []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && k.has(pid) {
			list = append(list, pid)
		}
	}
	return list, nil
}

// signal signals one, if it is still one of them once the pidfd is open.
func (k kin) signal(pid int, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil //nolint:nilerr // it has ended
	}
	defer unix.Close(fd)
	if !k.has(pid) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	return nil
}

// endRest kills processes of a container that outlive the first one: those of a
// shared pid namespace. Those of a cgroup end with it; see removeGroup.
func endRest(rec *Record) error {
	if rec.OwnPIDs || rec.Cgroup.Path != "" || rec.PID == 0 {
		return nil
	}
	if boot, err := bootID(); err != nil || boot != rec.BootID {
		return err
	}
	// They may fork meanwhile, and take a moment to go.
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		pids, err := rec.Kin.processes()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			err = errors.Join(err, rec.Kin.signal(pid, unix.SIGKILL))
		}
		if err == nil && time.Since(start) > killPatience {
			err = fmt.Errorf("processes %d do not end", pids)
		}
		if err != nil {
			return err
		}
	}
}
