package plan

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"airplant/internal/birth"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func mapped(list []specs.LinuxIDMapping, id uint32) bool { return userns.Mapped(list, id) }

// mounts makes the configured mounts in their order.
func (b *builder) mounts() error {
	for i := range b.spec.Mounts {
		m := &b.spec.Mounts[i]
		o, err := parseOptions(m)
		if err == nil {
			err = b.checkIDs(m, &o)
		}
		if err == nil {
			err = b.mount(m, &o)
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Destination, err)
		}
	}
	return nil
}

func (b *builder) mount(m *specs.Mount, o *mountOptions) error {
	label := fmt.Sprintf("mount %s on %s", m.Type, m.Destination)
	switch {
	case o.bind:
		return b.bind(m, o)
	case m.Type == "cgroup" || m.Type == "cgroup2":
		b.cgroup(m, o)
		return nil
	case m.Type == "proc":
		return b.proc(label, m, o)
	case m.Type == "sysfs":
		return b.sysfs(label, m, o)
	}
	b.attachNew(label, m, o, b.newMount(label, m, o, nil))
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
	for _, opt := range o.data {
		if key, value, ok := strings.Cut(opt, "="); ok {
			config(unix.FSCONFIG_SET_STRING, birth.Str(key), birth.Str(value))
		} else {
			config(unix.FSCONFIG_SET_FLAG, birth.Str(key), birth.Null())
		}
	}
	try(config(unix.FSCONFIG_CMD_CREATE, birth.Null(), birth.Null()))
	try(b.do(label, birth.Fsmount, birth.Load(context), birth.Int(unix.FSMOUNT_CLOEXEC), birth.Int(o.set|o.setAll))).Into(mount)
	return mount
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

// bind attaches a copy of a mount of the host. Attributes are only added,
// unless the configuration clears one by name: those of a mount that comes
// from the host's namespace are locked (mount_namespaces(7)).
func (b *builder) bind(m *specs.Mount, o *mountOptions) error {
	if len(o.data) > 0 {
		return fmt.Errorf("option %q has no meaning for a bind mount", o.data[0])
	}
	source := m.Source
	if !filepath.IsAbs(source) {
		source = filepath.Join(b.opts.Bundle, source)
	}
	label := fmt.Sprintf("bind %s on %s", source, m.Destination)
	var recursive uint64
	if o.recursive {
		recursive = unix.AT_RECURSIVE
	}
	tree := b.cloneTree(label, birth.Int(unix.AT_FDCWD), source, recursive)
	if o.set|o.clear != 0 {
		b.setattr(label, tree, 0, o.set, o.clear, 0)
	}
	if o.setAll|o.clearAll != 0 {
		b.setattr(label, tree, unix.AT_RECURSIVE, o.setAll, o.clearAll, 0)
	}
	b.attach(label, tree, b.mountPointLike(label, m.Destination, tree))
	b.propagate(label, tree, o)
	return nil
}

// place is where a mount goes.
type place struct {
	label   string
	path    string // below the root filesystem, without a leading slash
	resolve uint64 // further RESOLVE_… flags
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
func (b *builder) mountPointLike(label, dest string, tree *birth.Data) *birth.Data {
	return b.open(&place{label: label, path: dest, make: func(p *place, parent *birth.Data) {
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
	b.openInRoot(p.label, p.path, unix.O_PATH, p.resolve, fd).OnOK(found).Ignore(unix.ENOENT)
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
	b.openInRoot(p.label, p.path, unix.O_PATH, p.resolve, fd).OnOK(found).Ignore(unix.ENOENT)
	// A link that leads nowhere can be mounted on itself.
	b.openInRoot(p.label, p.path, unix.O_PATH|unix.O_NOFOLLOW, p.resolve, fd)
	b.here(found)
	return fd
}
