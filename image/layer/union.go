package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Union looks names up in a stack of unpacked layers as overlayfs would show
// them, without a mount and so without any privilege.
type Union struct {
	roots []fd // top first
}

// OpenUnion opens the directories of a stack, the top one first.
func OpenUnion(dirs []string) (*Union, error) {
	u := &Union{}
	for _, d := range dirs {
		n, err := unix.Open(d, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			u.Close()
			return nil, &fs.PathError{Op: "open layer", Path: d, Err: err}
		}
		u.roots = append(u.roots, fd(n))
	}
	return u, nil
}

// Close closes the directories.
func (u *Union) Close() {
	closeAll(u.roots)
	u.roots = nil
}

func closeAll(list []fd) {
	for _, f := range list {
		f.close()
	}
}

// found is what a name stands for in a union: either dirs is not empty and
// holds the directories that merge there, top first, or it is a file called
// name in the directory in.
type found struct {
	st   unix.Stat_t
	dirs []fd
	in   fd
	name string
	path string // without symbolic links, relative to the root
}

// close closes what look-ups opened, but not the directory in, which belongs
// to the list the name was looked up in.
func (f *found) close() { closeAll(f.dirs) }

// step looks one name up in merged directories. unix.ENOENT means that no
// layer has it or that a whiteout hides it.
func step(dirs []fd, name string) (found, error) {
	var r found
	for _, d := range dirs {
		st, err := d.lstat(name)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			r.close()
			return found{}, err
		}
		if isWhiteout(&st) {
			break
		}
		if !isDir(&st) {
			if len(r.dirs) == 0 {
				return found{st: st, in: d, name: name}, nil
			}
			break
		}
		sub, err := d.openBeneath(name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			r.close()
			return found{}, err
		}
		if len(r.dirs) == 0 {
			r.st, r.in, r.name = st, d, name
		}
		r.dirs = append(r.dirs, sub)
		if isOpaque(sub) {
			break
		}
	}
	if len(r.dirs) == 0 {
		return found{}, unix.ENOENT
	}
	return r, nil
}

func isOpaque(d fd) bool {
	var b [1]byte
	n, err := unix.Fgetxattr(int(d), overlayOpaque, b[:])
	return err == nil && n == 1 && b[0] == 'y'
}

// find resolves a path, with symbolic links clamped to the root; a link in
// the last component is followed if follow is set. use is called with the
// result while its descriptors are open.
func (u *Union) find(path string, follow bool, use func(found) error) error {
	stack := []found{{dirs: u.roots}}
	pop := func(to int) {
		for len(stack) > max(to, 1) { // the roots stay open
			stack[len(stack)-1].close()
			stack = stack[:len(stack)-1]
		}
	}
	defer pop(1)
	links := 0
	for todo := splitPath(path); len(todo) > 0; {
		c := todo[0]
		todo = todo[1:]
		top := stack[len(stack)-1]
		if c == "." {
			continue
		}
		if c == ".." {
			pop(len(stack) - 1)
			continue
		}
		next, err := step(top.dirs, c)
		if err != nil {
			return err
		}
		next.path = strings.TrimPrefix(top.path+"/"+c, "/")
		switch next.st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			stack = append(stack, next)
			continue
		case unix.S_IFLNK:
			if len(todo) == 0 && !follow {
				return use(next)
			}
			target, err := next.in.readlink(c)
			if err != nil {
				return err
			}
			if links++; links > maxLinks {
				return unix.ELOOP
			}
			if strings.HasPrefix(target, "/") {
				pop(1)
			}
			todo = append(splitPath(target), todo...)
			continue
		}
		if len(todo) > 0 {
			return unix.ENOTDIR
		}
		return use(next)
	}
	return use(stack[len(stack)-1])
}

// Open opens the regular file at path for reading, following symbolic links
// within the stack. Anything but a regular file is refused and not opened
// (a fifo would block, a device act).
func (u *Union) Open(path string) (*os.File, error) {
	var file *os.File
	err := u.find(path, true, func(f found) error {
		if f.st.Mode&unix.S_IFMT != unix.S_IFREG {
			return errors.New("not a regular file")
		}
		n, err := f.in.openBeneath(f.name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
		if err != nil {
			return err
		}
		st, err := n.stat()
		if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
			err = errors.New("not a regular file")
		}
		if err != nil {
			n.close()
			return err
		}
		file = os.NewFile(uintptr(n), path)
		return nil
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open in image", Path: path, Err: err}
	}
	if file == nil {
		return nil, fmt.Errorf("open in image %s: nothing found", path)
	}
	return file, nil
}
