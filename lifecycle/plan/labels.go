package plan

import (
	"errors"
	"fmt"

	"airplant/internal/birth"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// labels says with which AppArmor profile and SELinux label the next execve
// continues: that of the container's program. It is written first of all, in
// the caller's /proc, which no image has touched (CVE-2019-16884), and survives
// the forks into namespaces. So does the label of keys, which execve ends.
func (b *builder) labels() error {
	p := b.spec.Process
	if profile := p.ApparmorProfile; profile != "" {
		// The first is since Linux 5.8; the second belongs to the first module
		// that is active.
		b.attribute("set process.apparmorProfile to "+profile, "exec "+profile, "/proc/self/attr/apparmor/exec", "/proc/self/attr/exec")
	}
	if label := p.SelinuxLabel; label != "" {
		if !b.opts.NoNewKeyring {
			b.attribute("label the session keyring "+label, label, "/proc/self/attr/keycreate")
		}
		b.attribute("set process.selinuxLabel to "+label, label, "/proc/self/attr/exec")
	}
	return nil
}

// attribute writes to the first of some files of /proc that is there.
func (b *builder) attribute(label, text string, paths ...string) {
	fd, opened := birth.Cell(label), &birth.Mark{}
	for n, p := range paths {
		open := b.do(label, birth.Openat, birth.Int(unix.AT_FDCWD), birth.Str(p), birth.Int(unix.O_WRONLY|unix.O_CLOEXEC), birth.Int(0)).Into(fd).OnOK(opened)
		if n < len(paths)-1 {
			open.Ignore(unix.ENOENT)
		}
	}
	b.here(opened)
	b.isProc(label, fd)
	b.do(label, birth.Write, birth.Load(fd), birth.Str(text), birth.Int(len(text)))
	b.do(label, birth.Close, birth.Load(fd))
}

// isProc sees that a file is one of a proc filesystem: a write to any other
// would succeed, and mean nothing (CVE-2019-16884).
func (b *builder) isProc(label string, fd *birth.Data) {
	const size = 120 // struct statfs; the type is its first word
	stat, ok := birth.Bytes("<statfs>", make([]byte, size)), &birth.Mark{}
	b.do(label, birth.Fstatfs, birth.Load(fd), birth.Ptr(stat))
	b.do(label, birth.Value, birth.Load(stat)).On(unix.PROC_SUPER_MAGIC, unix.PROC_SUPER_MAGIC, ok)
	b.do(label+": /proc is not a proc filesystem", birth.Value, birth.Int(-int(unix.EXDEV)))
	b.here(ok)
}

// labelled are the file systems that take a label for all their files. The
// others have labels from the policy, or are the host's (mount(8), context=).
func labelled(kind string) bool {
	switch kind {
	case "proc", "sysfs", "cgroup", "cgroup2", "mqueue":
		return false
	}
	return true
}

// labelRoot labels the root of a new mqueue, which has no option for it.
func (b *builder) labelRoot(label string, mount *birth.Data) {
	text, dir := b.spec.Linux.MountLabel, birth.Cell("directory")
	b.do(label, birth.Openat, birth.Load(mount), birth.Str("."), birth.Int(unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC), birth.Int(0)).Into(dir)
	b.do(label+": label "+text, birth.Fsetxattr, birth.Load(dir), birth.Str("security.selinux"), birth.Str(text), birth.Int(len(text)+1), birth.Int(0))
	b.do(label, birth.Close, birth.Load(dir))
}

// checkLabels refuses what no module of the kernel would enforce, as runc does.
func checkLabels(spec *specs.Spec, host *Host) error {
	p := spec.Process
	switch {
	case p.ApparmorProfile != "" && !host.AppArmor:
		return fmt.Errorf("process.apparmorProfile %q: AppArmor is not enabled on this host", p.ApparmorProfile)
	case p.SelinuxLabel != "" && !host.SELinux:
		return fmt.Errorf("process.selinuxLabel %q: SELinux is not enabled on this host", p.SelinuxLabel)
	case spec.Linux.MountLabel != "" && !host.SELinux:
		return fmt.Errorf("linux.mountLabel %q: SELinux is not enabled on this host", spec.Linux.MountLabel)
	}
	return errors.Join(birth.Terminated("process.apparmorProfile", p.ApparmorProfile),
		birth.Terminated("process.selinuxLabel", p.SelinuxLabel), birth.Terminated("linux.mountLabel", spec.Linux.MountLabel))
}
