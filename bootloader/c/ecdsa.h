/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OTAPACK_ECDSA_H
#define OTAPACK_ECDSA_H

#include <stdint.h>

#include "decide.h"
#include "field.h"

/*
 * otapack_ecdsa_verify answers OTAPACK_GOOD if signature, r and s, is one of the
 * digest by the key, x and y on P-256 (FIPS 186-5, section 6.4.2); all big endian.
 * Of the twins s and n - s both are good. Time depends on the arguments: all of
 * them are public.
 */
uint32_t otapack_ecdsa_verify(const uint8_t key[64], const uint8_t digest[32], const uint8_t signature[64]);

/* The point (x/z, y/z) that a signature leads to, in Montgomery's form; z = 0 for none. */
struct otapack_signed {
    otapack_number x, z;
};

/*
 * otapack_ecdsa_verify in two halves. The first one costs nearly all. The second
 * compares: it costs little, and may be made in both rounds of a decision.
 */
void otapack_ecdsa_point(struct otapack_signed *point, const uint8_t key[64], const uint8_t digest[32], const uint8_t signature[64]);
uint32_t otapack_ecdsa_signed(const struct otapack_signed *point, const uint8_t signature[64]);

#endif
