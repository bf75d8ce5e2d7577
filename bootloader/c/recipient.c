/* SPDX-License-Identifier: Apache-2.0 */
#include "recipient.h"

#include "aes.h"
#include "equal.h"
#include "sha256.h"

uint32_t otapack_unwrap(const uint8_t kek[16], const uint8_t wrapped[24], uint8_t key[16])
{
    static const uint8_t initial[8] = {0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6};
    struct otapack_aes aes;
    uint8_t block[16]; /* integrity register A, then the half of the key of step t */
    uint32_t verdict, keep;

    otapack_aes_key(&aes, kek);
    for (int i = 0; i < 8; i++)
        block[i] = wrapped[i];
    for (int i = 0; i < 16; i++)
        key[i] = wrapped[8 + i];
    for (uint32_t t = 12; t > 0; t--) {
        uint8_t *half = key + 8 * ((t + 1) % 2);

        for (int i = 0; i < 8; i++)
            block[8 + i] = half[i];
        block[7] ^= (uint8_t)t;
        otapack_aes_decrypt(&aes, block);
        for (int i = 0; i < 8; i++)
            half[i] = block[8 + i];
    }
    verdict = otapack_equal(block, initial, sizeof initial);
    keep = otapack_mask(verdict >> 1 & 1); /* the bit that is set in OTAPACK_GOOD alone */
    for (int i = 0; i < 16; i++)
        key[i] &= (uint8_t)keep;
    otapack_wipe(&aes, sizeof aes);
    otapack_wipe(block, sizeof block);
    return verdict;
}

static void hmac(const uint8_t key[32], const void *message, size_t n, uint8_t tag[32])
{
    struct otapack_sha256 s;
    uint8_t pad[64];

    for (int outer = 0; outer < 2; outer++) {
        for (int i = 0; i < 64; i++)
            pad[i] = (uint8_t)((i < 32 ? key[i] : 0) ^ (outer ? 0x5c : 0x36));
        otapack_sha256_init(&s);
        otapack_sha256_update(&s, pad, sizeof pad);
        if (outer)
            otapack_sha256_update(&s, tag, 32);
        else
            otapack_sha256_update(&s, message, n);
        otapack_sha256_final(&s, tag);
    }
    otapack_wipe(&s, sizeof s);
    otapack_wipe(pad, sizeof pad);
}

/*
 * HKDF-SHA-256 (RFC 5869) without salt, one block of output. The context is the
 * COSE_KDF_Context of ECDH-ES+A128KW (draft-ietf-suit-firmware-encryption,
 * section 6.2.4), and the number of the block:
 *
 *   [-3, [nil, nil, nil], [nil, nil, nil], [128, h'a101381c', 'SUIT Payload Encryption']]
 */
uint32_t otapack_unwrap_agreed(otapack_agreement *agree, const void *device_key, const uint8_t x[32], const uint8_t y[32],
                               const uint8_t wrapped[24], uint8_t key[16])
{
    static const uint8_t context[] = "\x84\x22\x83\xf6\xf6\xf6\x83\xf6\xf6\xf6\x83\x18\x80\x44\xa1\x01\x38\x1c\x57"
                                     "SUIT Payload Encryption\x01";
    static const uint8_t salt[32] = {0};
    uint8_t secret[32], extracted[32];
    uint32_t agreed, verdict, keep;

    agreed = agree(device_key, x, y, secret);
    hmac(salt, secret, sizeof secret, extracted);
    hmac(extracted, context, sizeof context - 1, secret);
    verdict = otapack_unwrap(secret, wrapped, key);
    otapack_wipe(secret, sizeof secret);
    otapack_wipe(extracted, sizeof extracted);
    keep = otapack_mask(agreed >> 1 & 1);
    for (int i = 0; i < 16; i++)
        key[i] &= (uint8_t)keep;
    return OTAPACK_BAD ^ ((OTAPACK_BAD ^ verdict) & keep);
}
