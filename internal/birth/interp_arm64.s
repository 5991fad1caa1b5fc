#include "textflag.h"
#include "go_asm.h"

// Eight bytes that end the text to be copied; never executed.
#define END WORD $0x12A10B0F; WORD $0x0B0FA791

// entry is the first text of the executable: the header is at a fixed address.
// It falls through into interp, which is copied behind it.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0-0
	MOVD $(const_dataAddress - const_dataOffset), R19
	ADD  $const_dataOffset, R19
	END

#define LOAD(bit, off, reg) \
	MOVD (instruction_args+off)(R20), reg \
	TBZ  $bit, R21, 2(PC) \
	MOVD (reg), reg

// interp runs the section whose header is at R19. It is position-independent,
// uses no stack, and never returns.
//	R19 header, R20 instruction, R21 flags
TEXT ·interp(SB),NOSPLIT|NOFRAME,$0-0
	MOVD header_first(R19), R20

next:
	MOVWU instruction_flags(R20), R21
	LOAD(0, 0, R0)
	LOAD(1, 8, R1)
	LOAD(2, 16, R2)
	LOAD(3, 24, R3)
	LOAD(4, 32, R4)
	LOAD(5, 40, R5)
	TST  $const_flagValue, R21
	BNE  result
	MOVWU instruction_nr(R20), R8
	SVC

result:
	MOVD instruction_save(R20), R9
	CBZ  R9, branches
	MOVD R0, (R9)

branches:
	MOVD  instruction_branches(R20), R9
	MOVWU instruction_nbranches(R20), R10

try:
	CBZ  R10, through
	MOVD branch_lo(R9), R11
	CMP  R11, R0
	BLT  skip
	MOVD branch_hi(R9), R11
	CMP  R11, R0
	BGT  skip
	MOVD branch_target(R9), R20
	B    next

skip:
	ADD $branch__size, R9
	SUB $1, R10
	B   try

through:
	NEG R0, R0 // 1 to 4095 now means an error
	SUB $1, R0, R9
	CMP $const_maxErrno, R9
	BLO fail
	ADD $instruction__size, R20
	B   next

fail:
	MOVWU instruction_index(R20), R9
	MOVD  header_silent(R19), R1
	CBNZ  R1, silent
	MOVW  R9, header_index(R19)
	MOVW  R0, header_errno(R19)
	MOVD  header_report(R19), R0
	ADD   $header_index, R19, R1
	MOVD  $8, R2
	MOVD  $const_sysWrite, R8
	SVC

exit:
	MOVD  $1, R0
	MOVD  $const_sysExitGroup, R8
	SVC
	WORD  $0 // UDF: a filter refused even that

silent:
	MOVW  R9, (R1)
	MOVW  R0, 4(R1)
	B     exit
	END

// func addresses() (entry, interp uintptr)
TEXT ·addresses(SB),NOSPLIT,$0-16
	MOVD $·entry(SB), R0
	MOVD R0, entry+0(FP)
	MOVD $·interp(SB), R0
	MOVD R0, interp+8(FP)
	RET

// func clone(args *cloneArgs, size uintptr, prelude uintptr, masks *[2]uint64) (result int)
// All signals stay blocked in the child, which shares our memory and must not
// run Go's handlers; masks is all ones and room for the old mask.
TEXT ·clone(SB),NOSPLIT|NOFRAME,$0-40
	MOVD $const_sigSetmask, R0
	MOVD masks+24(FP), R1
	ADD  $8, R1, R2
	MOVD $8, R3
	MOVD $const_sysSigprocmask, R8
	SVC
	MOVD args+0(FP), R0
	MOVD size+8(FP), R1
	MOVD prelude+16(FP), R19
	MOVD $const_sysClone3, R8
	SVC
	CBNZ R0, parent
	B    ·interp(SB)

parent:
	MOVD R0, result+32(FP)
	MOVD $const_sigSetmask, R0
	MOVD masks+24(FP), R1
	ADD  $8, R1
	MOVD $0, R2
	MOVD $8, R3
	MOVD $const_sysSigprocmask, R8
	SVC
	RET
