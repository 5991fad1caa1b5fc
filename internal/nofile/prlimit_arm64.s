#include "textflag.h"
#include "go_asm.h"

// func prlimit(old *[2]uint64) (result int)
TEXT ·prlimit(SB),NOSPLIT,$0-16
	MOVD $0, R0
	MOVD $const_rlimitNofile, R1
	MOVD $0, R2
	MOVD old+0(FP), R3
	MOVD $const_sysPrlimit64, R8
	SVC
	MOVD R0, result+8(FP)
	RET
