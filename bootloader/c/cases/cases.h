/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many cases for the verifier, answered by one process. The same code runs on
 * this machine and on the emulated boards, which supply the functions that follow.
 *
 * A case is a letter and its fields; numbers have four bytes, little endian:
 *
 *   E  a signature: key (64), digest (32), signature (64)
 *   S  an envelope: vendor and class (16 each); floor, 1 if there is a slot, the
 *      slot, size of the bank, threshold, number of keys; for each key point (64),
 *      id (16) and 1 if it is revoked (1); length of the device's key (1: 32 for
 *      a private key, 16 for a shared one, 0 for none) and the key; length of its
 *      identifier (1) and the identifier; RAM for a decoder, 1 if there is one bank
 *      only, length of the image that runs and the image; length of the envelope
 *      and the envelope; length of the payload and the payload
 *
 * Compiled with DECODER there is a decoder for od1; without, for no coding.
 *
 * The answer to each is a line: "accept", "refuse", or "refuse" and the step.
 */
#ifndef CASES_H
#define CASES_H

#include <stdint.h>

/* answer_cases returns 0 at the end of the cases, 1 where they break off or have no room. */
uint32_t answer_cases(void);

/* next reads n bytes of the cases, and answers how many there were. */
uint32_t next(void *to, uint32_t n);

enum room { ENVELOPE, RUNNING, PAYLOAD, IMAGE, ROOMS };

/* give gives memory of n bytes for a purpose, and takes back what it gave for it before; NULL if there is none. */
uint8_t *give(enum room purpose, uint32_t n);

void say(const char *text);

/* A verification is between these two. */
void starts(void);
void ends(void);

#endif
