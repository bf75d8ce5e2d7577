/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Motor controller of the toothbrush. It does what the radio MCU asks for, and
 * stops the motor when the radio MCU falls silent.
 *
 * A request is the body of a frame: a command and its arguments. The answer is
 * the command with bit 7 set, a status, and data:
 *
 *   1 version                 -> "1.4.2", as text
 *   2 set speed, percent      -> (0 also clears a stall)
 *   3 state                   -> speed in percent, stalled, cause of the last reset
 *   4 start the bootloader    -> (answered, then the MCU resets)
 */
#include "motor.h"
#include "stm32l4.h"

enum { VERSION_COMMAND = 1, SPEED_COMMAND = 2, STATE_COMMAND = 3, BOOTLOADER_COMMAND = 4 };
enum { OK = 0, UNKNOWN_COMMAND = 1, BAD_ARGUMENT = 2, STALLED = 3 };

enum { SILENCE_MS = 2000 };

/* Two words at the start of SRAM1 that no initialisation touches; the bootloader
 * reads and clears them. They survive a system reset, not a loss of power. The
 * second is the complement of the first, so that the random content after
 * power-on is no request. */
enum { STAY_IN_BOOTLOADER = 0x746f6f74 };
__attribute__((section(".handoff"))) static volatile uint32_t handoff[2];

static volatile uint32_t milliseconds;

uint32_t now(void)
{
	return milliseconds;
}

void tick_handler(void)
{
	milliseconds++;
	motor_tick();
}

/* Baud rate, PWM and tick count on the clock after reset: MSI at 4 MHz, nothing
 * divided. Makes it so also when the bootloader left another one. */
static void clock_init(void)
{
	RCC_CR |= RCC_MSION;
	while (!(RCC_CR & RCC_MSIRDY)) { /* the range must not change before */
	}
	RCC_CR = (RCC_CR & ~RCC_MSIRANGE) | RCC_MSIRANGE_4MHZ | RCC_MSIRGSEL;
	RCC_CFGR = 0;
	while (RCC_CFGR & RCC_SWS) {
	}
}

static void watchdog_start(void)
{
	IWDG_KR = 0xcccc;
	IWDG_KR = 0x5555;
	IWDG_PR = 3;    /* LSI 32 kHz / 32 */
	IWDG_RLR = 499; /* 0.5 s */
	while (IWDG_SR != 0) {
	}
	IWDG_KR = 0xaaaa;
}

/* The watchdog is fed only while the tick runs: a main loop that spins without
 * its clock would hold the motor at the last speed for ever. */
static void watchdog_feed(void)
{
	static uint32_t fed;

	if (now() != fed) {
		fed = now();
		IWDG_KR = 0xaaaa;
	}
}

static void start_bootloader(void)
{
	motor_off();
	handoff[0] = STAY_IN_BOOTLOADER;
	handoff[1] = ~(uint32_t)STAY_IN_BOOTLOADER;
	__asm volatile("dsb" ::: "memory");
	SCB_AIRCR = AIRCR_SYSRESETREQ;
	for (;;) {
	}
}

/* Fills answer from byte 2 on, sets the status, and returns the length. */
static uint8_t obey(const uint8_t *request, uint8_t length, uint8_t reset_cause, uint8_t *answer)
{
	static const char version[] = VERSION;
	uint8_t arguments = request[0] == SPEED_COMMAND;
	uint8_t n = 2;

	answer[0] = request[0] | 0x80;
	answer[1] = OK;
	if (length != 1 + arguments) {
		answer[1] = BAD_ARGUMENT;
		return n;
	}
	switch (request[0]) {
	case VERSION_COMMAND:
		for (uint8_t i = 0; version[i] != '\0'; i++)
			answer[n++] = (uint8_t)version[i];
		break;
	case SPEED_COMMAND:
		if (request[1] > MOTOR_MAX) {
			answer[1] = BAD_ARGUMENT;
			break;
		}
		motor_set(request[1]);
		if (motor_stalled())
			answer[1] = STALLED;
		break;
	case STATE_COMMAND:
		answer[n++] = motor_speed();
		answer[n++] = motor_stalled();
		answer[n++] = reset_cause;
		break;
	case BOOTLOADER_COMMAND:
		break;
	default:
		answer[1] = UNKNOWN_COMMAND;
	}
	return n;
}

_Static_assert(sizeof VERSION - 1 <= FRAME_MAX - 2, "the version does not fit into an answer");

int main(void)
{
	uint8_t request[FRAME_MAX], answer[FRAME_MAX];
	uint8_t reset_cause = (uint8_t)(RCC_CSR >> 24); /* the flags of RCC_CSR */
	uint32_t heard = 0;

	RCC_CSR |= RCC_RMVF;
	watchdog_start();
	clock_init();
	motor_init();
	link_init();
	SYST_RVR = 4000 - 1;
	SYST_CVR = 0;
	SYST_CSR = 7; /* core clock, interrupt, on */
	__asm volatile("cpsie i");

	for (;;) {
		watchdog_feed();
		uint8_t length = link_receive(request);
		if (length > 0) {
			heard = now();
			link_send(answer, obey(request, length, reset_cause, answer));
			if (request[0] == BOOTLOADER_COMMAND && answer[1] == OK)
				start_bootloader();
		} else if (now() - heard > SILENCE_MS) {
			motor_off(); /* and keep a stall for the radio MCU to read */
		}
		__asm volatile("wfi");
	}
}
