/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The primitives as a program for this machine. A line of standard input is a
 * name and its arguments in hexadecimal digits, "-" for none; the line of the
 * answer is the result, or "bad".
 */
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../aes.h"
#include "../decide.h"
#include "../ecdh.h"
#include "../ecdsa.h"
#include "../equal.h"
#include "../field.h"
#include "../recipient.h"
#include "../sha256.h"

enum { ARGUMENTS = 4, LONGEST = 4096 };

struct argument {
    uint8_t *bytes; /* exactly as long as the argument, so that reading more is found */
    size_t length;
};

static int digit(char c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; }

static struct argument read_argument(void)
{
    const char *text = strtok(NULL, " \n");
    struct argument a = {NULL, 0};

    if (!text || *text == '-')
        return a;
    a.length = strlen(text) / 2;
    a.bytes = malloc(a.length);
    for (size_t i = 0; i < a.length; i++)
        a.bytes[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
    return a;
}

static void answer(bool good, const uint8_t *bytes, size_t n)
{
    if (!good)
        printf("bad");
    for (size_t i = 0; good && i < n; i++)
        printf("%02x", bytes[i]);
    printf("\n");
    fflush(stdout);
}

/* pieces gives the lengths 1, 2, 3 ... in which data is handed over, and the rest. */
static size_t piece(size_t number, size_t left) { return number + 1 < left ? number + 1 : left; }

static void sha256(const struct argument *a)
{
    struct otapack_sha256 s;
    uint8_t digest[32];

    otapack_sha256_init(&s);
    for (size_t i = 0, at = 0; at < a->length; at += piece(i++, a->length - at))
        otapack_sha256_update(&s, a->bytes + at, piece(i, a->length - at));
    otapack_sha256_final(&s, digest);
    answer(true, digest, sizeof digest);
}

static void block(const struct argument *a, void (*cipher)(const struct otapack_aes *, uint8_t *))
{
    struct otapack_aes aes;

    otapack_aes_key(&aes, a[0].bytes);
    cipher(&aes, a[1].bytes);
    answer(true, a[1].bytes, 16);
}

static void ctr(const struct argument *a)
{
    struct otapack_ctr c;

    otapack_ctr_init(&c, a[0].bytes, a[1].bytes);
    for (size_t i = 0, at = 0; at < a[2].length; at += piece(i++, a[2].length - at))
        otapack_ctr_xor(&c, a[2].bytes + at, piece(i, a[2].length - at));
    answer(true, a[2].bytes, a[2].length);
}

/* modular adds, subtracts, multiplies and divides two numbers below p or n; the answers in a row. */
static void modular(const struct argument *a, const struct otapack_modulus *m)
{
    otapack_number x, y, r;
    uint8_t out[4][32];

    otapack_load(x, a[0].bytes);
    otapack_load(y, a[1].bytes);
    otapack_add(r, x, y, m);
    otapack_store(out[0], r);
    otapack_sub(r, x, y, m);
    otapack_store(out[1], r);
    otapack_enter(x, x, m);
    otapack_enter(y, y, m);
    otapack_mul(r, x, y, m);
    otapack_leave(r, r, m);
    otapack_store(out[2], r);
    otapack_invert(r, y, m);
    otapack_mul(r, x, r, m);
    otapack_leave(r, r, m);
    otapack_store(out[3], r);
    answer(true, out[0], sizeof out);
}

/* A decision over checks whose answers are arguments: a string of them for each round, 01 for good. */
struct decision {
    const struct argument *rounds;
    size_t calls;
};

static jmp_buf panicked;

static uint32_t check(void *ctx)
{
    struct decision *d = ctx;
    size_t n = d->rounds[0].length, call = d->calls++;

    return d->rounds[call / n].bytes[call % n] == 1 ? OTAPACK_GOOD : OTAPACK_BAD;
}

static void accept(void *ctx, uint32_t token)
{
    const struct decision *d = ctx;

    printf(token == OTAPACK_TOKEN ? "accept after %zu checks\n" : "accept with a wrong token\n", d->calls);
    fflush(stdout);
}

static void refuse(void *ctx, uint32_t failed)
{
    (void)ctx;
    printf("refuse %u\n", failed);
    fflush(stdout);
}

static void panic(void) { longjmp(panicked, 1); }

static void decide(const struct argument *a)
{
    static otapack_check *const checks[] = {check, check, check};
    static const struct otapack_decision decision = {checks, 3, OTAPACK_SUMS(3), accept, refuse, panic};
    struct decision d = {a, 0};

    if (setjmp(panicked) == 0)
        otapack_decide(&decision, &d);
    else
        answer(false, NULL, 0);
}

int main(void)
{
    static char line[2 * LONGEST];

    while (fgets(line, sizeof line, stdin)) {
        const char *name = strtok(line, " \n");
        struct argument a[ARGUMENTS];
        uint8_t out[32];
        uint32_t verdict;

        for (int i = 0; i < ARGUMENTS; i++)
            a[i] = read_argument();
        if (!strcmp(name, "sha256")) {
            sha256(a);
        } else if (!strcmp(name, "encrypt")) {
            block(a, otapack_aes_encrypt);
        } else if (!strcmp(name, "decrypt")) {
            block(a, otapack_aes_decrypt);
        } else if (!strcmp(name, "ctr")) {
            ctr(a);
        } else if (!strcmp(name, "unwrap")) {
            verdict = otapack_unwrap(a[0].bytes, a[1].bytes, out);
            answer(verdict == OTAPACK_GOOD, out, 16);
        } else if (!strcmp(name, "ecdh")) {
            verdict = otapack_ecdh(a[0].bytes, a[1].bytes, a[2].bytes, out);
            answer(verdict == OTAPACK_GOOD, out, 32);
        } else if (!strcmp(name, "ecdsa")) {
            verdict = otapack_ecdsa_verify(a[0].bytes, a[1].bytes, a[2].bytes);
            answer(verdict == OTAPACK_GOOD, out, 0);
        } else if (!strcmp(name, "agreed")) {
            verdict = otapack_unwrap_agreed(otapack_ecdh, a[0].bytes, a[1].bytes, a[2].bytes, a[3].bytes, out);
            answer(verdict == OTAPACK_GOOD, out, 16);
        } else if (!strcmp(name, "equal")) {
            verdict = otapack_equal(a[0].bytes, a[1].bytes, a[0].length);
            if (verdict != OTAPACK_GOOD && verdict != OTAPACK_BAD)
                return 1;
            answer(verdict == OTAPACK_GOOD, out, 0);
        } else if (!strcmp(name, "decide")) {
            decide(a);
        } else if (!strcmp(name, "modular-p")) {
            modular(a, &otapack_p);
        } else if (!strcmp(name, "modular-n")) {
            modular(a, &otapack_n);
        } else {
            return 2;
        }
        for (int i = 0; i < ARGUMENTS; i++)
            free(a[i].bytes);
    }
    return 0;
}
