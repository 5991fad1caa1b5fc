package birth

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"runtime"
)

// executable is a static ELF file with two segments: the interpreter's text,
// read and execute; the section's memory, read and write. It has no section
// table, no interpreter and no relocations, and is bound to its addresses.
func executable(memory []byte) ([]byte, error) {
	text, err := interpreter()
	if err != nil {
		return nil, err
	}
	const headers = 64 + 3*56
	if headers+len(text) > dataOffset {
		return nil, errors.New("interpreter does not fit in a page")
	}
	h := elf.Header64{
		Type:    uint16(elf.ET_EXEC),
		Machine: machine(),
		Version: uint32(elf.EV_CURRENT),
		Entry:   codeAddress + headers,
		Phoff:   64, Ehsize: 64, Phentsize: 56, Phnum: 3,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	h.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	h.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	// Pages are up to 64 KiB on arm64.
	const align = 1 << 16
	out := bytes.NewBuffer(make([]byte, 0, dataOffset+len(memory)))
	code := uint64(headers + len(text))
	size := uint64(len(memory))
	for _, part := range []any{
		h,
		elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: codeAddress, Filesz: code, Memsz: code, Align: align},
		elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: dataOffset, Vaddr: dataAddress, Filesz: size, Memsz: size, Align: align},
		elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W)},
	} {
		// Writing fixed-size structures to a buffer cannot fail.
		_ = binary.Write(out, binary.LittleEndian, part)
	}
	out.Write(text)
	out.Write(make([]byte, dataOffset-out.Len()))
	out.Write(memory)
	return out.Bytes(), nil
}

func machine() uint16 {
	if runtime.GOARCH == "arm64" {
		return uint16(elf.EM_AARCH64)
	}
	return uint16(elf.EM_X86_64)
}
