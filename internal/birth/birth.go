// Package birth turns a flat program of system calls into a process.
//
// A Go process has many threads, and the kernel lets only a single-threaded
// process enter a user namespace or set itself up step by step. So the steps
// that make a container are not Go code. They are data: a [Program] is a list
// of system calls with their arguments, what to do with each result, and a
// label for people. It has two sections:
//
//	Prelude  runs in the forked child, in our own memory, up to execveat
//	Main     runs in a tiny static executable that is made of the
//	         interpreter and the section's data, in a sealed memfd
//
//	Go process            forked child              the memfd
//	    | clone3(VM|NEW…)       |                        |
//	    |---------------------->| Prelude: id maps, …    |
//	    | compile Main          |                        |
//	    | go on --------------->| execveat ------------->| Main: mounts,
//	    |                                                | pivot_root, …
//	    |<----------------- 8-byte reports over a socket | execve of the
//	    |                                (index, errno)  | container's program
//
// The child shares our memory (CLONE_VM) until execveat, which spares the copy
// of a Go process's page tables, and runs beside us. That is safe because the
// interpreter (interp_GOARCH.s) uses no stack and no thread-local storage,
// allocates nothing and calls nothing, and all signals are blocked in it.
//
// The executable, and not a copy of the Go process, is what waits in the
// "created" state, so a created container costs kilobytes; and it, not our
// binary, is what /proc/PID/exe of the container's first process names
// (CVE-2019-5736).
//
// On a result that an instruction does not expect the interpreter reports the
// index and errno and ends the process.
//
// Known hazards: calls that change credentials make the memory's owner
// undumpable, and in a prelude that is our own process too. A prelude must not
// enter a namespace that foreign processes live in: whoever may trace it there
// reads our memory. Cells are not shared between the two sections.
package birth

import (
	"encoding/binary"
	"math"
	"syscall"
)

// Program is everything a new process does before its first foreign
// instruction, in order.
type Program struct {
	Prelude Section
	Main    Section
}

// Section is a list of instructions that run in one address space.
type Section struct {
	instrs []*Instr
	free   []Instr // room for further ones, so that they lie side by side
}

// Instr is one instruction: a system call, or, when Call is [Value], just its
// first argument taken as the result.
type Instr struct {
	Label string
	Call  Call
	Args  []Arg

	save      *Data
	saveAt    int
	toReports bool
	ranges    []jump
}

// Mark is a place in a section that instructions jump to.
type Mark struct {
	index int
	set   bool
}

type jump struct {
	lo, hi int64
	to     *Mark // nil: the next instruction
}

// Do appends an instruction. The label says what it does, as it would read in
// an error message: "mount proc on /proc".
func (s *Section) Do(label string, call Call, args ...Arg) *Instr {
	if len(s.free) == 0 {
		s.free = make([]Instr, 64)
	}
	i := &s.free[0]
	s.free = s.free[1:]
	i.Label, i.Call, i.Args = label, call, args
	s.instrs = append(s.instrs, i)
	return i
}

// Goto appends an unconditional jump.
func (s *Section) Goto(label string, to *Mark) {
	s.Do(label, Value, Int(0)).On(math.MinInt64, math.MaxInt64, to)
}

// Set appends an instruction that stores a value in a cell.
func (s *Section) Set(label string, cell *Data, v Arg) {
	s.Do(label, Value, v).Into(cell)
}

// Here puts the mark before the instruction that comes next.
func (s *Section) Here(m *Mark) {
	m.index, m.set = len(s.instrs), true
}

// Len is the number of instructions.
func (s *Section) Len() int { return len(s.instrs) }

// Into stores the result (8 bytes) at the start of the given data.
func (i *Instr) Into(cell *Data) *Instr {
	i.save = cell
	return i
}

// IntoAt stores the result at the given offset of a structure.
func (i *Instr) IntoAt(d *Data, off int) *Instr {
	i.save, i.saveAt = d, off
	return i
}

// IntoReports takes the result for the address of memory that is shared with
// the parent. From then on a failure is stored there, and not written to the
// [Report] input, which may be no call that the process is still allowed. The
// parent reads it with [Program.ReadSilent].
func (i *Instr) IntoReports() *Instr {
	i.toReports = true
	return i
}

