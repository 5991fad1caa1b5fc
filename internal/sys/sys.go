// Package sys has system calls behind small functions, where package os does
// more than is wanted: it tries to register every file with the runtime's
// poller, which costs five calls a file and a poller for files of /proc.
package sys

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// ReadFile reads a file that is short and does not block, as those of /proc.
// Errors are of type *fs.PathError.
func ReadFile(name string) (text []byte, err error) {
	fd, err := open(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	text, err = readAll(fd)
	if closeErr := unix.Close(fd); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return text, nil
}

func open(name string) (int, error) {
	for {
		fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func readAll(fd int) ([]byte, error) {
	text := make([]byte, 0, 4096)
	for {
		if len(text) == cap(text) {
			text = append(text, make([]byte, len(text))...)[:len(text)]
		}
		n, err := unix.Read(fd, text[len(text):cap(text)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return text, nil
		default:
			text = text[:len(text)+n]
		}
	}
}

// LandlockVersion is the version of the kernel's Landlock interface, 0 where it
// has none or has it disabled (landlock_create_ruleset(2)).
func LandlockVersion() int {
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(n)
}
