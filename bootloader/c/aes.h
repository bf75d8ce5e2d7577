/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-128 (FIPS 197) in bit slices: no table and no branch depends on key or
 * data. Two blocks cost what one does.
 */
#ifndef OTAPACK_AES_H
#define OTAPACK_AES_H

#include <stddef.h>
#include <stdint.h>

/* Key schedule; 352 bytes that are as secret as the key. */
struct otapack_aes {
    uint32_t round_key[11][8];
};

void otapack_aes_key(struct otapack_aes *aes, const uint8_t key[16]);
void otapack_aes_encrypt(const struct otapack_aes *aes, uint8_t block[16]);
void otapack_aes_decrypt(const struct otapack_aes *aes, uint8_t block[16]);

/*
 * Counter mode as A128CTR of the profile (RFC 9459, section 4): the first
 * counter block is the IV, and the whole block counts up as one big-endian
 * number.
 */
struct otapack_ctr {
    struct otapack_aes aes;
    uint8_t counter[16]; /* of the next block whose key stream is not made yet */
    uint8_t stream[32];  /* key stream of two blocks */
    uint32_t used;       /* bytes of it */
};

void otapack_ctr_init(struct otapack_ctr *ctr, const uint8_t key[16], const uint8_t iv[16]);

/* otapack_ctr_xor decrypts, or encrypts, the next n bytes in place. */
void otapack_ctr_xor(struct otapack_ctr *ctr, uint8_t *data, size_t n);

#endif
