/* SPDX-License-Identifier: Apache-2.0 */
#include "motor.h"
#include "stm32l4.h"

/* 4 MHz / 200 = 20 kHz, above hearing; one step of the duty cycle is 0.5 %. */
enum { PWM_PERIOD = 200, STEPS_PER_PERCENT = PWM_PERIOD / MOTOR_MAX };

/* One step every 4 ms: standstill to full speed in 0.8 s. A motor that starts
 * at full duty draws its stall current and browns out a low battery. */
enum { RAMP_MS = 4 };

/* The driver limits the current at every start and when the brush is pressed
 * hard, for a moment. For longer, the motor does not turn: it would overheat. */
enum { STALL_MS = 300 };

static volatile uint32_t target; /* steps */
static volatile bool stalled;

void motor_init(void)
{
	RCC_AHB2ENR |= RCC_GPIOA;
	RCC_APB1ENR1 |= RCC_TIM2;
	RCC_APB1RSTR1 |= RCC_TIM2;
	RCC_APB1RSTR1 &= ~RCC_TIM2;

	TIM2_PSC = 0;
	TIM2_ARR = PWM_PERIOD - 1;
	TIM2_CCR1 = 0;
	TIM2_CCMR1 = 6u << 4 | 1u << 3; /* PWM mode 1, preloaded: a new duty cycle starts on a period */
	TIM2_CCER = 1;
	TIM2_EGR = 1;
	TIM2_CR1 = 1u << 7 | 1u;

	GPIOA_PUPDR = (GPIOA_PUPDR & ~(3u << 2)) | 1u << 2; /* PA1: pull-up, the driver's output is open drain */
	GPIOA_AFRL = (GPIOA_AFRL & ~0xfu) | 1u;             /* PA0: TIM2_CH1 */
	GPIOA_MODER = (GPIOA_MODER & ~0xfu) | 2u;           /* PA0: alternate function, PA1: input */
}

void motor_off(void)
{
	target = 0;
	TIM2_CCR1 = 0;
	TIM2_EGR = 1; /* do not wait for the end of the period */
}

void motor_set(uint8_t percent)
{
	if (percent == 0)
		stalled = false;
	if (!stalled)
		target = (uint32_t)percent * STEPS_PER_PERCENT;
}

void motor_tick(void)
{
	static uint32_t since_step, limiting;

	limiting = target != 0 && (GPIOA_IDR & 1u << 1) == 0 ? limiting + 1 : 0;
	if (limiting > STALL_MS)
		stalled = true;
	if (stalled) /* each time: motor_set may have been interrupted */
		motor_off();
	if (++since_step < RAMP_MS)
		return;
	since_step = 0;
	uint32_t duty = TIM2_CCR1;
	if (duty < target)
		TIM2_CCR1 = duty + 1;
	else if (duty > target)
		TIM2_CCR1 = duty - 1;
}

uint8_t motor_speed(void)
{
	return (uint8_t)(TIM2_CCR1 / STEPS_PER_PERCENT);
}

bool motor_stalled(void)
{
	return stalled;
}
