package seccomp

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// data is struct seccomp_data.
type data struct {
	number uint32
	token  uint32
	args   [maxArgs]uint64
}

func (d *data) word(off uint32) (uint32, bool) {
	switch {
	case off == offNumber:
		return d.number, true
	case off == offToken:
		return d.token, true
	case off >= offArgs && off < offArgs+8*maxArgs && off%4 == 0:
		return uint32(d.args[(off-offArgs)/8] >> (8 * ((off - offArgs) % 8))), true
	}
	return 0, false
}

// decode reads a program, and checks what the kernel does (net/core/filter.c,
// bpf_check_classic).
func decode(program []byte) ([]instruction, error) {
	var code []instruction
	for ; len(program) >= instructionSize; program = program[instructionSize:] {
		code = append(code, instruction{
			code: binary.LittleEndian.Uint16(program), jt: program[2], jf: program[3], k: binary.LittleEndian.Uint32(program[4:]),
		})
	}
	if len(program) != 0 || len(code) == 0 || len(code) > maxInstructions {
		return nil, fmt.Errorf("%d instructions and %d bytes", len(code), len(program))
	}
	for n, i := range code {
		most := 0
		switch i.code {
		case jump:
			most = int(i.k)
		case ifEqual, ifGreater, ifAtLeast, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			most = int(max(i.jt, i.jf))
		}
		if n+1+most >= len(code) && i.code != returnThis {
			return nil, fmt.Errorf("instruction %d leads out of the program", n)
		}
	}
	return code, nil
}

// run is the kernel's side.
func run(code []instruction, d *data) (uint32, error) {
	var acc uint32
	for pc := 0; pc < len(code); pc++ {
		i := code[pc]
		is := false
		switch i.code {
		case load:
			var ok bool
			if acc, ok = d.word(i.k); !ok {
				return 0, fmt.Errorf("load at %d", i.k)
			}
			continue
		case and:
			acc &= i.k
			continue
		case returnThis:
			return i.k, nil
		case jump:
			pc += int(i.k)
			continue
		case ifEqual:
			is = acc == i.k
		case ifGreater:
			is = acc > i.k
		case ifAtLeast:
			is = acc >= i.k
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			is = acc&i.k != 0
		default:
			return 0, fmt.Errorf("operation %#x", i.code)
		}
		if is {
			pc += int(i.jt)
		} else {
			pc += int(i.jf)
		}
	}
	return 0, fmt.Errorf("no end")
}

// ask runs a program about one call.
func ask(t *testing.T, code []instruction, d *data) uint32 {
	t.Helper()
	got, err := run(code, d)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func compiled(t *testing.T, f *Filter) []instruction {
	t.Helper()
	code, err := decode(f.Program)
	if err != nil {
		t.Fatal(err)
	}
	return code
}
