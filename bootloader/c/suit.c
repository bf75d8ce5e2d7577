/* SPDX-License-Identifier: Apache-2.0 */
#include "suit.h"

#include <stddef.h>

#include "equal.h"
#include "sha256.h"

/* Bounds of the profile in bytes. */
enum {
    MAX_WRAPPER = 32 << 10,
    MAX_BLOCK = 10 << 10,
    MAX_SIGNATURE = 8 << 10,
    MAX_MANIFEST = 1 << 10,
    MAX_INSTALL = 2 << 10,
    MAX_TEXT = 4 << 10,
    MAX_NAME = 64,
    MAX_KID = 16,
    MAX_COMPONENT = 8,
    TEXT_DEPTH = 8,
};

/* COSE algorithms: those of the profile, and those that name no curve. */
enum { ESP256 = -9, ESP384 = -51, ES256 = -7, EDDSA = -8 };

/* The orders of the groups, big endian. */
static const uint8_t order_p256[32] = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
};

static const uint8_t order_p384[48] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
    0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
};

/* is_scalar answers whether a is from 1 to order - 1, both of n bytes. */
static uint32_t is_scalar(const uint8_t *a, const uint8_t *order, uint32_t n)
{
    uint32_t some = 0, i = 0;

    for (uint32_t k = 0; k < n; k++)
        some |= a[k];
    while (i < n && a[i] == order[i])
        i++;
    return some != 0 && i < n && a[i] < order[i];
}

static uint32_t verdict(const struct otapack_cbor *r) { return r->bad == 0 && r->left == 0 ? OTAPACK_GOOD : OTAPACK_BAD; }

static const uint8_t *read_digest(struct otapack_cbor *r)
{
    OTAPACK_IS(r, "\x82\x2f\x58\x20"); /* [-16, 32 bytes */
    return otapack_cbor_take(r, 32);
}

/* read_kid reads a key identifier where a map with n further pairs has one. */
static struct otapack_string read_kid(struct otapack_cbor *r, uint32_t has)
{
    struct otapack_string none = {NULL, 0};

    if (!has)
        return none;
    OTAPACK_IS(r, "\x04");
    return otapack_cbor_string(r, OTAPACK_BYTES, 1, MAX_KID);
}

/* read_one_more reads the head of a map of n pairs or of n + 1, and answers whether it is the latter. */
static uint32_t read_one_more(struct otapack_cbor *r, uint32_t n)
{
    return otapack_cbor_count(r, OTAPACK_MAP, n, n + 1) > n;
}

/* check_signature holds the two halves of a signature against an order of n bytes. */
static void check_signature(struct otapack_cbor *r, struct otapack_string s, const uint8_t *order, uint32_t n)
{
    if (s.size != 2 * n || !is_scalar(s.at, order, n) || !is_scalar(s.at + n, order, n))
        otapack_cbor_fail(r);
}

static void read_block(struct otapack_cbor *r, struct otapack_envelope *e)
{
    struct otapack_block *b = &e->blocks[e->count++];
    struct otapack_cbor header;
    struct otapack_string s;
    int64_t algorithm;

    OTAPACK_IS(r, "\xd2\x84");
    header = otapack_cbor_open(r, MAX_NAME);
    OTAPACK_IS(&header, "\xa1\x01");
    algorithm = otapack_cbor_int(&header);
    otapack_cbor_close(r, &header);
    b->kid = read_kid(r, read_one_more(r, 0));
    OTAPACK_IS(r, "\xf6");
    s = otapack_cbor_string(r, OTAPACK_BYTES, 0, MAX_SIGNATURE);
    if (r->bad)
        return;
    if (algorithm == ES256 || algorithm == EDDSA)
        otapack_cbor_fail(r);
    if (algorithm == ESP384)
        check_signature(r, s, order_p384, sizeof order_p384);
    if (algorithm == ESP256) {
        check_signature(r, s, order_p256, sizeof order_p256);
        b->signature = s.at;
    }
    if (algorithm == ESP384 || algorithm == ESP256)
        e->known = 1;
}

