/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vector table, reset and faults.
 *
 * The bootloader has checked this image, loads the stack pointer from the first
 * word and jumps to the second, with interrupts off in every peripheral.
 */
#include "motor.h"
#include "stm32l4.h"

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[], stack_top[];

int main(void);
void reset(void);

/* A fault must not leave the motor running: stop it, then start over. */
static void fail(void)
{
	motor_off();
	SCB_AIRCR = AIRCR_SYSRESETREQ;
	for (;;) {
	}
}

typedef void (*handler)(void);

__attribute__((section(".vectors"), used)) static const handler vectors[16 + INTERRUPTS] = {
	[0] = (handler)(uintptr_t)stack_top,
	[1] = reset,
	[2 ... 14] = fail,
	[15] = tick_handler,
	[16 ... 15 + USART1_IRQ] = fail,
	[16 + USART1_IRQ] = uart_handler,
	[17 + USART1_IRQ ... 15 + INTERRUPTS] = fail,
};

/* What this image is, where the bootloader and a factory tester can read it:
 * 512 bytes after the start of the bank. */
__attribute__((section(".identity"), used)) const char identity[] = "toothbrush-motor C " VERSION;

void reset(void)
{
	SCB_VTOR = (uint32_t)(uintptr_t)vectors;
	for (uint32_t *from = data_load, *to = data_start; to < data_end;)
		*to++ = *from++;
	for (uint32_t *to = bss_start; to < bss_end;)
		*to++ = 0;
	main();
	fail();
}
