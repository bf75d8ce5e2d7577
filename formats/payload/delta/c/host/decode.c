/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder as a program for this machine, for c_test.go. A job on standard
 * input is six numbers, the state to go on at, patch, old image and what the bank
 * holds already. The answer is what the decoder answered last, the length of what
 * the bank holds now, the state, and that. Numbers have 32 bits, little-endian.
 * Called with "size", it prints the bytes of a decoder.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../delta.h"

struct bytes {
    uint8_t *at; /* exactly as many as length, so that reading more is found */
    uint32_t length;
};

struct job {
    struct bytes patch, old, bank;
};

static void must(size_t done, size_t wanted)
{
    if (done != wanted)
        exit(1);
}

static struct bytes get(uint32_t length)
{
    struct bytes b = {malloc(length ? length : 1), length};

    must(fread(b.at, 1, length, stdin), length);
    return b;
}

static int copy(const struct bytes *b, uint32_t offset, uint8_t *to, uint32_t n)
{
    if (n > 8 || offset > b->length || n > b->length - offset)
        return -1;
    memcpy(to, b->at + offset, n);
    return 0;
}

static int32_t patch(void *ctx, uint32_t offset, uint8_t *to, uint32_t n)
{
    struct job *j = ctx;

    if (offset >= j->patch.length)
        return 0;
    if (n > j->patch.length - offset)
        n = j->patch.length - offset;
    memcpy(to, j->patch.at + offset, n);
    return (int32_t)n;
}

static int old(void *ctx, uint32_t offset, uint8_t *to, uint32_t n) { return copy(&((struct job *)ctx)->old, offset, to, n); }

static int written(void *ctx, uint32_t offset, uint8_t *to, uint32_t n) { return copy(&((struct job *)ctx)->bank, offset, to, n); }

/* run decodes until the bank holds stop bytes, in pieces, and returns the last answer. */
static int32_t run(struct otapack_delta *d, struct job *j, const struct otapack_delta_io *io, const uint8_t *state, uint32_t piece,
                   uint32_t stop)
{
    uint8_t *to = malloc(piece);
    int32_t n = otapack_delta_resume(d, io, state);

    if (n == 0)
        j->bank.length = otapack_delta_done(d);
    while (n >= 0 && j->bank.length < stop) {
        n = otapack_delta_read(d, to, piece);
        if (n <= 0)
            break;
        memcpy(j->bank.at + j->bank.length, to, (uint32_t)n);
        j->bank.length += (uint32_t)n;
    }
    free(to);
    return n;
}

int main(int argc, char **argv)
{
    uint32_t head[6]; /* lengths of patch, old image and bank; longest image; piece; stop */

    if (argc > 1 && strcmp(argv[1], "size") == 0) {
        printf("%zu", sizeof(struct otapack_delta));
        return 0;
    }
    while (fread(head, sizeof head, 1, stdin) == 1) {
        struct bytes state = get(OTAPACK_DELTA_STATE_SIZE);
        struct job j;
        struct otapack_delta_io io = {&j, patch, old, written, head[1], head[3]};
        struct otapack_delta *d = malloc(sizeof *d);
        int32_t answer;

        memset(d, 0xa5, sizeof *d);
        j.patch = get(head[0]);
        j.old = get(head[1]);
        j.bank = get(head[2]);
        j.bank.at = realloc(j.bank.at, head[2] + head[3]);
        answer = run(d, &j, &io, state.at, head[4], head[5]);
        if (answer >= 0)
            otapack_delta_state(d, state.at);
        must(fwrite(&answer, sizeof answer, 1, stdout), 1);
        must(fwrite(&j.bank.length, sizeof j.bank.length, 1, stdout), 1);
        must(fwrite(state.at, 1, state.length, stdout), state.length);
        must(fwrite(j.bank.at, 1, j.bank.length, stdout), j.bank.length);
        fflush(stdout);
        free(j.patch.at);
        free(j.old.at);
        free(j.bank.at);
        free(state.at);
        free(d);
    }
    return 0;
}