static void read_wrapper(struct otapack_cbor *r, struct otapack_envelope *e)
{
    struct otapack_cbor wrapper = otapack_cbor_open(r, MAX_WRAPPER), block;
    uint32_t n = otapack_cbor_count(&wrapper, OTAPACK_ARRAY, 2, 1 + OTAPACK_MAX_BLOCKS);

    OTAPACK_IS(&wrapper, "\x58\x24");
    e->digest = read_digest(&wrapper);
    for (; n > 1 && !wrapper.bad; n--) {
        block = otapack_cbor_open(&wrapper, MAX_BLOCK);
        read_block(&block, e);
        otapack_cbor_close(&wrapper, &block);
    }
    otapack_cbor_close(r, &wrapper);
}

static void read_element(struct otapack_cbor *r, struct otapack_element *e, uint32_t max)
{
    const uint8_t *start = r->at;

    e->content = otapack_cbor_string(r, OTAPACK_BYTES, 0, max);
    if (r->bad)
        return;
    e->encoded.at = start;
    e->encoded.size = (uint32_t)(r->at - start);
}

static struct otapack_cbor reader_of(const struct otapack_element *e)
{
    struct otapack_cbor r = {e->content.at, e->content.size, 0};

    return r;
}

uint32_t otapack_read_envelope(struct otapack_envelope *e, const uint8_t *data, uint32_t size)
{
    struct otapack_cbor r = {data, size, 0}, text;
    uint32_t pairs;

    otapack_wipe(e, sizeof *e);
    OTAPACK_IS(&r, "\xd8\x6b");
    pairs = otapack_cbor_count(&r, OTAPACK_MAP, 2, 5);
    OTAPACK_IS(&r, "\x02");
    read_wrapper(&r, e);
    OTAPACK_IS(&r, "\x03");
    read_element(&r, &e->manifest, MAX_MANIFEST);
    pairs -= 2;
    if (otapack_cbor_next(&r, 20)) {
        read_element(&r, &e->install, MAX_INSTALL);
        pairs--;
    }
    if (otapack_cbor_next(&r, 23)) {
        read_element(&r, &e->text, MAX_TEXT);
        text = reader_of(&e->text);
        otapack_cbor_skip(&text, TEXT_DEPTH);
        otapack_cbor_close(&r, &text);
        pairs--;
    }
    if (r.left != 0) {
        e->name = otapack_cbor_string(&r, OTAPACK_TEXT, 0, MAX_NAME);
        read_element(&r, &e->payload, UINT32_MAX);
        pairs--;
    }
    if (pairs != 0)
        otapack_cbor_fail(&r);
    return verdict(&r);
}

uint32_t otapack_element_is(const struct otapack_element *e, const uint8_t digest[32])
{
    struct otapack_sha256 s;
    uint8_t got[32];

    otapack_sha256_init(&s);
    otapack_sha256_update(&s, e->encoded.at, e->encoded.size);
    otapack_sha256_final(&s, got);
    return otapack_equal(got, digest, sizeof got);
}

/* read_version reads 1 to 3 numbers, and then perhaps -1 to -3 and its number. */
static void read_version(struct otapack_cbor *r)
{
    uint32_t numbers = 0, marks = 0, behind = 0;

    for (uint32_t n = otapack_cbor_count(r, OTAPACK_ARRAY, 1, 5); n != 0; n--) {
        int64_t v = otapack_cbor_int(r);

        if (v < -3 || v > INT32_MAX)
            otapack_cbor_fail(r);
        if (v < 0)
            marks++;
        else if (marks != 0)
            behind++;
        else
            numbers++;
    }
    if (numbers < 1 || numbers > 3 || marks > 1 || behind > 1)
        otapack_cbor_fail(r);
}

static struct otapack_string read_component(struct otapack_cbor *r)
{
    OTAPACK_IS(r, "\x81");
    return otapack_cbor_string(r, OTAPACK_BYTES, 1, MAX_COMPONENT);
}

