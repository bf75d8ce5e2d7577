/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single faults in the decision to boot, in a simulated Cortex-M:
 *
 *   campaign {m0 | m4} {resists | falls} {stand-ins | verifier} PROGRAM
 *
 * runs PROGRAM, see target.c and verifier.c, once for each fault, see program.h,
 * and each bad image, and counts the runs that boot it.
 *
 * Every run has its outcome, but most need not be made to their ends. Faults are
 * taken from the last instruction to the first, and the state after a fault is
 * compared with that of the run without one at the same instruction: where they
 * are equal the image is refused as it was, and where one bit of one register
 * differs the fault is the same as one at that instruction, of which the outcome
 * is known already.
 *
 * Another simulator is the referee. Without a fault it has to come to the same
 * states, and for one of SAMPLE runs and for those that boot to the same outcome.
 * It makes the runs that come to an instruction that thumb.c does not know.
 *
 * The checks of verifier.c that are to fall are attacked by skips alone.
 *
 * Exit status: 0 if what was expected happened, no run that boots or at least
 * one; 1 if not; 2 if the campaign itself does not work.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../decide.h"
#include "envelope.h"
#include "program.h"
#include "referee.h"
#include "subject.h"

/* A run with a fault may take so many instructions more than that of a good image. */
enum { MORE_THAN_GOOD = 4096 };

enum { SAMPLE = 10007, MOST_IMAGES = 8, MOST_INSTRUCTIONS = 60000, NO_BIT = UINT16_MAX };

/* An image and its run without a fault. */
struct run {
    struct program *program;
    struct referee *referee;
    const struct subject *subject;
    struct state *states;    /* before each of the attacked instructions, and at the end */
    uint32_t n;              /* instructions */
    uint8_t (*flips)[FLIPS]; /* outcomes of the faults that change a bit */
    uint32_t made;           /* runs so far */
};

static void *allocate(size_t size)
{
    void *p = malloc(size);

    if (!p)
        die("states", "no memory");
    return p;
}

static bool at_end(const struct program *p, const struct core *c) { return c->r[15] == p->stopped || c->r[15] == p->booted; }

static void step(struct program *p, struct state *s)
{
    if (thumb_step(&p->code, s) != THUMB_RUNS)
        die("run without a fault", "it does not go on");
}

/* record makes the run without a fault. */
static enum outcome record(struct run *r, const struct subject *subject)
{
    static struct state s;
    struct program *p = r->program;

    memset(&s, 0, sizeof s);
    memcpy(s.ram + p->subject - RAM, subject, sizeof *subject);
    s.core.r[13] = STACK;
    s.core.r[14] = p->stopped | 1;
    s.core.r[15] = p->start;
    while (s.core.r[15] != p->attacked)
        step(p, &s);
    r->subject = subject;
    for (r->n = 0; !at_end(p, &s.core); r->n++) {
        if (r->n == MOST_INSTRUCTIONS)
            die("run without a fault", "it is too long");
        r->states[r->n] = s;
        step(p, &s);
    }
    r->states[r->n] = s;
    referee_follow(r->referee, subject, r->states, r->n);
    return s.core.r[15] == p->booted ? BOOTED : STOPPED;
}

/*
 * known answers whether the outcome from this state before instruction at is
 * known. is_same: memory is as it was without a fault.
 */
static bool known(const struct run *r, const struct state *s, uint32_t at, bool is_same, enum outcome *outcome)
{
    const struct core *want = &r->states[at].core;
    uint32_t differ, what = NO_BIT;

    if (s->core.r[15] != want->r[15] || s->core.it != want->it)
        return false;
    for (uint32_t i = 0; i <= FLIPPED; i++) {
        differ = i < FLIPPED ? s->core.r[i] ^ want->r[i] : s->core.flags ^ want->flags;
        if (differ == 0)
            continue;
        if (what != NO_BIT || (differ & (differ - 1)) != 0)
            return false;
        what = 32 * i + (uint32_t)__builtin_ctz(differ);
    }
    if (!is_same && memcmp(s->ram, r->states[at].ram, RAM_SIZE))
        return false;
    *outcome = what == NO_BIT ? STOPPED : r->flips[at][what];
    return *outcome != NOT_KNOWN;
}

