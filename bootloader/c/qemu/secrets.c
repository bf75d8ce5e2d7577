/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs what handles secrets with many secrets, each run between trace_begin and
 * trace_end. All runs of a subject have to leave the same trace, see trace.c.
 * Before them stands a line
 *
 *   subject NAME RUNS WANT
 *
 * WANT is "same", or what makes the control visible: "instructions" or only the
 * "addresses".
 */
#include "../aes.h"
#include "../ecdh.h"
#include "../equal.h"
#include "../recipient.h"
#include "../sha256.h"
#include "start.h"

__attribute__((noinline)) void trace_begin(void) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void trace_end(void) { __asm__ volatile("" ::: "memory"); }

static uint8_t secret[64], other[64], out[64];
static struct otapack_aes aes;
static struct otapack_ctr stream;

/* fill makes bytes that differ between numbers, by a xorshift. */
static void fill(uint8_t *bytes, uint32_t n, uint32_t number)
{
    uint32_t x = number * 0x9e3779b9 + 1;

    for (uint32_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes[i] = (uint8_t)(x >> 11);
    }
}

/* choose makes secret number i: first those that are special, then any. */
static void choose(uint8_t *bytes, uint32_t n, uint32_t i)
{
    fill(bytes, n, i);
    for (uint32_t at = 0; at < n; at++) {
        if (i == 0)
            bytes[at] = 0;
        if (i == 1)
            bytes[at] = 0xff;
        if (i == 2)
            bytes[at] = at == n - 1;
        if (i == 3)
            bytes[at] = at == 0 ? 0x80 : 0;
    }
}

/* compared makes two equal values, then some that differ in one byte, then others. */
static void compared(uint32_t n, uint32_t i)
{
    choose(secret, n, i);
    for (uint32_t at = 0; at < n; at++)
        other[at] = secret[at];
    if (i >= 4 && i < 4 + n)
        other[i - 4] ^= 0x10;
    if (i >= 4 + n)
        fill(other, n, i + 1000);
}

static void compared32(uint32_t i) { compared(32, i); }
static void compared16(uint32_t i) { compared(16, i); }
static void compared8(uint32_t i) { compared(8, i); }
static void equal32(void) { out[0] = (uint8_t)otapack_equal(secret, other, 32); }
static void equal16(void) { out[0] = (uint8_t)otapack_equal(secret, other, 16); }
static void equal8(void) { out[0] = (uint8_t)otapack_equal(secret, other, 8); }

__attribute__((noinline)) static uint32_t equal_early(const volatile uint8_t *a, const volatile uint8_t *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return 0;
    return 1;
}

static void early(void) { out[0] = (uint8_t)equal_early(secret, other, 32); }

/* An S-box as a table. What stands in it does not matter to an address. */
static const uint8_t table[256] = {1};

static void lookup(void)
{
    for (uint32_t i = 0; i < 16; i++)
        out[i] = table[secret[i]];
}

static void key16(uint32_t i) { choose(secret, 16, i); }
static void aes_key(void) { otapack_aes_key(&aes, secret); }

static void keyed_block(uint32_t i)
{
    choose(secret, 16, i);
    otapack_aes_key(&aes, secret);
    choose(out, 16, i / 2);
}

static void encrypt(void) { otapack_aes_encrypt(&aes, out); }
static void decrypt(void) { otapack_aes_decrypt(&aes, out); }

/* The key is secret, and what it decrypts to; IV and length are not. */
static void ciphertext(uint32_t i)
{
    choose(secret, 16, i);
    fill(other, 16, 1);
    choose(out, 64, i / 2);
}

static void ctr(void)
{
    otapack_ctr_init(&stream, secret, other);
    otapack_ctr_xor(&stream, out, 64);
}

static void hash(void)
{
    struct otapack_sha256 s;

    otapack_sha256_init(&s);
    otapack_sha256_update(&s, secret, 16);
    otapack_sha256_final(&s, out);
}

/* wrap undoes otapack_unwrap (RFC 3394, section 2.2.1), so that some keys open. */
static void wrap(const uint8_t kek[16], const uint8_t key[16], uint8_t wrapped[24])
{
    uint8_t block[16];

    otapack_aes_key(&aes, kek);
    for (uint32_t i = 0; i < 24; i++)
        wrapped[i] = i < 8 ? 0xa6 : key[i - 8];
    for (uint32_t t = 1; t <= 12; t++) {
        uint8_t *half = wrapped + 16 - 8 * (t % 2);

        for (uint32_t i = 0; i < 8; i++) {
            block[i] = wrapped[i];
            block[8 + i] = half[i];
        }
        otapack_aes_encrypt(&aes, block);
        block[7] ^= (uint8_t)t;
        for (uint32_t i = 0; i < 8; i++) {
            wrapped[i] = block[i];
            half[i] = block[8 + i];
        }
    }
}

/* Every second one opens. */
static void wrapped(uint32_t i)
{
    uint8_t key[16];

    choose(secret, 16, i);
    choose(key, 16, i / 3);
    wrap(secret, key, other);
    other[23] ^= i % 2;
}

static void unwrap(void) { otapack_unwrap(secret, other, out); }

static const uint8_t point_x[32] = {
    0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
    0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
};
static const uint8_t point_y[32] = {
    0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16,
    0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
};

/* Private keys: 0 is none, and shows the point at infinity. */
static void scalar(uint32_t i) { choose(secret, 32, i); }
static void ecdh(void) { otapack_ecdh(secret, point_x, point_y, out); }

/* The key that the device agrees on opens every second one. */
static void agreed(uint32_t i)
{
    choose(secret, 32, i);
    choose(other, 24, 1);
}

static void unwrap_agreed(void) { otapack_unwrap_agreed(otapack_ecdh, secret, point_x, point_y, other, out); }

static const struct {
    const char *line;
    uint32_t runs;
    void (*prepare)(uint32_t i);
    void (*trace)(void);
} subjects[] = {
    {"subject control-early-exit 64 instructions\n", 64, compared32, early},
    {"subject control-table-lookup 64 addresses\n", 64, key16, lookup},
    {"subject compare-digest-32 64 same\n", 64, compared32, equal32},
    {"subject compare-tag-16 64 same\n", 64, compared16, equal16},
    {"subject compare-unlock-code-8 64 same\n", 64, compared8, equal8},
    {"subject aes-key-schedule 32 same\n", 32, key16, aes_key},
    {"subject aes-encrypt 32 same\n", 32, keyed_block, encrypt},
    {"subject aes-decrypt 32 same\n", 32, keyed_block, decrypt},
    {"subject aes-ctr-64 32 same\n", 32, ciphertext, ctr},
    {"subject sha256-16 32 same\n", 32, key16, hash},
    {"subject unwrap-a128kw 32 same\n", 32, wrapped, unwrap},
    {"subject ecdh-p256 8 same\n", 8, scalar, ecdh},
    {"subject unwrap-ecdh-es 4 same\n", 4, agreed, unwrap_agreed},
};

uint32_t run(void)
{
    for (uint32_t s = 0; s < sizeof subjects / sizeof *subjects; s++) {
        print(subjects[s].line);
        for (uint32_t i = 0; i < subjects[s].runs; i++) {
            subjects[s].prepare(i);
            trace_begin();
            subjects[s].trace();
            trace_end();
        }
    }
    return 0;
}
