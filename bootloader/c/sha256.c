/* SPDX-License-Identifier: Apache-2.0 */
#include "sha256.h"

static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t ror(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

static void compress(uint32_t state[8], const uint8_t block[64])
{
    uint32_t w[64], v[8];

    for (int i = 0; i < 16; i++, block += 4)
        w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
    for (uint32_t *p = w; p < w + 48; p++)
        p[16] = p[0] + (ror(p[1], 7) ^ ror(p[1], 18) ^ p[1] >> 3) + p[9] + (ror(p[14], 17) ^ ror(p[14], 19) ^ p[14] >> 10);
    for (int i = 0; i < 8; i++)
        v[i] = state[i];
    for (int i = 0; i < 64; i++) {
        uint32_t a = v[0], b = v[1], c = v[2], e = v[4], f = v[5], g = v[6], t;

        t = v[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + (g ^ (e & (f ^ g))) + constants[i] + w[i];
        v[7] = g;
        v[6] = f;
        v[5] = e;
        v[4] = v[3] + t;
        v[3] = c;
        v[2] = b;
        v[1] = a;
        v[0] = t + (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) | (c & (a | b)));
    }
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

void otapack_sha256_init(struct otapack_sha256 *s)
{
    static const uint32_t initial[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };

    for (int i = 0; i < 8; i++)
        s->state[i] = initial[i];
    s->length = 0;
}

void otapack_sha256_update(struct otapack_sha256 *s, const void *data, size_t n)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < n; i++) {
        s->block[s->length % 64] = bytes[i];
        if (++s->length % 64 == 0)
            compress(s->state, s->block);
    }
}

void otapack_sha256_final(struct otapack_sha256 *s, uint8_t digest[32])
{
    uint64_t bits = 8 * s->length;
    uint8_t byte = 0x80;

    do {
        otapack_sha256_update(s, &byte, 1);
        byte = 0;
    } while (s->length % 64 != 56);
    for (int i = 56; i >= 0; i -= 8) {
        byte = (uint8_t)(bits >> i);
        otapack_sha256_update(s, &byte, 1);
    }
    for (int i = 0; i < 32; i++)
        digest[i] = (uint8_t)(s->state[i / 4] >> (24 - i % 4 * 8));
}
