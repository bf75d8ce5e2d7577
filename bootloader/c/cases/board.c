/* SPDX-License-Identifier: Apache-2.0 */
/* The cases as a program for an emulated board: from the file "cases" of QEMU's folder. */
#include "../ecdsa.h"
#include "../qemu/start.h"
#include "cases.h"

#include <stddef.h>

/* ROOM is of each purpose, in bytes; without a decoder there is none but for the envelope. */
#ifdef DECODER
enum { SIGNATURES = 4, ROOM = 20 << 10, THERE = ROOMS };
#else
enum { SIGNATURES = 4, ROOM = 5 << 10, THERE = 1 };
#endif

static uint32_t file;

/* The file may be a pipe, out of which they come in pieces. */
uint32_t next(void *to, uint32_t n)
{
    uint32_t have = 0, more = 1;

    while (have < n && more != 0) {
        more = read_file(file, (uint8_t *)to + have, n - have);
        have += more;
    }
    return have;
}

uint8_t *give(enum room purpose, uint32_t n)
{
    static uint8_t memory[THERE][ROOM];

    if (n == 0)
        return memory[0];
    return (int)purpose < THERE && n <= ROOM ? memory[purpose] + ROOM - n : NULL;
}

void say(const char *text) { print(text); }

#ifdef COST
/* trace.c counts instructions between these two. */
__attribute__((noinline)) void trace_begin(void) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void trace_end(void) { __asm__ volatile("" ::: "memory"); }

extern uint32_t bss_end;

enum { PAINT = 0xa5a5a5a5, OWN = 64 /* bytes that starts may need itself */ };

static uint32_t stack_pointer(void)
{
    uint32_t sp;

    __asm__ volatile("mov %0, sp" : "=r"(sp));
    return sp;
}

static uint32_t top; /* where the stack is when a verification starts */

void starts(void)
{
    top = stack_pointer();
    for (volatile uint32_t *p = &bss_end; (uint32_t)p < top - OWN; p++)
        *p = PAINT;
    trace_begin();
}

void ends(void)
{
    char text[] = "stack      \n";
    volatile uint32_t *p = &bss_end;

    trace_end();
    while (*p == PAINT)
        p++;
    for (uint32_t n = top - (uint32_t)p, i = 10; n != 0; n /= 10)
        text[i--] = (char)('0' + n % 10);
    print(text);
}
#else
void starts(void) {}

void ends(void) {}
#endif

uint32_t run(void)
{
    static const char name[] = "cases";

    file = open_file(name, sizeof name - 1);
    return answer_cases();
}

/*
 * Neighbouring cases have the same envelope for other devices and payloads. The
 * last signatures are remembered: verifying one takes the board 40 million
 * instructions. The linker puts these in front of the originals.
 */
struct signature {
    uint8_t arguments[160]; /* key, digest, signature */
    struct otapack_signed point;
};

void __real_otapack_ecdsa_point(struct otapack_signed *point, const uint8_t key[64], const uint8_t digest[32], const uint8_t signature[64]);
void __wrap_otapack_ecdsa_point(struct otapack_signed *point, const uint8_t key[64], const uint8_t digest[32], const uint8_t signature[64]);

static uint8_t argument(uint32_t i, const uint8_t *key, const uint8_t *digest, const uint8_t *signature)
{
    return i < 64 ? key[i] : i < 96 ? digest[i - 64] : signature[i - 96];
}

void __wrap_otapack_ecdsa_point(struct otapack_signed *point, const uint8_t key[64], const uint8_t digest[32], const uint8_t signature[64])
{
    static struct signature last[SIGNATURES];
    static uint32_t oldest;
    struct signature *s;
    uint32_t i;

    for (s = last; s < last + SIGNATURES; s++) {
        for (i = 0; i < 160 && s->arguments[i] == argument(i, key, digest, signature); i++)
            ;
        if (i == 160) {
            *point = s->point;
            return;
        }
    }
    __real_otapack_ecdsa_point(point, key, digest, signature);
    s = &last[oldest++ % SIGNATURES];
    for (i = 0; i < 160; i++)
        s->arguments[i] = argument(i, key, digest, signature);
    s->point = *point;
}
