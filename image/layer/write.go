package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// WriteOptions says how to read directories that become a tar.
type WriteOptions struct {
	// OneID believes user.containers.override_stat, which [Options.IgnoreOwner]
	// writes. Elsewhere a container could forge it.
	OneID bool
	// MountPoints are paths at which the container had mounts. What is empty
	// there, and not in the layers below, was made for them.
	MountPoints []string
}

// tarWriter writes files of directories as entries that depend on nothing but
// the files: no access times, no names of users.
type tarWriter struct {
	ctx    context.Context
	tw     *tar.Writer
	opts   WriteOptions
	inodes map[inode]string // the first path of files with several names
	buf    []byte
}

type inode struct{ dev, ino uint64 }

func newTarWriter(ctx context.Context, w io.Writer, opts WriteOptions) *tarWriter {
	return &tarWriter{ctx: ctx, tw: tar.NewWriter(w), opts: opts, inodes: map[inode]string{}, buf: make([]byte, 256<<10)}
}

// entry writes what is called name in d, as path. Sockets are nothing that a
// tar could hold.
func (w *tarWriter) entry(d fd, name, path string, st *unix.Stat_t) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	h := &tar.Header{
		Name: path, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX, PAXRecords: map[string]string{},
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return nil
	case unix.S_IFREG:
		err = w.file(d, name, h, st)
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, path+"/"
		err = w.described(d, name, h)
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = d.readlink(name); err == nil {
			err = w.linked(d, name, h, st)
		}
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
		err = w.linked(d, name, h, st)
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
		err = w.linked(d, name, h, st)
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", short(path), err)
	}
	return nil
}

// again writes a hard link where the file was written by another name.
func (w *tarWriter) again(h *tar.Header, st *unix.Stat_t) (bool, error) {
	if st.Nlink < 2 {
		return false, nil
	}
	key := inode{st.Dev, st.Ino}
	first, ok := w.inodes[key]
	if !ok {
		w.inodes[key] = h.Name
		return false, nil
	}
	h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, first, 0, nil
	return true, w.tw.WriteHeader(h)
}

// linked writes an entry without content that may have several names.
func (w *tarWriter) linked(d fd, name string, h *tar.Header, st *unix.Stat_t) error {
	if done, err := w.again(h, st); done || err != nil {
		return err
	}
	return w.described(d, name, h)
}

// described writes a header with the extended attributes of the entry.
func (w *tarWriter) described(d fd, name string, h *tar.Header) error {
	path := d.path(name)
	err := w.attributes(h, func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		func(k string, b []byte) (int, error) { return unix.Lgetxattr(path, k, b) })
	if err != nil {
		return err
	}
	return w.tw.WriteHeader(h)
}

func (w *tarWriter) file(d fd, name string, h *tar.Header, st *unix.Stat_t) error {
	h.Typeflag = tar.TypeReg
	n, err := d.openBeneath(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(n), name)
	defer f.Close()
	now, err := n.stat()
	if err != nil {
		return err
	}
	if now.Mode&unix.S_IFMT != unix.S_IFREG || now.Ino != st.Ino {
		return errors.New("it was replaced meanwhile")
	}
	err = w.attributes(h, func(b []byte) (int, error) { return unix.Flistxattr(int(n), b) },
		func(k string, b []byte) (int, error) { return unix.Fgetxattr(int(n), k, b) })
	if err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg { // a device, as far as the image is concerned
		return w.tw.WriteHeader(h)
	}
	if done, err := w.again(h, st); done || err != nil {
		return err
	}
	h.Size = now.Size
	if err := w.tw.WriteHeader(h); err != nil {
		return err
	}
	done, err := io.CopyBuffer(struct{ io.Writer }{w.tw}, io.LimitReader(f, h.Size), w.buf)
	if err == nil && done < h.Size {
		err = fmt.Errorf("it shrank from %d to %d bytes meanwhile", h.Size, done)
	}
	return err
}

// attributes adds extended attributes, and what those of one-id stores say of
// the owner.
func (w *tarWriter) attributes(h *tar.Header, list func([]byte) (int, error), get func(string, []byte) (int, error)) error {
	n, err := list(w.buf[:64<<10]) // XATTR_LIST_MAX
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list attributes: %w", err)
	}
	if n == 0 {
		return nil
	}
	names := strings.Split(strings.TrimSuffix(string(w.buf[:n]), "\x00"), "\x00")
	slices.Sort(names)
	for _, name := range names {
		written := writtenXattr(name)
		owner := name == overrideXattr && w.opts.OneID
		if written == "" && !owner {
			continue
		}
		n, err := get(name, w.buf[:64<<10]) // XATTR_SIZE_MAX
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read attribute %q: %w", name, err)
		}
		value := string(w.buf[:n])
		if owner {
			if err := overrideOwner(h, value); err != nil {
				return err
			}
			continue
		}
		if strings.Contains(written, "=") {
			return fmt.Errorf("attribute %q: a tar cannot hold a name with \"=\"", name)
		}
		h.PAXRecords[paxXattr+written] = value
	}
	return nil
}

// writtenXattr is the inverse of storedXattr: the name that an attribute has in
// an image, "" if it belongs to overlayfs, to the host, or to nobody.
func writtenXattr(name string) string {
	if strings.HasPrefix(name, "user.overlay.") {
		if rest, ok := strings.CutPrefix(name, "user.overlay.overlay."); ok {
			return "user.overlay." + rest
		}
		return ""
	}
	return storedXattr(name)
}

// overrideOwner reads uid:gid:mode[:type] of containers/storage.
func overrideOwner(h *tar.Header, value string) error {
	wrong := func() error { return fmt.Errorf("attribute %s=%q: want uid:gid:mode", overrideXattr, value) }
	f := strings.Split(value, ":")
	if len(f) < 3 {
		return wrong()
	}
	uid, err1 := strconv.ParseUint(f[0], 10, 32)
	gid, err2 := strconv.ParseUint(f[1], 10, 32)
	mode, err3 := strconv.ParseUint(f[2], 8, 32)
	if errors.Join(err1, err2, err3) != nil {
		return wrong()
	}
	h.Uid, h.Gid, h.Mode = int(uid), int(gid), int64(mode&0o7777)
	if len(f) < 4 {
		return nil
	}
	var major, minor int64
	for kind, typ := range map[string]byte{"block": tar.TypeBlock, "char": tar.TypeChar} {
		if n, err := fmt.Sscanf(f[3], kind+"-%d-%d", &major, &minor); n == 2 && err == nil {
			h.Typeflag, h.Devmajor, h.Devminor = typ, major, minor
		}
	}
	if f[3] == "pipe" {
		h.Typeflag = tar.TypeFifo
	}
	return nil
}
