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
	path := b.spec.Root.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(b.opts.Bundle, path)
	}
	if b.shared[specs.MountNamespace] != "" {
		return b.joinedRoot(path)
	}
	b.hostMounts()
	if b.opts.Overlay != nil {
		b.overlay(b.opts.Overlay)
		return nil
	}
	label := "root filesystem " + path
	b.rootfs = b.cloneTree(label, birth.Int(unix.AT_FDCWD), path, unix.AT_RECURSIVE)
	if b.sharesMounts() {
		b.apart(path)
	}
	b.do(label, birth.MoveMount, birth.Load(b.rootfs), birth.Str(""), birth.Int(unix.AT_FDCWD), birth.Str(path), birth.Int(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS))
	return nil
}

// hostMounts decides what the mounts that come from the host have to do with
// those that stay there. What is mounted in the container never appears on the
// host, unless linux.rootfsPropagation says so; what is mounted on the host
// later appears in the container, unless it says not. A mount namespace of a
// new user namespace has slaves, whatever is asked for (mount_namespaces(7)).
func (b *builder) hostMounts() {
	flags := uint64(unix.MS_SLAVE)
	switch b.spec.Linux.RootfsPropagation {
	case "private", "rprivate", "unbindable", "runbindable":
		flags = unix.MS_PRIVATE
	default:
		if b.created[specs.UserNamespace] || b.sharesMounts() {
			return
		}
	}
	b.do("keep mounts from the host", birth.Mount, birth.Null(), birth.Str("/"), birth.Null(), birth.Int(unix.MS_REC|flags), birth.Null())
}

// sharesMounts reports whether bind mounts stay peers of those of the host.
func (b *builder) sharesMounts() bool {
	p := b.spec.Linux.RootfsPropagation
	return !b.created[specs.UserNamespace] && (p == "shared" || p == "rshared")
}

// apart keeps what is mounted on and in the root filesystem from the host,
// whose mounts are peers here: the copy is made private, and so is the mount
// that it goes to, which is the one above the path or above one of its
// parents. pivot_root(2) refuses shared ones.
func (b *builder) apart(path string) {
	const label = "keep the root filesystem from the host"
	b.setattr(label, b.rootfs, unix.AT_RECURSIVE, 0, 0, unix.MS_PRIVATE)
	done := &birth.Mark{}
	for ; ; path = filepath.Dir(path) {
		try := b.do(label, birth.Mount, birth.Null(), birth.Str(path), birth.Null(), birth.Int(unix.MS_PRIVATE), birth.Null())
		if path == "/" {
			break
		}
		try.OnOK(done).Ignore(unix.EINVAL) // no mount
	}
	b.here(done)
}

// joinedRoot opens the root filesystem in a mount namespace that is joined.
// Nothing is mounted there.
func (b *builder) joinedRoot(path string) error {
	how := birth.OpenHow(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, unix.RESOLVE_NO_MAGICLINKS)
	b.rootfs = birth.Cell("root")
	b.do("root filesystem "+path, birth.Openat2, birth.Int(unix.AT_FDCWD), birth.Str(path), birth.Ptr(how), birth.Int(24)).Into(b.rootfs)
	return nil
}

// pivot makes the root filesystem the root and drops the host's
// (pivot_root(2): both may be ".").
func (b *builder) pivot() error {
	if b.shared[specs.MountNamespace] != "" {
		// All that live in the namespace keep their root.
		b.do("enter the root filesystem", birth.Fchdir, birth.Load(b.rootfs))
		b.do("change the root to it", birth.Chroot, birth.Str("."))
		b.do("go to /", birth.Chdir, birth.Str("/"))
		return nil
	}
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
		flags := propagationOptions.Get(p)
		b.do("set the propagation of / to "+p, birth.Mount, birth.Null(), birth.Str("/"), birth.Null(), birth.Int(flags), birth.Null())
	}
	return nil
}
