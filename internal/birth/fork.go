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

// preludeMemory bounds a prelude with its arguments and environment; it is
// mostly untouched.
const (
	preludeMemory = 4 << 20
	unusedStack   = 1 << 12
)

// Memfd makes an empty file for an executable, as [Program.Compile] writes one.
// The caller closes it.
// Linux 6.3 wants MFD_EXEC where vm.memfd_noexec is set; older kernels do not
// know the flag.
func Memfd() (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("airplant", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("airplant", flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "memfd:airplant"), nil
}

// Compile writes the executable of the main section to a file from [Memfd] and
// seals it. A prelude that executes it must wait until then.
func (p *Program) Compile(f *os.File, in Inputs, opts Options) error {
	code, data, err := encode(&p.Main, dataAddress, p.Prelude.Len(), in, opts)
	if err != nil {
		return err
	}
	head, err := executable(len(code) + len(data))
	if err != nil {
		return err
	}
	err = errors.Join(writeAt(f, 0, head), writeAt(f, dataOffset, code, data))
	if err != nil {
		return err
	}
	return Seal(f)
}

// writeAt writes parts one after the other; they are not joined first, since
// every new page of memory costs a fault.
func writeAt(f *os.File, at int64, parts ...[]byte) error {
	want := 0
	for _, p := range parts {
		want += len(p)
	}
	n, err := unix.Pwritev(int(f.Fd()), parts, at)
	if err == nil && n != want {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write the executable: %w", err)
	}
	return nil
}

// Seal ends the writing of a file from [Memfd], by whoever may open it.
func Seal(f *os.File) error {
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal the executable: %w", err)
	}
	return nil
}

// Wait reaps the process and gives its exit status as shells do: 128 and the
// signal for one that was killed.
func (c *Child) Wait() (int, error) {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(c.PID, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, os.NewSyscallError("wait4", err)
		case ws.Signaled():
			return 128 + int(ws.Signal()), nil
		}
		return ws.ExitStatus(), nil
	}
}

// Error is an instruction that failed in the child.
type Error struct {
	Index int    // over both sections
	Label string // what the instruction was for
	Call  Call
	Errno syscall.Errno
}

func (e *Error) Error() string {
	if e.Call == Value {
		return fmt.Sprintf("%s: %s", e.Label, e.Errno)
	}
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
	return Bytes(fmt.Sprintf("sync point %d", n), append(b, 0, 0, 0, 0))
}

// MessageValue is the offset in a message at which a result may be stored, of
// which the parent gets 32 bits.
const MessageValue = 4

// Told is a message of a child.
type Told struct {
	Point uint32 // the sync point that it has come to
	Value uint32
	// Notice is the label of a [Program.Notice] in place of a sync point.
	Notice string
}

// notice is the sync point of notices; the value is an index in the main
// section.
const notice = 1 << 16

// Notice appends an instruction to the main section that tells the parent its
// label and goes on: what is done in place of something better, and why.
func (p *Program) Notice(label string) {
	at := uint32(p.Main.Len())
	b := binary.LittleEndian.AppendUint32(nil, ^uint32(notice))
	b = binary.LittleEndian.AppendUint32(b, at)
	p.Main.Do(label, Write, In(Report), Ptr(Bytes("notice", b)), Int(MessageLen))
}

// ReadReport reads one message. It returns what the child tells at a sync
// point, an *[Error], or io.EOF when all descriptors for the input are closed:
// the child has executed its program, or died.
func (p *Program) ReadReport(r io.Reader) (Told, error) {
	var b [MessageLen]byte
	_, err := io.ReadFull(r, b[:])
	if errors.Is(err, unix.ECONNRESET) {
		// The child ended before it read what we sent (unix(7)). The error
		// comes first, and once; what the child told is still there.
		_, err = io.ReadFull(r, b[:])
	}
	if err != nil {
		return Told{}, err
	}
	index, value := binary.LittleEndian.Uint32(b[:]), binary.LittleEndian.Uint32(b[4:])
	if index == ^uint32(notice) && value < uint32(p.Main.Len()) {
		return Told{Notice: p.Main.instrs[value].Label}, nil
	}
	if index >= 1<<31 {
		return Told{Point: ^index, Value: value}, nil
	}
	return Told{}, p.failure(int(index), syscall.Errno(value))
}

// ReadSilent reads what [Instr.IntoReports] has shared, once the child has ended
// or executed its program: an *[Error], or io.EOF if nothing failed.
func (p *Program) ReadSilent(r io.ReaderAt) error {
	var b [MessageLen]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return err
	}
	if errno := binary.LittleEndian.Uint32(b[4:]); errno != 0 {
		return p.failure(int(binary.LittleEndian.Uint32(b[:])), syscall.Errno(errno))
	}
	return io.EOF
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
