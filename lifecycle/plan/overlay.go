package plan

import (
	"fmt"
	"strings"

	"airplant/internal/birth"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Overlay is a root filesystem that is put together from layers, and keeps what
// the container writes apart (the kernel's overlayfs, in our user namespace
// since Linux 5.11).
type Overlay struct {
	Lower []string // directories, the top one first
	// Upper and Work are directories that the plan makes, so that they belong
	// to the container's root. Without Upper changes go to a tmpfs.
	Upper, Work string
	// At is an empty directory to mount on.
	At string
}

// lowerFD is where descriptors of layers go: numbers that are known when the
// plan is made, because the mount's options contain them. As options,
// descriptors need no escapes, and 500 layers fit into a page.
const lowerFD = 100

// overlay mounts the root filesystem of layers, and returns it.
func (b *builder) overlay(o *Overlay) *birth.Data {
	const label = "mount overlay as the root filesystem"
	upper, work := o.Upper, o.Work
	if upper == "" {
		upper, work = o.At+"/upper", o.At+"/work"
		tmpfs := specs.Mount{Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=0700"}}
		options := mountOptions{data: tmpfs.Options}
		mount := b.newMount(label, &tmpfs, &options, nil)
		b.do(label, birth.MoveMount, birth.Load(mount), birth.Str(""), birth.Int(unix.AT_FDCWD), birth.Str(o.At), birth.Int(unix.MOVE_MOUNT_F_EMPTY_PATH))
	}
	for _, dir := range []string{upper, work} {
		b.do(label, birth.Mkdirat, birth.Int(unix.AT_FDCWD), birth.Str(dir), birth.Int(0o755)).Ignore(unix.EEXIST)
	}
	var names []string
	for n, dir := range append([]string{upper, work}, o.Lower...) {
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
	b.do(label, birth.Mount, birth.Str("overlay"), birth.Str(o.At), birth.Str("overlay"), birth.Int(0), birth.Str(data))
	root := birth.Cell("root")
	b.do(label, birth.Openat, birth.Int(unix.AT_FDCWD), birth.Str(o.At), birth.Int(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), birth.Int(0)).Into(root)
	return root
}
