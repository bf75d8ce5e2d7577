/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of deterministic CBOR (RFC 8949, section 4.2.1) in memory. What has a
 * second encoding is refused: long forms, indefinite lengths, unsorted map keys.
 *
 * The first refusal stays: after it every function reads nothing, and returns 0
 * or NULL, so that a caller asks once, at the end.
 */
#ifndef OTAPACK_CBOR_H
#define OTAPACK_CBOR_H

#include <stdint.h>

struct otapack_cbor {
    const uint8_t *at; /* next byte */
    uint32_t left;     /* bytes; 0 after a refusal */
    uint32_t bad;      /* 1 after a refusal */
};

/* A part of what is read. */
struct otapack_string {
    const uint8_t *at;
    uint32_t size; /* bytes */
};

/* The major types that callers name. */
enum { OTAPACK_UNSIGNED = 0, OTAPACK_BYTES = 2, OTAPACK_TEXT = 3, OTAPACK_ARRAY = 4, OTAPACK_MAP = 5 };

void otapack_cbor_fail(struct otapack_cbor *r);

/* otapack_cbor_next answers 1 if the next byte is this one, and reads it then. */
uint32_t otapack_cbor_next(struct otapack_cbor *r, uint8_t byte);

/* otapack_cbor_take reads n bytes as they are. */
const uint8_t *otapack_cbor_take(struct otapack_cbor *r, uint32_t n);

/* otapack_cbor_is reads n bytes, which must be these. */
void otapack_cbor_is(struct otapack_cbor *r, const char *bytes, uint32_t n);

/* OTAPACK_IS is otapack_cbor_is for a literal. */
#define OTAPACK_IS(r, bytes) otapack_cbor_is(r, bytes, sizeof(bytes) - 1)

/* otapack_cbor_head reads the head of an item of one major type, and returns its argument. */
uint64_t otapack_cbor_head(struct otapack_cbor *r, uint32_t major);

/* otapack_cbor_count reads the head of an array or a map of min to max members, and returns how many these are. */
uint32_t otapack_cbor_count(struct otapack_cbor *r, uint32_t major, uint32_t min, uint32_t max);

/* otapack_cbor_u32 reads an unsigned integer below 2^32. */
uint32_t otapack_cbor_u32(struct otapack_cbor *r);

/* otapack_cbor_int reads an integer of 64 bits with sign. */
int64_t otapack_cbor_int(struct otapack_cbor *r);

/* otapack_cbor_string reads a byte string, or a text string in UTF-8, of min to max bytes. */
struct otapack_string otapack_cbor_string(struct otapack_cbor *r, uint32_t major, uint32_t min, uint32_t max);

/* otapack_cbor_open reads a byte string of up to max bytes and returns a reader for its content. */
struct otapack_cbor otapack_cbor_open(struct otapack_cbor *r, uint32_t max);

/* otapack_cbor_close refuses, for both, what was refused in a content, and what is left of it. */
void otapack_cbor_close(struct otapack_cbor *r, const struct otapack_cbor *content);

/*
 * otapack_cbor_skip reads one item of any kind, up to depth levels deep, without
 * floats; of simple values false, true and null.
 */
void otapack_cbor_skip(struct otapack_cbor *r, uint32_t depth);

#endif
