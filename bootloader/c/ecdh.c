/* SPDX-License-Identifier: Apache-2.0 */
#include "ecdh.h"

#include "equal.h"
#include "field.h"

/* swap exchanges a and b where yes is 1. */
static void swap(struct otapack_point *a, struct otapack_point *b, uint32_t yes)
{
    uint32_t *x = a->x, *y = b->x, mask = otapack_mask(yes);

    for (unsigned i = 0; i < sizeof *a / sizeof *x; i++) {
        uint32_t t = (x[i] ^ y[i]) & mask;

        x[i] ^= t;
        y[i] ^= t;
    }
}

/*
 * Montgomery's ladder: low is the point times the bits so far, high one more of
 * it. The additions are complete, so that every bit costs the same two.
 */
uint32_t otapack_ecdh(const void *key, const uint8_t x[32], const uint8_t y[32], uint8_t shared[32])
{
    struct otapack_point low = {{0}, {0}, {0}}, high;
    otapack_number scalar;
    uint32_t good, before = 0;

    good = otapack_point_load(&high, x, y);
    otapack_enter(low.y, (const otapack_number){1}, &otapack_p);
    otapack_load(scalar, key);
    for (int i = 255; i >= 0; i--) {
        uint32_t bit = scalar[i / 32] >> i % 32 & 1;

        swap(&low, &high, bit ^ before);
        otapack_point_add(&high, &low, &high);
        otapack_point_add(&low, &low, &low);
        before = bit;
    }
    swap(&low, &high, before);

    good &= 1 ^ otapack_is_zero(low.z);
    otapack_invert(low.z, low.z, &otapack_p);
    otapack_mul(low.x, low.x, low.z, &otapack_p);
    otapack_leave(low.x, low.x, &otapack_p);
    for (int i = 0; i < 8; i++)
        low.x[i] &= otapack_mask(good);
    otapack_store(shared, low.x);
    otapack_wipe(scalar, sizeof scalar);
    otapack_wipe(&low, sizeof low);
    otapack_wipe(&high, sizeof high);
    return OTAPACK_BAD ^ otapack_mask(good);
}
