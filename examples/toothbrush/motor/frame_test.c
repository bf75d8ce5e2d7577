/* SPDX-License-Identifier: Apache-2.0 */
/* Host test of the framing: make host-test. */
#include "frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

static void fail(int line, const char *condition)
{
	fprintf(stderr, "frame_test.c:%d: %s\n", line, condition);
	exit(1);
}

/* How many frames a reader finds in some bytes; it keeps the last one. */
static int frames(struct frame_reader *reader, const uint8_t *bytes, size_t size)
{
	int n = 0;

	for (size_t i = 0; i < size; i++)
		n += frame_read(reader, bytes[i]) > 0;
	return n;
}

/* The check value of CRC-16/CCITT-FALSE (also called CRC-16/IBM-3740). */
static void test_crc(void)
{
	uint16_t crc = 0xffff;

	for (const char *c = "123456789"; *c != '\0'; c++)
		crc = frame_crc(crc, (uint8_t)*c);
	CHECK(crc == 0x29b1);
}

/* A frame as it is on the wire: "set speed, 60 %". Its CRC was computed with
 * Python: binascii.crc_hqx(bytes([2, 2, 60]), 0xffff). */
static void test_wire(void)
{
	static const uint8_t wire[] = {0xa5, 2, 2, 60, 0x41, 0x33};
	uint8_t out[FRAME_MAX + FRAME_OVERHEAD];
	struct frame_reader reader = {0};

	CHECK(frame_write(out, (const uint8_t[]){2, 60}, 2) == sizeof wire);
	CHECK(memcmp(out, wire, sizeof wire) == 0);
	CHECK(frames(&reader, wire, sizeof wire) == 1);
	CHECK(reader.length == 2 && reader.body[0] == 2 && reader.body[1] == 60);
}

/* Every length comes back, also with start bytes in the body, and so does the
 * frame right behind it. */
static void test_round_trip(void)
{
	uint8_t body[FRAME_MAX], out[2 * (FRAME_MAX + FRAME_OVERHEAD)];
	struct frame_reader reader = {0};

	for (uint8_t length = 1; length <= FRAME_MAX; length++) {
		memset(body, length % 2 ? 0xa5 : length, sizeof body);
		uint8_t size = frame_write(out, body, length);
		CHECK(size == length + FRAME_OVERHEAD);
		size = (uint8_t)(size + frame_write(out + size, body, length));
		CHECK(frames(&reader, out, size) == 2);
		CHECK(reader.length == length && memcmp(reader.body, body, length) == 0);
	}
}

/* No single flipped bit and no missing byte goes unnoticed. */
static void test_damage(void)
{
	const uint8_t body[] = {3, 0xa5, 0x00, 0xff, 0x3c};
	uint8_t out[FRAME_MAX + FRAME_OVERHEAD];
	const uint8_t size = frame_write(out, body, sizeof body);

	for (unsigned bit = 0; bit < 8u * size; bit++) {
		struct frame_reader reader = {0};
		out[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK(frames(&reader, out, size) == 0);
		out[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t lost = 0; lost < size; lost++) {
		struct frame_reader reader = {0};
		CHECK(frames(&reader, out, lost) + frames(&reader, out + lost + 1, size - lost - 1) == 0);
	}
}

/* Lengths that do not exist are dropped at once, and whatever came before, the
 * next frame is read. */
static void test_resynchronise(void)
{
	static const uint8_t noise[][6] = {
		{0x00, 0xff, 0x5a, 0x00, 0x00, 0x00},          /* no start */
		{0xa5, 0, 0xff, 0xff, 0xff, 0xff},             /* empty */
		{0xa5, FRAME_MAX + 1, 0x01, 0x02, 0x03, 0x04}, /* too long */
		{0xa5, 0xff, 0x01, 0x02, 0x03, 0x04},
		{0xa5, 2, 2, 60, 0x00, 0x00},                  /* bad CRC */
	};
	const uint8_t body[] = {1};
	uint8_t out[FRAME_MAX + FRAME_OVERHEAD];
	const uint8_t size = frame_write(out, body, sizeof body);

	for (size_t i = 0; i < sizeof noise / sizeof noise[0]; i++) {
		struct frame_reader reader = {0};
		CHECK(frames(&reader, noise[i], sizeof noise[i]) == 0);
		CHECK(reader.next == FRAME_START);
		CHECK(frames(&reader, out, size) == 1);
	}
}

int main(void)
{
	test_crc();
	test_wire();
	test_round_trip();
	test_damage();
	test_resynchronise();
	puts("frame_test: ok");
	return 0;
}
