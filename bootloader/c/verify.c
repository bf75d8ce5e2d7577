/* SPDX-License-Identifier: Apache-2.0 */
#include "verify.h"

#include "equal.h"
#include "field.h"

/* good is a verdict for what is compared in a word. */
static uint32_t good(uint32_t condition) { return condition ? OTAPACK_GOOD : OTAPACK_BAD; }

static uint32_t check_envelope(void *ctx)
{
    struct otapack_verifier *v = ctx;

    return good(otapack_read_envelope(&v->envelope, v->data, v->size));
}

/* check_signature compares the digest of the manifest and counts the keys whose points are those of signatures. */
static uint32_t check_signature(void *ctx)
{
    const struct otapack_verifier *v = ctx;
    const struct otapack_device *d = v->device;
    uint32_t signers = 0, count = 0;

    if (otapack_element_is(&v->envelope.elements[OTAPACK_ELEMENT_MANIFEST], v->envelope.digest) != OTAPACK_GOOD)
        return OTAPACK_BAD;
    for (uint32_t i = 0; i < v->envelope.count; i++) {
        uint32_t key = v->made[i].key;

        if (!v->envelope.blocks[i].signature || key >= d->key_count || d->keys[key].revoked || signers >> key & 1 ||
            otapack_ecdsa_signed(&v->made[i].point, v->envelope.blocks[i].signature) != OTAPACK_GOOD)
            continue;
        signers |= 1u << key;
        count++;
    }
    return good(d->threshold != 0 && count >= d->threshold);
}

static uint32_t check_manifest(void *ctx)
{
    struct otapack_verifier *v = ctx;

    return good(otapack_read_manifest(&v->manifest, &v->envelope));
}

static uint32_t check_vendor(void *ctx)
{
    const struct otapack_verifier *v = ctx;

    return otapack_equal(v->manifest.vendor, v->device->vendor, 16);
}

static uint32_t check_class(void *ctx)
{
    const struct otapack_verifier *v = ctx;

    return otapack_equal(v->manifest.class_id, v->device->class_id, 16);
}

static uint32_t check_slot(void *ctx)
{
    const struct otapack_verifier *v = ctx;

    return good(!v->manifest.has_slot || (v->device->has_slot && v->manifest.slot == v->device->slot));
}

/*
 * sum_of is a checksum of what the device knows. Both rounds of a decision read
 * that: a stray store to its rollback floor would pass them.
 */
static uint32_t sum_of(const struct otapack_device *d)
{
    const uint8_t *bytes = (const uint8_t *)d;
    uint32_t sum = 0;

    for (uint32_t i = 0; i < sizeof *d; i++)
        sum = 31 * sum + bytes[i];
    return sum;
}

static uint32_t check_sequence(void *ctx)
{
    const struct otapack_verifier *v = ctx;

    return good(v->manifest.sequence >= v->device->min_sequence && v->device_sum == sum_of(v->device));
}

static uint32_t check_size(void *ctx)
{
    const struct otapack_verifier *v = ctx;

    return good(v->manifest.size <= v->device->bank_size && !v->manifest.severed && v->payload_size == v->manifest.payload_size);
}

static uint32_t check_decoder(void *ctx)
{
    const struct otapack_verifier *v = ctx;
    const struct otapack_manifest *m = &v->manifest;

    if (m->coding == 0)
        return OTAPACK_GOOD;
    return good(v->device->codings >> m->coding & 1 && m->ram <= v->device->decoder_ram && !(m->base && v->device->one_bank));
}

static uint32_t check_base(void *ctx)
{
    const struct otapack_verifier *v = ctx;

    if (!v->manifest.base)
        return OTAPACK_GOOD;
    if (v->manifest.base_size != v->device->running_size)
        return OTAPACK_BAD;
    return otapack_equal(v->base_digest, v->manifest.base, 32);
}

static uint32_t check_ciphertext(void *ctx)
{
    const struct otapack_verifier *v = ctx;

    if (!v->manifest.staged)
        return OTAPACK_GOOD;
    if (v->received.left != 0)
        return OTAPACK_BAD;
    return otapack_equal(v->received.digest, v->manifest.received, 32);
}

static uint32_t check_unwrap(void *ctx)
{
    const struct otapack_verifier *v = ctx;

    return v->manifest.encrypted ? v->unwrapped : OTAPACK_GOOD;
}

static uint32_t last_word(const uint8_t iv[16]) { return (uint32_t)iv[12] << 24 | (uint32_t)iv[13] << 16 | (uint32_t)iv[14] << 8 | iv[15]; }

