/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulator of what compilers make for Cortex-M0 (ARMv6-M) and Cortex-M4
 * (ARMv7-M) without its floating-point and DSP instructions, one instruction at a
 * time. What it does not know it says, and leaves to another simulator.
 */
#ifndef THUMB_H
#define THUMB_H

#include <stdbool.h>
#include <stdint.h>

enum { FLASH = 0x00008000, FLASH_SIZE = 0x8000, RAM = 0x20000000, RAM_SIZE = 0x1000, STACK = RAM + RAM_SIZE - 64 };

struct core {
    uint32_t r[16]; /* the last one is the address of the next instruction */
    uint32_t flags; /* N, Z, C and V are bits 3 to 0 */
    uint32_t it;    /* ITSTATE within an IT block, else 0 */
};

struct state {
    struct core core;
    uint8_t ram[RAM_SIZE];
};

enum thumb { THUMB_RUNS, THUMB_CRASHED, THUMB_UNKNOWN };

struct instruction {
    uint8_t kind;       /* 0: not decoded yet */
    uint8_t size;       /* bytes */
    uint8_t d, n, m, a; /* registers: written, read, read, and another one */
    uint8_t set;        /* when flags are set */
    uint8_t operation;
    uint8_t shift, amount; /* of register m; also position and width of a bit field, and the number of registers */
    uint8_t carry;         /* of an immediate operand */
    uint8_t immediate;     /* 1: the last operand is value, not register m */
    uint8_t width;         /* bytes of a memory access */
    uint8_t sign;          /* 1: they are extended with their sign */
    uint8_t load, index, back;
    uint32_t value;
};

struct thumb_program {
    bool m0;
    uint8_t flash[FLASH_SIZE]; /* never changes once it runs */
    struct instruction decoded[FLASH_SIZE / 2];
};

/* thumb_holds answers whether the condition of an IT block holds for its next instruction. */
bool thumb_holds(const struct core *c);

/* thumb_skip goes behind the next instruction. */
enum thumb thumb_skip(struct thumb_program *p, struct core *c);

/* thumb_step executes the next instruction. Of a state that crashed or is unknown nothing can be said. */
enum thumb thumb_step(struct thumb_program *p, struct state *s);

/* thumb_stores answers whether the next instruction may write to memory. */
bool thumb_stores(struct thumb_program *p, const struct core *c);

#endif
