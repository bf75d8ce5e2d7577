/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a recipient of the encryption information to the content key. What
 * depends on a secret does so in values only, never in branches and addresses;
 * the verdict is not a secret.
 */
#ifndef OTAPACK_RECIPIENT_H
#define OTAPACK_RECIPIENT_H

#include <stdint.h>

#include "decide.h"

/*
 * otapack_unwrap is AES key unwrap (RFC 3394, section 2.2.2) of a 16-byte key,
 * the recipient algorithm A128KW. It answers OTAPACK_GOOD, or OTAPACK_BAD with
 * the key all zero.
 */
uint32_t otapack_unwrap(const uint8_t kek[16], const uint8_t wrapped[24], uint8_t key[16]);

/*
 * An agreement computes the x coordinate of private key times point, 32 bytes
 * big endian, on P-256. It answers OTAPACK_BAD when x and y are not coordinates
 * below the prime of a point on the curve. What key is, the private key or the
 * number of a slot in a crypto cell, is between caller and agreement.
 * otapack_ecdh of ecdh.h is one in software.
 */
typedef uint32_t otapack_agreement(const void *key, const uint8_t x[32], const uint8_t y[32], uint8_t shared[32]);

/*
 * otapack_unwrap_agreed is the recipient algorithm ECDH-ES+A128KW (RFC 9053,
 * section 6.4.1): agreement with the ephemeral key, HKDF-SHA-256 without salt,
 * otapack_unwrap. Answers are those of otapack_unwrap.
 */
uint32_t otapack_unwrap_agreed(otapack_agreement *agree, const void *device_key, const uint8_t x[32], const uint8_t y[32],
                               const uint8_t wrapped[24], uint8_t key[16]);

#endif
