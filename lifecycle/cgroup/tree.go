package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// beneath keeps every name below the directory it is looked up in. Links do
// not exist in this file system; that none is followed costs nothing.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// maxFile bounds what is read of a file.
const maxFile = 8 << 20

// dir is an open directory of the hierarchy. Its zero value is none.
type dir struct {
	file *os.File
}

// openMount opens the root of a hierarchy and insists on version 2.
func openMount(name string) (dir, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return dir{}, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	d := dir{os.NewFile(uintptr(fd), name)}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return dir{}, errors.Join(&fs.PathError{Op: "statfs", Path: name, Err: err}, d.close())
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		return dir{}, errors.Join(fmt.Errorf("%s is not cgroup version 2", name), d.close())
	}
	return d, nil
}

func (d dir) close() error {
	if d.file == nil {
		return nil
	}
	return d.file.Close()
}

func (d dir) fd() int { return int(d.file.Fd()) }

func (d dir) name(file string) string { return path.Join(d.file.Name(), file) }

// openat opens something below d.
func (d dir) openat(name string, flags uint64) (int, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat2(d.fd(), name, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: beneath})
	})
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: d.name(name), Err: err}
	}
	return fd, nil
}

// sub opens a directory below d; "/" is d itself.
func (d dir) sub(name string) (dir, error) {
	rel := strings.TrimPrefix(path.Clean("/"+name), "/")
	if rel == "" {
		rel = "."
	}
	fd, err := d.openat(rel, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return dir{}, err
	}
	return dir{os.NewFile(uintptr(fd), d.name(rel))}, nil
}

// mkdir makes a directory in d.
func (d dir) mkdir(name string) error {
	if err := unix.Mkdirat(d.fd(), name, 0o755); err != nil {
		return &fs.PathError{Op: "mkdir", Path: d.name(name), Err: err}
	}
	return nil
}

// rmdir removes an empty directory in d.
func (d dir) rmdir(name string) error {
	if err := unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR); err != nil {
		return &fs.PathError{Op: "rmdir", Path: d.name(name), Err: err}
	}
	return nil
}

// has tells whether there is a file of that name.
func (d dir) has(name string) bool {
	fd, err := d.openat(name, unix.O_PATH)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

// chown changes the owner of a file in d.
func (d dir) chown(name string, uid, gid int) error {
	fd, err := d.openat(name, unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
		return &fs.PathError{Op: "chown", Path: d.name(name), Err: err}
	}
	return nil
}

// read returns a file's text.
func (d dir) read(name string) (string, error) {
	fd, err := d.openat(name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	text, err := readAll(fd)
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: d.name(name), Err: err}
	}
	return text, nil
}

func readAll(fd int) (string, error) {
	buf := make([]byte, 4096)
	text := buf[:0]
	for {
		n, err := retry(func() (int, error) { return unix.Read(fd, text[len(text):cap(text)]) })
		if err != nil {
			return "", err
		}
		if n == 0 {
			return string(text), nil
		}
		text = text[:len(text)+n]
		if len(text) > maxFile {
			return "", unix.EFBIG
		}
		if len(text) == cap(text) {
			text = append(text, make([]byte, len(text))...)[:len(text)]
		}
	}
}

// words reads a file and splits it at white space.
func (d dir) words(name string) ([]string, error) {
	text, err := d.read(name)
	return strings.Fields(text), err
}

// write writes a value by one call, since each is a command of its own.
func (d dir) write(name, value string) error {
	fd, err := d.openat(name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := retry(func() (int, error) { return unix.Write(fd, []byte(value)) }); err != nil {
		return fmt.Errorf("write %q to %s: %w", value, d.name(name), err)
	}
	return nil
}

// children lists the directories in d, files its files.
func (d dir) children() ([]string, error) { return d.list(true) }

func (d dir) files() ([]string, error) { return d.list(false) }

func (d dir) list(dirs bool) ([]string, error) {
	again, err := d.sub("/") // a descriptor of its own has a position of its own
	if err != nil {
		return nil, err
	}
	defer again.close()
	entries, err := again.file.ReadDir(-1)
	var names []string
	for _, e := range entries {
		if e.IsDir() == dirs {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// retry repeats a call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR { //nolint:errorlint // an errno as the call returns it
			return n, err
		}
	}
}
