package plan

import (
	"path"
	"strings"

	"airplant/internal/birth"

	"golang.org/x/sys/unix"
)

// masked hides paths: files behind the host's /dev/null, directories behind an
// empty read-only tmpfs. The host's device is used and not the container's,
// which an image or another container could have replaced (CVE-2025-31133).
func (b *builder) masked() error {
	for _, p := range b.spec.Linux.MaskedPaths {
		label := "mask " + p
		missing, file := &birth.Mark{}, &birth.Mark{}
		fd := b.existing(label, p, missing)
		b.isDir(label, fd).OnErr(file, unix.ENOTDIR)
		context, mount := birth.Cell("tmpfs"), birth.Cell("mount")
		b.do(label, birth.Fsopen, birth.Str("tmpfs"), birth.Int(unix.FSOPEN_CLOEXEC)).Into(context)
		if l := b.spec.Linux.MountLabel; l != "" {
			b.do(label, birth.Fsconfig, birth.Load(context), birth.Int(unix.FSCONFIG_SET_STRING), birth.Str("context"), birth.Str(l), birth.Int(0))
		}
		b.do(label, birth.Fsconfig, birth.Load(context), birth.Int(unix.FSCONFIG_CMD_CREATE), birth.Null(), birth.Null(), birth.Int(0))
		b.do(label, birth.Fsmount, birth.Load(context), birth.Int(unix.FSMOUNT_CLOEXEC), birth.Int(unix.MOUNT_ATTR_RDONLY)).Into(mount)
		b.attach(label, mount, fd)
		b.plan.Main.Goto(label, missing)
		b.here(file)
		null := b.cloneTree(label, birth.Int(unix.AT_FDCWD), "/dev/null", 0)
		b.attach(label, null, fd)
		b.here(missing)
	}
	return nil
}

// readonly puts read-only copies of mounts over paths.
func (b *builder) readonly() error {
	for _, p := range b.spec.Linux.ReadonlyPaths {
		label := "make read-only " + p
		missing := &birth.Mark{}
		fd := b.existing(label, p, missing)
		tree := b.cloneTree(label, birth.Load(fd), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
		b.setattr(label, tree, unix.AT_RECURSIVE, unix.MOUNT_ATTR_RDONLY, 0, 0)
		b.attach(label, tree, fd)
		b.here(missing)
	}
	return nil
}

func (b *builder) existing(label, p string, missing *birth.Mark) *birth.Data {
	fd := birth.Cell(p)
	b.openInRoot(label, strings.TrimPrefix(path.Clean(p), "/"), unix.O_PATH, 0, fd).OnErr(missing, unix.ENOENT, unix.ENOTDIR)
	return fd
}

// isDir fails with ENOTDIR for what is not a directory. To put a mount of one
// kind on the other fails too, but with EINVAL, which may mean anything.
func (b *builder) isDir(label string, fd *birth.Data) *birth.Instr {
	return b.do(label, birth.Openat, birth.Load(fd), birth.Str("."), birth.Int(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), birth.Int(0))
}
