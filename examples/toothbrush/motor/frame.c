/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

enum { START = 0xa5, CRC_INITIAL = 0xffff };

/* Bit by bit: at 38400 baud, a table of 512 bytes would buy nothing. */
uint16_t frame_crc(uint16_t crc, uint8_t byte)
{
	crc = (uint16_t)(crc ^ byte << 8);
	for (int i = 0; i < 8; i++)
		crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
	return crc;
}

uint8_t frame_read(struct frame_reader *r, uint8_t byte)
{
	switch (r->next) {
	case FRAME_START:
		if (byte == START)
			r->next = FRAME_LENGTH;
		break;
	case FRAME_LENGTH:
		r->length = byte;
		r->got = 0;
		r->crc = frame_crc(CRC_INITIAL, byte);
		r->next = byte >= 1 && byte <= FRAME_MAX ? FRAME_BODY : FRAME_START;
		break;
	case FRAME_BODY:
		r->body[r->got++] = byte;
		r->crc = frame_crc(r->crc, byte);
		if (r->got == r->length)
			r->next = FRAME_CRC_LOW;
		break;
	case FRAME_CRC_LOW:
		r->received = byte;
		r->next = FRAME_CRC_HIGH;
		break;
	case FRAME_CRC_HIGH:
		r->received = (uint16_t)(r->received | byte << 8);
		r->next = FRAME_START;
		if (r->received == r->crc)
			return r->length;
		break;
	}
	return 0;
}

uint8_t frame_write(uint8_t out[FRAME_MAX + FRAME_OVERHEAD], const uint8_t *body, uint8_t length)
{
	uint16_t crc = frame_crc(CRC_INITIAL, length);
	uint8_t n = 0;

	out[n++] = START;
	out[n++] = length;
	for (uint8_t i = 0; i < length; i++) {
		out[n++] = body[i];
		crc = frame_crc(crc, body[i]);
	}
	out[n++] = (uint8_t)crc;
	out[n++] = (uint8_t)(crc >> 8);
	return n;
}
