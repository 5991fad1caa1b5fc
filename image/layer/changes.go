package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ChangeKind is what happened to a path, by docker's letters.
type ChangeKind byte

// The kinds.
const (
	Added    ChangeKind = 'A'
	Modified ChangeKind = 'C'
	Deleted  ChangeKind = 'D'
)

// changes walks an upper directory, as overlayfs leaves it with userxattr, over
// those below it.
type changes struct {
	ctx    context.Context
	mounts map[string]bool
	// visit is called for everything that changed, parents first and by the
	// order of names: in is the open directory, below tells whether the
	// layers below have something at path.
	visit func(in fd, name, path string, st *unix.Stat_t, below *unix.Stat_t) error
	// opaque is called, after visit, for a directory that hides those below
	// it, and hidden for what they have and it has not, at any depth.
	opaque func(path string) error
	hidden func(path string) error
}

// WriteChanges writes what an upper directory changed as a layer: the same
// files give the same bytes. It reports how many entries there are; with none
// the tar is empty.
func WriteChanges(ctx context.Context, out io.Writer, upper *os.File, lowers []*os.File, opts WriteOptions) (entries int, err error) {
	w := newTarWriter(ctx, out, opts)
	marker := func(path string) error {
		entries++
		h := &tar.Header{Typeflag: tar.TypeReg, Name: path, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		return w.tw.WriteHeader(h)
	}
	c := &changes{ctx: ctx, mounts: mountPoints(opts)}
	c.visit = func(in fd, name, path string, st, below *unix.Stat_t) error {
		switch {
		case isWhiteout(st):
			dir, base := splitLast(path)
			return marker(dir + whiteoutPrefix + base)
		case strings.HasPrefix(name, whiteoutPrefix):
			return fmt.Errorf("write %q: a layer cannot hold a file whose name begins with %s", path, whiteoutPrefix)
		case path == ".":
			if below != nil && st.Mode == below.Mode && st.Uid == below.Uid && st.Gid == below.Gid {
				return nil
			}
		case st.Mode&unix.S_IFMT == unix.S_IFSOCK:
			return nil
		}
		entries++
		return w.entry(in, name, path, st)
	}
	c.opaque = func(path string) error { return marker(path + "/" + opaqueName) }
	c.hidden = func(string) error { return nil }
	if err := c.walk(upper, lowers); err != nil {
		return entries, err
	}
	return entries, w.tw.Close()
}

// Diff calls each for every path that an upper directory changed.
func Diff(ctx context.Context, upper *os.File, lowers []*os.File, opts WriteOptions, each func(ChangeKind, string) error) error {
	c := &changes{ctx: ctx, mounts: mountPoints(opts)}
	c.visit = func(_ fd, _, path string, st, below *unix.Stat_t) error {
		switch {
		case path == ".":
			return nil
		case isWhiteout(st):
			if below == nil {
				return nil
			}
			return each(Deleted, "/"+path)
		case below != nil:
			return each(Modified, "/"+path)
		}
		return each(Added, "/"+path)
	}
	c.opaque = func(string) error { return nil }
	c.hidden = func(path string) error { return each(Deleted, "/"+path) }
	return c.walk(upper, lowers)
}

func mountPoints(opts WriteOptions) map[string]bool {
	set := map[string]bool{}
	for _, m := range opts.MountPoints {
		if clean, err := cleanName(m); err == nil {
			set[clean] = true
		}
	}
	return set
}

func splitLast(path string) (dir, base string) {
	n := strings.LastIndexByte(path, '/') + 1
	return path[:n], path[n:]
}

func (c *changes) walk(upper *os.File, lowers []*os.File) error {
	top, err := fd(upper.Fd()).openBeneath("", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer top.close()
	var below []fd
	for _, f := range lowers {
		below = append(below, fd(f.Fd()))
	}
	st, err := top.stat()
	if err != nil {
		return err
	}
	var root *unix.Stat_t
	if len(below) > 0 {
		st, err := below[0].stat()
		if err != nil {
			return err
		}
		root = &st
	}
	if err := c.visit(top, ".", ".", &st, root); err != nil {
		return err
	}
	return c.dir(top, "", below, false, 0)
}

// dir walks the entries of an open directory over those that merge with it, or
// that it hides.
func (c *changes) dir(d fd, path string, below []fd, hides bool, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("%w: more than %d directories deep", ErrLimit, MaxDepth)
	}
	if err := c.ctx.Err(); err != nil {
		return err
	}
	names, err := d.names()
	if err != nil {
		return fmt.Errorf("list %q: %w", path, err)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := c.one(d, name, strings.TrimPrefix(path+"/"+name, "/"), below, hides, depth); err != nil {
			return err
		}
	}
	return nil
}

func (c *changes) one(d fd, name, path string, below []fd, hides bool, depth int) error {
	st, err := d.lstat(name)
	if errors.Is(err, unix.ENOENT) {
		return nil // the container runs
	}
	if err != nil {
		return fmt.Errorf("stat %q: %w", path, err)
	}
	lower, err := step(below, name)
	defer lower.close()
	var under *unix.Stat_t
	switch {
	case err == nil:
		under = &lower.st
	case !errors.Is(err, unix.ENOENT):
		return fmt.Errorf("look up %q below: %w", path, err)
	}
	if under == nil && c.forMounts(d, name, path, &st) {
		return nil
	}
	if err := c.visit(d, name, path, &st, under); err != nil || !isDir(&st) {
		return err
	}
	sub, err := d.openBeneath(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open directory %q: %w", path, err)
	}
	defer sub.close()
	if !hides && isOpaque(sub) {
		if hides = true; len(lower.dirs) > 0 {
			if err := c.opaque(path); err != nil {
				return err
			}
		}
	}
	if hides {
		hidden, err := hiddenNames(sub, lower.dirs)
		if err != nil {
			return fmt.Errorf("list what %q hides: %w", path, err)
		}
		for _, name := range hidden {
			if err := c.hidden(path + "/" + name); err != nil {
				return err
			}
		}
	}
	return c.dir(sub, path, lower.dirs, hides, depth+1)
}

// forMounts tells whether an entry is there for mounts alone: it is empty and a
// mount point, or a directory of nothing but such entries.
func (c *changes) forMounts(d fd, name, path string, st *unix.Stat_t) bool {
	if !isDir(st) {
		return c.mounts[path] && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == 0
	}
	if !c.leadsToMount(path) {
		return false
	}
	sub, err := d.openBeneath(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	defer sub.close()
	names, err := sub.names()
	if err != nil {
		return false
	}
	for _, n := range names {
		if st, err := sub.lstat(n); err != nil || !c.forMounts(sub, n, path+"/"+n, &st) {
			return false
		}
	}
	return true
}

func (c *changes) leadsToMount(path string) bool {
	for m := range c.mounts {
		if m == path || strings.HasPrefix(m, path+"/") {
			return true
		}
	}
	return false
}

// hiddenNames lists what is in the directories below and not in d.
func hiddenNames(d fd, below []fd) ([]string, error) {
	var hidden []string
	for _, b := range below {
		names, err := b.names()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if _, err := d.lstat(name); !errors.Is(err, unix.ENOENT) {
				continue
			}
			if found, err := step(below, name); err == nil {
				hidden = append(hidden, name)
				found.close()
			}
		}
	}
	slices.Sort(hidden)
	return slices.Compact(hidden), nil
}
