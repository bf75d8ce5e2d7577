@ A firmware image without a purpose: a vector table, a few instructions, a
@ block at a fixed offset (a gap before it) and initialised data.
	.syntax unified
	.cpu cortex-m4
	.thumb

	.section .vectors, "a"
	.word 0x20004000, reset + 1

	.section .text, "ax"
	.global reset
reset:
	.rept 61
	adds r0, #1
	.endr
	b reset

	.section .config, "a"
	.asciz "configuration"

	.section .data, "aw"
	.word 1, 2, 3, 4, 5

	.section .bss, "aw", %nobits
	.space 64
