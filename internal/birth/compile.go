package birth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Inputs gives each [Input] of a program the number of an open descriptor of
// the forking process, which stays its owner.
type Inputs map[Input]int

// Report is the input that failure reports go to. Every program has it.
const Report Input = "sync"

// Options change how a program is compiled.
type Options struct {
	// FailAt makes the instruction with this index (counted over both
	// sections) fail with FailWith instead of running. Tests use it to see
	// that every failure is reported and undone. Negative: none.
	FailAt   int
	FailWith syscall.Errno
	// Cgroup is the directory of the cgroup that [Fork] makes the process in
	// (CLONE_INTO_CGROUP, Linux 5.7); nil for the caller's. It stays the
	// caller's to close.
	Cgroup *os.File
}

// NoFail runs every instruction.
func NoFail() Options { return Options{FailAt: -1} }

// ErrNUL is returned for strings that the kernel would cut short.
var ErrNUL = errors.New("string contains a NUL byte")

// Terminated checks that a foreign string can be handed to the kernel whole.
func Terminated(what, s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("%s %q: %w", what, s, ErrNUL)
	}
	return nil
}

// encoder lays a section out in memory: header, instructions, branches, data.
type encoder struct {
	base  uint64
	first int // index of the section's first instruction in the program
	in    Inputs
	opts  Options
	code  []byte
	data  []byte
	start uint64 // address of data
}

// encode returns the bytes of a section that will lie at the address base, in
// two parts that follow each other.
func encode(s *Section, base uint64, first int, in Inputs, opts Options) (code, data []byte, err error) {
	nbranch := uint64(0)
	for _, i := range s.instrs {
		nbranch += uint64(len(i.ranges))
	}
	count := uint64(len(s.instrs))
	size := headerSize + count*instructionSize + nbranch*branchSize
	e := &encoder{
		base: base, first: first, in: in, opts: opts,
		code: make([]byte, 0, size), data: make([]byte, 0, 48*count), start: base + size,
	}
	report, err := e.input(Report)
	if err != nil {
		return nil, nil, err
	}
	e.words(base+headerSize, report, 0, 0)
	branches := base + headerSize + count*instructionSize
	for n, i := range s.instrs {
		if err := e.instruction(n, i, branches); err != nil {
			return nil, nil, err
		}
		branches += uint64(len(i.ranges)) * branchSize
	}
	for n, i := range s.instrs {
		for _, j := range i.ranges {
			to := n + 1
			if j.to != nil {
				if !j.to.set {
					return nil, nil, fmt.Errorf("compile %q: jump to a mark that was never placed", i.Label)
				}
				to = j.to.index
			}
			e.words(uint64(j.lo), uint64(j.hi), base+headerSize+uint64(to)*instructionSize)
		}
	}
	return e.code, e.data, nil
}

func (e *encoder) instruction(n int, i *Instr, branches uint64) error {
	flags, nbranches := uint32(0), uint32(len(i.ranges))
	var args [6]uint64
	if len(i.Args) > len(args) {
		return fmt.Errorf("compile %q: more than six arguments", i.Label)
	}
	for k, a := range i.Args {
		v, err := e.arg(a)
		if err != nil {
			return fmt.Errorf("compile %q: %w", i.Label, err)
		}
		args[k] = v
		if a.kind == argLoad {
			flags |= 1 << k
		}
	}
	if i.Call == Value {
		flags |= flagValue
	}
	var save uint64
	switch {
	case i.toReports:
		save = e.base + silentOffset
	case i.save != nil:
		save = e.address(i.save) + uint64(i.saveAt)
	}
	if e.first+n == e.opts.FailAt {
		flags, nbranches, save, args[0] = flagValue, 0, 0, -uint64(e.opts.FailWith)
	}
	e.code = binary.LittleEndian.AppendUint32(e.code, uint32(i.Call))
	e.code = binary.LittleEndian.AppendUint32(e.code, flags)
	e.words(args[:]...)
	e.words(save, branches)
	e.code = binary.LittleEndian.AppendUint32(e.code, nbranches)
	e.code = binary.LittleEndian.AppendUint32(e.code, uint32(e.first+n))
	return nil
}

func (e *encoder) arg(a Arg) (uint64, error) {
	switch a.kind {
	case argPtr, argLoad:
		return e.address(a.data) + a.value, nil
	case argInput:
		return e.input(Input(a.data.text))
	}
	return a.value, nil
}

func (e *encoder) input(name Input) (uint64, error) {
	fd, ok := e.in[name]
	if !ok {
		return 0, fmt.Errorf("no descriptor for input %q", name)
	}
	return uint64(fd), nil
}

// address places d, and all it points to, in the section's data.
func (e *encoder) address(d *Data) uint64 {
	if d.by == e {
		return d.at
	}
	for len(e.data)%8 != 0 {
		e.data = append(e.data, 0)
	}
	off := len(e.data)
	at := e.start + uint64(off)
	d.by, d.at = e, at
	e.data = append(e.data, d.bytes...)
	for _, p := range d.ptrs {
		to := e.address(p.to)
		binary.LittleEndian.PutUint64(e.data[off+p.off:], to)
	}
	return at
}

func (e *encoder) words(list ...uint64) {
	for _, w := range list {
		e.code = binary.LittleEndian.AppendUint64(e.code, w)
	}
}
