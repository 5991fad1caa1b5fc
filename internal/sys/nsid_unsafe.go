package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of ioctl_nsfs(2), from linux/nsfs.h.
const (
	nsGetMountID = 0x8008b705 // Linux 6.11, of mount namespaces
	nsGetID      = 0x8008b70d // Linux 6.18, of all
)

// NamespaceID is the number of a namespace, by an open file of /proc/PID/ns,
// that the kernel gives once in a boot, unlike its inode number. 0 says that the
// kernel has none to tell.
func NamespaceID(fd int) uint64 {
	for _, request := range []uintptr{nsGetMountID, nsGetID} {
		var id uint64
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&id))); errno == 0 {
			return id
		}
	}
	return 0
}
