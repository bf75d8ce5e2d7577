/* SPDX-License-Identifier: Apache-2.0 */
#include "field.h"

#include "equal.h"

const struct otapack_modulus otapack_p = {
    {0xffffffff, 0xffffffff, 0xffffffff, 0x00000000, 0x00000000, 0x00000000, 0x00000001, 0xffffffff},
    {0x00000001, 0x00000000, 0x00000000, 0xffffffff, 0xffffffff, 0xffffffff, 0xfffffffe, 0x00000000},
    {0x00000003, 0x00000000, 0xffffffff, 0xfffffffb, 0xfffffffe, 0xffffffff, 0xfffffffd, 0x00000004},
    0x00000001,
};

const struct otapack_modulus otapack_n = {
    {0xfc632551, 0xf3b9cac2, 0xa7179e84, 0xbce6faad, 0xffffffff, 0xffffffff, 0x00000000, 0xffffffff},
    {0x039cdaaf, 0x0c46353d, 0x58e8617b, 0x43190552, 0x00000000, 0x00000000, 0xffffffff, 0x00000000},
    {0xbe79eea2, 0x83244c95, 0x49bd6fa6, 0x4699799c, 0x2b6bec59, 0x2845b239, 0xf3d95620, 0x66e12d94},
    0xee00bc4f,
};

/* b of the curve y^2 = x^3 - 3 x + b, in Montgomery's form. */
static const otapack_number curve_b = {
    0x29c4bddf, 0xd89cdf62, 0x78843090, 0xacf005cd, 0xf7212ed6, 0xe5a220ab, 0x04874834, 0xdc30061d,
};

/* carry_of answers the carry of a + b, which is sum. A comparison instead would be a branch with some compilers. */
static inline uint32_t carry_of(uint32_t a, uint32_t b, uint32_t sum) { return ((a & b) | ((a | b) & ~sum)) >> 31; }

/* add_to adds a to 2^32 high + low. */
static inline void add_to(uint32_t *low, uint32_t *high, uint32_t a)
{
#if defined(__arm__)
    __asm__(".syntax unified\n\tadds %0, %0, %2\n\tadcs %1, %1, %3" : "+&l"(*low), "+&l"(*high) : "l"(a), "l"(0) : "cc");
#else
    uint32_t sum = *low + a;

    *high += carry_of(*low, a, sum);
    *low = sum;
#endif
}

/*
 * accumulate sets *t to the low word of a * b + *t + carry and answers the high
 * one. Cores without a long multiplication, Armv6-M, would call the compiler's
 * for 64 bits; four short ones are quicker. Where a multiplication takes longer
 * for some operands, as on a Cortex-M3, this is not constant time.
 */
static inline uint32_t accumulate(uint32_t *t, uint32_t a, uint32_t b, uint32_t carry)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t low = *t;

    __asm__("umaal %0, %1, %2, %3" : "+r"(low), "+r"(carry) : "r"(a), "r"(b));
    *t = low;
    return carry;
#elif defined(__ARM_ARCH_6M__) || defined(OTAPACK_SHORT_MULTIPLY)
    uint32_t low = (a & 0xffff) * (b & 0xffff), high = (a >> 16) * (b >> 16);
    uint32_t middle = (a >> 16) * (b & 0xffff), other = (a & 0xffff) * (b >> 16);

    middle += low >> 16; /* at most ffff0000 */
    other += middle & 0xffff;
    high += (middle >> 16) + (other >> 16);
    low = other << 16 | (low & 0xffff);
    add_to(&low, &high, carry);
    add_to(&low, &high, *t);
    *t = low;
    return high;
#else
    uint64_t sum = (uint64_t)a * b + *t + carry;

    *t = (uint32_t)sum;
    return (uint32_t)(sum >> 32);
#endif
}

