package layer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxDifferences is how many differences [Compare] lists.
const maxDifferences = 20

// Compare tells how the directory got differs from want, which was unpacked
// from the same layer: names, types, modes, owners, sizes, contents, links,
// attributes and times of modification.
func Compare(want, got *os.File) ([]string, error) {
	c := &comparison{a: make([]byte, 256<<10), b: make([]byte, 256<<10)}
	err := c.dir(fd(want.Fd()), fd(got.Fd()), "")
	if errors.Is(err, errEnough) {
		err = nil
	}
	return c.found, err
}

var errEnough = errors.New("enough differences")

type comparison struct {
	found []string
	a, b  []byte
}

func (c *comparison) differ(path, what string) error {
	if c.found = append(c.found, fmt.Sprintf("%q: %s", short(path), what)); len(c.found) >= maxDifferences {
		return errEnough
	}
	return nil
}

func (c *comparison) dir(want, got fd, path string) error {
	names, err := want.names()
	if err != nil {
		return err
	}
	have, err := got.names()
	if err != nil {
		return err
	}
	slices.Sort(names)
	slices.Sort(have)
	for _, n := range have {
		if _, ok := slices.BinarySearch(names, n); !ok {
			if err := c.differ(path+"/"+n, "it should not exist"); err != nil {
				return err
			}
		}
	}
	for _, n := range names {
		if err := c.entry(want, got, n, path+"/"+n); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) entry(want, got fd, name, path string) error {
	w, err := want.lstat(name)
	if err != nil {
		return err
	}
	g, err := got.lstat(name)
	if errors.Is(err, unix.ENOENT) {
		return c.differ(path, "it is missing")
	}
	if err != nil {
		return c.differ(path, err.Error())
	}
	what, err := c.metadata(want, got, name, &w, &g)
	if err != nil || what != "" {
		return errors.Join(err, c.differ(path, what))
	}
	if !isDir(&w) {
		return nil
	}
	subWant, err := want.openBeneath(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer subWant.close()
	subGot, err := got.openBeneath(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return c.differ(path, err.Error())
	}
	defer subGot.close()
	return c.dir(subWant, subGot, path)
}

// metadata names the first difference between two entries, "" for none.
func (c *comparison) metadata(want, got fd, name string, w, g *unix.Stat_t) (string, error) {
	switch {
	case w.Mode != g.Mode:
		return fmt.Sprintf("mode %o, not %o", g.Mode, w.Mode), nil
	case w.Uid != g.Uid || w.Gid != g.Gid:
		return fmt.Sprintf("owner %d:%d, not %d:%d", g.Uid, g.Gid, w.Uid, w.Gid), nil
	case !isDir(w) && w.Size != g.Size:
		return fmt.Sprintf("%d bytes, not %d", g.Size, w.Size), nil
	case w.Mtim != g.Mtim && !isWhiteout(w):
		return "another time of modification", nil
	}
	if a, b := attributes(want, name), attributes(got, name); a != b {
		return "other extended attributes", nil
	}
	switch w.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		a, err := want.readlink(name)
		if err != nil {
			return "", err
		}
		if b, err := got.readlink(name); err != nil || a != b {
			return "another target", nil //nolint:nilerr // it is the difference
		}
	case unix.S_IFREG:
		return c.contents(want, got, name)
	}
	return "", nil
}

// attributes lists the extended attributes of an entry with their values.
func attributes(d fd, name string) string {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(d.path(name), list)
	if err != nil {
		return ""
	}
	value := make([]byte, 64<<10)
	var all []string
	for _, k := range strings.Split(string(list[:n]), "\x00") {
		if k == "" || storedXattr(k) == "" && k != overrideXattr && k != overlayOpaque {
			continue
		}
		if n, err := unix.Lgetxattr(d.path(name), k, value); err == nil {
			all = append(all, fmt.Sprintf("%s=%x", k, value[:n]))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func (c *comparison) contents(want, got fd, name string) (string, error) {
	a, err := want.openBeneath(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return "", err
	}
	fa := os.NewFile(uintptr(a), name)
	defer fa.Close()
	b, err := got.openBeneath(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return err.Error(), nil
	}
	fb := os.NewFile(uintptr(b), name)
	defer fb.Close()
	for {
		n, errA := io.ReadFull(fa, c.a)
		m, errB := io.ReadFull(fb, c.b)
		if !bytes.Equal(c.a[:n], c.b[:m]) {
			return "other content", nil
		}
		switch {
		case errA == nil && errB == nil:
		case errors.Is(errA, io.EOF), errors.Is(errA, io.ErrUnexpectedEOF):
			return "", nil
		case errB != nil && errA == nil:
			return errB.Error(), nil
		default:
			return "", errA
		}
	}
}