/* finish runs on from before instruction at, and says whether that can be told. */
static bool finish(struct run *r, struct state *s, uint32_t at, enum outcome *outcome)
{
    for (uint32_t done = 0;; done++) {
        if (at_end(r->program, &s->core)) {
            *outcome = s->core.r[15] == r->program->booted ? BOOTED : STOPPED;
            return true;
        }
        if ((done < 16 || done % 16 == 0) && at + done < r->n && known(r, s, at + done, false, outcome))
            return true;
        *outcome = LOST;
        if (at + done == r->program->limit)
            return true;
        switch (thumb_step(&r->program->code, s)) {
        case THUMB_RUNS:
            break;
        case THUMB_CRASHED:
            return true;
        case THUMB_UNKNOWN:
            return false;
        }
    }
}

/* ask lets the referee make a run. */
static enum outcome ask(struct run *r, const struct fault *fault)
{
    if (!referee_can(r->states, fault))
        die("run with a fault", "it comes to an unknown instruction");
    return referee_play(r->referee, r->subject, r->states, r->n, fault);
}

static void flip(struct core *c, uint32_t what)
{
    if (what / 32 < FLIPPED)
        c->r[what / 32] ^= 1u << what % 32;
    else
        c->flags ^= 1u << what % 32;
}

/*
 * play makes the run with a fault. s is the state before the fault, but for its
 * core, and is so again if *is_clean.
 */
static enum outcome play(struct run *r, struct state *s, const struct fault *fault, bool *is_clean)
{
    struct thumb_program *code = &r->program->code;
    uint32_t at = fault->at;
    enum outcome outcome;
    enum thumb end = THUMB_RUNS;

    s->core = r->states[at].core;
    *is_clean = fault->model == FLIP && !thumb_stores(code, &s->core);
    if (fault->model == ZERO) {
        s->core.r[fault->what] = 0;
    } else if (fault->model == SKIP) {
        end = thumb_skip(code, &s->core);
        at++;
    } else { /* of this instruction nothing is known yet, of the next one it is */
        flip(&s->core, fault->what);
        end = thumb_step(code, s);
        at++;
        if (*is_clean && end == THUMB_RUNS && at < r->n && known(r, s, at, true, &outcome))
            return outcome;
    }
    *is_clean = *is_clean && end != THUMB_RUNS;
    if (end == THUMB_CRASHED)
        return LOST;
    return end == THUMB_RUNS && finish(r, s, at, &outcome) ? outcome : ask(r, fault);
}

/* count makes the runs with the faults of a model at one instruction, and returns how many boot. */
static uint32_t count(struct run *r, enum model model, uint32_t at, uint32_t faults)
{
    static struct state s;
    uint32_t booted = 0;
    bool is_clean = false;

    for (uint32_t what = 0; what < faults; what++) {
        const struct fault fault = {model, at, what};
        enum outcome outcome;

        if (model == FLIP && what / 32 == 13 && what % 32 < 2)
            continue; /* these two bits of sp are always zero */
        if (!is_clean)
            memcpy(s.ram, r->states[at].ram, sizeof s.ram);
        is_clean = true;
        outcome = play(r, &s, &fault, &is_clean);
        if (model == FLIP)
            r->flips[at][what] = (uint8_t)outcome;
        if ((r->made++ % SAMPLE == 0 || outcome == BOOTED) && referee_can(r->states, &fault) && ask(r, &fault) != outcome)
            die("run with a fault", "the simulators come to different ends");
        booted += outcome == BOOTED;
    }
    return booted;
}

struct image {
    const char *name;
    struct subject subject;
};

static struct image *add(struct image *images, const char *name)
{
    struct image *i = images;

    while (i->name)
        i++;
    *i = *images;
    i->name = name;
    return i;
}