/* check_image also refuses an IV whose last 32 bits would wrap: what lies behind is another's key stream. */
static uint32_t check_image(void *ctx)
{
    const struct otapack_verifier *v = ctx;
    const struct otapack_intake *image = v->manifest.staged ? &v->image : &v->received;

    if (image->left != 0)
        return OTAPACK_BAD;
    if (v->manifest.encrypted && (v->manifest.payload_size - 1) / 16 > UINT32_MAX - last_word(v->manifest.iv))
        return OTAPACK_BAD;
    return otapack_equal(image->digest, v->manifest.digest, 32);
}

otapack_check *const otapack_checks[OTAPACK_CHECKS] = {
    check_envelope, check_signature, check_manifest, check_vendor,     check_class,  check_slot,  check_sequence,
    check_size,     check_decoder,   check_base,     check_ciphertext, check_unwrap, check_image,
};

/* is_hinted answers whether a key identifier names a key: it is the beginning of the key's own. */
static uint32_t is_hinted(const struct otapack_string *kid, const uint8_t *id)
{
    return kid->size != 0 && otapack_equal(kid->at, id, kid->size) == OTAPACK_GOOD;
}

/* find_key tries a block with the keys that did not sign another one, those first that it names. digest is of what they sign. */
static uint32_t find_key(struct otapack_verifier *v, uint32_t block, uint32_t signers, const uint8_t digest[32])
{
    const struct otapack_block *b = &v->envelope.blocks[block];
    const struct otapack_device *d = v->device;

    for (uint32_t hinted = 2; hinted-- != 0;)
        for (uint32_t key = 0; key < d->key_count && key < OTAPACK_MAX_KEYS; key++) {
            if (signers >> key & 1 || d->keys[key].revoked || is_hinted(&b->kid, d->keys[key].id) != hinted)
                continue;
            otapack_ecdsa_point(&v->made[block].point, d->keys[key].point, digest, b->signature);
            if (otapack_ecdsa_signed(&v->made[block].point, b->signature) == OTAPACK_GOOD)
                return key;
        }
    return OTAPACK_MAX_KEYS;
}

/* find_signers computes the points that signatures lead to, until enough keys have signed. */
static void find_signers(struct otapack_verifier *v)
{
    /* What is signed (RFC 9052, section 4.4): ["Signature1", {1: -9}, h'', << [-16, digest] >>] */
    static const char signed_head[] = "\x84\x6aSignature1\x43\xa1\x01\x28\x40\x58\x24\x82\x2f\x58\x20";
    struct otapack_sha256 s;
    uint8_t digest[32];
    uint32_t signers = 0, count = 0;

    otapack_sha256_init(&s);
    otapack_sha256_update(&s, signed_head, sizeof signed_head - 1);
    otapack_sha256_update(&s, v->envelope.digest, 32);
    otapack_sha256_final(&s, digest);
    for (uint32_t i = 0; i < v->envelope.count && count < v->device->threshold; i++) {
        if (!v->envelope.blocks[i].signature)
            continue;
        v->made[i].key = find_key(v, i, signers, digest);
        if (v->made[i].key == OTAPACK_MAX_KEYS)
            continue;
        signers |= 1u << v->made[i].key;
        count++;
    }
}

/* unwrap_one tries a recipient with the key that the device has for its algorithm, if any. */
static uint32_t unwrap_one(const struct otapack_device *d, const struct otapack_recipient *r, uint8_t key[16])
{
    if (r->agreed && d->agree)
        return otapack_unwrap_agreed(d->agree, d->device_key, r->x, r->y, r->wrapped, key);
    if (!r->agreed && d->kek)
        return otapack_unwrap(d->kek, r->wrapped, key);
    return OTAPACK_BAD;
}

static uint32_t is_same(const struct otapack_string *a, const struct otapack_string *b)
{
    return a->size == b->size && (a->size == 0 || otapack_equal(a->at, b->at, a->size) == OTAPACK_GOOD);
}

/* are_points answers whether all ephemeral keys are points of the curve, also those for others. */
static uint32_t are_points(const struct otapack_manifest *m)
{
    struct otapack_cbor r = m->recipient;
    struct otapack_recipient to;
    struct otapack_point point;

    for (uint32_t i = 0; i < m->recipients; i++) {
        otapack_read_recipient(&r, &to);
        if (to.agreed && !otapack_point_load(&point, to.x, to.y))
            return 0;
    }
    return 1;
}