/* read_shared reads the shared sequence, which identifies the device and the image. */
static void read_shared(struct otapack_cbor *r, struct otapack_manifest *m)
{
    uint32_t elements = otapack_cbor_count(r, OTAPACK_ARRAY, 6, 10);

    if (m->encrypted)
        OTAPACK_IS(r, "\x0c\x00");
    OTAPACK_IS(r, "\x14");
    m->has_slot = read_one_more(r, 4);
    if (elements != 6 + 2 * m->encrypted + 2 * m->has_slot)
        otapack_cbor_fail(r);
    OTAPACK_IS(r, "\x01\x50");
    m->vendor = otapack_cbor_take(r, 16);
    OTAPACK_IS(r, "\x02\x50");
    m->class_id = otapack_cbor_take(r, 16);
    OTAPACK_IS(r, "\x03\x58\x24");
    m->digest = read_digest(r);
    if (m->has_slot) {
        OTAPACK_IS(r, "\x05");
        m->slot = otapack_cbor_u32(r);
    }
    OTAPACK_IS(r, "\x0e");
    m->size = otapack_cbor_u32(r);
    if (m->size == 0)
        otapack_cbor_fail(r);
    OTAPACK_IS(r, "\x01\x0f\x02\x0f");
    if (m->has_slot)
        OTAPACK_IS(r, "\x05\x05");
}

/* read_common reads components and the shared sequence. Two components make it T3. */
static void read_common(struct otapack_cbor *r, struct otapack_manifest *m)
{
    struct otapack_cbor common = otapack_cbor_open(r, MAX_MANIFEST), shared;
    struct otapack_string image, received;

    OTAPACK_IS(&common, "\xa2\x02");
    m->encrypted = otapack_cbor_count(&common, OTAPACK_ARRAY, 1, 2) == 2;
    image = read_component(&common);
    if (m->encrypted) {
        received = read_component(&common);
        if (image.size == received.size && otapack_equal(image.at, received.at, image.size) != OTAPACK_BAD)
            otapack_cbor_fail(&common);
    }
    OTAPACK_IS(&common, "\x04");
    shared = otapack_cbor_open(&common, MAX_MANIFEST);
    read_shared(&shared, m);
    otapack_cbor_close(&common, &shared);
    otapack_cbor_close(r, &common);
}

void otapack_read_recipient(struct otapack_cbor *r, struct otapack_recipient *to)
{
    OTAPACK_IS(r, "\x83");
    to->x = to->y = NULL;
    if (otapack_cbor_next(r, 0x40)) { /* A128KW: nothing protected */
        to->kid.size = read_one_more(r, 1);
        OTAPACK_IS(r, "\x01\x22");
        to->kid = read_kid(r, to->kid.size);
    } else { /* ECDH-ES+A128KW */
        OTAPACK_IS(r, "\x44\xa1\x01\x38\x1c");
        to->kid = read_kid(r, read_one_more(r, 1));
        OTAPACK_IS(r, "\x20\xa4\x01\x02\x20\x01\x21\x58\x20");
        to->x = otapack_cbor_take(r, 32);
        OTAPACK_IS(r, "\x22\x58\x20");
        to->y = otapack_cbor_take(r, 32);
    }
    OTAPACK_IS(r, "\x58\x18");
    to->wrapped = otapack_cbor_take(r, 24);
}

static void read_encryption(struct otapack_cbor *r, struct otapack_manifest *m)
{
    struct otapack_recipient recipient;

    OTAPACK_IS(r, "\xd8\x60\x84\x40\xa2\x01\x39\xff\xfd\x05\x50");
    m->iv = otapack_cbor_take(r, 16);
    OTAPACK_IS(r, "\xf6");
    m->recipients = otapack_cbor_count(r, OTAPACK_ARRAY, 1, 8);
    m->recipient = *r;
    for (uint32_t n = m->recipients; n != 0; n--)
        otapack_read_recipient(r, &recipient);
}

