#include "textflag.h"

// func i386(number, a0, a1, a2 uintptr) int32
TEXT ·i386(SB),NOSPLIT,$0-36
	MOVQ number+0(FP), AX
	MOVQ a0+8(FP), BX
	MOVQ a1+16(FP), CX
	MOVQ a2+24(FP), DX
	INT  $0x80
	MOVL AX, ret+32(FP)
	RET