/* add_words and sub_words answer the carry and the borrow, 0 or 1. */
static uint32_t add_words(otapack_number r, const otapack_number a, const otapack_number b)
{
    uint64_t t = 0;

    for (int i = 0; i < 8; i++) {
        t += (uint64_t)a[i] + b[i];
        r[i] = (uint32_t)t;
        t >>= 32;
    }
    return (uint32_t)t;
}

static uint32_t sub_words(otapack_number r, const otapack_number a, const otapack_number b)
{
    uint64_t t = 0;

    for (int i = 0; i < 8; i++) {
        t = (uint64_t)a[i] - b[i] - t;
        r[i] = (uint32_t)t;
        t = t >> 32 & 1;
    }
    return (uint32_t)t;
}

/* choose sets r to a where yes is 1, to b where it is 0. */
static void choose(otapack_number r, uint32_t yes, const otapack_number a, const otapack_number b)
{
    uint32_t mask = otapack_mask(yes);

    for (int i = 0; i < 8; i++)
        r[i] = (a[i] & mask) | (b[i] & ~mask);
}

/* reduce sets r to 2^256 carry + a, which is below twice the modulus. */
static void reduce(otapack_number r, uint32_t carry, const otapack_number a, const struct otapack_modulus *m)
{
    otapack_number less;

    choose(r, carry | (1 ^ sub_words(less, a, m->m)), less, a);
}

/* accumulate_words adds a * b to t, of nine words, and answers what is above them. */
static uint32_t accumulate_words(uint32_t t[9], uint32_t a, const otapack_number b)
{
    uint32_t carry = 0, high;

    for (int i = 0; i < 8; i++)
        carry = accumulate(&t[i], a, b[i], carry);
    high = 0;
    add_to(&t[8], &high, carry);
    return high;
}

/*
 * shift_p adds the multiple of p to t, of ten words, that makes it divisible by
 * 2^32, and divides. That is t[0] times p, and p is 2^256 - 2^224 + 2^192 + 2^96 - 1.
 */
static void shift_p(uint32_t t[10])
{
    uint32_t q = t[0];
    int64_t sum = (int64_t)t[3] + q;

    t[0] = t[1];
    t[1] = t[2];
    t[2] = (uint32_t)sum;
    sum = (sum >> 32) + t[4];
    t[3] = (uint32_t)sum;
    sum = (sum >> 32) + t[5];
    t[4] = (uint32_t)sum;
    sum = (sum >> 32) + t[6] + q;
    t[5] = (uint32_t)sum;
    sum = (sum >> 32) + t[7] - q;
    t[6] = (uint32_t)sum;
    sum = (sum >> 32) + t[8] + q;
    t[7] = (uint32_t)sum;
    sum = (sum >> 32) + t[9];
    t[8] = (uint32_t)sum;
}

/* shift does the same for any modulus. */
static void shift(uint32_t t[10], const struct otapack_modulus *m)
{
    t[9] += accumulate_words(t, t[0] * m->inverse, m->m);
    for (int i = 0; i < 9; i++)
        t[i] = t[i + 1];
}

void otapack_mul(otapack_number r, const otapack_number a, const otapack_number b, const struct otapack_modulus *m)
{
    uint32_t t[10];

    for (int i = 0; i < 10; i++)
        t[i] = 0;
    for (int i = 0; i < 8; i++) {
        t[9] = accumulate_words(t, a[i], b);
        if (m == &otapack_p)
            shift_p(t);
        else
            shift(t, m);
    }
    reduce(r, t[8], t, m);
}

void otapack_add(otapack_number r, const otapack_number a, const otapack_number b, const struct otapack_modulus *m)
{
    otapack_number sum;
    uint32_t carry = add_words(sum, a, b);

    reduce(r, carry, sum, m);
}

void otapack_sub(otapack_number r, const otapack_number a, const otapack_number b, const struct otapack_modulus *m)
{
    otapack_number difference, more;
    uint32_t borrow = sub_words(difference, a, b);

    add_words(more, difference, m->m);
    choose(r, borrow, more, difference);
}

