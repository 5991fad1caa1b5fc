#include "textflag.h"

// func i386(number, a0, a1, a2 uintptr) int32
TEXT ·i386(SB),NOSPLIT,$0-36
	MOVW $-38, R0 // ENOSYS: there is none
	MOVW R0, ret+32(FP)
	RET
