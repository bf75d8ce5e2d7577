/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OTAPACK_SHA256_H
#define OTAPACK_SHA256_H

#include <stddef.h>
#include <stdint.h>

/* A SHA-256 (FIPS 180-4) in progress. Instructions and addresses depend on lengths alone. */
struct otapack_sha256 {
    uint32_t state[8];
    uint64_t length;   /* bytes so far */
    uint8_t block[64]; /* its last length % 64 bytes are waiting here */
};

void otapack_sha256_init(struct otapack_sha256 *s);
void otapack_sha256_update(struct otapack_sha256 *s, const void *data, size_t n);
void otapack_sha256_final(struct otapack_sha256 *s, uint8_t digest[32]);

#endif
