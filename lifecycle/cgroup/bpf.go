package cgroup

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// bpf(2) takes a structure that holds addresses. It is made in a mapping of
// its own, which is filled through its descriptor: the address of such memory
// is a plain number, and the garbage collector knows nothing of it.

// arena is memory that the kernel is given addresses of.
type arena struct {
	fd   int
	base uintptr
	free func() error
}

// newArena maps memory and fills it.
func newArena(content []byte) (*arena, error) {
	fd, err := unix.MemfdCreate("bpf", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if _, err := unix.Pwrite(fd, content, 0); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	size := uintptr(len(content))
	p, err := unix.MmapPtr(fd, 0, nil, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	free := func() error { return errors.Join(unix.MunmapPtr(p, size), unix.Close(fd)) }
	return &arena{fd: fd, base: uintptr(p), free: free}, nil
}

// attrSize is that of union bpf_attr as far as it is used here; the data that
// it points to follow.
const attrSize = 128

// call calls bpf(2). fill gets the attribute and the address of data, which
// the kernel may change; what is there afterwards is returned.
func call(command int, data []byte, fill func(attr []byte, at uint64)) (int, []byte, error) {
	memory := make([]byte, attrSize+len(data))
	copy(memory[attrSize:], data)
	a, err := newArena(memory)
	if err != nil {
		return -1, nil, fmt.Errorf("memory for bpf: %w", err)
	}
	defer func() { _ = a.free() }()
	fill(memory[:attrSize], uint64(a.base)+attrSize)
	if _, err := unix.Pwrite(a.fd, memory[:attrSize], 0); err != nil {
		return -1, nil, fmt.Errorf("memory for bpf: %w", err)
	}
	n, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), a.base, attrSize)
	if _, err := unix.Pread(a.fd, memory, 0); err != nil {
		return -1, nil, fmt.Errorf("memory for bpf: %w", err)
	}
	if errno != 0 {
		return -1, memory, errno
	}
	return int(n), memory, nil
}

func put32(b []byte, n uint32) { binary.LittleEndian.PutUint32(b, n) }
func put64(b []byte, n uint64) { binary.LittleEndian.PutUint64(b, n) }

// license is what the program declares; the kernel asks for none, since it
// calls no function.
const license = "Apache-2.0\x00"

// loadProgram loads a program of the device kind and returns its descriptor.
func loadProgram(code []byte) (int, error) {
	data := append(append([]byte{}, code...), license...)
	fd, _, err := call(unix.BPF_PROG_LOAD, data, func(attr []byte, at uint64) {
		put32(attr[0:], unix.BPF_PROG_TYPE_CGROUP_DEVICE)
		put32(attr[4:], uint32(len(code)/8))
		put64(attr[8:], at)
		put64(attr[16:], at+uint64(len(code)))
	})
	return fd, err
}

// replaceProgram attaches a program to a group in place of one that is there,
// without a moment in which there is none. Others, above the group, hold as
// well: all must allow.
func replaceProgram(group, program int) error {
	old, err := attached(group)
	if err != nil {
		return err
	}
	replace := -1
	if len(old) == 1 {
		fd, _, err := call(unix.BPF_PROG_GET_FD_BY_ID, nil, func(attr []byte, _ uint64) { put32(attr[0:], old[0]) })
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		replace = fd
	}
	_, _, err = call(unix.BPF_PROG_ATTACH, nil, func(attr []byte, _ uint64) {
		put32(attr[0:], uint32(group))
		put32(attr[4:], uint32(program))
		put32(attr[8:], unix.BPF_CGROUP_DEVICE)
		put32(attr[12:], unix.BPF_F_ALLOW_MULTI)
		if replace >= 0 { // Linux 5.6
			put32(attr[12:], unix.BPF_F_ALLOW_MULTI|unix.BPF_F_REPLACE)
			put32(attr[16:], uint32(replace))
		}
	})
	return err
}

// attached lists the ids of the device programs on a group itself.
func attached(group int) ([]uint32, error) {
	const most = 64 // BPF_CGROUP_MAX_PROGS
	_, memory, err := call(unix.BPF_PROG_QUERY, make([]byte, 4*most), func(attr []byte, at uint64) {
		put32(attr[0:], uint32(group))
		put32(attr[4:], unix.BPF_CGROUP_DEVICE)
		put64(attr[16:], at)
		put32(attr[24:], most)
	})
	if err != nil {
		return nil, err
	}
	n := min(binary.LittleEndian.Uint32(memory[24:]), most)
	var ids []uint32
	for i := range n {
		ids = append(ids, binary.LittleEndian.Uint32(memory[attrSize+4*i:]))
	}
	return ids, nil
}
