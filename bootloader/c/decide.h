/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decision to run an image, written so that one fault in it is not enough.
 *
 * Verdicts are words that differ in all bits, not 0 and 1: neither zero, nor an
 * address, nor a small number is a verdict, and no single flipped bit makes one
 * out of the other. Every check runs in two rounds, which share no result.
 */
#ifndef OTAPACK_DECIDE_H
#define OTAPACK_DECIDE_H

#include <stdint.h>

#define OTAPACK_GOOD 0x3c96a5d2u
#define OTAPACK_BAD 0xc3695a2du /* ~OTAPACK_GOOD; all other words are bad as well */

/*
 * A check answers OTAPACK_GOOD or OTAPACK_BAD. It is called twice for a good
 * image. One that costs much may keep what it computed, a digest say, and
 * compare it again in the second round; it must not keep the verdict.
 */
typedef uint32_t otapack_check(void *ctx);

struct otapack_decision {
    otapack_check *const *checks; /* in the order in which they are made */
    uint32_t count;
    uint32_t sums[2]; /* OTAPACK_SUMS(count) */

    /*
     * All checks passed, twice. The first thing that accept does must be
     * "if (token != OTAPACK_TOKEN) panic": the instruction before its first
     * one may have been a return that a fault skipped. What boots the image
     * must want the token as well, and a volatile copy of it, or the compiler
     * leaves it out: (address - OTAPACK_TOKEN) + token. One changed bit of a
     * return address may lead behind the test, and one of a pointer to a table
     * of functions may find an address that stands there as it is.
     */
    void (*accept)(void *ctx, uint32_t token);
    void (*refuse)(void *ctx, uint32_t check); /* index of the first check that failed */
    void (*panic)(void);                       /* a fault was noticed: must not return */
};

#define OTAPACK_SUM0 0x6b8b4567u
#define OTAPACK_SUM1 0x327b23c6u
#define OTAPACK_SUMS(n) {OTAPACK_SUM0 + (n) * OTAPACK_GOOD, OTAPACK_SUM1 - (n) * OTAPACK_GOOD}
#define OTAPACK_TOKEN 0x9e06f2b5u

/* otapack_decide makes the checks and calls one of accept, refuse and panic. */
void otapack_decide(const struct otapack_decision *d, void *ctx);

#endif
