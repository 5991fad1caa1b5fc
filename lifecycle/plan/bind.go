package plan

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"

	"airplant/internal/birth"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// bind attaches a copy of a mount of the host. Attributes are only added,
// unless the configuration clears one by name: those of a mount that comes
// from the host's namespace are locked (mount_namespaces(7)).
func (b *builder) bind(n int, m *specs.Mount, o *mountOptions) {
	source := m.Source
	if !filepath.IsAbs(source) {
		source = filepath.Join(b.opts.Bundle, source)
	}
	label, copied := fmt.Sprintf("bind %s on %s", source, m.Destination), &birth.Mark{}
	if o.copyLink {
		b.copyLink(label, source, m.Destination, copied)
	}
	for _, s := range slices.Concat(o.super, o.data) {
		b.plan.note(fmt.Sprintf("mount %s: option %q belongs to the file system and changes nothing in a bind mount", m.Destination, s))
	}
	tree := b.bound(n, label, source, o)
	if o.set|o.clear != 0 {
		b.setattr(label, tree, 0, o.set, o.clear, 0)
	}
	if o.setAll|o.clearAll != 0 {
		b.setattr(label, tree, unix.AT_RECURSIVE, o.setAll, o.clearAll, 0)
	}
	b.attach(label, tree, b.mountPointLike(label, m.Destination, o.targetFlags(), tree))
	b.propagate(label, tree, o)
	b.here(copied)
}

// bound is the detached copy: one of ours, or one with other ids, which only
// the parent can make.
func (b *builder) bound(n int, label, source string, o *mountOptions) *birth.Data {
	if m := b.mappedMount(n); m != nil {
		tree := birth.Cell("mount")
		b.plan.Main.Set(label+" with other ids", tree, birth.In(m.Input))
		return tree
	}
	var flags uint64
	if o.recursive {
		flags = unix.AT_RECURSIVE
	}
	if o.linkSource {
		flags |= unix.AT_SYMLINK_NOFOLLOW
	}
	return b.cloneTree(label, birth.Int(unix.AT_FDCWD), source, flags)
}

func (o *mountOptions) targetFlags() uint64 {
	if o.linkTarget {
		return unix.O_NOFOLLOW
	}
	return 0
}

// copyLink makes a symbolic link like the source in the root filesystem, and
// goes to done; where the source is none it goes on. Only a link that is there
// already is replaced.
func (b *builder) copyLink(label, source, dest string, done *birth.Mark) {
	label += " (copy the link)"
	target, there := birth.Bytes("<target>", make([]byte, unix.PathMax+1)), birth.Bytes("<there>", make([]byte, 8))
	other := &birth.Mark{}
	b.do(label, birth.Readlinkat, birth.Int(unix.AT_FDCWD), birth.Str(source), birth.Ptr(target), birth.Int(unix.PathMax)).OnErr(other, unix.EINVAL)
	dest = path.Clean("/" + dest)
	dir, name, missing := b.open(&place{label: label, path: path.Dir(dest), make: b.makeDir}), path.Base(dest), &birth.Mark{}
	b.do(label, birth.Readlinkat, birth.Load(dir), birth.Str(name), birth.Ptr(there), birth.Int(8)).OnErr(missing, unix.ENOENT)
	b.do(label, birth.Unlinkat, birth.Load(dir), birth.Str(name), birth.Int(0))
	b.here(missing)
	b.do(label, birth.Symlinkat, birth.Ptr(target), birth.Load(dir), birth.Str(name))
	b.plan.Main.Goto(label, done)
	b.here(other)
}

// remount changes what is mounted on a place: the attributes of the mount, and,
// where there are options of the file system, those.
func (b *builder) remount(m *specs.Mount, o *mountOptions) {
	label, fd := "remount "+m.Destination, birth.Cell(m.Destination)
	b.openInRoot(label, path.Clean("/" + m.Destination)[1:], unix.O_PATH|o.targetFlags(), 0, fd)
	if o.set|o.clear != 0 {
		b.setattr(label, fd, 0, o.set, o.clear, 0)
	}
	if o.setAll|o.clearAll != 0 {
		b.setattr(label, fd, unix.AT_RECURSIVE, o.setAll, o.clearAll, 0)
	}
	if len(o.data)+len(o.super) > 0 && !o.bind {
		context := birth.Cell("filesystem")
		b.do(label, birth.Fspick, birth.Load(fd), birth.Str(""), birth.Int(unix.FSPICK_EMPTY_PATH|unix.FSPICK_CLOEXEC)).Into(context)
		b.configure(label, m, o, context)
		b.do(label, birth.Fsconfig, birth.Load(context), birth.Int(unix.FSCONFIG_CMD_RECONFIGURE), birth.Null(), birth.Null(), birth.Int(0))
	}
	b.propagate(label, fd, o)
}
