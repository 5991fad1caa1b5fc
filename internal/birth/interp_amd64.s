#include "textflag.h"
#include "go_asm.h"

// Eight bytes that end the text to be copied; never executed.
#define END BYTE $0x0F; BYTE $0x0B; BYTE $0xA1; BYTE $0x12; BYTE $0x91; BYTE $0xA7; BYTE $0x0F; BYTE $0x0B

// entry is the first text of the executable: the header is at a fixed address.
// It falls through into interp, which is copied behind it.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ $const_dataAddress, R12
	END

#define LOAD(bit, off, reg) \
	MOVQ (instruction_args+off)(R13), reg \
	BTL  $bit, R15 \
	JCC  2(PC) \
	MOVQ (reg), reg

// interp runs the section whose header is at R12. It is position-independent,
// uses no stack, and never returns.
//	R12 header, R13 instruction, R15 flags
TEXT ·interp(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ header_first(R12), R13

next:
	MOVL instruction_flags(R13), R15
	LOAD(0, 0, DI)
	LOAD(1, 8, SI)
	LOAD(2, 16, DX)
	LOAD(3, 24, R10)
	LOAD(4, 32, R8)
	LOAD(5, 40, R9)
	MOVQ DI, AX
	TESTL $const_flagValue, R15
	JNE  result
	MOVL instruction_nr(R13), AX
	SYSCALL // clobbers CX and R11

result:
	MOVQ  instruction_save(R13), CX
	TESTQ CX, CX
	JEQ   branches
	MOVQ  AX, (CX)

branches:
	MOVQ instruction_branches(R13), CX
	MOVL instruction_nbranches(R13), DX

try:
	TESTL DX, DX
	JEQ   through
	CMPQ  AX, branch_lo(CX)
	JLT   skip
	CMPQ  AX, branch_hi(CX)
	JGT   skip
	MOVQ  branch_target(CX), R13
	JMP   next

skip:
	ADDQ $branch__size, CX
	DECL DX
	JMP  try

through:
	NEGQ AX // 1 to 4095 now means an error
	MOVQ AX, CX
	DECQ CX
	CMPQ CX, $const_maxErrno
	JCS  fail
	ADDQ $instruction__size, R13
	JMP  next

fail:
	MOVL instruction_index(R13), BX
	MOVQ header_silent(R12), SI
	TESTQ SI, SI
	JNE  silent
	MOVL BX, header_index(R12)
	MOVL AX, header_errno(R12)
	MOVQ header_report(R12), DI
	LEAQ header_index(R12), SI
	MOVL $8, DX
	MOVL $const_sysWrite, AX
	SYSCALL

exit:
	MOVL $1, DI
	MOVL $const_sysExitGroup, AX
	SYSCALL
	BYTE $0x0F; BYTE $0x0B // UD2: a filter refused even that

silent:
	MOVL BX, (SI)
	MOVL AX, 4(SI)
	JMP  exit
	END

// func addresses() (entry, interp uintptr)
TEXT ·addresses(SB),NOSPLIT,$0-16
	LEAQ ·entry(SB), AX
	MOVQ AX, entry+0(FP)
	LEAQ ·interp(SB), AX
	MOVQ AX, interp+8(FP)
	RET

// func clone(args *cloneArgs, size uintptr, prelude uintptr, masks *[2]uint64) (result int)
// All signals stay blocked in the child, which shares our memory and must not
// run Go's handlers; masks is all ones and room for the old mask.
TEXT ·clone(SB),NOSPLIT|NOFRAME,$0-40
	MOVL $const_sigSetmask, DI
	MOVQ masks+24(FP), SI
	LEAQ 8(SI), DX
	MOVL $8, R10
	MOVL $const_sysSigprocmask, AX
	SYSCALL
	MOVQ args+0(FP), DI
	MOVQ size+8(FP), SI
	MOVQ prelude+16(FP), R12
	MOVL $const_sysClone3, AX
	SYSCALL
	TESTQ AX, AX
	JNE  parent
	JMP  ·interp(SB)

parent:
	MOVQ AX, result+32(FP)
	MOVL $const_sigSetmask, DI
	MOVQ masks+24(FP), SI
	ADDQ $8, SI
	XORL DX, DX
	MOVL $8, R10
	MOVL $const_sysSigprocmask, AX
	SYSCALL
	RET
