/* SPDX-License-Identifier: Apache-2.0 */
#include "cases.h"

#include <stddef.h>

#include "../ecdh.h"
#include "../verify.h"

#ifdef DECODER
#include "delta.h" /* of formats/payload/delta/c */
#endif

enum { BLOCK = 100, MAX_KEY_ID = 16 }; /* bytes; a block ends anywhere in those of SHA-256 and AES */

static const char *const steps[OTAPACK_CHECKS] = {
    "envelope", "signature", "manifest", "vendor",     "class",  "slot",  "sequence",
    "size",     "decoder",   "base",     "ciphertext", "unwrap", "image",
};

/* Everything about the device of a case. */
struct state {
    struct otapack_device device;
    struct otapack_key keys[OTAPACK_MAX_KEYS];
    uint8_t key[32], key_id[MAX_KEY_ID];
};

/* The end of a case. It is not a decision to boot: a token is all that is looked at. */
static void boot(void *ctx, uint32_t token)
{
    (void)ctx;
    say(token == OTAPACK_TOKEN ? "accept\n" : "wrong-token\n");
}

static void refuse(void *ctx, uint32_t check)
{
    (void)ctx;
    say("refuse ");
    say(check < OTAPACK_CHECKS ? steps[check] : "nothing");
    say("\n");
}

static void panic(void) { say("panic "); }

static const struct otapack_decision decision = {otapack_checks, OTAPACK_CHECKS, OTAPACK_SUMS(OTAPACK_CHECKS), boot, refuse, panic};

static uint32_t get(void *to, uint32_t n) { return next(to, n) == n; }

static uint32_t get_number(uint32_t *n)
{
    uint8_t b[4];

    if (!get(b, 4))
        return 0;
    *n = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    return 1;
}

/* get_key reads what the device decrypts with. */
static uint32_t get_key(struct state *s)
{
    struct otapack_device *d = &s->device;
    uint8_t n;

    if (!get(&n, 1) || n > sizeof s->key || !get(s->key, n))
        return 0;
    d->agree = n == 32 ? otapack_ecdh : NULL;
    d->device_key = s->key;
    d->kek = n == 16 ? s->key : NULL;
    if (!get(&n, 1) || n > sizeof s->key_id || !get(s->key_id, n))
        return 0;
    d->key_id.at = s->key_id;
    d->key_id.size = n;
    return 1;
}

/* get_decoder reads what the device decodes with. */
static uint32_t get_decoder(struct otapack_device *d)
{
    uint8_t *running;

    if (!get_number(&d->decoder_ram) || !get_number(&d->one_bank) || !get_number(&d->running_size))
        return 0;
    running = give(RUNNING, d->running_size);
    d->running = running;
#ifdef DECODER
    d->codings = 1 << OTAPACK_OD1;
#endif
    return running && get(running, d->running_size);
}

static uint32_t get_device(struct state *s)
{
    struct otapack_device *d = &s->device;

    if (!get(d->vendor, 16) || !get(d->class_id, 16) || !get_number(&d->min_sequence) || !get_number(&d->has_slot) ||
        !get_number(&d->slot) || !get_number(&d->bank_size) || !get_number(&d->threshold) || !get_number(&d->key_count))
        return 0;
    for (uint32_t i = 0; i < d->key_count; i++)
        if (i == OTAPACK_MAX_KEYS || !get(s->keys[i].point, 64) || !get(s->keys[i].id, 16) || !get(&s->keys[i].revoked, 1))
            return 0;
    d->keys = s->keys;
    return get_key(s) && get_decoder(d);
}

#ifdef DECODER
/* What a payload is decoded from and to. */
struct bench {
    const struct otapack_device *device;
    const uint8_t *payload;
    uint32_t size;
    uint8_t *image;
    uint32_t written;
};

static uint32_t copy(uint8_t *to, const uint8_t *from, uint32_t size, uint32_t offset, uint32_t n)
{
    uint32_t i;

    for (i = 0; i < n && offset < size && i < size - offset; i++)
        to[i] = from[offset + i];
    return i;
}

static int32_t read_payload(void *ctx, uint32_t offset, uint8_t *to, uint32_t n)
{
    const struct bench *b = ctx;

    return (int32_t)copy(to, b->payload, b->size, offset, n);
}

static int read_running(void *ctx, uint32_t offset, uint8_t *to, uint32_t n)
{
    const struct bench *b = ctx;

    return copy(to, b->device->running, b->device->running_size, offset, n) != n;
}

static int read_image(void *ctx, uint32_t offset, uint8_t *to, uint32_t n)
{
    const struct bench *b = ctx;

    return copy(to, b->image, b->written, offset, n) != n;
}

/* decode makes the image, as far as it comes. */
static void decode(struct otapack_verifier *v, struct bench *b)
{
    static struct otapack_delta d;
    struct otapack_delta_io io = {b, read_payload, read_running, read_image, b->device->running_size, otapack_image_size(v)};
    uint8_t block[32];
    int32_t n = otapack_delta_begin(&d, &io);

    if (n == 0)
        n = otapack_delta_read(&d, block, sizeof block);
    while (otapack_decoded(v, block, n) == OTAPACK_GOOD) {
        copy(b->image + b->written, block, (uint32_t)n, 0, (uint32_t)n);
        b->written += (uint32_t)n;
        n = otapack_delta_read(&d, block, sizeof block);
    }
}

/* stage reads a payload that is to be decoded, and decodes it. */
static uint32_t stage(struct otapack_verifier *v, uint32_t size)
{
    uint8_t *payload = give(PAYLOAD, size), *image = give(IMAGE, otapack_image_size(v));
    struct bench b = {v->device, payload, size, image, 0};

    if (!payload || !image || !get(payload, size))
        return 0;
    otapack_payload(v, payload, size);
    if (otapack_received(v) == OTAPACK_GOOD)
        decode(v, &b);
    return 1;
}
#else
static uint32_t stage(struct otapack_verifier *v, uint32_t size) { return v == NULL && size == 0; }
#endif

/* answer_envelope ends with 1, or with 0 where a case breaks off. */
static uint32_t answer_envelope(void)
{
    static struct state s;
    static struct otapack_verifier v;
    uint32_t size, payload;
    uint8_t *envelope, block[BLOCK];

    if (!get_device(&s) || !get_number(&size))
        return 0;
    envelope = give(ENVELOPE, size);
    if (!envelope || !get(envelope, size) || !get_number(&payload))
        return 0;
    starts();
    if (otapack_begin(&v, &s.device, envelope, size, payload) == OTAPACK_GOOD && otapack_coding(&v)) {
        if (!stage(&v, payload))
            return 0;
        payload = 0;
    }
    for (uint32_t n; payload != 0; payload -= n) {
        n = payload < BLOCK ? payload : BLOCK;
        if (!get(block, n))
            return 0;
        otapack_payload(&v, block, n); /* also of what was refused: then it must not matter */
    }
    otapack_decide(&decision, &v);
    otapack_forget(&v);
    ends();
    return 1;
}

static uint32_t answer_signature(void)
{
    uint8_t key[64], digest[32], signature[64];

    if (!get(key, 64) || !get(digest, 32) || !get(signature, 64))
        return 0;
    say(otapack_ecdsa_verify(key, digest, signature) == OTAPACK_GOOD ? "accept\n" : "refuse\n");
    return 1;
}

uint32_t answer_cases(void)
{
    uint8_t kind;

    while (get(&kind, 1))
        if (kind == 'S' ? !answer_envelope() : kind != 'E' || !answer_signature())
            return 1;
    return 0;
}
