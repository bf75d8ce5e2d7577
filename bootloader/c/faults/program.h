/* SPDX-License-Identifier: Apache-2.0 */
/* The program that is attacked, and what is done to it. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdint.h>

#include "thumb.h"

/* A program and addresses in it: where its run and the attack start, what is written for it, and its ends. */
struct program {
    struct thumb_program code;
    uint32_t start, attacked, subject, booted, stopped;
    uint32_t limit; /* of attacked instructions: then it goes on without an end */
};

enum { SKIPS = 1, ZEROS = 8, FLIPPED = 15, FLIPS = FLIPPED * 32 + 4 /* flags */ };

/*
 * A fault hits one executed instruction: it is skipped; or before it one of r0 to
 * r7 becomes zero; or one bit of r0 to r12, sp, lr or the flags changes. Of sp two
 * bits are always zero.
 */
enum model { NONE, SKIP, ZERO, FLIP };

struct fault {
    enum model model;
    uint32_t at;   /* number of the attacked instruction, from 0 */
    uint32_t what; /* ZERO: register; FLIP: 32 * register + bit, flags come last */
};

enum outcome { STOPPED, BOOTED, LOST /* crashed, or goes on without an end */, NOT_KNOWN };

/* die ends the campaign, which does not work. */
_Noreturn void die(const char *what, const char *why);

/* load reads code, constants and symbols of a linked ELF file. */
void load(const char *name, struct program *p);

#endif
