package plan

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"airplant/internal/birth"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func mapped(list []specs.LinuxIDMapping, id uint32) bool { return userns.Mapped(list, id) }

// mounts makes the configured mounts in their order.
func (b *builder) mounts() error {
	if b.shared[specs.MountNamespace] != "" {
		return nil // see checkJoinedMounts
	}
	for i := range b.spec.Mounts {
		m := &b.spec.Mounts[i]
		o, err := parseOptions(m)
		if err == nil {
			err = b.checkIDs(m, &o)
		}
		if err == nil {
			err = b.mount(i, m, &o)
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Destination, err)
		}
	}
	return nil
}

func (b *builder) mount(n int, m *specs.Mount, o *mountOptions) error {
	label := fmt.Sprintf("mount %s on %s", m.Type, m.Destination)
	switch {
	case o.remount:
		b.remount(m, o)
		return nil
	case o.bind:
		b.bind(n, m, o)
		return nil
	case m.Type == "cgroup" || m.Type == "cgroup2":
		b.cgroup(m, o)
		return nil
	case m.Type == "proc":
		return b.proc(label, m, o)
	case m.Type == "sysfs":
		return b.sysfs(label, m, o)
	}
	if o.copyUp && (b.plan.MapBy == userns.MapHelpers || b.plan.MapBy == userns.MapDirect) && !(mapped(b.plan.Map.UIDs, 0) && mapped(b.plan.Map.GIDs, 0)) {
		return errors.New("option \"tmpcopyup\" takes id 0 in linux.uidMappings and linux.gidMappings")
	}
	if m.Type == "tmpfs" && (o.copyUp || !o.has("mode")) {
		b.tmpfs(label, m, o)
		return nil
	}
	mount := b.newMount(label, m, o, nil)
	if m.Type == "mqueue" && b.spec.Linux.MountLabel != "" {
		b.labelRoot(label, mount)
	}
	b.attachNew(label, m, o, mount)
	return nil
}

// newMount makes a detached mount of a file system. Where a call is refused
// with EPERM or EBUSY it goes to the mark, if there is one.
func (b *builder) newMount(label string, m *specs.Mount, o *mountOptions, refused *birth.Mark) *birth.Data {
	try := func(i *birth.Instr) *birth.Instr {
		if refused != nil {
			i.OnErr(refused, unix.EPERM, unix.EBUSY)
		}
		return i
	}
	context, mount := birth.Cell("filesystem"), birth.Cell("mount")
	try(b.do(label, birth.Fsopen, birth.Str(m.Type), birth.Int(unix.FSOPEN_CLOEXEC))).Into(context)
	config := func(command int, key, value birth.Arg) *birth.Instr {
		return b.do(label, birth.Fsconfig, birth.Load(context), birth.Int(command), key, value, birth.Int(0))
	}
	if m.Source != "" {
		config(unix.FSCONFIG_SET_STRING, birth.Str("source"), birth.Str(m.Source))
	}
	b.configure(label, m, o, context)
	try(config(unix.FSCONFIG_CMD_CREATE, birth.Null(), birth.Null()))
	try(b.do(label, birth.Fsmount, birth.Load(context), birth.Int(unix.FSMOUNT_CLOEXEC), birth.Int(o.set|o.setAll))).Into(mount)
	return mount
}

// configure sets the options of a file system.
func (b *builder) configure(label string, m *specs.Mount, o *mountOptions, context *birth.Data) {
	set := func(command int, key string, value birth.Arg) {
		b.do(label, birth.Fsconfig, birth.Load(context), birth.Int(command), birth.Str(key), value, birth.Int(0))
	}
	for _, flag := range o.super {
		set(unix.FSCONFIG_SET_FLAG, flag, birth.Null())
	}
	for _, opt := range o.data {
		if key, value, ok := strings.Cut(opt, "="); ok {
			set(unix.FSCONFIG_SET_STRING, key, birth.Str(value))
		} else {
			set(unix.FSCONFIG_SET_FLAG, opt, birth.Null())
		}
	}
	if l := b.spec.Linux.MountLabel; l != "" && labelled(m.Type) && !o.remount {
		set(unix.FSCONFIG_SET_STRING, "context", birth.Str(l))
	}
}

