package doctor

import (
	"errors"

	"golang.org/x/sys/unix"
)

// localTries are those that need no namespace, so they are made in our own
// process.
func localTries() map[string]Try {
	done := func(err error) Try { return Try{Done: true, Errno: errnoOf(err)} }
	return map[string]Try{
		TryNotify:  done(notify()),
		TryMemfd:   done(memfd()),
		TryOpenat2: done(openat2()),
	}
}

// notify asks for the sizes of notifications (Linux 5.0) and gives no place to
// put them: EFAULT is the answer of a kernel that has them.
func notify() error {
	const getNotifSizes = 3 // SECCOMP_GET_NOTIF_SIZES, which package unix lacks
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, getNotifSizes, 0, 0)
	if errno == unix.EFAULT {
		return nil
	}
	return errno
}

// memfd makes one as the compiled container is made. MFD_EXEC is Linux 6.3.
func memfd() error {
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("probe", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func openat2() error {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
