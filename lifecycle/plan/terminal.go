package plan

import (
	"encoding/binary"

	"airplant/internal/birth"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// terminal opens a pty of the container's own devpts, sends the master to the
// console socket as SCM_RIGHTS, and makes the other end the controlling
// terminal, standard input, output and error, and /dev/console.
func (b *builder) terminal() error {
	if !b.spec.Process.Terminal {
		return nil
	}
	const label = "open a terminal"
	master, slave := birth.Cell("master"), birth.Cell("terminal")
	b.openInRoot(label, "dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0, master)
	b.do(label, birth.Ioctl, birth.Load(master), birth.Int(unix.TIOCSPTLCK), birth.Ptr(birth.Words("0", 0)))
	b.do(label, birth.Ioctl, birth.Load(master), birth.Int(unix.TIOCGPTPEER), birth.Int(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)).Into(slave)
	if size := b.spec.Process.ConsoleSize; size != nil {
		winsize := make([]byte, 8)
		binary.LittleEndian.PutUint16(winsize, uint16(size.Height))
		binary.LittleEndian.PutUint16(winsize[2:], uint16(size.Width))
		b.do("set the terminal's size", birth.Ioctl, birth.Load(slave), birth.Int(unix.TIOCSWINSZ), birth.Ptr(birth.Bytes("size", winsize)))
	}
	if u := b.spec.Process.User; u.UID != 0 {
		b.do("give the terminal to the user", birth.Fchown, birth.Load(slave), birth.Int(u.UID), birth.Int(-1))
	}
	b.console(slave)
	b.do("make it the controlling terminal", birth.Ioctl, birth.Load(slave), birth.Int(unix.TIOCSCTTY), birth.Int(0))
	for fd := range 3 {
		b.do("make it standard input and output", birth.Dup3, birth.Load(slave), birth.Int(fd), birth.Int(0))
	}
	b.sendMaster(master)
	return nil
}

// console binds the terminal on /dev/console, where there is a /dev of the
// container's own.
func (b *builder) console(slave *birth.Data) {
	if b.entered != nil || b.boundDev() || b.shared[specs.MountNamespace] != "" {
		return
	}
	const label = "bind the terminal on /dev/console"
	tree := b.cloneTree(label, birth.Load(slave), "", unix.AT_EMPTY_PATH)
	b.attach(label, tree, b.open(&place{label: label, path: "dev/console", make: b.makeFile}))
}

// sendMaster sends the terminal's master with its name, as runc does.
func (b *builder) sendMaster(master *birth.Data) {
	const label = "send the terminal's master"
	const name = "/dev/pts/ptmx"
	control := birth.Words("SCM_RIGHTS", uint64(unix.CmsgLen(4)), unix.SOL_SOCKET|unix.SCM_RIGHTS<<32, 0)
	b.do(label, birth.Value, birth.Load(master)).IntoAt(control, unix.CmsgLen(0))
	iov := birth.Words("iov", 0, uint64(len(name))).Point(0, birth.String(name))
	msg := birth.Words("{SCM_RIGHTS master}", 0, 0, 0, 1, 0, uint64(unix.CmsgSpace(4)), 0)
	msg.Point(16, iov).Point(32, control)
	b.do(label, birth.Sendmsg, birth.In(Console), birth.Ptr(msg), birth.Int(unix.MSG_NOSIGNAL))
}