func (b *builder) attachNew(label string, m *specs.Mount, o *mountOptions, mount *birth.Data) {
	b.attach(label, mount, b.mountPoint(label, m.Destination, m.Type))
	b.propagate(label, mount, o)
}

func (b *builder) propagate(label string, mount *birth.Data, o *mountOptions) {
	for _, p := range o.propagation {
		var flags uint64
		if p&unix.MS_REC != 0 {
			flags = unix.AT_RECURSIVE
		}
		b.setattr(label, mount, flags, 0, 0, p&^unix.MS_REC)
	}
}

// place is where a mount goes.
type place struct {
	label   string
	path    string // below the root filesystem, without a leading slash
	resolve uint64 // further RESOLVE_… flags
	flags   uint64 // of the last component: O_NOFOLLOW
	// make makes the last component where it is missing.
	make func(p *place, parent *birth.Data)
}

// mountPoint opens a directory, and makes what is missing of it. A proc or
// sysfs is not mounted where symbolic links of an image lead.
func (b *builder) mountPoint(label, dest, kind string) *birth.Data {
	p := place{label: label, path: dest, make: b.makeDir}
	if kind == "proc" || kind == "sysfs" {
		p.resolve = unix.RESOLVE_NO_SYMLINKS
	}
	return b.open(&p)
}

// mountPointLike is for a mount whose root may be a directory or a file.
func (b *builder) mountPointLike(label, dest string, flags uint64, tree *birth.Data) *birth.Data {
	return b.open(&place{label: label, path: dest, flags: flags, make: func(p *place, parent *birth.Data) {
		file, done := &birth.Mark{}, &birth.Mark{}
		b.isDir(label, tree).OnErr(file, unix.ENOTDIR)
		b.makeDir(p, parent)
		b.plan.Main.Goto(label, done)
		b.here(file)
		b.makeFile(p, parent)
		b.here(done)
	}})
}

func (b *builder) makeDir(p *place, parent *birth.Data) {
	b.do(p.label, birth.Mkdirat, birth.Load(parent), birth.Str(path.Base(p.path)), birth.Int(0o755)).Ignore(unix.EEXIST)
}

// makeFile makes an empty file. A symbolic link that leads nowhere, as images
// have for /etc/resolv.conf, is followed within the root filesystem, if the
// directory that it leads to is there.
func (b *builder) makeFile(p *place, _ *birth.Data) {
	const flags = unix.O_CREAT | unix.O_NONBLOCK | unix.O_CLOEXEC
	how := birth.Words("{O_RDONLY|O_CREAT|O_NONBLOCK|O_CLOEXEC, 0644, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}", flags, 0o644, inRoot)
	b.openHow(p.label, birth.Str(p.path), how).Ignore(unix.ENOENT)
}

// open opens a place; where it is missing it opens or makes each directory on
// the way, by descriptor, and then the last component.
func (b *builder) open(p *place) *birth.Data {
	p.path = strings.TrimPrefix(path.Clean("/"+p.path), "/")
	if p.path == "" {
		return b.rootfs
	}
	fd, found := birth.Cell(p.path), &birth.Mark{}
	b.openInRoot(p.label, p.path, unix.O_PATH|p.flags, p.resolve, fd).OnOK(found).Ignore(unix.ENOENT)
	parent := b.rootfs
	for n, c := range p.path {
		if c != '/' {
			continue
		}
		above := place{label: p.label, path: p.path[:n], resolve: p.resolve}
		dir, there := birth.Cell(above.path), &birth.Mark{}
		b.openInRoot(p.label, above.path, unix.O_PATH|unix.O_DIRECTORY, p.resolve, dir).OnOK(there).Ignore(unix.ENOENT)
		b.makeDir(&above, parent)
		b.openInRoot(p.label, above.path, unix.O_PATH|unix.O_DIRECTORY, p.resolve, dir)
		b.here(there)
		parent = dir
	}
	p.make(p, parent)
	b.openInRoot(p.label, p.path, unix.O_PATH|p.flags, p.resolve, fd).OnOK(found).Ignore(unix.ENOENT)
	// A link that leads nowhere can be mounted on itself.
	b.openInRoot(p.label, p.path, unix.O_PATH|unix.O_NOFOLLOW, p.resolve, fd)
	b.here(found)
	return fd
}
