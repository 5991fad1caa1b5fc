package plan

import (
	"slices"
	"strings"

	"airplant/internal/birth"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// CopyUp is an input of plans with tmpcopyup: a socket to the parent. Each
// message on it is a name, with two descriptors: of a directory, and of the
// new file system that it is to be copied into. The program waits for a byte,
// and ends when the socket does.
const CopyUp birth.Input = "copy"

// tmpfs makes one that has the mode of the directory that it covers, unless an
// option says one, and with tmpcopyup its contents too, before anybody else can
// see the mount. A directory that was not there has no mode to give.
func (b *builder) tmpfs(label string, m *specs.Mount, o *mountOptions) {
	writable := *o
	writable.set &^= unix.MOUNT_ATTR_RDONLY
	writable.setAll &^= unix.MOUNT_ATTR_RDONLY
	mount, made, ready := b.newMount(label, m, &writable, nil), birth.Cell("made"), &birth.Mark{}
	dest := b.open(&place{label: label, path: m.Destination, make: func(p *place, parent *birth.Data) {
		b.makeDir(p, parent)
		b.plan.Main.Set(label, made, birth.Int(1))
	}})
	b.do(label, birth.Value, birth.Load(made)).On(1, 1, ready)
	if !o.has("mode") {
		const modeAt = 28 // of struct statx; two bytes, and more is not looked at
		stat := birth.Bytes("<statx>", make([]byte, 256))
		b.do(label, birth.Statx, birth.Load(dest), birth.Str(""), birth.Int(unix.AT_EMPTY_PATH), birth.Int(unix.STATX_MODE), birth.Ptr(stat))
		b.do(label, birth.Fchmodat, birth.Load(mount), birth.Str("."), birth.LoadAt(stat, modeAt))
	}
	if o.copyUp {
		b.sendCopy(label+" with what is there", m.Destination, dest, mount)
	}
	b.here(ready)
	if (o.set|o.setAll)&unix.MOUNT_ATTR_RDONLY != 0 {
		b.setattr(label, mount, 0, unix.MOUNT_ATTR_RDONLY, 0, 0)
	}
	b.attach(label, mount, dest)
	b.propagate(label, mount, o)
}

// has reports whether an option of the file system is given.
func (o *mountOptions) has(key string) bool {
	return slices.ContainsFunc(o.data, func(d string) bool { return strings.HasPrefix(d, key+"=") })
}

// sendCopy asks the parent for a copy and waits until it is made.
func (b *builder) sendCopy(label, name string, from, to *birth.Data) {
	control := birth.Words("SCM_RIGHTS", uint64(unix.CmsgLen(8)), unix.SOL_SOCKET|unix.SCM_RIGHTS<<32, 0, 0)
	b.do(label, birth.Value, birth.Load(from)).IntoAt(control, unix.CmsgLen(0))
	b.do(label, birth.Value, birth.Load(to)).IntoAt(control, unix.CmsgLen(4))
	iov := birth.Words("iov", 0, uint64(len(name))).Point(0, birth.String(name))
	msg := birth.Words("{SCM_RIGHTS both}", 0, 0, 0, 1, 0, uint64(unix.CmsgSpace(8)), 0)
	msg.Point(16, iov).Point(32, control)
	b.do(label, birth.Sendmsg, birth.In(CopyUp), birth.Ptr(msg), birth.Int(unix.MSG_NOSIGNAL))
	b.await(&b.plan.Main, label, birth.In(CopyUp))
}

// copiesUp reports whether the parent has something to copy.
func (b *builder) copiesUp() bool {
	return b.entered == nil && slices.ContainsFunc(b.spec.Mounts, func(m specs.Mount) bool { return slices.Contains(m.Options, "tmpcopyup") })
}
