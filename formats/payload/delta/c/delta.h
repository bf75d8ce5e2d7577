/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoder of "otapack delta 1" for devices: no library, no heap, no recursion,
 * all memory in one struct. The format is laid down in docs/delta.md.
 *
 *     static struct otapack_delta d;
 *     int32_t n = otapack_delta_begin(&d, &io);
 *
 *     while (n >= 0 && (n = otapack_delta_read(&d, page, sizeof page)) > 0)
 *         write n bytes to the bank;
 *
 * A patch is worth something only with a signature over it, and the output only
 * after its digest was compared: damage that decodes is not found here.
 */
#ifndef OTAPACK_DELTA_H
#define OTAPACK_DELTA_H

#include <stddef.h>
#include <stdint.h>

/*
 * The largest map of a patch that is accepted, 1 to 4096. One of 64 or less
 * leaves out what only patches with larger maps need.
 */
#ifndef OTAPACK_DELTA_COVERS
#define OTAPACK_DELTA_COVERS 256
#endif

/* Answers below zero; formats/payload/delta has an error for each. */
enum otapack_delta_fault {
    OTAPACK_DELTA_HEADER = -1,     /* not a header of this format */
    OTAPACK_DELTA_VERSION = -2,    /* another version of it */
    OTAPACK_DELTA_PARAMS = -3,     /* parameters out of their range */
    OTAPACK_DELTA_LONG = -4,       /* an image of 8 MiB or more */
    OTAPACK_DELTA_LIMIT = -5,      /* longer than max_length, or a map of too many covers */
    OTAPACK_DELTA_OLD = -6,        /* the old image has another length */
    OTAPACK_DELTA_TRUNCATED = -7,  /* the patch ends early */
    OTAPACK_DELTA_TRAILING = -8,   /* and this one too late */
    OTAPACK_DELTA_CORRUPT = -9,    /* damaged, or made for another old image */
    OTAPACK_DELTA_STATE = -10,     /* not a state of this patch */
    OTAPACK_DELTA_IO = -11         /* a function of the caller failed */
};

/* What the decoder calls. Offsets and lengths are in bytes. */
struct otapack_delta_io {
    void *ctx;
    /* Copies up to n bytes of the patch; returns how many, 0 at its end, less than 0 on failure. */
    int32_t (*patch)(void *ctx, uint32_t offset, uint8_t *to, uint32_t n);
    /* Copies n bytes, at most 8, of the old image; returns 0, or something else on failure. */
    int (*old)(void *ctx, uint32_t offset, uint8_t *to, uint32_t n);
    /* The same of the new image: whatever an earlier call of otapack_delta_read returned. */
    int (*written)(void *ctx, uint32_t offset, uint8_t *to, uint32_t n);
    uint32_t old_length; /* of the image that is running */
    uint32_t max_length; /* of a new image */
};

#define OTAPACK_DELTA_STATE_SIZE 25
#define OTAPACK_DELTA_SMALL (OTAPACK_DELTA_COVERS <= 64)

/* Where the cells of the model begin; a number has 79. */
enum {
    OTAPACK_DELTA_NUMBER = 24 + 13 + 26 + 16,
    OTAPACK_DELTA_CELLS = 7 * OTAPACK_DELTA_NUMBER + 929 + (OTAPACK_DELTA_SMALL ? 512 : 4096),
    OTAPACK_DELTA_TARGETS = OTAPACK_DELTA_SMALL ? 32 : 64,
    OTAPACK_DELTA_RECENT = 64 /* latest bytes, a power of two */
};

/* A decoder. Its fields are nobody else's business. */
struct otapack_delta {
    const struct otapack_delta_io *io;

    /* patch and range decoder */
    uint32_t value, width, offset; /* of the next byte */
    int32_t input, fault;          /* what went wrong with the patch's bytes and with what they say */

    /* output; offsets in the new image, but of shift, which is the old one's less the new one's */
    int32_t pos, shift, distance, copying, covering, block, restart_at;
    uint32_t last, place, miss_history, dirt_history, dirty;
    uint32_t count, next; /* covers */
    uint32_t old_base, new_base, ram_start, ram_end;
    int32_t done, kept, ended;

    /* more of the header, and of the patch */
    uint32_t tag, new_length, map_size, restart, small;
    uint32_t in_length, in_next;
    uint8_t in[16];

    uint8_t reached[OTAPACK_DELTA_STATE_SIZE], ahead[OTAPACK_DELTA_STATE_SIZE];
    uint8_t recent[OTAPACK_DELTA_RECENT];

    /* what is learnt */
    struct {
        uint32_t count; /* variables */
        struct { uint32_t old, shift; } variables[32];
        struct { int32_t old, add; } targets[OTAPACK_DELTA_TARGETS];
        struct { uint16_t old, became; } substitutions[2 * OTAPACK_DELTA_TARGETS];
        int32_t recents[3][4];
    } learned;
    int32_t weights[OTAPACK_DELTA_SMALL ? 1 : 8];
    uint16_t cells[OTAPACK_DELTA_CELLS];

    /* map */
    uint16_t by_old[OTAPACK_DELTA_COVERS];
    struct { int32_t to, from, length; } covers[OTAPACK_DELTA_COVERS];
};

/* otapack_delta_begin reads the header and the map of a patch. It returns 0 or a fault, and keeps io. */
int otapack_delta_begin(struct otapack_delta *d, const struct otapack_delta_io *io);

/*
 * otapack_delta_read returns how many bytes of the new image it has copied, at
 * most 32 and n, 0 when image and patch are at their end, or a fault.
 */
int32_t otapack_delta_read(struct otapack_delta *d, uint8_t *to, uint32_t n);

/*
 * otapack_delta_state is where to go on after a loss of power: the latest restart
 * point before which everything has been returned. Keep it after the output was
 * written. Until there is one, it is all zero.
 */
void otapack_delta_state(const struct otapack_delta *d, uint8_t state[OTAPACK_DELTA_STATE_SIZE]);

/*
 * otapack_delta_resume is otapack_delta_begin at a restart point. The next byte to
 * be returned is the one at offset otapack_delta_done, and those before it must be
 * in the bank.
 */
int otapack_delta_resume(struct otapack_delta *d, const struct otapack_delta_io *io, const uint8_t state[OTAPACK_DELTA_STATE_SIZE]);

/* otapack_delta_done returns how many bytes have been returned, those before a restart point counted. */
uint32_t otapack_delta_done(const struct otapack_delta *d);

#endif