// On jumps when lo <= result <= hi; a negative result is minus errno. Ranges
// are tried in the order in which they were added.
func (i *Instr) On(lo, hi int64, to *Mark) *Instr {
	i.ranges = append(i.ranges, jump{lo, hi, to})
	return i
}

// OnErr jumps when the call fails with one of the given errors.
func (i *Instr) OnErr(to *Mark, errnos ...syscall.Errno) *Instr {
	for _, e := range errnos {
		i.On(-int64(e), -int64(e), to)
	}
	return i
}

// OnAnyErr jumps when the call fails.
func (i *Instr) OnAnyErr(to *Mark) *Instr { return i.On(-4095, -1, to) }

// OnOK jumps when the call succeeds.
func (i *Instr) OnOK(to *Mark) *Instr { return i.On(0, math.MaxInt64, to) }

// Ignore goes on with the next instruction when the call fails with one of the
// given errors.
func (i *Instr) Ignore(errnos ...syscall.Errno) *Instr { return i.OnErr(nil, errnos...) }

// IgnoreAll goes on with the next instruction whatever the result.
func (i *Instr) IgnoreAll() *Instr { return i.OnAnyErr(nil) }

// Data is memory that a section carries: strings, structures, and cells that
// hold results. One Data may be used by several instructions of a section.
type Data struct {
	text  string
	show  func(*Data) string // makes the text, where it follows from the bytes
	bytes []byte
	ptrs  []pointer

	by *encoder // that has placed it last, and where
	at uint64
}

type pointer struct {
	off int
	to  *Data
}

// String is a NUL-terminated string. A NUL inside it ends it for the kernel,
// so callers check foreign strings before (see [Terminated]).
func String(s string) *Data {
	b := make([]byte, len(s)+1)
	copy(b, s)
	return &Data{show: (*Data).quoted, bytes: b}
}

// Bytes is a structure; text is how it is printed.
func Bytes(text string, b []byte) *Data { return &Data{text: text, bytes: b} }

// Cell holds the result of an instruction: 8 bytes, zero at the start.
func Cell(name string) *Data {
	return &Data{text: name, show: (*Data).cell, bytes: make([]byte, 8)}
}

// Point writes the address of to at the given offset of d.
func (d *Data) Point(off int, to *Data) *Data {
	d.ptrs = append(d.ptrs, pointer{off, to})
	return d
}

// Vector is a NULL-terminated array of strings, as execve takes it.
func Vector(list []string) *Data {
	d := &Data{show: (*Data).vector, bytes: make([]byte, 8*(len(list)+1))}
	for i, s := range list {
		d.Point(8*i, String(s))
	}
	return d
}

// Words is a structure of 64-bit words in the machine's order; both supported
// machines are little-endian.
func Words(text string, words ...uint64) *Data {
	return &Data{text: text, bytes: wordBytes(words)}
}

func wordBytes(words []uint64) []byte {
	b := make([]byte, 0, 8*len(words))
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// shown is a structure of words that is printed by a function.
func shown(show func(*Data) string, words ...uint64) *Data {
	return &Data{show: show, bytes: wordBytes(words)}
}

// Arg is an argument of an instruction.
type Arg struct {
	kind  argKind
	value uint64
	data  *Data // of an input: its name
}

type argKind uint8

const (
	argConst argKind = iota
	argPtr
	argLoad
	argInput
)

// Input names a descriptor that the forking process supplies; its number is
// known only when the program is compiled, so that plans stay pure.
type Input string

// Int is a constant.
func Int[T ~int | ~int32 | ~int64 | ~uint32 | ~uint64 | ~uintptr](v T) Arg {
	return Arg{value: uint64(v)}
}

// Ptr is the address of d.
func Ptr(d *Data) Arg { return Arg{kind: argPtr, data: d} }

// Str is the address of a string.
func Str(s string) Arg { return Ptr(String(s)) }

// Load is the first word of d at the time of the call.
func Load(d *Data) Arg { return Arg{kind: argLoad, data: d} }

// LoadAt is the word of d at an offset in bytes, at the time of the call.
func LoadAt(d *Data, off int) Arg { return Arg{kind: argLoad, data: d, value: uint64(off)} }

// In is the number of the descriptor that the parent supplies.
func In(name Input) Arg { return Arg{kind: argInput, data: &Data{text: string(name)}} }

// Null is the null pointer.
func Null() Arg { return Arg{} }
