package plan

import (
	"path/filepath"
	"slices"

	"airplant/internal/birth"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The mounts of this file have ladders: what the kernel refuses in a container
// of somebody else's is replaced by the next best, and the parent is told.

// proc takes the first that the kernel allows: a new proc; one that shows
// processes only; the caller's. A container's own /proc, partly covered by its
// runtime, makes the kernel refuse the first, and most kernels the second
// (mount_too_revealing). The last shows processes that are not the
// container's, but gives no access to them: that takes CAP_SYS_PTRACE over
// their user namespace. Without a pid namespace of the container's own it is
// the same in any case.
func (b *builder) proc(label string, m *specs.Mount, o *mountOptions) error {
	processes, callers, attach := &birth.Mark{}, &birth.Mark{}, &birth.Mark{}
	mount := birth.Cell("proc")
	full := b.newMount(label, m, o, processes)
	b.plan.Main.Set(label, mount, birth.Load(full))
	b.plan.Main.Goto(label, attach)
	b.here(processes)
	only := *o
	only.data = append([]string{"subset=pid"}, o.data...)
	subset := b.newMount(label+" (processes only)", m, &only, callers)
	if b.ownPIDs() {
		b.plan.Notice("mount " + m.Destination + ": a new proc is refused, because the one here is partly covered: it shows processes only")
	}
	b.plan.Main.Set(label, mount, birth.Load(subset))
	b.plan.Main.Goto(label, attach)
	b.here(callers)
	if b.ownPIDs() {
		b.plan.Notice("mount " + m.Destination + ": a new proc is refused, because the one here is partly covered: the container sees this one, with processes that are not its own")
	}
	bound := label + " (the caller's)"
	tree := b.cloneTree(bound, birth.Int(unix.AT_FDCWD), "/proc", unix.AT_RECURSIVE)
	b.setattr(bound, tree, unix.AT_RECURSIVE, (o.set|o.setAll)&^unix.MOUNT_ATTR__ATIME, 0, 0)
	b.plan.Main.Set(bound, mount, birth.Load(tree))
	b.here(attach)
	b.attachNew(label, m, o, mount)
	return nil
}

// ownPIDs reports whether the container has another pid namespace than the
// caller.
func (b *builder) ownPIDs() bool {
	return b.created[specs.PIDNamespace] || b.shared[specs.PIDNamespace] != ""
}

// sysfs needs a network namespace of the container's own; without one, or
// where the caller's is covered, it becomes a read-only bind of the caller's.
func (b *builder) sysfs(label string, m *specs.Mount, o *mountOptions) error {
	refused, done := &birth.Mark{}, &birth.Mark{}
	mount := b.newMount(label, m, o, refused)
	b.attachNew(label, m, o, mount)
	b.plan.Main.Goto(label, done)
	b.here(refused)
	if b.created[specs.NetworkNamespace] {
		b.plan.Notice("mount " + m.Destination + ": a new sysfs is refused, because the one here is partly covered: the container sees this one, read-only")
	}
	b.bindReadonly(label+" (read-only, the caller's)", "/sys", m, o)
	b.here(done)
	return nil
}

func (b *builder) bindReadonly(label, source string, m *specs.Mount, o *mountOptions) {
	mount := b.cloneTree(label, birth.Int(unix.AT_FDCWD), source, unix.AT_RECURSIVE)
	b.setattr(label, mount, unix.AT_RECURSIVE, unix.MOUNT_ATTR_RDONLY|(o.set|o.setAll)&^unix.MOUNT_ATTR__ATIME, 0, 0)
	b.attach(label, mount, b.mountPoint(label, m.Destination, m.Type))
	b.propagate(label, mount, o)
}

// cgroup shows cgroups: a mount of cgroup v2 in a cgroup namespace, else what
// the host has, read-only, and of that only the caller's part on cgroup v2.
func (b *builder) cgroup(m *specs.Mount, o *mountOptions) {
	label := "mount cgroup on " + m.Destination
	source := "/sys/fs/cgroup"
	if b.host.Unified && !b.created[specs.CgroupNamespace] {
		source = filepath.Join(source, b.host.Cgroup)
	}
	if !b.host.Unified || !b.created[specs.CgroupNamespace] {
		if !slices.Contains(m.Options, "ro") {
			b.plan.Notice("mount " + m.Destination + ": without cgroup v2 and a cgroup namespace it is the caller's, read-only")
		}
		b.bindReadonly(label, source, m, o)
		return
	}
	refused, done := &birth.Mark{}, &birth.Mark{}
	fresh := *m
	fresh.Type = "cgroup2"
	mount := b.newMount(label, &fresh, o, refused)
	b.attachNew(label, m, o, mount)
	b.plan.Main.Goto(label, done)
	b.here(refused)
	b.plan.Notice("mount " + m.Destination + ": a new cgroup mount is refused, because the one here is partly covered: the container sees this one, read-only")
	b.bindReadonly(label+" (read-only, the caller's)", source, m, o)
	b.here(done)
}
