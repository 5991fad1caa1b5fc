#include "textflag.h"
#include "go_asm.h"

// func prlimit(old *[2]uint64) (result int)
TEXT ·prlimit(SB),NOSPLIT,$0-16
	XORL DI, DI
	MOVL $const_rlimitNofile, SI
	XORL DX, DX
	MOVQ old+0(FP), R10
	MOVL $const_sysPrlimit64, AX
	SYSCALL
	MOVQ AX, result+8(FP)
	RET