/* By Fermat: a^(m-2). The exponent is public, and has the same bits for every a. */
void otapack_invert(otapack_number r, const otapack_number a, const struct otapack_modulus *m)
{
    static const otapack_number two = {2};
    otapack_number power, exponent;

    sub_words(exponent, m->m, two);
    choose(power, 1, m->one, m->one);
    for (int i = 255; i >= 0; i--) {
        otapack_mul(power, power, power, m);
        if (exponent[i / 32] >> i % 32 & 1)
            otapack_mul(power, power, a, m);
    }
    choose(r, 1, power, power);
}

void otapack_enter(otapack_number r, const otapack_number a, const struct otapack_modulus *m) { otapack_mul(r, a, m->square, m); }

void otapack_leave(otapack_number r, const otapack_number a, const struct otapack_modulus *m)
{
    static const otapack_number one = {1};

    otapack_mul(r, a, one, m);
}

void otapack_load(otapack_number r, const uint8_t bytes[32])
{
    for (int i = 0; i < 8; i++) {
        const uint8_t *p = bytes + 28 - 4 * i;

        r[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
}

void otapack_store(uint8_t bytes[32], const otapack_number a)
{
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(a[7 - i / 4] >> (24 - i % 4 * 8));
}

uint32_t otapack_is_below(const otapack_number a, const otapack_number b)
{
    otapack_number difference;

    return sub_words(difference, a, b);
}

uint32_t otapack_is_zero(const otapack_number a)
{
    uint32_t any = 0;

    for (int i = 0; i < 8; i++)
        any |= a[i];
    return 1 ^ (any | (0u - any)) >> 31;
}

/*
 * Formulas as tables, which take less room than calls: operation, result,
 * operands. The results of a formula are in X3, Y3 and Z3.
 */
enum { X1, Y1, Z1, X2, Y2, Z2, X3, Y3, Z3, T0, T1, T2, T3, T4, B, REGISTERS };

enum { MUL, ADD, SUB };

#define STEP(op, r, a, b) (uint16_t)(op << 12 | r << 8 | a << 4 | b)

/* The complete addition of Renes, Costello and Batina ("Complete addition formulas for prime order elliptic curves", algorithm 4, a = -3). */
static const uint16_t addition[] = {
    STEP(MUL, T0, X1, X2), STEP(MUL, T1, Y1, Y2), STEP(MUL, T2, Z1, Z2), STEP(ADD, T3, X1, Y1), STEP(ADD, T4, X2, Y2),
    STEP(MUL, T3, T3, T4), STEP(ADD, T4, T0, T1), STEP(SUB, T3, T3, T4), STEP(ADD, T4, Y1, Z1), STEP(ADD, X3, Y2, Z2),
    STEP(MUL, T4, T4, X3), STEP(ADD, X3, T1, T2), STEP(SUB, T4, T4, X3), STEP(ADD, X3, X1, Z1), STEP(ADD, Y3, X2, Z2),
    STEP(MUL, X3, X3, Y3), STEP(ADD, Y3, T0, T2), STEP(SUB, Y3, X3, Y3), STEP(MUL, Z3, B, T2),  STEP(SUB, X3, Y3, Z3),
    STEP(ADD, Z3, X3, X3), STEP(ADD, X3, X3, Z3), STEP(SUB, Z3, T1, X3), STEP(ADD, X3, T1, X3), STEP(MUL, Y3, B, Y3),
    STEP(ADD, T1, T2, T2), STEP(ADD, T2, T1, T2), STEP(SUB, Y3, Y3, T2), STEP(SUB, Y3, Y3, T0), STEP(ADD, T1, Y3, Y3),
    STEP(ADD, Y3, T1, Y3), STEP(ADD, T1, T0, T0), STEP(ADD, T0, T1, T0), STEP(SUB, T0, T0, T2), STEP(MUL, T1, T4, Y3),
    STEP(MUL, T2, T0, Y3), STEP(MUL, Y3, X3, Z3), STEP(ADD, Y3, Y3, T2), STEP(MUL, X3, T3, X3), STEP(SUB, X3, X3, T1),
    STEP(MUL, Z3, T4, Z3), STEP(MUL, T1, T3, T0), STEP(ADD, Z3, Z3, T1),
};

/* The tangent: w = 3 (x^2 - z^2), s = 2 y z, r = y s, b = 2 x r, h = w^2 - 2 b; (h s, w (b - h) - 2 r^2, s^3). */
static const uint16_t doubling[] = {
    STEP(SUB, T0, X1, Z1), STEP(ADD, T1, X1, Z1), STEP(MUL, T0, T0, T1), STEP(ADD, T1, T0, T0), STEP(ADD, T0, T0, T1),
    STEP(MUL, T1, Y1, Z1), STEP(ADD, T1, T1, T1), STEP(MUL, T2, Y1, T1), STEP(MUL, T3, X1, T2), STEP(ADD, T3, T3, T3),
    STEP(MUL, T4, T0, T0), STEP(SUB, T4, T4, T3), STEP(SUB, T4, T4, T3), STEP(MUL, X3, T4, T1), STEP(SUB, T3, T3, T4),
    STEP(MUL, T3, T0, T3), STEP(MUL, T2, T2, T2), STEP(SUB, T3, T3, T2), STEP(SUB, Y3, T3, T2), STEP(MUL, Z3, T1, T1),
    STEP(MUL, Z3, Z3, T1),
};

#define STEPS(table) table, sizeof table / sizeof *table

static void run(const uint16_t *table, unsigned n, struct otapack_point *r, const struct otapack_point *a, const struct otapack_point *b)
{
    otapack_number t[T4 - X3 + 1];
    const uint32_t *operand[REGISTERS] = {a->x, a->y, a->z, b->x, b->y, b->z, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], curve_b};

    for (; n != 0; n--) {
        unsigned step = *table++;
        uint32_t *result = t[(step >> 8 & 15) - X3];
        const uint32_t *x = operand[step >> 4 & 15], *y = operand[step & 15];

        switch (step >> 12) {
        case MUL:
            otapack_mul(result, x, y, &otapack_p);
            break;
        case ADD:
            otapack_add(result, x, y, &otapack_p);
            break;
        default:
            otapack_sub(result, x, y, &otapack_p);
        }
    }
    choose(r->x, 1, t[0], t[0]);
    choose(r->y, 1, t[1], t[1]);
    choose(r->z, 1, t[2], t[2]);
}

void otapack_point_add(struct otapack_point *r, const struct otapack_point *a, const struct otapack_point *b)
{
    run(STEPS(addition), r, a, b);
}

void otapack_point_double(struct otapack_point *r, const struct otapack_point *a) { run(STEPS(doubling), r, a, a); }

uint32_t otapack_point_load(struct otapack_point *r, const uint8_t x[32], const uint8_t y[32])
{
    otapack_number left, right;
    uint32_t ok;

    otapack_load(r->x, x);
    otapack_load(r->y, y);
    ok = otapack_is_below(r->x, otapack_p.m) & otapack_is_below(r->y, otapack_p.m);
    otapack_enter(r->x, r->x, &otapack_p);
    otapack_enter(r->y, r->y, &otapack_p);
    choose(r->z, 1, otapack_p.one, otapack_p.one);

    otapack_mul(left, r->y, r->y, &otapack_p);
    otapack_mul(right, r->x, r->x, &otapack_p);
    for (int i = 0; i < 3; i++)
        otapack_sub(right, right, otapack_p.one, &otapack_p);
    otapack_mul(right, right, r->x, &otapack_p); /* x (x^2 - 3) */
    otapack_add(right, right, curve_b, &otapack_p);
    otapack_sub(left, left, right, &otapack_p);
    return ok & otapack_is_zero(left);
}
