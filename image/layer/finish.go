package layer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Finish completes the layer over the unpacked layers below it (their
// directories, the top one first) and closes p.
func (p *Pending) Finish(lowers []*os.File) (Result, error) {
	defer p.Close()
	u := &Union{}
	for _, f := range lowers {
		u.roots = append(u.roots, fd(f.Fd()))
	}
	for i, l := range p.links {
		if n, ok := p.byName[l.name]; !ok || n != i {
			continue // a later entry took the name
		}
		if err := p.lowerLink(u, l); err != nil {
			return Result{}, fmt.Errorf("unpack %q: %w", short(l.name), err)
		}
	}
	p.tree.forget()
	root, err := p.tree.root.openDir("")
	if err != nil {
		return Result{}, err
	}
	defer root.close()
	d := &dir{fd: root, node: p.tree.top}
	if d.node.opaque {
		if err := p.hideAll(d, u.roots); err != nil {
			return Result{}, err
		}
	}
	p.mark(p.tree.top)
	if err := p.settle(d, u.roots); err != nil {
		return Result{}, err
	}
	return p.result, nil
}

// lowerLink makes a hard link whose target was not in the layer when its
// entry was read: the target is copied up first, as overlayfs would.
func (p *Pending) lowerLink(u *Union, l link) error {
	if done, err := p.link(l.name, l.target); err != nil || done {
		return err
	}
	err := u.find(l.target, false, func(f found) error {
		if len(f.dirs) > 0 {
			return invalidf("hard link to the directory %q", l.target)
		}
		if f.path != l.name && !p.hidden(f.path) {
			d, err := p.tree.dir(path.Dir("/" + f.path)[1:], true)
			if err != nil {
				return err
			}
			if err := p.copyUp(d, path.Base(f.path), f); err != nil {
				return fmt.Errorf("copy %q up: %w", f.path, err)
			}
			if done, err := p.link(l.name, f.path); err != nil || done {
				return err
			}
		}
		d, err := p.tree.dir(path.Dir("/" + l.name)[1:], true)
		if err != nil {
			return err
		}
		return p.copyUp(d, path.Base(l.name), f)
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return invalidf("hard link to %q, which does not exist", l.target)
	}
	return err
}

// hidden tells whether this layer hides the file at path in the layers below.
func (p *Pending) hidden(name string) bool {
	n := p.tree.top
	for _, c := range splitPath(name) {
		if n.opaque {
			return true
		}
		k := n.kids[c]
		if k == nil {
			break
		}
		if k.kind == whiteout {
			return true
		}
		n = k
	}
	return false
}

// copyUp copies a file that is not a directory, with all its metadata.
func (p *Pending) copyUp(d *dir, base string, f found) error {
	st := f.st
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return p.copyFile(d, base, f)
	case unix.S_IFLNK:
		target, err := f.in.readlink(f.name)
		if err != nil {
			return err
		}
		err = p.place(d, base, func() error { return unix.Symlinkat(target, int(d.fd), base) })
		if err != nil {
			return err
		}
		if err := unix.Fchownat(int(d.fd), base, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		return d.setTimes(base, st.Atim, st.Mtim)
	}
	return invalidf("hard link to a special file of a lower layer")
}

func (p *Pending) copyFile(d *dir, base string, f found) error {
	in, err := f.in.openBeneath(f.name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	src := os.NewFile(uintptr(in), f.name)
	defer src.Close()
	var out fd
	err = p.place(d, base, func() (err error) {
		out, err = d.fd.create(base)
		return err
	})
	if err != nil {
		return err
	}
	dst := os.NewFile(uintptr(out), base)
	defer dst.Close()
	if _, err := io.Copy(dst, src); err != nil { // by copy_file_range(2)
		return err
	}
	if err := copyMeta(out, in, &f.st); err != nil {
		return err
	}
	return d.setTimes(base, f.st.Atim, f.st.Mtim)
}

// copyMeta copies owner, mode and attributes between open files.
func copyMeta(to, from fd, st *unix.Stat_t) error {
	if err := unix.Fchown(int(to), int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("chown to %d:%d: %w", st.Uid, st.Gid, err)
	}
	if err := unix.Fchmod(int(to), st.Mode&0o7777); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	names := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Flistxattr(int(from), names)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list attributes: %w", err)
	}
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for _, name := range strings.Split(string(names[:n]), "\x00") {
		if !copied(name) {
			continue
		}
		n, err := unix.Fgetxattr(int(from), name, value)
		if err != nil {
			return fmt.Errorf("read attribute %q: %w", name, err)
		}
		if err := unix.Fsetxattr(int(to), name, value[:n], 0); err != nil {
			return fmt.Errorf("set attribute %q: %w", name, err)
		}
	}
	return nil
}

// copied tells which attributes belong to the file rather than to the layer
// it is in or to the host.
func copied(name string) bool {
	if strings.HasPrefix(name, "user.overlay.") {
		return strings.HasPrefix(name, "user.overlay.overlay.")
	}
	return name == overrideXattr || strings.HasPrefix(name, "user.") || storedXattr(name) != ""
}

// mark finds the directories at or below which something depends on lower
// layers; settle does not look the others up there.
func (p *Pending) mark(n *node) bool {
	n.needsLower = n.kind != described || n.opaque
	for _, k := range n.kids {
		if p.mark(k) {
			n.needsLower = true
		}
	}
	return n.needsLower
}

// hideAll makes up for an opaque root, which overlayfs does not know: it merges
// the roots of all layers. Each name below gets a whiteout of its own.
func (p *Pending) hideAll(d *dir, lowers []fd) error {
	d.node.opaque = false
	for _, l := range lowers {
		names, err := l.names()
		if err != nil {
			return fmt.Errorf("list the layer below: %w", err)
		}
		for _, name := range names {
			if k := d.node.kids[name]; k.isDir() {
				k.opaque = true
			} else if err := p.hide(d, name); err != nil {
				return fmt.Errorf("hide %q: %w", name, err)
			}
		}
	}
	return nil
}

// settle completes a directory and all below it, given the directories that
// merge with it from the layers below.
func (p *Pending) settle(d *dir, lowers []fd) error {
	if err := p.merge(d, lowers); err != nil {
		return fmt.Errorf("directory %q: %w", d.path, err)
	}
	if d.node.opaque {
		lowers = nil
	}
	for name, k := range d.node.kids {
		var err error
		if k.kind == whiteout {
			err = prune(d, name, lowers)
		} else {
			err = p.settleKid(d, name, k, lowers)
		}
		if err != nil {
			return err
		}
	}
	if err := unix.Fchmodat(int(d.fd), ".", d.node.mode, 0); err != nil {
		return fmt.Errorf("chmod %q: %w", d.path, err)
	}
	return d.setTimes(".", d.node.atime, d.node.mtime)
}

func (p *Pending) settleKid(d *dir, name string, k *node, lowers []fd) error {
	sub, err := d.openDir(name)
	if err != nil {
		return fmt.Errorf("open directory %q: %w", d.join(name), err)
	}
	defer sub.close()
	var below found
	if k.needsLower {
		below, err = step(lowers, name)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("look up %q below: %w", d.join(name), err)
		}
		defer below.close()
	}
	return p.settle(&dir{fd: sub, node: k, path: d.join(name)}, below.dirs)
}

// merge marks an opaque directory, and gives one that no entry describes the
// metadata of the directory that it covers.
func (p *Pending) merge(d *dir, lowers []fd) error {
	n := d.node
	if n.kind == described && !n.opaque || len(lowers) == 0 {
		if n.kind == implied {
			n.mode = 0o755
		}
		return nil
	}
	f, err := d.openBeneath("", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer f.close()
	if n.kind == implied {
		st, err := lowers[0].stat()
		if err != nil {
			return err
		}
		if err := copyMeta(f, lowers[0], &st); err != nil {
			return err
		}
		n.mode, n.atime, n.mtime = st.Mode&0o7777, st.Atim, st.Mtim
	}
	if n.opaque {
		if err := unix.Fsetxattr(int(f), overlayOpaque, []byte("y"), 0); err != nil {
			return fmt.Errorf("set %s: %w", overlayOpaque, err)
		}
	}
	return nil
}

// prune removes a whiteout that hides nothing: overlayfs would show it in
// the listing of a directory that merges with no other.
func prune(d *dir, name string, lowers []fd) error {
	if len(lowers) > 0 {
		below, err := step(lowers, name)
		if err == nil {
			below.close()
			return nil
		}
		if !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("look up %q below: %w", d.join(name), err)
		}
	}
	if err := unix.Unlinkat(int(d.fd), name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove whiteout %q: %w", d.join(name), err)
	}
	return nil
}
