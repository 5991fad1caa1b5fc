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

// Stored is an unpacked layer, and what its directory cannot express.
type Stored struct {
	Dir     *os.File
	Skipped []Skip
}

// exporter walks a stack of layers as overlayfs would show it.
type exporter struct {
	w       *tarWriter
	skipped []map[string]Skip   // by layer
	devices map[string][]string // names by directory
}

// merged is a directory of the stack: the directories that merge there, top
// first, and the layers that they are of.
type merged struct {
	dirs   []fd
	layers []int
}

func (m *merged) close() { closeAll(m.dirs) }

// WriteTree writes what a container of the layers sees, the top one first,
// devices and owners included that the directories do not have.
func WriteTree(ctx context.Context, out io.Writer, stack []Stored, opts WriteOptions) error {
	e := &exporter{w: newTarWriter(ctx, out, opts), devices: map[string][]string{}}
	top := &merged{}
	defer top.close()
	for n, s := range stack {
		d, err := fd(s.Dir.Fd()).openBeneath("", unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		top.dirs, top.layers = append(top.dirs, d), append(top.layers, n)
		byPath := map[string]Skip{}
		for _, k := range s.Skipped {
			byPath[k.Path] = k
			if k.Reason == "device" {
				dir, base := splitLast(k.Path)
				dir = strings.TrimSuffix(dir, "/")
				e.devices[dir] = append(e.devices[dir], base)
			}
		}
		e.skipped = append(e.skipped, byPath)
	}
	if err := e.dir(top, "", 0); err != nil {
		return err
	}
	return e.w.tw.Close()
}

func (e *exporter) dir(m *merged, path string, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("%w: more than %d directories deep", ErrLimit, MaxDepth)
	}
	names := slices.Clone(e.devices[path])
	for _, d := range m.dirs {
		list, err := d.names()
		if err != nil {
			return fmt.Errorf("list %q: %w", path, err)
		}
		names = append(names, list...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := e.one(m, name, strings.TrimPrefix(path+"/"+name, "/"), depth); err != nil {
			return err
		}
	}
	return nil
}

// one writes the entry that the stack shows by a name.
func (e *exporter) one(m *merged, name, path string, depth int) error {
	sub := &merged{}
	defer sub.close()
	for n, d := range m.dirs {
		st, err := d.lstat(name)
		if errors.Is(err, unix.ENOENT) {
			// A whiteout stands for a device only where it hides something.
			if skip, ok := e.skipped[m.layers[n]][path]; ok && skip.Reason == "device" && len(sub.dirs) == 0 {
				return e.device(path, skip)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("stat %q: %w", path, err)
		}
		if !isDir(&st) {
			if len(sub.dirs) > 0 {
				break
			}
			return e.leaf(d, name, path, m.layers[n], &st)
		}
		if len(sub.dirs) == 0 {
			if err := e.w.entry(d, name, path, &st); err != nil {
				return err
			}
		}
		s, err := d.openBeneath(name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return fmt.Errorf("open directory %q: %w", path, err)
		}
		sub.dirs, sub.layers = append(sub.dirs, s), append(sub.layers, m.layers[n])
		if isOpaque(s) {
			break
		}
	}
	if len(sub.dirs) == 0 {
		return nil
	}
	return e.dir(sub, path, depth+1)
}

// leaf writes what is no directory. A whiteout may stand for a device.
func (e *exporter) leaf(d fd, name, path string, layer int, st *unix.Stat_t) error {
	skip, noted := e.skipped[layer][path]
	switch {
	case isWhiteout(st) && noted && skip.Reason == "device":
		return e.device(path, skip)
	case isWhiteout(st):
		return nil
	case noted && skip.Reason == "owner":
		st.Uid, st.Gid = uint32(skip.UID), uint32(skip.GID)
	}
	return e.w.entry(d, name, path, st)
}

func (e *exporter) device(path string, s Skip) error {
	h := &tar.Header{
		Typeflag: tar.TypeChar, Name: path, Mode: s.Mode, Uid: s.UID, Gid: s.GID,
		Devmajor: s.Major, Devminor: s.Minor, ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
	}
	if s.Type == "block" {
		h.Typeflag = tar.TypeBlock
	}
	return e.w.tw.WriteHeader(h)
}
