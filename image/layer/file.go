package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

func (p *Pending) file(d *dir, base string, h *tar.Header, r io.Reader) error {
	if p.result.Bytes += h.Size; h.Size < 0 || p.result.Bytes > MaxBytes || p.result.Bytes < 0 {
		return fmt.Errorf("%w: more than %d bytes in files", ErrLimit, int64(MaxBytes))
	}
	var f fd
	err := p.place(d, base, func() (err error) {
		f, err = d.fd.create(base)
		return err
	})
	if err != nil {
		return err
	}
	defer f.close()
	if IsSparse(h) {
		err = p.copySparse(f, r, h.Size)
	} else {
		_, err = io.CopyBuffer(f, r, p.buf)
	}
	if err != nil {
		return err
	}
	if err := p.own(f, h, d.join(base), true); err != nil {
		return err
	}
	if err := unix.Fchmod(int(f), uint32(h.Mode&0o7777)); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	if err := p.xattrs(h, d.join(base), func(k string, v []byte) error { return unix.Fsetxattr(int(f), k, v, 0) }); err != nil {
		return err
	}
	return d.setTimes(base, atime(h), mtime(h))
}

// IsSparse tells whether the content of an entry lies in pieces.
func IsSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// copySparse leaves holes where the stream holds blocks of zeros: archive/tar
// expands the holes of a sparse entry.
func (p *Pending) copySparse(f fd, r io.Reader, size int64) error {
	const block = 4096
	zeros := make([]byte, block)
	for off := int64(0); ; {
		n, err := io.ReadFull(r, p.buf)
		for b := p.buf[:n]; len(b) > 0; {
			c := b[:min(block, len(b))]
			b = b[len(c):]
			if !bytes.Equal(c, zeros[:len(c)]) {
				if _, err := unix.Pwrite(int(f), c, off); err != nil {
					return err
				}
			}
			off += int64(len(c))
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			if off != size {
				return io.ErrUnexpectedEOF
			}
			return unix.Ftruncate(int(f), size)
		}
		if err != nil {
			return err
		}
	}
}

func (p *Pending) symlink(d *dir, base string, h *tar.Header) error {
	if h.Linkname == "" || len(h.Linkname) > maxLinkBytes {
		return invalidf("symbolic link with a target of %d bytes", len(h.Linkname))
	}
	if err := p.place(d, base, func() error { return unix.Symlinkat(h.Linkname, int(d.fd), base) }); err != nil {
		return err
	}
	return p.special(d, base, h)
}

// hardlink links base to a file of this layer, or leaves it to Finish.
func (p *Pending) hardlink(d *dir, base string, h *tar.Header) error {
	target, err := cleanName(h.Linkname)
	if err != nil {
		return err
	}
	if target == "" {
		return invalidf("hard link to the root")
	}
	name := d.join(base) // d is closed by the next look-up
	done, err := p.link(name, target)
	if err != nil || done {
		return err
	}
	if len(p.links) >= maxDeferred {
		return fmt.Errorf("%w: more than %d hard links to lower layers", ErrLimit, maxDeferred)
	}
	// What stands here is replaced, and hides what is below, as of now.
	d, err = p.tree.dir(path.Dir("/" + name)[1:], true)
	if err != nil {
		return err
	}
	if err := p.tree.clear(d, base); err != nil {
		return err
	}
	p.byName[name] = len(p.links)
	p.links = append(p.links, link{name: name, target: target})
	return nil
}

// link makes name a hard link to target if this layer has it. Both are paths
// without ".."; name's directory exists and holds no symbolic link.
func (p *Pending) link(name, target string) (bool, error) {
	tdir, tbase := path.Split(target)
	from, err := p.tree.dir(strings.TrimSuffix(tdir, "/"), false)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("hard link to %q: %w", target, err)
	}
	st, err := from.lstat(tbase)
	switch {
	case errors.Is(err, unix.ENOENT) || err == nil && isWhiteout(&st):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("hard link to %q: %w", target, err)
	case isDir(&st):
		return false, invalidf("hard link to the directory %q", target)
	case from.join(tbase) == name:
		return true, nil
	}
	src, err := from.openDir("") // survives the next look-up
	if err != nil {
		return false, err
	}
	defer src.close()
	dst, err := p.tree.dir(path.Dir("/" + name)[1:], true)
	if err != nil {
		return false, err
	}
	base := path.Base(name)
	err = p.place(dst, base, func() error { return unix.Linkat(int(src), tbase, int(dst.fd), base, 0) })
	if err != nil {
		return false, fmt.Errorf("hard link to %q: %w", target, err)
	}
	return true, nil
}
