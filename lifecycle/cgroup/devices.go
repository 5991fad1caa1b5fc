package cgroup

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Devices are allowed and refused by a BPF program on the group, which the
// kernel calls when a device is opened or made. It gets three words: access
// in the upper and type in the lower half of the first, then the numbers.
//
// The rules have version 1's meaning: each changes what those before it have
// said, so that for each kind of access the last rule that covers it counts,
// and nothing is allowed at first. The program therefore goes through them
// backwards, and keeps in a register the kinds that no rule has covered yet.

// insn is an instruction of BPF, linux/bpf.h.
type insn struct {
	code     byte
	dst, src byte
	off      int16
	imm      int32
}

// Registers: r0 the result, r1 the context, r2 access not yet covered, r3
// type, r4 major, r5 minor, r6 scratch.
const (
	opLoad   = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	opMove   = unix.BPF_ALU | bpfMov | unix.BPF_X
	opSet    = unix.BPF_ALU | bpfMov | unix.BPF_K
	opAnd    = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opShift  = unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K
	opJumpEq = bpfJmp32 | unix.BPF_JEQ | unix.BPF_K
	opJumpNe = bpfJmp32 | bpfJne | unix.BPF_K
	opExit   = unix.BPF_JMP | bpfExit

	bpfMov   = 0xb0
	bpfJmp32 = 0x06
	bpfJne   = 0x50
	bpfExit  = 0x90
)

// Kinds of device and access, as the program gets them.
const (
	devBlock = 1
	devChar  = 2

	accMknod = 1
	accRead  = 2
	accWrite = 4
	accAll   = accMknod | accRead | accWrite
)

// deviceRule is a rule in the program's numbers; -1 is any.
type deviceRule struct {
	allow        bool
	kind         int32
	major, minor int64
	access       int32
}

// always are allowed after all rules: what the runtime-spec has in every
// container, terminals, and making any node, which without the right to open
// it is harmless.
var always = [...]deviceRule{
	{true, devChar, -1, -1, accMknod},
	{true, devBlock, -1, -1, accMknod},
	{true, devChar, 1, 3, accAll},    // null
	{true, devChar, 1, 5, accAll},    // zero
	{true, devChar, 1, 7, accAll},    // full
	{true, devChar, 1, 8, accAll},    // random
	{true, devChar, 1, 9, accAll},    // urandom
	{true, devChar, 5, 0, accAll},    // tty
	{true, devChar, 5, 2, accAll},    // ptmx
	{true, devChar, 136, -1, accAll}, // pts
}

// parseDevices checks rules and appends those that always hold.
func parseDevices(rules []specs.LinuxDeviceCgroup) ([]deviceRule, error) {
	var list []deviceRule
	for i, r := range rules {
		d := deviceRule{allow: r.Allow, major: -1, minor: -1}
		switch r.Type {
		case "a", "":
			d.kind = -1
		case "b":
			d.kind = devBlock
		case "c", "u":
			d.kind = devChar
		default:
			return nil, fmt.Errorf("resources.devices[%d]: type %q", i, r.Type)
		}
		if r.Major != nil && *r.Major >= 0 {
			d.major = *r.Major
		}
		if r.Minor != nil && *r.Minor >= 0 {
			d.minor = *r.Minor
		}
		for _, a := range r.Access {
			bit := strings.IndexRune("mrw", a)
			if bit < 0 {
				return nil, fmt.Errorf("resources.devices[%d]: access %q", i, r.Access)
			}
			d.access |= 1 << bit
		}
		if r.Access == "" {
			d.access = accAll
		}
		if d.major > 1<<31-1 || d.minor > 1<<31-1 {
			return nil, fmt.Errorf("resources.devices[%d]: number out of range", i)
		}
		list = append(list, d)
	}
	return append(list, always[:]...), nil
}

// deviceProgram compiles rules.
func deviceProgram(rules []deviceRule) []insn {
	program := []insn{
		{opLoad, 2, 1, 0, 0},
		{opMove, 3, 2, 0, 0},
		{opAnd, 3, 0, 0, 0xffff},
		{opShift, 2, 0, 0, 16},
		{opLoad, 4, 1, 4, 0},
		{opLoad, 5, 1, 8, 0},
	}
	for _, r := range slices.Backward(rules) {
		var test []insn
		for reg, want := range map[byte]int64{3: int64(r.kind), 4: r.major, 5: r.minor} {
			if want >= 0 {
				test = append(test, insn{opJumpNe, reg, 0, 0, int32(want)})
			}
		}
		slices.SortFunc(test, func(a, b insn) int { return int(a.dst) - int(b.dst) })
		var act []insn
		if r.allow { // covered; when nothing is left, allowed
			act = []insn{
				{opAnd, 2, 0, 0, accAll &^ r.access},
				{opJumpNe, 2, 0, 2, 0},
				{opSet, 0, 0, 0, 1},
				{opExit, 0, 0, 0, 0},
			}
		} else { // any of it refuses all
			act = []insn{
				{opMove, 6, 2, 0, 0},
				{opAnd, 6, 0, 0, r.access},
				{opJumpEq, 6, 0, 2, 0},
				{opSet, 0, 0, 0, 0},
				{opExit, 0, 0, 0, 0},
			}
		}
		for i := range test { // past the end of this rule
			test[i].off = int16(len(test) - i - 1 + len(act))
		}
		program = append(append(program, test...), act...)
	}
	return append(program, insn{opSet, 0, 0, 0, 0}, insn{opExit, 0, 0, 0, 0})
}

// assemble encodes a program as the kernel reads it.
func assemble(program []insn) []byte {
	var code []byte
	for _, i := range program {
		code = append(code, i.code, i.dst|i.src<<4) // both of our architectures are little endian
		code = binary.LittleEndian.AppendUint16(code, uint16(i.off))
		code = binary.LittleEndian.AppendUint32(code, uint32(i.imm))
	}
	return code
}

// devices puts rules on the group in place of those that were there. Without
// any rule nothing is restricted.
func (g *Group) devices(rules []specs.LinuxDeviceCgroup) error {
	if len(rules) == 0 {
		return nil
	}
	list, err := parseDevices(rules)
	if err != nil {
		return err
	}
	program, err := loadProgram(assemble(deviceProgram(list)))
	if err != nil {
		return fmt.Errorf("load device program: %w", err)
	}
	defer unix.Close(program)
	if err := replaceProgram(g.dir.fd(), program); err != nil {
		return fmt.Errorf("attach device program to %s: %w", g.place.Dir(), err)
	}
	return nil
}
