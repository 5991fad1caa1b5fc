package lifecycle

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// copyFile copies a regular file.
func copyFile(from, to int, name string, st *unix.Stat_t) (err error) {
	// It may be something else by now, and must not be waited for.
	in, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	src := os.NewFile(uintptr(in), name)
	defer src.Close()
	if err := unix.Fstat(in, st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("is not the file that it was")
	}
	out, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	dst := os.NewFile(uintptr(out), name)
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := io.Copy(dst, io.LimitReader(src, st.Size)); err != nil {
		return err
	}
	return like(in, out, st, name)
}

func copyLink(from, to int, name string, st *unix.Stat_t) error {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(from, name, target)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(target[:n]), to, name); err != nil {
		return err
	}
	return unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
}

// like gives a file or directory the owner, the extended attributes, the mode
// and the times of another; in this order, for a change of owner clears modes
// and capabilities.
func like(from, to int, st *unix.Stat_t, path string) error {
	fail := func(op string, err error) error {
		if err == nil {
			return nil
		}
		return &os.PathError{Op: op, Path: path, Err: err}
	}
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return fail("fchown", err)
	}
	if err := copyAttributes(from, to); err != nil {
		return fail("setxattr", err)
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return fail("fchmod", err)
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	return fail("utimensat", unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(to), times, 0))
}

// copyAttributes copies the extended attributes that the new file system knows.
func copyAttributes(from, to int) error {
	list := make([]byte, 1<<16) // XATTR_LIST_MAX
	n, err := unix.Flistxattr(from, list)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return err
	}
	for name := range bytes.SplitSeq(list[:n], []byte{0}) {
		// A label is the mount's or the policy's.
		if len(name) == 0 || string(name) == "security.selinux" {
			continue
		}
		value := make([]byte, 1<<16) // XATTR_SIZE_MAX
		size, err := unix.Fgetxattr(from, string(name), value)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return err
		}
		err = unix.Fsetxattr(to, string(name), value[:size], 0)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return nil
}
