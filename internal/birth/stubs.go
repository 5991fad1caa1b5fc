package birth

import "golang.org/x/sys/unix"

// The assembly reads these and the offsets of [instruction] and [header]
// through go_asm.h, which the compiler makes; no number is written twice.
const (
	sysWrite       = unix.SYS_WRITE
	sysExitGroup   = unix.SYS_EXIT_GROUP
	sysClone3      = unix.SYS_CLONE3
	sysSigprocmask = unix.SYS_RT_SIGPROCMASK
	sigSetmask     = unix.SIG_SETMASK

	flagValue   = 1 << 8
	maxErrno    = 4095
	dataOffset  = 0x1000 // of the data segment, in the file and in its 64 KiB page
	dataAddress = codeAddress + 0x10000 + dataOffset
	codeAddress = 0x10000000
)

// endOfText is the END of the assembly files.
const endOfText = "\x0F\x0B\xA1\x12\x91\xA7\x0F\x0B"

// header is the start of a section's memory; the interpreter keeps its address
// in a register.
type header struct {
	first  uint64 // address of the first instruction
	report uint64 // descriptor that takes reports
	silent uint64 // address that takes a report in place of the descriptor, or 0
	index  uint32 // the report: instruction that failed
	errno  uint32
}

// instruction is the encoded form of Instr. Bits 0 to 5 of flags: the argument
// is an address to load from.
type instruction struct {
	nr        uint32
	flags     uint32
	args      [6]uint64
	save      uint64
	branches  uint64
	nbranches uint32
	index     uint32
}

// branch is taken when lo <= result <= hi, signed.
type branch struct {
	lo, hi int64
	target uint64
}
