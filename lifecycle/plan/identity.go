package plan

import (
	"errors"
	"fmt"

	"airplant/internal/birth"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

type namespaceFlag struct {
	kind specs.LinuxNamespaceType
	flag uint64
}

// namespaceFlags is in the order in which existing namespaces are joined: the
// user namespace first, for the capabilities, the mount namespace last, because
// it changes what paths mean.
var namespaceFlags = []namespaceFlag{
	{specs.UserNamespace, unix.CLONE_NEWUSER},
	{specs.IPCNamespace, unix.CLONE_NEWIPC},
	{specs.UTSNamespace, unix.CLONE_NEWUTS},
	{specs.NetworkNamespace, unix.CLONE_NEWNET},
	{specs.CgroupNamespace, unix.CLONE_NEWCGROUP},
	{specs.TimeNamespace, unix.CLONE_NEWTIME},
	{specs.PIDNamespace, unix.CLONE_NEWPID},
	{specs.MountNamespace, unix.CLONE_NEWNS},
}

// identity decides which namespaces are new and who writes the id maps.
func (b *builder) identity() error {
	b.shared, b.created = map[specs.LinuxNamespaceType]string{}, map[specs.LinuxNamespaceType]bool{}
	for _, n := range b.spec.Linux.Namespaces {
		if n.Path != "" {
			b.shared[n.Type] = n.Path
		} else {
			b.created[n.Type] = true
		}
	}
	p := b.plan
	p.MapBy = userns.MapNone
	if !b.created[specs.UserNamespace] {
		return nil
	}
	p.Map = userns.Map{UIDs: b.spec.Linux.UIDMappings, GIDs: b.spec.Linux.GIDMappings}
	if len(p.Map.UIDs) == 0 || len(p.Map.GIDs) == 0 {
		return errors.New("a new user namespace needs linux.uidMappings and linux.gidMappings")
	}
	p.MapBy = p.Map.By(b.host.UID, b.host.GID, b.host.Privileged)
	return b.idsAreMapped()
}

func (b *builder) idsAreMapped() error {
	u := b.spec.Process.User
	if !userns.Mapped(b.plan.Map.UIDs, u.UID) {
		return fmt.Errorf("process.user.uid %d is not in linux.uidMappings", u.UID)
	}
	for _, g := range append([]uint32{u.GID}, u.AdditionalGids...) {
		if !userns.Mapped(b.plan.Map.GIDs, g) {
			return fmt.Errorf("process.user: group %d is not in linux.gidMappings", g)
		}
	}
	if b.groupsDenied() && len(u.AdditionalGids) > 0 {
		return errors.New("process.user.additionalGids: without subordinate ids setgroups(2) is denied (user_namespaces(7))")
	}
	return nil
}

// groupsDenied reports whether setgroups is denied to the container: by a map
// that the process writes itself, or because it is to the caller.
func (b *builder) groupsDenied() bool {
	return b.plan.MapBy == userns.MapSelf || b.host.NoGroups
}

// setupUID is the id that runs the setup: 0 where it exists, else the caller's,
// or, of a caller without one, that of the container's process.
func (b *builder) setupUID() uint32 {
	if !b.created[specs.UserNamespace] || userns.Mapped(b.plan.Map.UIDs, 0) {
		return 0
	}
	if id, ok := userns.Inside(b.plan.Map.UIDs, uint32(b.host.UID)); ok {
		return id
	}
	return b.spec.Process.User.UID
}

// callerIsRoot reports whether the caller's id is 0 in the container without
// anything being done, as soon as the maps are there.
func (b *builder) callerIsRoot(list []specs.LinuxIDMapping, id int) bool {
	inside, ok := userns.Inside(list, uint32(id))
	return ok && inside == 0
}

// prelude is what runs in our memory. In the usual case that is all that
// happens to ids and namespaces. Where namespaces are joined it does nothing:
// whoever lives in them could trace the child, so it is the executable that
// enters them.
func (b *builder) prelude() error {
	s := &b.plan.Prelude
	b.inherit(s)
	if len(b.shared) == 0 {
		b.plan.CloneFlags = b.newFlags()
		b.ownIDs(s)
	}
	b.await(s, "wait for the id maps and the executable", birth.In(birth.Report))
	if len(b.shared) == 0 {
		b.becomeRoot(s)
	}
	s.Do("become the container's executable", birth.Execveat, birth.In(Executable), birth.Str(""),
		birth.Ptr(birth.Vector([]string{"airplant-container"})), birth.Ptr(birth.Vector(nil)), birth.Int(unix.AT_EMPTY_PATH))
	return nil
}

// newFlags are the namespaces that clone makes. A time namespace is made by
// unshare, and entered by execve. A cgroup namespace begins at the cgroup of
// who makes it, and for clone that is the parent, whatever cgroup the child is
// made in (Linux, copy_cgroup_ns); see ownCgroup.
func (b *builder) newFlags() (flags uint64) {
	for _, n := range namespaceFlags {
		late := n.kind == specs.TimeNamespace || n.kind == specs.CgroupNamespace && b.opts.Group
		if b.created[n.kind] && !late {
			flags |= n.flag
		}
	}
	return flags
}

// ownIDs makes what the child itself can make as soon as it exists.
func (b *builder) ownIDs(s *birth.Section) {
	if b.created[specs.TimeNamespace] && b.shared[specs.UserNamespace] == "" {
		b.timeNamespace(s)
	}
	if b.plan.MapBy == userns.MapSelf {
		write(s, "deny setgroups", "/proc/self/setgroups", "deny")
		write(s, "write the gid map", "/proc/self/gid_map", userns.Text(b.plan.Map.GIDs))
		write(s, "write the uid map", "/proc/self/uid_map", userns.Text(b.plan.Map.UIDs))
	}
}

// await stops until the parent sends a byte, and ends when it has gone.
func (b *builder) await(s *birth.Section, label string, from birth.Arg) {
	gone, ok := &birth.Mark{}, &birth.Mark{}
	s.Do(label, birth.Read, from, birth.Ptr(birth.Cell("byte")), birth.Int(1)).On(0, 0, gone).OnOK(ok)
	s.Here(gone)
	s.Do("the parent has gone", birth.ExitGroup, birth.Int(1))
	s.Here(ok)
}

// becomeRoot becomes id 0 of the new user namespace, where there is one, and
// else keeps the capabilities over execve, which drops them for other ids. A
// change of ids makes the memory undumpable (prctl(2)), and it is ours.
func (b *builder) becomeRoot(s *birth.Section) {
	m := &b.plan.Map
	switch {
	case b.plan.MapBy == userns.MapNone:
		return
	case b.setupUID() != 0:
		if _, mapped := userns.Inside(m.UIDs, uint32(b.host.UID)); !mapped {
			u := b.spec.Process.User
			b.become(s, u.UID, u.GID)
		}
		b.keepCapabilities(s)
		return
	}
	if !b.callerIsRoot(m.UIDs, b.host.UID) || !b.callerIsRoot(m.GIDs, b.host.GID) {
		b.become(s, 0, 0)
	}
}

func (b *builder) become(s *birth.Section, uid, gid uint32) {
	s.Do(fmt.Sprintf("become group %d of the user namespace", gid), birth.Setresgid, birth.Int(gid), birth.Int(gid), birth.Int(gid))
	s.Do(fmt.Sprintf("become user %d of the user namespace", uid), birth.Setresuid, birth.Int(uid), birth.Int(uid), birth.Int(uid))
	s.Do("stay dumpable", birth.Prctl, birth.Int(unix.PR_SET_DUMPABLE), birth.Int(1), birth.Int(0), birth.Int(0), birth.Int(0))
}

// inherit gives the sockets of the main section their descriptors, right above
// those of the container's process; dup3 clears close-on-exec.
func (b *builder) inherit(s *birth.Section) {
	b.plan.inputs = []birth.Input{birth.Report}
	if b.opts.Wait {
		b.plan.inputs = append(b.plan.inputs, Listener)
	}
	if b.spec.Process.Terminal {
		b.plan.inputs = append(b.plan.inputs, Console)
	}
	if b.entered != nil {
		b.plan.inputs = append(b.plan.inputs, Target)
	}
	if b.opts.Hook != "" {
		b.plan.inputs = append(b.plan.inputs, Stdin)
	}
	if b.filter != nil {
		b.plan.inputs = append(b.plan.inputs, Failure)
	}
	if b.copiesUp() {
		b.plan.inputs = append(b.plan.inputs, CopyUp)
	}
	for _, m := range b.plan.mapped {
		b.plan.inputs = append(b.plan.inputs, m.Input)
	}
	for n, in := range b.plan.inputs {
		s.Do(fmt.Sprintf("keep the %s socket", in), birth.Dup3, birth.In(in), birth.Int(b.firstFree()+n), birth.Int(0))
	}
}

// strays closes what our own process inherited and does not know.
func (b *builder) strays() error {
	b.do("close stray descriptors", birth.CloseRange, birth.Int(b.firstFree()+len(b.plan.inputs)), birth.Int(uint32(1<<32-1)), birth.Int(0))
	return nil
}

// join enters namespaces that exist. The pid namespace is entered by children
// only, and a new user namespace must be made after the others are entered, so
// the process forks, and the child takes its place as a child of ours; the
// parent learns its pid.
//
// From before it enters a user namespace the process cannot be traced, and its
// memory belongs to the host's user namespace, in which it was executed.
func (b *builder) join() error {
	if len(b.shared) == 0 {
		return nil
	}
	s := &b.plan.Main
	offsets := b.openTimeOffsets(s)
	if b.shared[specs.UserNamespace] != "" {
		s.Do("stay untraceable", birth.Prctl, birth.Int(unix.PR_SET_DUMPABLE), birth.Int(0), birth.Int(0), birth.Int(0), birth.Int(0))
	}
	var fds []*birth.Data
	var flags []uint64
	var labels []string
	for _, n := range namespaceFlags {
		if path, ok := b.shared[n.kind]; ok {
			fd, label := birth.Cell(string(n.kind)+" namespace"), fmt.Sprintf("join the %s namespace %s", n.kind, path)
			s.Do(label, birth.Openat, birth.Int(unix.AT_FDCWD), birth.Str(path), birth.Int(unix.O_RDONLY|unix.O_CLOEXEC), birth.Int(0)).Into(fd)
			fds, flags, labels = append(fds, fd), append(flags, n.flag), append(labels, label)
		}
	}
	for n, fd := range fds {
		s.Do(labels[n], birth.Setns, birth.Load(fd), birth.Int(flags[n]))
	}
	if offsets != nil {
		b.joinedTimeNamespace(s, offsets)
	}
	b.forkInto(s, b.newFlags())
	b.ownIDs(s)
	b.await(s, "wait for the parent", birth.In(birth.Report))
	if b.shared[specs.UserNamespace] != "" {
		// 0 may not be mapped there, but the process's user has to be.
		u, done := b.spec.Process.User, &birth.Mark{}
		s.Do("become group 0 of the user namespace", birth.Setresgid, birth.Int(0), birth.Int(0), birth.Int(0)).Ignore(unix.EINVAL)
		s.Do("become user 0 of the user namespace", birth.Setresuid, birth.Int(0), birth.Int(0), birth.Int(0)).OnOK(done).Ignore(unix.EINVAL)
		s.Do(fmt.Sprintf("become group %d of the user namespace", u.GID), birth.Setresgid, birth.Int(u.GID), birth.Int(u.GID), birth.Int(u.GID))
		s.Do(fmt.Sprintf("become user %d of the user namespace", u.UID), birth.Setresuid, birth.Int(u.UID), birth.Int(u.UID), birth.Int(u.UID))
		s.Here(done)
		return nil
	}
	if b.plan.MapBy != userns.MapNone && b.setupUID() == 0 {
		b.becomeRoot(s)
	}
	return nil
}

// ownCgroup makes a cgroup namespace that begins at the container's own cgroup,
// once the process is there.
func (b *builder) ownCgroup() error {
	if b.opts.Group && b.created[specs.CgroupNamespace] {
		b.do("make a cgroup namespace", birth.Unshare, birth.Int(unix.CLONE_NEWCGROUP))
	}
	return nil
}

// keepCapabilities makes all capabilities ambient: execve of a process whose
// id is not 0 drops the others.
func (b *builder) keepCapabilities(s *birth.Section) {
	all := uint64(1)<<(b.host.LastCap+1) - 1
	header, sets := capData(all, all, all)
	s.Do("make capabilities inheritable", birth.Capset, birth.Ptr(header), birth.Ptr(sets))
	for c := range b.host.LastCap + 1 {
		s.Do("keep capability "+capName(c), birth.Prctl, birth.Int(unix.PR_CAP_AMBIENT), birth.Int(unix.PR_CAP_AMBIENT_RAISE), birth.Int(c), birth.Int(0), birth.Int(0))
	}
}

// write puts a short text into a file of /proc.
func write(s *birth.Section, label, path, text string) {
	fd := birth.Cell(label)
	s.Do(label, birth.Openat, birth.Int(unix.AT_FDCWD), birth.Str(path), birth.Int(unix.O_WRONLY|unix.O_CLOEXEC), birth.Int(0)).Into(fd)
	s.Do(label, birth.Write, birth.Load(fd), birth.Str(text), birth.Int(len(text)))
	s.Do(label, birth.Close, birth.Load(fd))
}
