/* SPDX-License-Identifier: Apache-2.0 */
#include "cbor.h"

#include <stddef.h>

void otapack_cbor_fail(struct otapack_cbor *r)
{
    r->left = 0;
    r->bad = 1;
}

const uint8_t *otapack_cbor_take(struct otapack_cbor *r, uint32_t n)
{
    const uint8_t *start = r->at;

    if (r->bad || n > r->left) {
        otapack_cbor_fail(r);
        return NULL;
    }
    r->at += n;
    r->left -= n;
    return start;
}

uint32_t otapack_cbor_next(struct otapack_cbor *r, uint8_t byte)
{
    if (r->left == 0 || *r->at != byte)
        return 0;
    otapack_cbor_take(r, 1);
    return 1;
}

void otapack_cbor_is(struct otapack_cbor *r, const char *bytes, uint32_t n)
{
    const uint8_t *got = otapack_cbor_take(r, n);

    for (uint32_t i = 0; got && i < n; i++)
        if (got[i] != (uint8_t)bytes[i]) {
            otapack_cbor_fail(r);
            return;
        }
}

uint64_t otapack_cbor_head(struct otapack_cbor *r, uint32_t major)
{
    const uint8_t *p = otapack_cbor_take(r, 1);
    uint32_t info, n, high = 0, low = 0;

    if (!p)
        return 0;
    info = *p & 31;
    n = 1u << ((info - 24) & 3); /* bytes of the argument, where it does not stand in the first */
    if (*p >> 5 != (uint8_t)major || info > 27) {
        otapack_cbor_fail(r);
        return 0;
    }
    if (info < 24)
        return info;
    p = otapack_cbor_take(r, n);
    if (!p)
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        high = high << 8 | low >> 24;
        low = low << 8 | p[i];
    }
    if (n == 8 ? high == 0 : n == 1 ? low < 24 : low >> 4 * n == 0) {
        otapack_cbor_fail(r); /* a shorter head would do */
        return 0;
    }
    return (uint64_t)high << 32 | low;
}

uint32_t otapack_cbor_count(struct otapack_cbor *r, uint32_t major, uint32_t min, uint32_t max)
{
    uint64_t n = otapack_cbor_head(r, major);

    if (n >= min && n <= max)
        return (uint32_t)n;
    otapack_cbor_fail(r);
    return 0;
}

uint32_t otapack_cbor_u32(struct otapack_cbor *r) { return otapack_cbor_count(r, OTAPACK_UNSIGNED, 0, UINT32_MAX); }

int64_t otapack_cbor_int(struct otapack_cbor *r)
{
    uint32_t negative = r->left != 0 && *r->at >> 5 == 1;
    uint64_t v = otapack_cbor_head(r, negative);

    if (v > INT64_MAX) {
        otapack_cbor_fail(r);
        return 0;
    }
    return negative ? -1 - (int64_t)v : (int64_t)v;
}

/* is_continuation answers whether b may stand behind the second byte of a character. */
static uint32_t is_continuation(uint8_t b) { return (b & 0xc0) == 0x80; }

/* is_utf8 follows the table of RFC 3629, section 4. */
static uint32_t is_utf8(const uint8_t *s, uint32_t n)
{
    while (n != 0) {
        uint32_t more = *s < 0x80 ? 0 : *s < 0xe0 ? 1 : *s < 0xf0 ? 2 : 3;

        if (more >= n)
            return 0;
        if (more != 0) {
            uint8_t low = *s == 0xe0 ? 0xa0 : *s == 0xf0 ? 0x90 : 0x80;
            uint8_t high = *s == 0xed ? 0x9f : *s == 0xf4 ? 0x8f : 0xbf;

            if (*s < 0xc2 || *s > 0xf4 || s[1] < low || s[1] > high)
                return 0;
            for (uint32_t i = 2; i <= more; i++)
                if (!is_continuation(s[i]))
                    return 0;
        }
        s += more + 1;
        n -= more + 1;
    }
    return 1;
}

struct otapack_string otapack_cbor_string(struct otapack_cbor *r, uint32_t major, uint32_t min, uint32_t max)
{
    uint32_t n = otapack_cbor_count(r, major, min, max);
    struct otapack_string s = {otapack_cbor_take(r, n), n};

    if (!s.at)
        s.size = 0;
    if (major == OTAPACK_TEXT && !is_utf8(s.at, s.size))
        otapack_cbor_fail(r);
    return s;
}

struct otapack_cbor otapack_cbor_open(struct otapack_cbor *r, uint32_t max)
{
    struct otapack_string s = otapack_cbor_string(r, OTAPACK_BYTES, 0, max);
    struct otapack_cbor content = {s.at, s.size, r->bad};

    return content;
}

void otapack_cbor_close(struct otapack_cbor *r, const struct otapack_cbor *content)
{
    if (content->bad || content->left != 0)
        otapack_cbor_fail(r);
}

/* comes_before answers whether a precedes b in bytewise order. */
static uint32_t comes_before(struct otapack_string a, struct otapack_string b)
{
    for (uint32_t i = 0; i < a.size && i < b.size; i++)
        if (a.at[i] != b.at[i])
            return a.at[i] < b.at[i];
    return a.size < b.size;
}

void otapack_cbor_skip(struct otapack_cbor *r, uint32_t depth)
{
    uint32_t major, n;
    struct otapack_string last = {NULL, 0};

    if (depth == 0 || r->left == 0) {
        otapack_cbor_fail(r);
        return;
    }
    major = *r->at >> 5;
    if (major == 7) {
        if (*r->at < 0xf4 || *r->at > 0xf6) /* not false, true or null */
            otapack_cbor_fail(r);
        otapack_cbor_take(r, 1);
        return;
    }
    if (major == OTAPACK_BYTES || major == OTAPACK_TEXT) {
        otapack_cbor_string(r, major, 0, UINT32_MAX);
        return;
    }
    if (major == OTAPACK_ARRAY || major == OTAPACK_MAP) {
        n = otapack_cbor_count(r, major, 0, r->left); /* each member takes a byte at least */
    } else {
        otapack_cbor_head(r, major);
        n = major > OTAPACK_MAP; /* a tag, or a number */
    }
    for (; n != 0 && !r->bad; n--) {
        struct otapack_string key = {r->at, r->left};

        otapack_cbor_skip(r, depth - 1);
        if (major != OTAPACK_MAP)
            continue;
        key.size -= r->left;
        if (last.at && !comes_before(last, key))
            otapack_cbor_fail(r);
        last = key;
        otapack_cbor_skip(r, depth - 1);
    }
}
