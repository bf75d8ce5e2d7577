/* SPDX-License-Identifier: Apache-2.0 */
#include "aes.h"

#include "equal.h"

/*
 * State: eight words, one for each bit of a byte. Bit 8 r + 2 c + b of word i
 * is bit i of the byte in row r and column c of block b. A rotation by 8 thus
 * goes to the next row.
 */
typedef uint32_t state[8];

static inline uint32_t ror(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

/* swap exchanges the bits mask << n of x with the bits mask of y. */
static inline void swap(uint32_t *x, uint32_t *y, uint32_t mask, unsigned n)
{
    uint32_t t = (*x >> n ^ *y) & mask;

    *y ^= t;
    *x ^= t << n;
}

/*
 * transpose exchanges word number and bit number within each byte. It is its
 * own inverse. Words before it: columns as little-endian words, column c of
 * block b in word 2 c + b.
 */
static __attribute__((noinline)) void transpose(state q)
{
    for (int i = 0; i < 8; i += 2)
        swap(&q[i], &q[i + 1], 0x55555555, 1);
    for (int i = 0; i < 8; i += 4) {
        swap(&q[i], &q[i + 2], 0x33333333, 2);
        swap(&q[i + 1], &q[i + 3], 0x33333333, 2);
    }
    for (int i = 0; i < 4; i++)
        swap(&q[i], &q[i + 4], 0x0f0f0f0f, 4);
}

/*
 * The S-box inverts in a tower of fields: GF(4) with the normal basis w, w^2;
 * GF(16) over it with z, z^4, where z + z^4 = 1 and z * z^4 = w^2; GF(256) over
 * that with y, y^16, where y + y^16 = 1 and y * y^16 = w z. In the numbers of
 * FIPS 197, w = bd, z = 5c and y = fe. Of all such towers it is one with the
 * fewest additions for going in and, together with the affine map, out.
 */
struct gf4 {
    uint32_t w, w2;
};

struct gf16 {
    struct gf4 z, z4;
};

#define INLINE static inline __attribute__((always_inline))

INLINE struct gf4 add4(struct gf4 a, struct gf4 b) { return (struct gf4){a.w ^ b.w, a.w2 ^ b.w2}; }

INLINE struct gf4 mul4(struct gf4 a, struct gf4 b)
{
    uint32_t both = (a.w ^ a.w2) & (b.w ^ b.w2);

    return (struct gf4){(a.w & b.w) ^ both, (a.w2 & b.w2) ^ both};
}

INLINE struct gf16 mul16(struct gf16 a, struct gf16 b)
{
    struct gf4 s = mul4(add4(a.z, a.z4), add4(b.z, b.z4));
    struct gf4 both = {s.w ^ s.w2, s.w}; /* w^2 times s */

    return (struct gf16){add4(mul4(a.z, b.z), both), add4(mul4(a.z4, b.z4), both)};
}

INLINE struct gf16 inverse16(struct gf16 a)
{
    struct gf4 s = add4(a.z, a.z4), p = mul4(a.z, a.z4);
    struct gf4 norm = {p.w ^ s.w ^ s.w2, p.w2 ^ s.w2}; /* w^2 s^2 + p */
    struct gf4 i = {norm.w2, norm.w};                  /* the inverse in GF(4) is the square */

    return (struct gf16){mul4(a.z4, i), mul4(a.z, i)};
}

/* substitute is the S-box without its constant 63, which round keys contain. */
static __attribute__((noinline)) void substitute(state q)
{
    uint32_t a, b, c, d, e, f;
    struct gf16 y, y16, s, p, i;

    /* into the tower */
    a = q[0] ^ q[6];
    b = q[5] ^ a;
    c = q[7] ^ b;
    d = q[1] ^ q[3];
    e = a ^ d;
    f = q[4] ^ q[7] ^ d;
    y.z.w = c;
    y.z.w2 = q[1] ^ b;
    y.z4.w = q[4] ^ b;
    y.z4.w2 = q[1] ^ q[2] ^ c;
    y16.z.w = q[2] ^ e;
    y16.z.w2 = b;
    y16.z4.w = q[0];
    y16.z4.w2 = q[0] ^ f;

    s = (struct gf16){add4(y.z, y16.z), add4(y.z4, y16.z4)};
    p = mul16(y, y16);
    i = inverse16((struct gf16){
        {p.z.w ^ s.z.w, p.z.w2 ^ s.z.w ^ s.z.w2}, /* w z s^2 + p */
        {p.z4.w ^ s.z.w2 ^ s.z4.w2, p.z4.w2 ^ s.z.w ^ s.z4.w},
    });
    s = mul16(y16, i);
    p = mul16(y, i);

    /* out of it, and through the matrix of the S-box; s is at y, p at y^16 */
    a = s.z.w2 ^ p.z4.w2;
    b = s.z4.w2 ^ a;
    c = s.z4.w ^ p.z.w;
    d = s.z.w ^ p.z.w2;
    e = a ^ c;
    q[0] = s.z4.w ^ d;
    q[1] = s.z.w2 ^ d;
    q[2] = p.z4.w ^ e;
    q[3] = s.z.w ^ s.z4.w ^ b;
    q[4] = b;
    q[5] = c;
    q[6] = s.z4.w2 ^ p.z4.w2;
    q[7] = a;
}

/* unaffine undoes the matrix of the S-box. */
static __attribute__((noinline)) void unaffine(state q)
{
    state t;

    for (int i = 0; i < 8; i++)
        t[i] = q[i];
    for (int i = 0; i < 8; i++)
        q[i] = t[(i + 2) & 7] ^ t[(i + 5) & 7] ^ t[(i + 7) & 7];
}

static __attribute__((noinline)) void shift_rows(state q)
{
    for (int i = 0; i < 8; i++) {
        uint32_t x = q[i], t = (x >> 4 ^ x) & 0x0f0f0000;

        x ^= t ^ t << 4; /* rows 2 and 3 by two columns, then rows 1 and 3 by one */
        q[i] = (x & 0x00ff00ff) | (x >> 2 & 0x3f003f00) | (x << 6 & 0xc000c000);
    }
}

static __attribute__((noinline)) void mix_columns(state q)
{
    uint32_t high = q[7] ^ ror(q[7], 8), below = high;

    for (int i = 0; i < 8; i++) {
        uint32_t next = ror(q[i], 8), sum = q[i] ^ next; /* of each row and the next, to be doubled */

        q[i] = below ^ next ^ ror(sum, 16);
        below = sum;
        if (i == 0 || i == 2 || i == 3) /* of the field's polynomial, 1b */
            below ^= high;
    }
}

static __attribute__((noinline)) void add_key(state q, const uint32_t *key)
{
    for (int i = 0; i < 8; i++)
        q[i] ^= key[i];
}

static uint32_t load(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void store(uint8_t *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}

static uint32_t substitute_word(uint32_t w)
{
    state q = {w};

    transpose(q);
    substitute(q);
    transpose(q);
    return q[0] ^ 0x63636363;
}

void otapack_aes_key(struct otapack_aes *aes, const uint8_t key[16])
{
    uint32_t w[4], constant = 1;

    for (int c = 0; c < 4; c++)
        w[c] = load(key + 4 * c);
    for (int round = 0; round <= 10; round++) {
        uint32_t *q = aes->round_key[round];

        for (int i = 0; i < 8; i++)
            q[i] = w[i / 2] ^ (round ? 0x63636363 : 0);
        transpose(q);
        w[0] ^= substitute_word(ror(w[3], 8)) ^ constant;
        for (int c = 1; c < 4; c++)
            w[c] ^= w[c - 1];
        constant = round == 7 ? 0x1b : constant << 1;
    }
    otapack_wipe(w, sizeof w);
}

static void encrypt(const struct otapack_aes *aes, state q)
{
    transpose(q);
    add_key(q, aes->round_key[0]);
    for (int round = 1; round <= 10; round++) {
        substitute(q);
        shift_rows(q);
        if (round < 10)
            mix_columns(q);
        add_key(q, aes->round_key[round]);
    }
    transpose(q);
}

/*
 * decrypt is for the few blocks of a wrapped key and saves code, not time: both
 * shift_rows and mix_columns give the identity when done four times.
 */
static void decrypt(const struct otapack_aes *aes, state q)
{
    transpose(q);
    for (int round = 10; round > 0; round--) {
        add_key(q, aes->round_key[round]);
        for (int i = 0; i < 3 && round < 10; i++)
            mix_columns(q);
        for (int i = 0; i < 3; i++)
            shift_rows(q);
        unaffine(q);
        substitute(q);
        unaffine(q);
    }
    add_key(q, aes->round_key[0]);
    transpose(q);
}

static void load_block(state q, const uint8_t block[16])
{
    for (int i = 0; i < 8; i++)
        q[i] = load(block + i / 2 * 4);
}

static void store_block(uint8_t block[16], state q)
{
    for (int i = 0; i < 4; i++)
        store(block + 4 * i, q[2 * i]);
    otapack_wipe(q, sizeof(state));
}

void otapack_aes_encrypt(const struct otapack_aes *aes, uint8_t block[16])
{
    state q;

    load_block(q, block);
    encrypt(aes, q);
    store_block(block, q);
}

void otapack_aes_decrypt(const struct otapack_aes *aes, uint8_t block[16])
{
    state q;

    load_block(q, block);
    decrypt(aes, q);
    store_block(block, q);
}

void otapack_ctr_init(struct otapack_ctr *ctr, const uint8_t key[16], const uint8_t iv[16])
{
    otapack_aes_key(&ctr->aes, key);
    for (int i = 0; i < 16; i++)
        ctr->counter[i] = iv[i];
    ctr->used = sizeof ctr->stream;
}

static void count(uint8_t counter[16])
{
    uint32_t carry = 1;

    for (int i = 15; i >= 0; i--) {
        carry += counter[i];
        counter[i] = (uint8_t)carry;
        carry >>= 8;
    }
}

static void refill(struct otapack_ctr *ctr)
{
    state q;

    for (int b = 0; b < 2; b++) {
        for (int c = 0; c < 4; c++)
            q[2 * c + b] = load(ctr->counter + 4 * c);
        count(ctr->counter);
    }
    encrypt(&ctr->aes, q);
    for (int i = 0; i < 8; i++)
        store(ctr->stream + i % 2 * 16 + i / 2 * 4, q[i]);
    otapack_wipe(q, sizeof q);
    ctr->used = 0;
}

void otapack_ctr_xor(struct otapack_ctr *ctr, uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ctr->used == sizeof ctr->stream)
            refill(ctr);
        data[i] ^= ctr->stream[ctr->used++];
    }
}
