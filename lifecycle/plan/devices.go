package plan

import (
	"path"
	"strings"

	"airplant/internal/birth"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// device is a character device that every container has (runtime-spec,
// config-linux, default devices).
type device struct {
	name         string
	major, minor uint32
}

var defaultDevices = []device{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

var devLinks = []struct{ name, target string }{
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
	{"ptmx", "pts/ptmx"},
}

// devices fills /dev, unless the configuration binds one of the host's there.
// Device nodes work only where they were made by the initial user namespace,
// so in a user namespace they are bind mounts of the host's.
func (b *builder) devices() error {
	if b.boundDev() || b.shared[specs.MountNamespace] != "" {
		return nil
	}
	for _, d := range defaultDevices {
		b.device("/dev/"+d.name, "c", d.major, d.minor, 0o666, 0, 0)
	}
	for _, d := range b.spec.Linux.Devices {
		if isDefaultDevice(d.Path) {
			continue
		}
		mode := uint32(0o666)
		if d.FileMode != nil {
			mode = uint32(*d.FileMode)
		}
		b.device(d.Path, d.Type, uint32(d.Major), uint32(d.Minor), mode, id(d.UID), id(d.GID))
	}
	dev := birth.Cell("/dev")
	b.openInRoot("open /dev", "dev", unix.O_PATH|unix.O_DIRECTORY, 0, dev)
	for _, l := range devLinks {
		b.do("link /dev/"+l.name, birth.Symlinkat, birth.Str(l.target), birth.Load(dev), birth.Str(l.name)).Ignore(unix.EEXIST)
	}
	return nil
}

// id is an owner; one that is not given stays what the setup's process is, for
// 0 may not be mapped.
func id(p *uint32) uint32 {
	if p == nil {
		return ^uint32(0)
	}
	return *p
}

func isDefaultDevice(p string) bool {
	for _, d := range defaultDevices {
		if path.Clean(p) == "/dev/"+d.name {
			return true
		}
	}
	return path.Clean(p) == "/dev/ptmx"
}

func (b *builder) boundDev() bool {
	for i := range b.spec.Mounts {
		if m := &b.spec.Mounts[i]; path.Clean(m.Destination) == "/dev" {
			o, err := parseOptions(m)
			return err == nil && o.bind
		}
	}
	return false
}

func (b *builder) device(dest, kind string, major, minor, mode, uid, gid uint32) {
	if kind == "p" || b.host.Initial && !b.created[specs.UserNamespace] && b.shared[specs.UserNamespace] == "" {
		b.makeNode(dest, kind, major, minor, mode, uid, gid)
		return
	}
	label := "bind the device " + dest
	tree := b.cloneTree(label, birth.Int(unix.AT_FDCWD), dest, 0)
	fd, exists, made := birth.Cell(dest), &birth.Mark{}, &birth.Mark{}
	// On a fresh /dev the first call makes the file; a longer way is only
	// taken where that fails.
	create := birth.Words("{O_RDONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0644, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}", unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644, inRoot)
	b.openHow(label, birth.Str(strings.TrimPrefix(path.Clean(dest), "/")), create).
		Into(fd).OnErr(exists, unix.EEXIST, unix.ENOENT).OnOK(made)
	b.here(exists)
	place := b.open(&place{label: label, path: dest, make: b.makeFile})
	b.plan.Main.Set(label, fd, birth.Load(place))
	b.here(made)
	b.attach(label, tree, fd)
}

// makeNode makes a device node. What an image has in its place stays, if it is
// there: the directory is the root filesystem's own then.
func (b *builder) makeNode(dest, kind string, major, minor, mode, uid, gid uint32) {
	label := "make the device " + dest
	types := map[string]uint32{"c": unix.S_IFCHR, "u": unix.S_IFCHR, "b": unix.S_IFBLK, "p": unix.S_IFIFO}
	dir := b.open(&place{label: label, path: path.Dir(path.Clean(dest)), make: b.makeDir})
	name := path.Base(dest)
	exists := &birth.Mark{}
	b.do(label, birth.Mknodat, birth.Load(dir), birth.Str(name), birth.Int(types[kind]|mode), birth.Int(unix.Mkdev(major, minor))).OnErr(exists, unix.EEXIST)
	b.do(label, birth.Fchmodat, birth.Load(dir), birth.Str(name), birth.Int(mode))
	b.do(label, birth.Fchownat, birth.Load(dir), birth.Str(name), birth.Int(uid), birth.Int(gid), birth.Int(unix.AT_SYMLINK_NOFOLLOW))
	b.here(exists)
}
