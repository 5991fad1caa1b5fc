package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	whiteoutPrefix = ".wh."
	aufsPrefix     = ".wh..wh." // aufs metadata, except for opaqueName
	opaqueName     = ".wh..wh..opq"
	overlayOpaque  = "user.overlay.opaque"
)

// Pending is a layer whose stream has been read but whose dependencies on
// lower layers are open. It holds a descriptor until Finish or Close.
type Pending struct {
	tree   *tree
	opts   Options
	result Result
	// links are hard links whose target this layer does not hold, in the
	// order of the tar; byName finds one that a later entry replaces.
	links  []link
	byName map[string]int
	buf    []byte
}

type link struct{ name, target string }

// Unpack reads an uncompressed tar stream to the end of the archive and
// creates its files below root, an empty directory which remains the caller's
// to close. What it leaves after an error is to be removed by the caller.
func Unpack(ctx context.Context, root *os.File, r io.Reader, opts Options) (*Pending, error) {
	f, err := fd(root.Fd()).openDir("")
	if err != nil {
		return nil, fmt.Errorf("open layer directory: %w", err)
	}
	p := &Pending{
		tree:   &tree{root: f, top: &node{}},
		opts:   opts,
		byName: map[string]int{},
		buf:    make([]byte, 256<<10),
	}
	if err := p.read(ctx, tar.NewReader(r)); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close gives up a layer that Finish will not be called for.
func (p *Pending) Close() {
	if p.tree != nil {
		p.tree.close()
		p.tree = nil
	}
}

func (p *Pending) read(ctx context.Context, tr *tar.Reader) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) {
			return invalidf("entry %d: %v", p.result.Entries+1, err)
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return fmt.Errorf("read entry %d: %w", p.result.Entries+1, err)
		}
		if p.result.Entries++; p.result.Entries > MaxEntries {
			return fmt.Errorf("%w: more than %d entries", ErrLimit, MaxEntries)
		}
		if err := p.entry(h, tr); err != nil {
			return fmt.Errorf("unpack %q: %w", short(h.Name), err)
		}
	}
}

func short(name string) string {
	if len(name) > 200 {
		return name[:200] + "…"
	}
	return name
}

// cleanName gives the path of an entry relative to the root, "" for the root
// itself. Leading slashes and ".." cannot lead above it.
func cleanName(name string) (string, error) {
	clean := path.Clean("/" + name)[1:]
	if strings.ContainsRune(name, 0) {
		return "", invalidf("name contains a zero byte")
	}
	if len(clean) >= maxPath {
		return "", fmt.Errorf("%w: path of %d bytes", ErrLimit, len(clean))
	}
	return clean, nil
}

func (p *Pending) entry(h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if name == "" {
		return p.rootEntry(h)
	}
	parent, base := path.Split(name)
	for _, c := range splitPath(parent) {
		if strings.HasPrefix(c, aufsPrefix) {
			return nil
		}
		if strings.HasPrefix(c, whiteoutPrefix) {
			return invalidf("directory named like a whiteout")
		}
	}
	if strings.HasPrefix(base, aufsPrefix) && base != opaqueName {
		return nil
	}
	d, err := p.tree.dir(strings.TrimSuffix(parent, "/"), true)
	if err != nil {
		return err
	}
	if hidden, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
		return p.whiteout(d, hidden)
	}
	if len(p.byName) > 0 {
		delete(p.byName, d.join(base))
	}
	return p.create(d, base, h, r)
}

func (p *Pending) rootEntry(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return invalidf("the root is not a directory")
	}
	d, err := p.tree.dir("", false)
	if err != nil {
		return err
	}
	return p.describe(d, h)
}

func (p *Pending) create(d *dir, base string, h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return p.directory(d, base, h)
	case tar.TypeReg, tar.TypeRegA, tar.TypeCont, tar.TypeGNUSparse: //nolint:staticcheck // old tars use TypeRegA
		return p.file(d, base, h, r)
	case tar.TypeSymlink:
		return p.symlink(d, base, h)
	case tar.TypeLink:
		return p.hardlink(d, base, h)
	case tar.TypeFifo:
		if err := p.place(d, base, func() error { return unix.Mkfifoat(int(d.fd), base, 0o600) }); err != nil {
			return err
		}
		return p.special(d, base, h)
	case tar.TypeChar, tar.TypeBlock:
		return p.device(d, base, h)
	}
	return invalidf("entry type %q", h.Typeflag)
}

// place runs a call that creates base, and once more after removing what
// stood in its way.
func (p *Pending) place(d *dir, base string, call func() error) error {
	err := retry(call)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := p.tree.clear(d, base); err != nil {
		return err
	}
	return retry(call)
}

func (p *Pending) directory(d *dir, base string, h *tar.Header) error {
	if len(splitPath(d.path)) >= MaxDepth {
		return fmt.Errorf("%w: more than %d directories deep", ErrLimit, MaxDepth)
	}
	n := d.node.kids[base]
	if !n.isDir() {
		// A directory in place of something else of this layer, be it a
		// whiteout, hides the directory below that the other had hidden.
		opaque := false
		err := p.place(d, base, func() error {
			err := unix.Mkdirat(int(d.fd), base, 0o700)
			opaque = opaque || errors.Is(err, unix.EEXIST)
			return err
		})
		if err != nil {
			return err
		}
		if n, err = p.tree.add(d.node, base, described); err != nil {
			return err
		}
		n.opaque = opaque
	}
	f, err := d.openDir(base)
	if err != nil {
		return err
	}
	defer f.close()
	return p.describe(&dir{fd: f, node: n, path: d.join(base)}, h)
}

// whiteout hides a name of the layers below, or all of them.
func (p *Pending) whiteout(d *dir, name string) error {
	switch {
	case whiteoutPrefix+name == opaqueName:
		d.node.opaque = true
		return nil
	case name == "" || name == "." || name == "..":
		return invalidf("whiteout of %q", name)
	case d.node.kids[name].isDir():
		d.node.kids[name].opaque = true
		return nil
	}
	return p.hide(d, name)
}

// hide makes a whiteout unless the layer has something at name.
func (p *Pending) hide(d *dir, name string) error {
	err := retry(func() error { return unix.Mknodat(int(d.fd), name, unix.S_IFCHR, 0) })
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make whiteout (character device 0:0): %w", err)
	}
	_, err = p.tree.add(d.node, name, whiteout)
	return err
}

// device records a node that cannot be made, and hides the name below.
func (p *Pending) device(d *dir, base string, h *tar.Header) error {
	if err := p.tree.clear(d, base); err != nil {
		return err
	}
	typ := "char"
	if h.Typeflag == tar.TypeBlock {
		typ = "block"
	}
	err := p.skip(Skip{
		Path: d.join(base), Reason: "device", Type: typ, Major: h.Devmajor, Minor: h.Devminor,
		Mode: h.Mode & 0o7777, UID: h.Uid, GID: h.Gid,
	})
	if err != nil {
		return err
	}
	return p.hide(d, base)
}

func (p *Pending) skip(s Skip) error {
	if len(p.result.Skipped) >= maxSkipped {
		return fmt.Errorf("%w: more than %d entries that cannot be stored", ErrLimit, maxSkipped)
	}
	p.result.Skipped = append(p.result.Skipped, s)
	return nil
}
