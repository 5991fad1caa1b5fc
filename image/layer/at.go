package layer

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fd is an open descriptor, close-on-exec. Whoever obtained it closes it.
type fd int

func (d fd) close() { _ = unix.Close(int(d)) }

// retry repeats a call that a signal or a concurrent rename (openat2 says
// EAGAIN when it cannot be sure of a path) interrupted.
func retry(call func() error) error {
	for range 1000 {
		err := call()
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return err
		}
	}
	return unix.EAGAIN
}

// openBeneath opens a path below d without following any symbolic link.
func (d fd) openBeneath(path string, flags uint64) (fd, error) {
	if path == "" {
		path = "."
	}
	how := unix.OpenHow{
		Flags:   flags | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	n := -1
	err := retry(func() (err error) {
		n, err = unix.Openat2(int(d), path, &how)
		return err
	})
	return fd(n), err
}

func (d fd) openDir(path string) (fd, error) {
	return d.openBeneath(path, unix.O_PATH|unix.O_DIRECTORY)
}

func (d fd) create(name string) (fd, error) {
	n := -1
	err := retry(func() (err error) {
		n, err = unix.Openat(int(d), name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	return fd(n), err
}

func (d fd) lstat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(int(d), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

func (d fd) stat() (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(d), &st)
	return st, err
}

func (d fd) readlink(name string) (string, error) {
	buf := make([]byte, maxLinkBytes+2)
	n, err := unix.Readlinkat(int(d), name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// Write writes all of p.
func (d fd) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(int(d), p[done:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// path names an entry of d for the calls that have no *at form. The last
// component is not a magic link, so that the l-variants do not follow it.
func (d fd) path(name string) string {
	return "/proc/self/fd/" + strconv.Itoa(int(d)) + "/" + name
}

// names lists the entries of a directory.
func (d fd) names() ([]string, error) {
	n, err := d.openBeneath("", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(n), "directory")
	defer f.Close()
	return f.Readdirnames(-1)
}

// removeAll removes name and all below it.
func (d fd) removeAll(name string) error {
	err := unix.Unlinkat(int(d), name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return err
	}
	sub, oerr := d.openDir(name)
	if oerr != nil {
		return errors.Join(err, oerr)
	}
	defer sub.close()
	list, err := sub.names()
	if err != nil {
		return err
	}
	for _, n := range list {
		if err := sub.removeAll(n); err != nil {
			return err
		}
	}
	return unix.Unlinkat(int(d), name, unix.AT_REMOVEDIR)
}

func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

func isDir(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

// splitPath cuts a path into its components, without empty ones and dots.
func splitPath(p string) []string {
	return strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
}
