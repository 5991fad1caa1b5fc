package sys

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Notification is struct seccomp_notif: a call that waits for an answer.
type Notification struct {
	ID     uint64
	PID    uint32 // in our pid namespace; 0 if it is not visible there
	Flags  uint32
	Number int32
	Arch   uint32
	IP     uint64
	Args   [6]uint64
}

// NotifyAnswer is struct seccomp_notif_resp. Error is negative or 0.
type NotifyAnswer struct {
	ID    uint64
	Value int64
	Error int32
	Flags uint32 // SECCOMP_USER_NOTIF_FLAG_…
}

// NotifyReceive waits for the next call of a filter's processes. A call whose
// process has been killed meanwhile is passed over.
func NotifyReceive(listener *os.File) (n Notification, err error) {
	for {
		n = Notification{} // the kernel wants zeros
		err = notifyIoctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n))
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ENOENT) {
			return n, err
		}
	}
}

// NotifySend answers. It is ENOENT when the process is gone.
func NotifySend(listener *os.File, a NotifyAnswer) error {
	return notifyIoctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a))
}

func notifyIoctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
		return fmt.Errorf("seccomp notification: %w", errno)
	}
	return nil
}