/* unwrap tries the recipients, those first that name the device's key. */
static uint32_t unwrap(const struct otapack_verifier *v, uint8_t key[16])
{
    const struct otapack_manifest *m = &v->manifest;
    struct otapack_recipient to;

    if (!are_points(m))
        return OTAPACK_BAD;
    for (uint32_t hinted = 2; hinted-- != 0;) {
        struct otapack_cbor r = m->recipient;

        for (uint32_t i = 0; i < m->recipients; i++) {
            otapack_read_recipient(&r, &to);
            if (is_same(&to.kid, &v->device->key_id) == hinted && unwrap_one(v->device, &to, key) == OTAPACK_GOOD)
                return OTAPACK_GOOD;
        }
    }
    return OTAPACK_BAD;
}

static void open_intake(struct otapack_intake *in, uint32_t n)
{
    in->left = n;
    in->open = 1;
    otapack_sha256_init(&in->hash);
}

/* take answers 0 for more than there should be: then it never ends. */
static uint32_t take(struct otapack_intake *in, const uint8_t *block, size_t n)
{
    if (!in->open || n > in->left) {
        in->open = 0;
        in->left = UINT32_MAX;
        return 0;
    }
    otapack_sha256_update(&in->hash, block, n);
    in->left -= (uint32_t)n;
    if (in->left == 0) {
        in->open = 0;
        otapack_sha256_final(&in->hash, in->digest);
    }
    return 1;
}

static void open_payload(struct otapack_verifier *v)
{
    uint8_t key[16];

    open_intake(&v->received, v->payload_size);
    open_intake(&v->image, v->manifest.size);
    if (!v->manifest.encrypted)
        return;
    v->unwrapped = unwrap(v, key);
    if (v->unwrapped == OTAPACK_GOOD)
        otapack_ctr_init(&v->ctr, key, v->manifest.iv);
    otapack_wipe(key, sizeof key);
}

/* hash_base hashes the image that runs, if it may be the one that the payload is a difference to. */
static void hash_base(struct otapack_verifier *v)
{
    struct otapack_sha256 s;

    if (!v->manifest.base || v->manifest.base_size != v->device->running_size)
        return;
    otapack_sha256_init(&s);
    otapack_sha256_update(&s, v->device->running, v->device->running_size);
    otapack_sha256_final(&s, v->base_digest);
}

uint32_t otapack_begin(struct otapack_verifier *v, const struct otapack_device *device, const uint8_t *envelope,
                       uint32_t size, uint32_t payload_size)
{
    uint32_t sum = sum_of(device); /* before anything is written */

    otapack_wipe(v, sizeof *v);
    v->device = device;
    v->device_sum = sum;
    v->data = envelope;
    v->size = size;
    v->payload_size = payload_size;
    v->received.left = v->image.left = UINT32_MAX; /* until they are open: nothing has come */
    v->unwrapped = OTAPACK_BAD;
    for (uint32_t i = 0; i < OTAPACK_MAX_BLOCKS; i++)
        v->made[i].key = OTAPACK_MAX_KEYS;
    for (uint32_t step = OTAPACK_ENVELOPE; step <= OTAPACK_BASE; step++) {
        if (step == OTAPACK_SIGNATURE)
            find_signers(v);
        if (step == OTAPACK_BASE)
            hash_base(v);
        if (otapack_checks[step](v) != OTAPACK_GOOD)
            return OTAPACK_BAD;
    }
    open_payload(v);
    return OTAPACK_GOOD;
}

void otapack_payload(struct otapack_verifier *v, uint8_t *block, size_t n)
{
    if (!take(&v->received, block, n))
        return;
    if (v->manifest.encrypted) {
        if (v->unwrapped == OTAPACK_GOOD)
            otapack_ctr_xor(&v->ctr, block, n);
        else
            otapack_wipe(block, n);
    }
    if (v->manifest.staged && v->manifest.coding == 0)
        take(&v->image, block, n);
}

uint32_t otapack_received(struct otapack_verifier *v)
{
    if (v->manifest.coding == 0 || check_ciphertext(v) != OTAPACK_GOOD)
        return OTAPACK_BAD;
    return check_unwrap(v);
}

uint32_t otapack_coding(const struct otapack_verifier *v) { return v->manifest.coding; }

uint32_t otapack_image_size(const struct otapack_verifier *v) { return v->manifest.size; }

uint32_t otapack_decoded(struct otapack_verifier *v, const uint8_t *block, int32_t n)
{
    if (n == 0 || otapack_received(v) != OTAPACK_GOOD)
        return OTAPACK_BAD;
    return good(take(&v->image, block, n < 0 ? SIZE_MAX : (size_t)n));
}

void otapack_forget(struct otapack_verifier *v) { otapack_wipe(v, sizeof *v); }
