package birth

import (
	"encoding/binary"
	"errors"
)

// From elf(5). Package debug/elf has them too, and brings DWARF and zlib along,
// which every start of the program pays for.
const (
	elfClass64      = 2
	elfLittleEndian = 1
	elfVersion      = 1
	elfExecutable   = 2
	elfLoad         = 1
	elfStack        = 0x6474e551 // PT_GNU_STACK
	elfExec         = 1
	elfWrite        = 2
	elfRead         = 4
)

// fileHeader is Elf64_Ehdr.
type fileHeader struct {
	Ident                                                [16]byte
	Type, Machine                                        uint16
	Version                                              uint32
	Entry, Phoff, Shoff                                  uint64
	Flags                                                uint32
	Ehsize, Phentsize, Phnum, Shentsize, Shnum, Shstrndx uint16
}

// segment is Elf64_Phdr.
type segment struct {
	Type, Flags                             uint32
	Off, Vaddr, Paddr, Filesz, Memsz, Align uint64
}

// executable is the beginning of a static ELF file with two segments: the
// interpreter's text, read and execute, which is in it; the section's memory,
// read and write, of some size, which follows at dataOffset. The file has no
// section table, no interpreter and no relocations, and is bound to its
// addresses.
func executable(memory int) ([]byte, error) {
	text, err := interpreter()
	if err != nil {
		return nil, err
	}
	const headers = 64 + 3*56
	const align = 1 << 16 // pages are up to 64 KiB on arm64
	if headers+len(text) > dataOffset {
		return nil, errors.New("interpreter does not fit in a page")
	}
	code, size := uint64(headers+len(text)), uint64(memory)
	out := make([]byte, 0, code)
	for _, part := range []any{
		fileHeader{
			Ident: [16]byte{0x7f, 'E', 'L', 'F', elfClass64, elfLittleEndian, elfVersion},
			Type:  elfExecutable, Machine: elfMachine, Version: elfVersion,
			Entry: codeAddress + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 3,
		},
		segment{Type: elfLoad, Flags: elfRead | elfExec, Vaddr: codeAddress, Filesz: code, Memsz: code, Align: align},
		segment{Type: elfLoad, Flags: elfRead | elfWrite, Off: dataOffset, Vaddr: dataAddress, Filesz: size, Memsz: size, Align: align},
		segment{Type: elfStack, Flags: elfRead | elfWrite},
	} {
		if out, err = binary.Append(out, binary.LittleEndian, part); err != nil {
			return nil, err
		}
	}
	return append(out, text...), nil
}
