/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MOTOR_H
#define MOTOR_H

#include "frame.h"

#include <stdbool.h>
#include <stdint.h>

/* motor.c: PWM on PA0 with a soft ramp; the driver's current limit on PA1, low
 * while it limits, tells a motor that is blocked. */
enum { MOTOR_MAX = 100 }; /* percent */

void motor_init(void);
void motor_off(void);            /* at once, without the ramp */
void motor_set(uint8_t percent); /* at most MOTOR_MAX */
void motor_tick(void);           /* every millisecond */
uint8_t motor_speed(void);       /* now, in percent */
bool motor_stalled(void);        /* was blocked and is off; stays until motor_set(0) */

/* link.c: frames to and from the radio MCU on USART1, 38400 baud, 8N1. */
void link_init(void);
uint8_t link_receive(uint8_t body[FRAME_MAX]);       /* length of the next valid body, 0 for none yet */
void link_send(const uint8_t *body, uint8_t length); /* returns when the last bit is out: under 6 ms */

/* main.c */
uint32_t now(void); /* milliseconds since reset, wraps */

/* Interrupts, for the vector table. */
void tick_handler(void);
void uart_handler(void);

#endif
