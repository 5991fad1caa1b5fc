package lifecycle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"airplant/userns"

	"golang.org/x/sys/unix"
)

// A tmpfs with tmpcopyup begins with what it covers. The container's process
// sends both directories, and waits; the copy is made by whoever has all ids of
// the container: we, or, where those are not ours, a process of ours in another
// namespace with the same map. What is copied is foreign: no name is looked up
// but in the directory that it was read from, and no link is followed.

// CopyUpName is our name where we do nothing but [CopyUp]. It is how a process
// in another user namespace is told what to do.
const CopyUpName = "airplant-copyup"

// copies serves the socket until the container's process has closed it.
func (b *newborn) copies(socket *os.File) (err error) {
	defer func() { err = errors.Join(err, socket.Close()) }()
	for {
		name, from, to, err := receiveTwo(socket)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = errors.Join(b.copyOne(from, to), from.Close(), to.Close())
		}
		if err != nil {
			return fmt.Errorf("mount tmpfs on %s: tmpcopyup: %w", name, err)
		}
		_, err = socket.Write([]byte{0})
		if errors.Is(err, unix.EPIPE) {
			return nil // the process has ended, and says why
		}
		if err != nil {
			return err
		}
	}
}

func (b *newborn) copyOne(from, to *os.File) error {
	if b.plan.MapBy == userns.MapNone || b.plan.MapBy == userns.MapSelf {
		return CopyUp(from, to)
	}
	var said bytes.Buffer
	status, err := userns.EnterWith(b.plan.Map, b.plan.MapBy, "/proc/self/exe", []string{CopyUpName}, nil, from, to, &said)
	if err == nil && status != 0 {
		err = errors.New(said.String())
	}
	return err
}

// receiveTwo reads a message with two descriptors.
func receiveTwo(socket *os.File) (name string, first, second *os.File, err error) {
	text, control := make([]byte, unix.PathMax), make([]byte, unix.CmsgSpace(8))
	n, nc, _, _, err := unix.Recvmsg(int(socket.Fd()), text, control, unix.MSG_CMSG_CLOEXEC)
	for errors.Is(err, unix.EINTR) {
		n, nc, _, _, err = unix.Recvmsg(int(socket.Fd()), text, control, unix.MSG_CMSG_CLOEXEC)
	}
	switch {
	case errors.Is(err, unix.ECONNRESET), err == nil && n == 0:
		return "", nil, nil, io.EOF
	case err != nil:
		return "", nil, nil, os.NewSyscallError("recvmsg", err)
	}
	name = string(text[:n])
	messages, err := unix.ParseSocketControlMessage(control[:nc])
	if err != nil || len(messages) != 1 {
		return name, nil, nil, errors.Join(errors.New("a message without descriptors"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 2 {
		return name, nil, nil, errors.Join(errors.New("a message without two descriptors"), err)
	}
	return name, os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name), nil
}

// CopyUp copies what is in one directory to another, which is empty, with
// owners, modes, times and extended attributes. Either may be an O_PATH
// descriptor.
func CopyUp(from, to *os.File) error {
	c := &copier{}
	return c.tree(int(from.Fd()), int(to.Fd()), "/")
}

type copier struct{ depth int }

// maxDepth bounds how many descriptors a copy holds: two a level.
const maxDepth = 200

// tree copies the entries of a directory, and then what it is itself.
func (c *copier) tree(from, to int, path string) (err error) {
	if c.depth++; c.depth > maxDepth {
		return fmt.Errorf("%s: more than %d directories deep", path, maxDepth)
	}
	defer func() { c.depth-- }()
	src, err := openDir(from, ".")
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer src.Close()
	dst, err := openDir(to, ".")
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer dst.Close()
	for {
		names, err := src.Readdirnames(256)
		for _, name := range names {
			if err := c.entry(int(src.Fd()), int(dst.Fd()), name, path); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return &os.PathError{Op: "fstat", Path: path, Err: err}
	}
	return like(int(src.Fd()), int(dst.Fd()), &st, path)
}

func openDir(at int, name string) (*os.File, error) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// entry copies one entry of a directory.
func (c *copier) entry(from, to int, name, dir string) error {
	path := dir + name
	fail := func(op string, err error) error {
		if err == nil {
			return nil
		}
		return &os.PathError{Op: op, Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fail("fstatat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return fail("copy", copyFile(from, to, name, &st))
	case unix.S_IFLNK:
		return fail("copy link", copyLink(from, to, name, &st))
	case unix.S_IFIFO:
		if err := unix.Mknodat(to, name, st.Mode, 0); err != nil {
			return fail("mknodat", err)
		}
		return fail("chown", unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW))
	case unix.S_IFDIR:
		if err := unix.Mkdirat(to, name, 0o700); err != nil {
			return fail("mkdirat", err)
		}
		src, err := openDir(from, name)
		if err != nil {
			return fail("open", err)
		}
		defer src.Close()
		dst, err := openDir(to, name)
		if err != nil {
			return fail("open", err)
		}
		defer dst.Close()
		return c.tree(int(src.Fd()), int(dst.Fd()), path+"/")
	}
	return nil // sockets end with their server, and devices are not an image's to give
}
