//go:build valgrind && linux

#include "textflag.h"

// The rotations add up to whole turns of DI and do nothing; valgrind knows the
// sequence, and takes the request from the array at AX (valgrind/valgrind.h).

// func request(kind, a, b, c, d, e uintptr) uintptr
TEXT ·request(SB), NOSPLIT, $0-56
	LEAQ kind+0(FP), AX
	XORL DX, DX
	ROLQ $3, DI
	ROLQ $13, DI
	ROLQ $61, DI
	ROLQ $51, DI
	XCHGQ BX, BX
	MOVQ DX, ret+48(FP)
	RET
