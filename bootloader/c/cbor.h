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

#include <stddef.h>
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

/* Major types. */
enum {
    OTAPACK_UNSIGNED = 0,
    OTAPACK_NEGATIVE = 1,
    OTAPACK_BYTES = 2,
    OTAPACK_TEXT = 3,
    OTAPACK_ARRAY = 4,
    OTAPACK_MAP = 5,
    OTAPACK_TAG = 6,
    OTAPACK_SIMPLE = 7,
};

void otapack_cbor_fail(struct otapack_cbor *r);

/* otapack_cbor_next answers 1 if the next byte is this one, and reads it then. */
uint32_t otapack_cbor_next(struct otapack_cbor *r, uint8_t byte);

/* otapack_cbor_is reads a byte, which must be this one. */
void otapack_cbor_is(struct otapack_cbor *r, uint8_t byte);

/* otapack_cbor_take reads n bytes as they are. */
const uint8_t *otapack_cbor_take(struct otapack_cbor *r, uint32_t n);

/* otapack_cbor_count reads the head of an array or a map of min to max members, and returns how many these are. */
uint32_t otapack_cbor_count(struct otapack_cbor *r, uint32_t major, uint32_t min, uint32_t max);

/* otapack_cbor_int reads an integer of 64 bits with sign. INT32_MIN stands for all that have more than 32. */
int32_t otapack_cbor_int(struct otapack_cbor *r);

/* otapack_cbor_string reads a byte string, or a text string in UTF-8, of up to max bytes. */
void otapack_cbor_string(struct otapack_cbor *r, struct otapack_string *s, uint32_t major, uint32_t max);

/*
 * otapack_cbor_open reads the head of a byte string. What follows is read out of
 * it, until otapack_cbor_close, which is handed what otapack_cbor_open returned and
 * refuses a rest.
 */
uint32_t otapack_cbor_open(struct otapack_cbor *r);
void otapack_cbor_close(struct otapack_cbor *r, uint32_t behind);

/* otapack_cbor_end answers 1 if nothing was refused and nothing is left. */
uint32_t otapack_cbor_end(const struct otapack_cbor *r);

/*
 * otapack_cbor_match reads what a pattern consists of, values into members of
 * the structure that to points at. A pattern takes less room than calls.
 * OTAPACK_MATCH makes one of its further arguments, each one of these:
 *
 * OTAPACK_IS(bytes...): these bytes, up to 127 of them.
 * OTAPACK_TAKE(n, type, member): 7 to 127 bytes as they are; a const uint8_t * to them.
 * OTAPACK_U32(type, member): an unsigned integer; a uint32_t.
 * OTAPACK_POSITIVE(type, member): the same, and not 0.
 * OTAPACK_STRING(major, max, type, member): a string of 1 to max bytes; a struct otapack_string.
 * OTAPACK_MORE(major, n, type, member): the head of an array or a map of n members or
 *     of one more; a uint32_t, 1 for the latter.
 * OTAPACK_WHEN(type, member, ...): further arguments of this kind, if a uint32_t is not 0.
 */
void otapack_cbor_match(struct otapack_cbor *r, const uint8_t *pattern, void *to);

#define OTAPACK_IS(...) OTAPACK_END | sizeof((const uint8_t[]){__VA_ARGS__}), __VA_ARGS__
#define OTAPACK_TAKE(n, type, member) n, offsetof(struct type, member)
#define OTAPACK_U32(type, member) OTAPACK_UNSIGNED, offsetof(struct type, member)
#define OTAPACK_POSITIVE(type, member) OTAPACK_NEGATIVE, offsetof(struct type, member)
#define OTAPACK_STRING(major, max, type, member) major, offsetof(struct type, member), max
#define OTAPACK_MORE(major, n, type, member) major, offsetof(struct type, member), n
#define OTAPACK_WHEN(type, member, ...) \
    OTAPACK_TAG, offsetof(struct type, member), sizeof((const uint8_t[]){__VA_ARGS__}), __VA_ARGS__
#define OTAPACK_END 0x80

#define OTAPACK_MATCH(r, to, ...)                                     \
    do {                                                              \
        static const uint8_t pattern_[] = {__VA_ARGS__, OTAPACK_END}; \
        otapack_cbor_match(r, pattern_, to);                          \
    } while (0)

/*
 * otapack_cbor_skip reads one item of any kind, up to depth levels deep, without
 * floats; of simple values false, true and null.
 */
void otapack_cbor_skip(struct otapack_cbor *r, uint32_t depth);

#endif
