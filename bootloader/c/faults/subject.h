/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUBJECT_H
#define SUBJECT_H

#include <stdint.h>

/*
 * What the campaign writes into the target's memory before each run: the
 * results that hashing and signature verification would have had, which are not
 * attacked here, and the rest of what the decision is about.
 */
struct subject {
    uint8_t digest[32];   /* of the image */
    uint8_t expected[32]; /* in the manifest */
    uint32_t signature;   /* OTAPACK_GOOD or OTAPACK_BAD */
    uint32_t sequence;
    uint32_t floor;
};

#endif
