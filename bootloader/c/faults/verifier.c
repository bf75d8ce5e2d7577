/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attacked program: a whole verification by verify.c and what that is made of,
 * of an envelope that it reads, from otapack_begin to the decision. Only hashing
 * and signature verification are stand-ins, with the results that the campaign
 * gives. DECISION chooses how it ends: PLAIN calls each check once and stops at the
 * first that fails, HARDENED is decide.c.
 */
#include "../verify.h"

#include "ends.h"
#include "envelope.h"
#include "subject.h"

#define PLAIN 1
#define HARDENED 2

struct subject subject;

static void copy(uint8_t *to, const uint8_t *from, uint32_t n)
{
    while (n-- != 0)
        to[n] = from[n];
}

/* The stand-in for SHA-256 tells image and manifest by their lengths. */
void otapack_sha256_init(struct otapack_sha256 *s) { s->length = 0; }

void otapack_sha256_update(struct otapack_sha256 *s, const void *data, size_t n)
{
    (void)data;
    s->length += n;
}

void otapack_sha256_final(struct otapack_sha256 *s, uint8_t digest[32])
{
    copy(digest, s->length == IMAGE_SIZE ? subject.digest : subject.manifest, 32);
}

void otapack_ecdsa_point(struct otapack_signed *point, const uint8_t key[64], const uint8_t digest[32], const uint8_t signature[64])
{
    (void)point;
    (void)key;
    (void)digest;
    (void)signature;
}

uint32_t otapack_ecdsa_signed(const struct otapack_signed *point, const uint8_t signature[64])
{
    (void)point;
    (void)signature;
    return *(volatile uint32_t *)&subject.signature;
}

/* For what the compiler makes of AES, which a plain image does not need. */
void *memset(void *to, int value, size_t n)
{
    uint8_t *bytes = to;

    while (n-- != 0)
        bytes[n] = (uint8_t)value;
    return to;
}

/* The device lies in memory, where a changed address in otapack_wipe may reach its rollback floor. */
static struct {
    struct otapack_verifier verifier;
    uint8_t gap[88];
    struct otapack_device device;
} memory;

static const struct otapack_key key;

/* What is attacked begins here. */
#define ATTACKED() __asm__ volatile(".global attacked\nattacked:" ::: "memory")

static void begin(void)
{
    struct otapack_device *d = &memory.device;
    uint8_t image[IMAGE_SIZE];

    copy(d->vendor, envelope + VENDOR, 16);
    copy(d->class_id, subject.class_id, 16);
    d->min_sequence = subject.floor;
    d->bank_size = 0x68000;
    d->keys = &key;
    d->key_count = 1;
    d->threshold = 1;
    ATTACKED();
    if (otapack_begin(&memory.verifier, d, envelope, sizeof envelope, IMAGE_SIZE) == OTAPACK_GOOD && subject.came != 0)
        otapack_payload(&memory.verifier, image, subject.came);
}

#if DECISION == HARDENED

static void refuse(void *ctx, uint32_t check)
{
    (void)ctx;
    (void)check;
}

static const struct otapack_decision decision = {otapack_checks, OTAPACK_CHECKS, OTAPACK_SUMS(OTAPACK_CHECKS), boot, refuse, stop};

__attribute__((noreturn)) void start(void)
{
    begin();
    otapack_decide(&decision, &memory.verifier);
    stop();
}

#else

__attribute__((noreturn)) void start(void)
{
    begin();
    for (uint32_t i = 0; i < OTAPACK_CHECKS; i++)
        if (otapack_checks[i](&memory.verifier) != OTAPACK_GOOD)
            stop();
    booted();
}

#endif
