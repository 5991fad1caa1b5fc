package plan

import (
	"path/filepath"

	"airplant/internal/birth"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	cloneTree = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC
	inRoot    = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
)

// openInRoot opens a path of the root filesystem: nothing of the path can lead
// out of it.
func (b *builder) openInRoot(label, path string, flags, resolve uint64, fd *birth.Data) *birth.Instr {
	return b.openHow(label, birth.Str(path), birth.OpenHow(flags|unix.O_CLOEXEC, inRoot|resolve)).Into(fd)
}

// openHow opens in the root filesystem, and again as long as the kernel cannot
// tell where a ".." leads because something is renamed or mounted anywhere
// meanwhile (openat2(2), EAGAIN).
func (b *builder) openHow(label string, path birth.Arg, how *birth.Data) *birth.Instr {
	again := &birth.Mark{}
	b.here(again)
	return b.do(label, birth.Openat2, birth.Load(b.rootfs), path, birth.Ptr(how), birth.Int(24)).OnErr(again, unix.EAGAIN)
}

func (b *builder) cloneTree(label string, dir birth.Arg, path string, flags uint64) *birth.Data {
	tree := birth.Cell("mount")
	b.do(label, birth.OpenTree, dir, birth.Str(path), birth.Int(cloneTree|flags)).Into(tree)
	return tree
}

// attach puts a detached mount on the place that fd refers to.
func (b *builder) attach(label string, tree, fd *birth.Data) {
	b.do(label, birth.MoveMount, birth.Load(tree), birth.Str(""), birth.Load(fd), birth.Str(""), birth.Int(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
}

func (b *builder) setattr(label string, mount *birth.Data, flags, set, clear, propagation uint64) {
	b.do(label, birth.MountSetattr, birth.Load(mount), birth.Str(""), birth.Int(unix.AT_EMPTY_PATH|flags), birth.Ptr(birth.MountAttr(set, clear, propagation)), birth.Int(32))
}

// root puts a copy of the root filesystem's mount over itself, to have a mount
// of the new namespace to pivot to.
func (b *builder) root() error {
	if !b.created[specs.UserNamespace] && b.created[specs.MountNamespace] {
		// A mount namespace of a new user namespace gets slaves anyway
		// (mount_namespaces(7)); this one would send its mounts to the host.
		b.do("keep mounts from the host", birth.Mount, birth.Null(), birth.Str("/"), birth.Null(), birth.Int(unix.MS_REC|unix.MS_SLAVE), birth.Null())
	}
	if b.opts.Overlay != nil {
		b.overlay(b.opts.Overlay)
		return nil
	}
	path := b.spec.Root.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(b.opts.Bundle, path)
	}
	label := "root filesystem " + path
	b.rootfs = b.cloneTree(label, birth.Int(unix.AT_FDCWD), path, unix.AT_RECURSIVE)
	b.do(label, birth.MoveMount, birth.Load(b.rootfs), birth.Str(""), birth.Int(unix.AT_FDCWD), birth.Str(path), birth.Int(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS))
	return nil
}

// pivot makes the root filesystem the root and drops the host's
// (pivot_root(2): both may be ".").
func (b *builder) pivot() error {
	if b.spec.Root.Readonly {
		b.setattr("make the root filesystem read-only", b.rootfs, 0, unix.MOUNT_ATTR_RDONLY, 0, 0)
	}
	b.do("enter the root filesystem", birth.Fchdir, birth.Load(b.rootfs))
	if b.opts.NoPivot {
		// The host's root stays mounted below; capabilities over the mount
		// namespace can uncover it. The option exists for initramfs, where
		// pivot_root is refused.
		b.do("move the root filesystem to /", birth.MoveMount, birth.Load(b.rootfs), birth.Str(""), birth.Int(unix.AT_FDCWD), birth.Str("/"), birth.Int(unix.MOVE_MOUNT_F_EMPTY_PATH))
		b.do("change the root to it", birth.Chroot, birth.Str("."))
	} else {
		b.do("pivot to the root filesystem", birth.PivotRoot, birth.Str("."), birth.Str("."))
		b.do("drop the host's root", birth.Umount2, birth.Str("."), birth.Int(unix.MNT_DETACH))
	}
	b.do("go to /", birth.Chdir, birth.Str("/"))
	if p := b.spec.Linux.RootfsPropagation; p != "" {
		flags := propagationOptions[p]
		b.do("set the propagation of / to "+p, birth.Mount, birth.Null(), birth.Str("/"), birth.Null(), birth.Int(flags), birth.Null())
	}
	return nil
}
