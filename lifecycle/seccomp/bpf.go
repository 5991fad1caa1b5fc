package seccomp

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// instruction is struct sock_filter.
type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// Classic BPF operations that are used, of linux/bpf_common.h.
const (
	load       = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	and        = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	jump       = unix.BPF_JMP | unix.BPF_JA
	ifEqual    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	ifGreater  = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	ifAtLeast  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	returnThis = unix.BPF_RET | unix.BPF_K
)

// Offsets in struct seccomp_data; both machines are little-endian.
const (
	offNumber = 0
	offToken  = 4
	offArgs   = 16
)

// assembler writes a program from its end. Jumps of classic BPF only go
// forward, so where they lead is known when they are written. Places are counted
// from the end.
type assembler struct {
	code []instruction
	rets map[uint32]int // places that return an action
}

// at is the place of the next instruction to be written.
func (a *assembler) at() int { return len(a.code) }

func (a *assembler) put(code uint16, k uint32) int {
	a.code = append(a.code, instruction{code: code, k: k})
	return a.at() - 1
}

// ret is a place that returns the action. Far ones are made anew by near.
func (a *assembler) ret(act uint32) int {
	at, ok := a.rets[act]
	if !ok {
		at = a.put(returnThis, act)
		a.rets[act] = at
	}
	return at
}

// near makes a place reachable for a conditional jump, whose offsets have eight
// bits. A return is repeated, which is no longer than a jump to it.
func (a *assembler) near(to int) int {
	const reach = 255 - 2 // the jump may itself come after two of these
	if a.at()-to-1 <= reach {
		return to
	}
	if i := a.code[to]; i.code == returnThis {
		a.rets[i.k] = a.put(returnThis, i.k)
		return a.rets[i.k]
	}
	return a.put(jump, uint32(a.at()-to-1))
}

// branch compares the accumulator.
func (a *assembler) branch(code uint16, k uint32, yes, no int) int {
	if yes == no {
		return yes
	}
	yes = a.near(yes)
	no = a.near(no)
	at := a.at()
	a.code = append(a.code, instruction{code, uint8(at - yes - 1), uint8(at - no - 1), k})
	return at
}

// here makes a place the one that runs next after what is written now.
func (a *assembler) here(to int) {
	if to != a.at()-1 {
		a.put(jump, uint32(a.at()-to-1))
	}
}

// assemble writes the whole program.
func (p *profile) assemble() []instruction {
	a := &assembler{rets: map[uint32]int{}}
	at := a.ret(unix.SECCOMP_RET_KILL_PROCESS)
	// From the end, so that the machine's own ABI is compared first.
	for _, abi := range slices.Backward(p.abis) {
		if abi.column == x32 {
			continue // a part of x86_64
		}
		other := at
		a.here(a.search(p, p.spans(abi.token)))
		at = a.branch(ifEqual, abi.token, a.put(load, offNumber), other)
	}
	a.here(at)
	a.put(load, offToken)
	slices.Reverse(a.code)
	return a.code
}

// search finds the number's span by halves.
func (a *assembler) search(p *profile, list []span) int {
	if len(list) == 1 {
		return a.decide(p, &list[0])
	}
	mid := len(list) / 2
	above := a.search(p, list[mid:])
	below := a.search(p, list[:mid])
	return a.branch(ifAtLeast, list[mid].start, above, below)
}

// decide asks a span's rules.
func (a *assembler) decide(p *profile, s *span) int {
	at := a.ret(s.act)
	if s.call < 0 {
		return at
	}
	for _, r := range slices.Backward(p.calls[s.call].rules) {
		yes := a.ret(r.act)
		for _, c := range slices.Backward(r.conditions) {
			yes = a.compare(c, s.abi.width(s.call, c.arg), yes, at)
		}
		at = yes
	}
	return at
}

// fit makes a value comparable with an argument of which only the lower bits
// are left. A negative number, with all bits above set, becomes one of fewer
// bits; a number that is too large is never met, which the second result says.
func fit(value uint64, width int) (uint64, bool) {
	low := value & (1<<width - 1)
	switch value >> (width - 1) {
	case 0, 1, 1<<(64-width+1) - 1:
		return low, true
	}
	return low, false
}

// compare writes one condition.
func (a *assembler) compare(c condition, width, yes, no int) int {
	fits := true
	if width < 64 {
		if c.op == opMaskedEQ {
			fits = c.value>>width == 0 || c.value>>width == c.mask>>width && c.value>>(width-1)&1 == 1
			c.value &= 1<<width - 1
			c.mask &= 1<<width - 1
		} else {
			c.value, fits = fit(c.value, width)
		}
	}
	switch c.op {
	case opNE:
		c.op, yes, no = opEQ, no, yes
	case opLT:
		c.op, yes, no = opGE, no, yes
	case opLE:
		c.op, yes, no = opGT, no, yes
	}
	if !fits {
		return no // neither equal to what is out of range, nor above it
	}
	lo, hi := uint32(c.value), uint32(c.value>>32)
	switch c.op {
	case opEQ, opMaskedEQ:
		at := a.equal(c.arg, width, lo, uint32(c.mask), yes, no)
		if width == 64 && c.mask>>32 != 0 {
			a.here(at)
			at = a.word(offArgs+8*c.arg+4, 32, hi, uint32(c.mask>>32), a.at()-1, no)
		}
		return at
	}
	code := uint16(ifGreater)
	if c.op == opGE {
		code = ifAtLeast
	}
	at := a.branch(code, lo, yes, no)
	at = a.fetch(c.arg, width, at)
	if width < 64 {
		return at
	}
	at = a.branch(ifEqual, hi, at, no)
	at = a.branch(ifGreater, hi, yes, at)
	a.here(at)
	return a.put(load, uint32(offArgs+8*c.arg+4))
}

// equal compares the lower half of an argument.
func (a *assembler) equal(arg, width int, value, mask uint32, yes, no int) int {
	return a.word(offArgs+8*arg, width, value, mask, yes, no)
}

// word loads a word, masks it, and compares.
func (a *assembler) word(off, width int, value, mask uint32, yes, no int) int {
	if width == 16 {
		mask &= 1<<16 - 1
	}
	if mask == 0 {
		return yes
	}
	a.here(a.branch(ifEqual, value, yes, no))
	if mask != 1<<32-1 {
		a.put(and, mask)
	}
	return a.put(load, uint32(off))
}

// fetch loads the lower half of an argument, as the kernel will cut it, for
// what is at a place.
func (a *assembler) fetch(arg, width, to int) int {
	a.here(to)
	if width == 16 {
		a.put(and, 1<<16-1)
	}
	return a.put(load, uint32(offArgs+8*arg))
}

func encode(code []instruction) []byte {
	out := make([]byte, 0, instructionSize*len(code))
	for _, i := range code {
		out = binary.LittleEndian.AppendUint16(out, i.code)
		out = append(out, i.jt, i.jf)
		out = binary.LittleEndian.AppendUint32(out, i.k)
	}
	return out
}
