package doctor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ProbeName is what this program is called (os.Args[0]) when [Gather] starts
// it in a new user namespace. A main function hands over to [RunProbe] first
// of all when it sees the name, with all of os.Args.
const ProbeName = "airplant-probe"

// What a probe is asked to do is its first argument.
const (
	probeAll      = "all"      // everything, in the directory of the second argument
	probeSeparate = "separate" // which namespaces are refused
	probeWait     = "wait"     // stay until stdin ends
)

// RunProbe does what [Gather] asked for and returns the exit status. It answers
// on out, one line a try: name, errno, step.
func RunProbe(args []string, in io.Reader, out io.Writer) int {
	p := probe{out: out}
	switch {
	case len(args) == 3 && args[1] == probeAll:
		p.all(args[2])
	case len(args) == 2 && args[1] == probeSeparate:
		p.separate()
	case len(args) == 2 && args[1] == probeWait:
		_, p.err = io.Copy(io.Discard, in)
	default:
		return 2
	}
	if p.err != nil {
		return 1
	}
	return 0
}

type probe struct {
	out io.Writer
	err error
}

// report writes the outcome of a try. Its caller is the first process of new
// namespaces, so nothing has to be undone.
func (p *probe) report(name, step string, err error) {
	if step == "" {
		step = "-"
	}
	if _, err := fmt.Fprintf(p.out, "%s %d %s\n", name, errnoOf(err), step); err != nil {
		p.err = err
	}
}

func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return errno
	}
	return syscall.EIO // no system call said no
}

// all tries what a container needs, as the first process of new user, pid,
// mount, network, ipc, uts and cgroup namespaces. dir is empty but for the
// directories that [scratch] makes.
func (p *probe) all(dir string) {
	if p.err = os.Chdir(dir); p.err != nil {
		return
	}
	step, err := overlay()
	p.report(TryOverlay, step, err)

	err = unix.Mount("proc", "mnt", "proc", 0, "")
	p.report(TryProc, "mount", err)
	if err == nil {
		p.report(TryProcSubset, "", nil)
	} else {
		p.report(TryProcSubset, "mount", unix.Mount("proc", "mnt", "proc", 0, "subset=pid"))
	}
	step, err = fuse()
	p.report(TryFUSE, step, err)
	step, err = tun()
	p.report(TryTUN, step, err)

	// No protocol: the socket receives nothing.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Close(fd)
	}
	p.report(TryPacket, "socket", err)
	p.report(TryMountSetattr, "", unix.MountSetattr(unix.AT_FDCWD, "/",
		unix.AT_RECURSIVE, &unix.MountAttr{Propagation: unix.MS_PRIVATE}))
	p.report(TryTimeNS, "unshare", unix.Unshare(unix.CLONE_NEWTIME))
	// An anonymous one: package unix's own function always passes a name.
	_, err = unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	p.report(TryKeyring, "keyctl", err)
}

// overlay mounts one and makes it write both of its marks: a whiteout, which
// is a device node, and an opaque directory, which is an extended attribute
// (userxattr, Linux 5.11). Names are relative, for a directory's name may have
// the commas and colons that separate options.
func overlay() (step string, err error) {
	err = unix.Mount("overlay", "merged", "overlay", 0, "lowerdir=lower,upperdir=upper,workdir=work,userxattr")
	if err != nil {
		return "mount", err
	}
	if err := os.Remove("merged/file"); err != nil {
		return "whiteout", err
	}
	if err := os.Remove("merged/dir"); err != nil {
		return "whiteout", err
	}
	if err := os.Mkdir("merged/dir", 0o755); err != nil {
		return "opaque", err
	}
	return "", nil
}

// fuse mounts a file system that nobody serves. Mounting does not ask it
// anything; from the mount on, no path below "mnt" may be looked at.
func fuse() (step string, err error) {
	fd, err := unix.Open(devFUSE, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "open", err
	}
	defer unix.Close(fd)
	err = unix.Mount("fuse", "fuse", "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd))
	return "mount", err
}

func tun() (step string, err error) {
	fd, err := unix.Open(devTUN, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "open", err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("probe0")
	if err != nil {
		return "name", err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	return "TUNSETIFF", unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
}

// separate makes the namespaces one by one, to name those that are refused.
func (p *probe) separate() {
	for _, kind := range namespaceKinds() {
		p.report(kind.name, "unshare", unix.Unshare(int(kind.flag)))
	}
}

type namespaceKind struct {
	name string
	flag uintptr
}

// namespaceKinds are those that every container may ask for, but the user
// namespace, which is made first.
func namespaceKinds() []namespaceKind {
	return []namespaceKind{
		{"mount", unix.CLONE_NEWNS},
		{"pid", unix.CLONE_NEWPID},
		{"network", unix.CLONE_NEWNET},
		{"ipc", unix.CLONE_NEWIPC},
		{"uts", unix.CLONE_NEWUTS},
		{"cgroup", unix.CLONE_NEWCGROUP},
	}
}
