/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic modulo the two primes of P-256 and addition of its points. The
 * sequence of instructions and addresses is the same for all values, so that it
 * may be used with a private key as well.
 */
#ifndef OTAPACK_FIELD_H
#define OTAPACK_FIELD_H

#include <stdint.h>

/* A number below 2^256, least significant word first. */
typedef uint32_t otapack_number[8];

struct otapack_modulus {
    otapack_number m;
    otapack_number one;    /* 2^256 mod m: 1 in Montgomery's form */
    otapack_number square; /* 2^512 mod m: otapack_mul with it goes into that form */
    uint32_t inverse;      /* -1/m mod 2^32 */
};

extern const struct otapack_modulus otapack_p; /* of coordinates */
extern const struct otapack_modulus otapack_n; /* of scalars: the order of the group */

/*
 * Arguments below the modulus give a result below it. Result and arguments may
 * be the same. otapack_mul is the product by 2^-256, Montgomery's; one of its two
 * arguments need not be below the modulus.
 */
void otapack_mul(otapack_number r, const otapack_number a, const otapack_number b, const struct otapack_modulus *m);
void otapack_add(otapack_number r, const otapack_number a, const otapack_number b, const struct otapack_modulus *m);
void otapack_sub(otapack_number r, const otapack_number a, const otapack_number b, const struct otapack_modulus *m);

/* otapack_invert sets r to 1/a, 0 for 0, both in Montgomery's form. */
void otapack_invert(otapack_number r, const otapack_number a, const struct otapack_modulus *m);

void otapack_enter(otapack_number r, const otapack_number a, const struct otapack_modulus *m); /* into Montgomery's form */
void otapack_leave(otapack_number r, const otapack_number a, const struct otapack_modulus *m); /* out of it */

void otapack_load(otapack_number r, const uint8_t bytes[32]); /* big endian, not reduced */
void otapack_store(uint8_t bytes[32], const otapack_number a);

uint32_t otapack_is_below(const otapack_number a, const otapack_number b); /* 1 or 0 */
uint32_t otapack_is_zero(const otapack_number a);                          /* 1 or 0 */

/* A point (X/Z, Y/Z), coordinates in Montgomery's form; Z = 0 and Y = 1 is infinity. */
struct otapack_point {
    otapack_number x, y, z;
};

/* otapack_point_add sets r to a + b for any points, also equal, opposite and infinite ones. */
void otapack_point_add(struct otapack_point *r, const struct otapack_point *a, const struct otapack_point *b);

/* otapack_point_double sets r to 2 a for any point but infinity. It takes two thirds of the time of an addition. */
void otapack_point_double(struct otapack_point *r, const struct otapack_point *a);

/*
 * otapack_point_load answers 1 and sets r to the point with these coordinates,
 * big endian; or 0 when they are not below p or not of a point on the curve.
 */
uint32_t otapack_point_load(struct otapack_point *r, const uint8_t x[32], const uint8_t y[32]);

#endif
