/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUBJECT_H
#define SUBJECT_H

#include <stdint.h>

/*
 * What the campaign writes into a target's memory before each run: the results
 * that hashing and signature verification would have had, which are not attacked
 * here, and the rest of what the decision is about.
 */
struct subject {
    uint8_t digest[32];   /* of the image */
    uint8_t expected[32]; /* in the manifest; verifier.c has it in its envelope */
    uint32_t signature;   /* OTAPACK_GOOD or OTAPACK_BAD */
    uint32_t sequence;    /* verifier.c has it in its envelope */
    uint32_t floor;

    /* For verifier.c alone. */
    uint8_t manifest[32]; /* digest of the manifest */
    uint8_t class_id[16]; /* of the device */
    uint32_t came;        /* bytes of the payload */
};

#endif
