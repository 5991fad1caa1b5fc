package plan

import (
	"fmt"
	"path"
	"strings"

	"airplant/fsfuse"
	"airplant/internal/birth"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// lowerFD is where descriptors of layers go: numbers that are known when the
// plan is made, because the mount's options contain them. As options,
// descriptors need no escapes, and 500 layers fit into a page.
const lowerFD = 100

// overlay mounts a root filesystem of layers, and keeps its root.
func (b *builder) overlay(o *fsfuse.Overlay) {
	const label = "mount overlay as the root filesystem"
	switch {
	case len(o.Parts) > 0:
		b.overlayParts(label, o)
		return
	case o.Upper == "":
		b.mountTmpfs(label, o.At)
		b.overlayAt(label, b.lower(label, o, o.At), o.At+"/upper", o.At+"/work", o.Mode, o.At)
	default:
		b.overlayAt(label, b.lower(label, o, path.Dir(o.Upper)), o.Upper, o.Work, o.Mode, o.At)
	}
	b.rootfs = birth.Cell("root")
	b.do(label, birth.Openat, birth.Int(unix.AT_FDCWD), birth.Str(o.At), birth.Int(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), birth.Int(0)).Into(b.rootfs)
}

// lower is the overlay's, or an empty directory, for an image may have no layer
// but an overlay must.
func (b *builder) lower(label string, o *fsfuse.Overlay, dir string) []string {
	if len(o.Lower) > 0 {
		return o.Lower
	}
	empty := dir + "/lower"
	b.mkdir(label, empty, 0o755)
	return []string{empty}
}

// overlayParts makes a root of several overlays, on a tmpfs that holds the
// root's directory and what is written. All paths are in directories of ours,
// which nobody else sees.
func (b *builder) overlayParts(label string, o *fsfuse.Overlay) {
	b.mountTmpfs(label, o.At)
	root := o.At + "/root"
	b.mkdir(label, root, 0o755)
	b.rootfs = b.cloneTree(label, birth.Int(unix.AT_FDCWD), root, 0)
	b.do(label, birth.MoveMount, birth.Load(b.rootfs), birth.Str(""), birth.Int(unix.AT_FDCWD), birth.Str(root), birth.Int(unix.MOVE_MOUNT_F_EMPTY_PATH))
	for n, p := range o.Parts {
		label := "copy-on-write " + p.Path
		at := root + p.Path
		if p.Link != "" {
			b.do(label, birth.Symlinkat, birth.Str(p.Link), birth.Int(unix.AT_FDCWD), birth.Str(at))
			continue
		}
		b.mkdir(label, at, p.Mode)
		if p.Overlay {
			mount := b.overlayAt(label, []string{p.Path}, fmt.Sprintf("%s/upper%d", o.At, n), fmt.Sprintf("%s/work%d", o.At, n), p.Mode, at)
			b.orReadonly(mount, label, p.Path, at)
		}
	}
}

// orReadonly shows a directory as it is, read-only, where its file system
// cannot be a lower layer: those that compare names in their own way, as FAT
// does, are refused (ovl_dentry_weird in the kernel's fs/overlayfs/util.c).
func (b *builder) orReadonly(mount *birth.Instr, label, dir, at string) {
	refused, done := &birth.Mark{}, &birth.Mark{}
	mount.OnErr(refused, unix.EINVAL)
	b.plan.Main.Goto(label, done)
	b.here(refused)
	b.plan.Notice(dir + " is read-only: its file system cannot be a layer of an overlay")
	label += " (read-only)"
	tree := b.cloneTree(label, birth.Int(unix.AT_FDCWD), dir, 0)
	b.setattr(label, tree, 0, unix.MOUNT_ATTR_RDONLY, 0, 0)
	b.do(label, birth.MoveMount, birth.Load(tree), birth.Str(""), birth.Int(unix.AT_FDCWD), birth.Str(at), birth.Int(unix.MOVE_MOUNT_F_EMPTY_PATH))
	b.here(done)
}

func (b *builder) mountTmpfs(label, at string) {
	m := specs.Mount{Type: "tmpfs", Source: "tmpfs"}
	mount := b.newMount(label, &m, &mountOptions{data: []string{"mode=0700"}}, nil)
	b.do(label, birth.MoveMount, birth.Load(mount), birth.Str(""), birth.Int(unix.AT_FDCWD), birth.Str(at), birth.Int(unix.MOVE_MOUNT_F_EMPTY_PATH))
}

func (b *builder) mkdir(label, dir string, mode uint32) {
	b.do(label, birth.Mkdirat, birth.Int(unix.AT_FDCWD), birth.Str(dir), birth.Int(mode)).Ignore(unix.EEXIST)
	if mode != 0o755 {
		b.do(label, birth.Fchmodat, birth.Int(unix.AT_FDCWD), birth.Str(dir), birth.Int(mode)) // past the umask
	}
}

// overlayAt mounts one overlay. The upper directory's mode is what the merged
// root shows.
func (b *builder) overlayAt(label string, lower []string, upper, work string, mode uint32, at string) *birth.Instr {
	b.mkdir(label, upper, mode)
	b.mkdir(label, work, 0o755)
	var names []string
	for n, dir := range append([]string{upper, work}, lower...) {
		fd := birth.Cell("layer")
		b.do(label+": "+dir, birth.Openat, birth.Int(unix.AT_FDCWD), birth.Str(dir), birth.Int(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), birth.Int(0)).Into(fd)
		b.do(label, birth.Dup3, birth.Load(fd), birth.Int(lowerFD+n), birth.Int(unix.O_CLOEXEC))
		b.do(label, birth.Close, birth.Load(fd))
		names = append(names, fmt.Sprintf("/proc/self/fd/%d", lowerFD+n))
	}
	data := fmt.Sprintf("upperdir=%s,workdir=%s,lowerdir=%s", names[0], names[1], strings.Join(names[2:], ":"))
	if b.created[specs.UserNamespace] || !b.host.Initial {
		data += ",userxattr"
	}
	return b.do(label, birth.Mount, birth.Str("overlay"), birth.Str(at), birth.Str("overlay"), birth.Int(0), birth.Str(data))
}