/* read_install reads what fetches the payload and, of T3, what decrypts it. */
static void read_install(struct otapack_cbor *r, struct otapack_manifest *m)
{
    struct otapack_cbor info;

    if (m->encrypted) {
        OTAPACK_IS(r, "\x90\x0c\x01\x14\xa3\x03\x58\x24");
        m->received = read_digest(r);
        OTAPACK_IS(r, "\x0e");
        if (otapack_cbor_u32(r) != m->size) /* A128CTR keeps the length */
            otapack_cbor_fail(r);
    } else {
        OTAPACK_IS(r, "\x86\x14\xa1");
    }
    OTAPACK_IS(r, "\x15");
    m->uri = otapack_cbor_string(r, OTAPACK_TEXT, 1, MAX_NAME);
    OTAPACK_IS(r, "\x15\x02\x03\x0f");
    if (!m->encrypted)
        return;
    OTAPACK_IS(r, "\x0c\x00\x14\xa2\x13");
    info = otapack_cbor_open(r, MAX_INSTALL);
    read_encryption(&info, m);
    otapack_cbor_close(r, &info);
    OTAPACK_IS(r, "\x16\x01\x16\x02\x03\x0f");
}

/* read_severable reads the install sequence, or its digest and then the severed one if it is there. */
static void read_severable(struct otapack_cbor *r, const struct otapack_envelope *e, struct otapack_manifest *m)
{
    struct otapack_cbor install;
    const uint8_t *digest;

    OTAPACK_IS(r, "\x14");
    if (r->left == 0 || *r->at != 0x82) {
        install = otapack_cbor_open(r, MAX_MANIFEST);
        if (e->install.encoded.at) /* twice */
            otapack_cbor_fail(r);
    } else {
        digest = read_digest(r);
        m->severed = e->install.encoded.at == NULL;
        if (r->bad || m->severed)
            return;
        if (otapack_element_is(&e->install, digest) != OTAPACK_GOOD)
            otapack_cbor_fail(r);
        install = reader_of(&e->install);
    }
    read_install(&install, m);
    otapack_cbor_close(r, &install);
}

/* check_text compares the digest of a text. It may be missing, but not be another. */
static void check_text(struct otapack_cbor *r, const struct otapack_envelope *e, uint32_t has_digest)
{
    const uint8_t *digest = NULL;

    if (has_digest) {
        OTAPACK_IS(r, "\x17");
        digest = read_digest(r);
    }
    if (e->text.encoded.at && (!digest || otapack_element_is(&e->text, digest) != OTAPACK_GOOD))
        otapack_cbor_fail(r);
}

/* check_payload holds an integrated payload against the manifest: the names of elements are not signed. */
static void check_payload(struct otapack_cbor *r, const struct otapack_envelope *e, const struct otapack_manifest *m)
{
    if (!e->payload.encoded.at)
        return;
    if (m->severed || e->payload.content.size != m->size || e->name.size != m->uri.size ||
        otapack_equal(e->name.at, m->uri.at, m->uri.size) != OTAPACK_GOOD)
        otapack_cbor_fail(r);
}

uint32_t otapack_read_manifest(struct otapack_manifest *m, const struct otapack_envelope *e)
{
    struct otapack_cbor r = reader_of(&e->manifest), version;
    uint32_t pairs = otapack_cbor_count(&r, OTAPACK_MAP, 6, 8);

    otapack_wipe(m, sizeof *m);
    OTAPACK_IS(&r, "\x01\x01\x02");
    m->sequence = otapack_cbor_u32(&r);
    OTAPACK_IS(&r, "\x03");
    read_common(&r, m);
    pairs -= 6;
    if (otapack_cbor_next(&r, 6)) {
        version = otapack_cbor_open(&r, MAX_NAME);
        read_version(&version);
        otapack_cbor_close(&r, &version);
        pairs--;
    }
    if (m->encrypted)
        OTAPACK_IS(&r, "\x07\x45\x84\x0c\x00\x03\x0f\x09\x45\x84\x0c\x00\x17\x02");
    else
        OTAPACK_IS(&r, "\x07\x43\x82\x03\x0f\x09\x43\x82\x17\x02");
    read_severable(&r, e, m);
    if (pairs > 1)
        otapack_cbor_fail(&r);
    check_text(&r, e, pairs == 1);
    if (!r.bad)
        check_payload(&r, e, m);
    return verdict(&r);
}
