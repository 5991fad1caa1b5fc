package birth

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	headerSize      = uint64(unsafe.Sizeof(header{}))
	instructionSize = uint64(unsafe.Sizeof(instruction{}))
	branchSize      = uint64(unsafe.Sizeof(branch{}))
	silentOffset    = uint64(unsafe.Offsetof(header{}.silent))
)

// Assembly: see interp_GOARCH.s.
func addresses() (entry, interp uintptr)

//go:noescape
func clone(args *cloneArgs, size uintptr, prelude uintptr, masks *[2]uint64) (result int)

// cloneArgs is struct clone_args of clone3(2), version 2.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal uint64
	stack, stackSize, tls, setTID, setTIDSize     uint64
	cgroup                                        uint64
}

// interpreter returns entry and interp as they lie in our own text.
func interpreter() ([]byte, error) {
	entry, interp := addresses()
	var text []byte
	for _, at := range []uintptr{entry, interp} {
		const most = 1024
		b := unsafe.String((*byte)(textPointer(at)), most)
		end := strings.Index(b, endOfText)
		if end < 0 {
			return nil, errors.New("interpreter has no end mark")
		}
		text = append(text, b[:end]...)
	}
	return text, nil
}

// textPointer is the conversion that vet cannot see to be safe: the address is
// that of our own text, which does not move.
func textPointer(at uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&at))
}

// Child is a process made by [Fork].
type Child struct {
	PID int
	// PidFD refers to the process; the caller closes it.
	PidFD *os.File

	memory []byte // of the prelude
}

// Fork makes a process in the namespaces of cloneFlags (CLONE_NEW…), which runs
// the program's prelude in our memory, beside us, and returns at once. Failures
// of the prelude come as a report on the [Report] input.
//
// The child is created by clone3(2) with CLONE_CLEAR_SIGHAND (Linux 5.5).
func Fork(p *Program, in Inputs, cloneFlags uint64, opts Options) (_ *Child, err error) {
	memory, err := unix.Mmap(-1, 0, preludeMemory, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map memory for the prelude: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Munmap(memory))
		}
	}()
	base := uintptr(unsafe.Pointer(&memory[0]))
	code, data, err := encode(&p.Prelude, uint64(base), 0, in, opts)
	if err != nil {
		return nil, err
	}
	if size := len(code) + len(data); size > preludeMemory-unusedStack {
		return nil, fmt.Errorf("prelude of %d bytes is too long", size)
	}
	copy(memory[copy(memory, code):], data)
	var pidfd int32
	args := &cloneArgs{
		flags:      cloneFlags | unix.CLONE_VM | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND,
		pidfd:      uint64(uintptr(unsafe.Pointer(&pidfd))),
		exitSignal: uint64(unix.SIGCHLD),
		// Nothing uses it, but it must not be ours.
		stack:     uint64(base) + preludeMemory - unusedStack,
		stackSize: unusedStack,
	}
	if opts.Cgroup != nil {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.cgroup = uint64(opts.Cgroup.Fd())
	}
	masks := [2]uint64{^uint64(0), 0}
	var pin runtime.Pinner
	pin.Pin(&pidfd)
	defer pin.Unpin()
	r := clone(args, unsafe.Sizeof(*args), base, &masks)
	if r < 0 {
		return nil, os.NewSyscallError("clone3", syscall.Errno(-r))
	}
	return &Child{PID: r, PidFD: os.NewFile(uintptr(pidfd), "pidfd"), memory: memory}, nil
}

// Free unmaps the prelude. It may be called once the main section has been
// heard of, or the process has been waited for.
func (c *Child) Free() error {
	if c.memory == nil {
		return nil
	}
	err := unix.Munmap(c.memory)
	c.memory = nil
	return err
}
