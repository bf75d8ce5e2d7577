/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames between the radio MCU and the motor controller.
 *
 *   0xa5 | length | body ... | CRC low | CRC high
 *
 * The length counts the body, 1 to FRAME_MAX bytes. The CRC-16/CCITT-FALSE
 * (polynomial 0x1021, initially 0xffff, not reflected) covers length and body.
 */
#ifndef FRAME_H
#define FRAME_H

#include <stdint.h>

enum { FRAME_MAX = 16, FRAME_OVERHEAD = 4 };

/* Where a reader stands in a frame. All zero is the beginning. */
struct frame_reader {
	enum { FRAME_START, FRAME_LENGTH, FRAME_BODY, FRAME_CRC_LOW, FRAME_CRC_HIGH } next;
	uint16_t crc, received;
	uint8_t length, got;
	uint8_t body[FRAME_MAX];
};

/* CRC over one more byte. */
uint16_t frame_crc(uint16_t crc, uint8_t byte);

/* Takes the next byte. Returns the length of the body when the byte completes a
 * valid frame, otherwise 0; a damaged frame is dropped. */
uint8_t frame_read(struct frame_reader *reader, uint8_t byte);

/* Writes a frame around a body of 1 to FRAME_MAX bytes and returns its size. */
uint8_t frame_write(uint8_t out[FRAME_MAX + FRAME_OVERHEAD], const uint8_t *body, uint8_t length);

#endif
