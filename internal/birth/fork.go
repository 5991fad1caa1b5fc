package birth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// preludeMemory bounds a prelude; it is mostly untouched.
const preludeMemory = 1 << 20

// Executable compiles the program's main section into a sealed memfd, which
// the caller closes. Linux 6.3 wants MFD_EXEC where vm.memfd_noexec is set;
// older kernels do not know the flag.
func Executable(p *Program, in Inputs, opts Options) (*os.File, error) {
	memory, err := encode(&p.Main, dataAddress, p.Prelude.Len(), in, opts)
	if err != nil {
		return nil, err
	}
	image, err := executable(memory)
	if err != nil {
		return nil, err
	}
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("airplant", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("airplant", flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "memfd:airplant")
	if _, err := f.Write(image); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, errors.Join(fmt.Errorf("seal the executable: %w", err), f.Close())
	}
	return f, nil
}

// second replaces the first process, which has ended, by the one that its
// prelude made; pid is 0 when it came not so far. The second is our child too
// and not yet waited for, so its pid cannot have been used again.
func (c *Child) second(pid int) (*Child, error) {
	if pid == 0 {
		return c, nil
	}
	_, err := unix.Wait4(c.PID, nil, 0, nil)
	if err = errors.Join(os.NewSyscallError("wait4", err), c.PidFD.Close()); err != nil {
		return nil, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return &Child{PID: pid, PidFD: os.NewFile(uintptr(fd), "pidfd")}, nil
}

// CloneArgs is struct clone_args of clone3(2) for a second process; see
// [Program.Second].
func CloneArgs(flags uint64, pid *Data) *Data {
	flags |= unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_PARENT | unix.CLONE_PARENT_SETTID
	d := Words("{"+flagText(cloneNames, flags)+"}", flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	return d.Point(24, pid)
}

// CloneArgsSize is the size in bytes of what [CloneArgs] makes.
const CloneArgsSize = 88

// Error is an instruction that failed in the child.
type Error struct {
	Index int    // over both sections
	Label string // what the instruction was for
	Call  Call
	Errno syscall.Errno
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: %s (instruction %d)", e.Label, e.Call, e.Errno, e.Index)
}

// Unwrap gives the errno.
func (e *Error) Unwrap() error { return e.Errno }

// MessageLen is the size in bytes of what a child writes to its Report input.
const MessageLen = 8

// Message is what a program writes, with an instruction of its own, to tell
// its parent that it has come to the sync point n.
func Message(n uint32) *Data {
	b := binary.LittleEndian.AppendUint32(nil, ^n)
	b = binary.LittleEndian.AppendUint32(b, 0)
	return Bytes(fmt.Sprintf("sync point %d", n), b)
}

// ReadReport reads one message. It returns the sync point that the child has
// come to, an *[Error], or io.EOF when all descriptors for the input are
// closed: the child has executed its program, or died.
func (p *Program) ReadReport(r io.Reader) (point uint32, err error) {
	var b [MessageLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, err
	}
	index := binary.LittleEndian.Uint32(b[:])
	errno := syscall.Errno(binary.LittleEndian.Uint32(b[4:]))
	if errno == 0 {
		return ^index, nil
	}
	return 0, p.failure(int(index), errno)
}

func (p *Program) failure(index int, errno syscall.Errno) error {
	e := &Error{Index: index, Label: "unknown instruction", Call: Value, Errno: errno}
	n := index
	list := p.Prelude.instrs
	if n >= len(list) {
		n -= len(list)
		list = p.Main.instrs
	}
	if n < len(list) {
		e.Label, e.Call = list[n].Label, list[n].Call
	}
	return e
}