/* Images for target.c and for verifier.c. The first one is good. */
static void make_stand_ins(struct image *images)
{
    struct image *i;

    images->name = "good";
    images->subject = (struct subject){.signature = OTAPACK_GOOD, .sequence = 8, .floor = 7};
    for (int n = 0; n < 32; n++)
        images->subject.digest[n] = images->subject.expected[n] = (uint8_t)(n * 73 + 41);
    add(images, "first byte of the digest")->subject.digest[0] ^= 0x5a;
    add(images, "last byte of the digest")->subject.digest[31] ^= 0x5a;
    add(images, "signature")->subject.signature = OTAPACK_BAD;
    add(images, "sequence number")->subject.sequence = 6;
    i = add(images, "all of them");
    i->subject.digest[0] ^= 0x5a;
    i->subject.digest[31] ^= 0x5a;
    i->subject.signature = OTAPACK_BAD;
    i->subject.sequence = 6;
}

static void make_verifier(struct image *images)
{
    struct image *i;

    images->name = "good";
    images->subject = (struct subject){.signature = OTAPACK_GOOD, .floor = SEQUENCE, .came = IMAGE_SIZE};
    memcpy(images->subject.manifest, envelope + SIGNED_DIGEST, 32);
    memcpy(images->subject.digest, envelope + IMAGE_DIGEST, 32);
    memcpy(images->subject.class_id, envelope + CLASS, 16);
    add(images, "digest of the manifest")->subject.manifest[31] ^= 0x5a;
    add(images, "signature")->subject.signature = OTAPACK_BAD;
    add(images, "class")->subject.class_id[0] ^= 0x5a;
    add(images, "sequence number")->subject.floor = SEQUENCE + 1;
    add(images, "digest of the image")->subject.digest[31] ^= 0x5a;
    add(images, "payload did not come")->subject.came = 0;
    i = add(images, "all of them");
    i->subject.manifest[31] ^= 0x5a;
    i->subject.signature = OTAPACK_BAD;
    i->subject.class_id[0] ^= 0x5a;
    i->subject.floor = SEQUENCE + 1;
    i->subject.digest[31] ^= 0x5a;
    i->subject.came = 0;
}

/* attack makes all runs of an image, or those with skipped instructions, and returns how many boot. */
static uint32_t attack(struct run *r, const struct image *image, bool skips_only)
{
    uint32_t skips = 0, zeros = 0, flips = 0;

    if (record(r, &image->subject) != STOPPED)
        die(image->name, "is not refused without a fault");
    r->flips = allocate(r->n * sizeof *r->flips);
    memset(r->flips, NOT_KNOWN, r->n * sizeof *r->flips);
    r->made = 0;
    for (uint32_t at = r->n; at-- != 0;) {
        flips += count(r, FLIP, at, skips_only ? 0 : FLIPS);
        zeros += count(r, ZERO, at, skips_only ? 0 : ZEROS);
        skips += count(r, SKIP, at, SKIPS);
    }
    free(r->flips);
    if (skips_only)
        printf("  %-26s %12u %7u %7s %7s %9u\n", image->name, r->n, skips, "-", "-", r->made);
    else
        printf("  %-26s %12u %7u %7u %7u %9u\n", image->name, r->n, skips, zeros, flips, r->made);
    return skips + zeros + flips;
}

int main(int argc, char **argv)
{
    static struct program p;
    static struct image images[MOST_IMAGES + 1];
    struct run r = {.program = &p};
    uint32_t booted = 0;

    if (argc != 5 || (strcmp(argv[1], "m0") && strcmp(argv[1], "m4")) || (strcmp(argv[2], "resists") && strcmp(argv[2], "falls")) ||
        (strcmp(argv[3], "stand-ins") && strcmp(argv[3], "verifier")))
        die("usage", "campaign {m0 | m4} {resists | falls} {stand-ins | verifier} PROGRAM");
    if (!strcmp(argv[3], "verifier"))
        make_verifier(images);
    else
        make_stand_ins(images);
    referee_check();
    load(argv[4], &p);
    p.code.m0 = argv[1][1] == '0';
    r.referee = referee_new(&p);
    r.states = allocate((MOST_INSTRUCTIONS + 1) * sizeof *r.states);
    p.limit = MOST_INSTRUCTIONS;
    if (record(&r, &images->subject) != BOOTED)
        die(argv[4], "does not boot a good image");
    p.limit = r.n + MORE_THAN_GOOD;
    for (const struct image *i = images + 1; i->name; i++)
        booted += attack(&r, i, !strcmp(argv[2], "falls") && !strcmp(argv[3], "verifier"));
    return (booted == 0) != !strcmp(argv[2], "resists");
}
