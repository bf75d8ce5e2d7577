/* SPDX-License-Identifier: Apache-2.0 */
#include "ecdsa.h"

#include "equal.h"
#include "field.h"

static const uint8_t generator_x[32] = {
    0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
    0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
};

static const uint8_t generator_y[32] = {
    0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16,
    0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
};

/* is_scalar answers whether a is from 1 to n - 1. */
static uint32_t is_scalar(const otapack_number a) { return otapack_is_below(a, otapack_n.m) & (1 ^ otapack_is_zero(a)); }

static uint32_t bit(const otapack_number a, int i) { return a[i / 32] >> i % 32 & 1; }

/* combine sets r to u G + v Q: both multiples at once, with a table of G, Q and their sum. */
static void combine(struct otapack_point *r, const otapack_number u, const otapack_number v, struct otapack_point table[3])
{
    static const otapack_number one = {1};

    otapack_sub(r->x, one, one, &otapack_p);
    otapack_enter(r->y, one, &otapack_p);
    otapack_sub(r->z, one, one, &otapack_p);
    otapack_point_add(&table[2], &table[0], &table[1]);
    for (int i = 255; i >= 0; i--) {
        uint32_t bits = bit(u, i) | bit(v, i) << 1;

        if (!otapack_is_zero(r->z))
            otapack_point_double(r, r);
        if (bits)
            otapack_point_add(r, r, &table[bits - 1]);
    }
}

/* is_x answers whether a, which is below p, is the affine x coordinate of the point. */
static uint32_t is_x(const struct otapack_signed *point, const otapack_number a)
{
    otapack_number x;

    otapack_enter(x, a, &otapack_p);
    otapack_mul(x, x, point->z, &otapack_p);
    return otapack_equal(x, point->x, sizeof x);
}

void otapack_ecdsa_point(struct otapack_signed *point, const uint8_t key[64], const uint8_t digest[32], const uint8_t signature[64])
{
    static const struct otapack_signed none;
    struct otapack_point table[3], sum;
    otapack_number r, s, e, u, v;

    *point = none;
    otapack_point_load(&table[0], generator_x, generator_y);
    otapack_load(r, signature);
    otapack_load(s, signature + 32);
    if (!otapack_point_load(&table[1], key, key + 32) || !is_scalar(r) || !is_scalar(s))
        return;

    otapack_load(e, digest); /* may be above n: going into Montgomery's form reduces it */
    otapack_enter(e, e, &otapack_n);
    otapack_enter(s, s, &otapack_n);
    otapack_invert(s, s, &otapack_n);
    otapack_mul(u, e, s, &otapack_n);
    otapack_leave(u, u, &otapack_n);
    otapack_mul(v, r, s, &otapack_n); /* r is not in that form, and v is not either */

    combine(&sum, u, v, table);
    for (int i = 0; i < 8; i++) {
        point->x[i] = sum.x[i];
        point->z[i] = sum.z[i];
    }
}

uint32_t otapack_ecdsa_signed(const struct otapack_signed *point, const uint8_t signature[64])
{
    otapack_number r, u;

    otapack_load(r, signature);
    if (otapack_is_zero(point->z) || !is_scalar(r))
        return OTAPACK_BAD;
    /* x, which is below p, was reduced modulo n: it was r, or r + n where that is below p. */
    if (is_x(point, r) == OTAPACK_GOOD)
        return OTAPACK_GOOD;
    otapack_sub(u, r, r, &otapack_p);
    otapack_sub(u, u, otapack_n.m, &otapack_p);
    if (!otapack_is_below(r, u))
        return OTAPACK_BAD;
    otapack_add(u, r, otapack_n.m, &otapack_p);
    return is_x(point, u);
}

uint32_t otapack_ecdsa_verify(const uint8_t key[64], const uint8_t digest[32], const uint8_t signature[64])
{
    struct otapack_signed point;

    otapack_ecdsa_point(&point, key, digest, signature);
    return otapack_ecdsa_signed(&point, signature);
}
