/* SPDX-License-Identifier: Apache-2.0 */
#include "cbor.h"

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

void otapack_cbor_is(struct otapack_cbor *r, uint8_t byte)
{
    if (!otapack_cbor_next(r, byte))
        otapack_cbor_fail(r);
}

/* head reads the head of an item of one major type, and returns its argument. */
static uint64_t head(struct otapack_cbor *r, uint32_t major)
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
    uint64_t n = head(r, major);

    if (n >= min && n <= max)
        return (uint32_t)n;
    otapack_cbor_fail(r);
    return 0;
}

int32_t otapack_cbor_int(struct otapack_cbor *r)
{
    uint32_t negative = r->left != 0 && *r->at >> 5 == 1;
    uint64_t v = head(r, negative);

    if (v > INT64_MAX)
        otapack_cbor_fail(r);
    if (v > INT32_MAX)
        return INT32_MIN;
    return negative ? -1 - (int32_t)v : (int32_t)v;
}

/* is_utf8 answers whether s is UTF-8 in the sense of RFC 3629, section 4. */
static uint32_t is_utf8(const uint8_t *s, uint32_t n)
{
    while (n != 0) {
        uint32_t code = *s++, more = code < 0x80 ? 0 : code < 0xe0 ? 1 : code < 0xf0 ? 2 : 3;

        n--;
        if (more == 0)
            continue;
        if (code < 0xc2 || code > 0xf4 || more > n)
            return 0;
        n -= more;
        code &= 0x3fu >> more;
        for (uint32_t i = more; i != 0; i--) {
            if (*s >> 6 != 2)
                return 0;
            code = code << 6 | (*s++ & 0x3f);
        }
        /* Neither a longer form of another, nor half of a pair of UTF-16, nor behind the last. */
        if (code >> (5 * more + 1) == 0 || code >> 11 == 0xd800 >> 11 || code > 0x10ffff)
            return 0;
    }
    return 1;
}

void otapack_cbor_string(struct otapack_cbor *r, struct otapack_string *s, uint32_t major, uint32_t max)
{
    s->size = otapack_cbor_count(r, major, 0, max);
    s->at = otapack_cbor_take(r, s->size);
    if (!s->at)
        s->size = 0;
    if (major == OTAPACK_TEXT && !is_utf8(s->at, s->size))
        otapack_cbor_fail(r);
}

uint32_t otapack_cbor_open(struct otapack_cbor *r)
{
    uint32_t n = otapack_cbor_count(r, OTAPACK_BYTES, 0, UINT32_MAX), behind = r->left - n;

    if (n > r->left)
        otapack_cbor_fail(r);
    else
        r->left = n;
    return behind;
}

uint32_t otapack_cbor_end(const struct otapack_cbor *r) { return (r->bad | r->left) == 0; }

void otapack_cbor_close(struct otapack_cbor *r, uint32_t behind)
{
    if (otapack_cbor_end(r))
        r->left = behind;
    else
        otapack_cbor_fail(r);
}

void otapack_cbor_match(struct otapack_cbor *r, const uint8_t *pattern, void *to)
{
    uint32_t what;

    while ((what = *pattern++) != OTAPACK_END) {
        void *member;

        if (what > OTAPACK_END) {
            for (; what != OTAPACK_END; what--)
                otapack_cbor_is(r, *pattern++);
            continue;
        }
        member = (uint8_t *)to + *pattern++;
        if (what > OTAPACK_TAG) {
            *(const uint8_t **)member = otapack_cbor_take(r, what);
        } else if (what <= OTAPACK_NEGATIVE) {
            *(uint32_t *)member = otapack_cbor_count(r, OTAPACK_UNSIGNED, what, UINT32_MAX);
        } else {
            uint32_t n = *pattern++;

            if (what == OTAPACK_TAG) {
                if (*(uint32_t *)member == 0)
                    pattern += n;
            } else if (what >= OTAPACK_ARRAY) {
                *(uint32_t *)member = otapack_cbor_count(r, what, n, n + 1) > n;
            } else {
                otapack_cbor_string(r, member, what, n);
                if (((struct otapack_string *)member)->size == 0)
                    otapack_cbor_fail(r);
            }
        }
    }
}

/* comes_before answers whether an item precedes another in bytewise order. Neither can be the beginning of the other. */
static uint32_t comes_before(const uint8_t *a, const uint8_t *b, uint32_t size_of_a)
{
    for (; size_of_a != 0; size_of_a--, a++, b++)
        if (*a != *b)
            return *a < *b;
    return 0;
}

void otapack_cbor_skip(struct otapack_cbor *r, uint32_t depth)
{
    uint32_t major = r->left == 0 ? 0 : *r->at >> 5, n;
    struct otapack_string s = {NULL, 0};

    if (depth == 0) {
        otapack_cbor_fail(r);
        return;
    }
    switch (major) {
    case OTAPACK_BYTES:
    case OTAPACK_TEXT:
        otapack_cbor_string(r, &s, major, UINT32_MAX);
        return;
    case OTAPACK_ARRAY:
    case OTAPACK_MAP:
        n = otapack_cbor_count(r, major, 0, r->left); /* each member takes a byte at least */
        break;
    case OTAPACK_SIMPLE:
        otapack_cbor_count(r, major, 20, 22); /* false, true and null */
        return;
    default:
        head(r, major);
        n = major == OTAPACK_TAG;
    }
    for (; n != 0 && !r->bad; n--) {
        const uint8_t *key = r->at;

        otapack_cbor_skip(r, depth - 1);
        if (major != OTAPACK_MAP)
            continue;
        if (s.at && !comes_before(s.at, key, s.size))
            otapack_cbor_fail(r);
        s.at = key;
        s.size = (uint32_t)(r->at - key);
        otapack_cbor_skip(r, depth - 1);
    }
}
