/* SPDX-License-Identifier: Apache-2.0 */
#include "suit.h"

#include "equal.h"
#include "sha256.h"

/*
 * Bounds of the profile in bytes. What has none here, wrapper and blocks for
 * example, cannot be longer than the profile allows for what may stand in it.
 */
enum {
    MAX_SIGNATURE = 8 << 10,
    MAX_MANIFEST = 1 << 10, /* install may have twice that, text four times */
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

/* Patterns, see otapack_cbor_match. Members are of a manifest where no type is given. */
#define MATCH OTAPACK_MATCH
#define IS OTAPACK_IS
#define TAKE(n, member) OTAPACK_TAKE(n, otapack_manifest, member)
#define U32(member) OTAPACK_U32(otapack_manifest, member)
#define POSITIVE(member) OTAPACK_POSITIVE(otapack_manifest, member)
#define MORE(major, n, member) OTAPACK_MORE(major, n, otapack_manifest, member)
#define WHEN(member, ...) OTAPACK_WHEN(otapack_manifest, member, __VA_ARGS__)
#define KID(type) OTAPACK_WHEN(type, kid.size, IS(0x04), OTAPACK_STRING(OTAPACK_BYTES, MAX_KID, type, kid)) /* behind MORE */
#define DIGEST 0x82, 0x2f, 0x58, 0x20 /* [-16, and a string of 32 bytes */

/* is_scalar answers whether a is from 1 to order - 1, both of n bytes. */
static uint32_t is_scalar(const uint8_t *a, const uint8_t *order, uint32_t n)
{
    uint32_t any = 0, borrow = 0;

    while (n-- != 0) {
        any |= a[n];
        borrow = ((uint32_t)a[n] - order[n] - borrow) >> 31;
    }
    return any != 0 && borrow;
}

/* is_same answers whether two strings have the same bytes. */
static uint32_t is_same(const struct otapack_string *a, const struct otapack_string *b)
{
    return a->size == b->size && otapack_equal(a->at, b->at, a->size) == OTAPACK_GOOD;
}

static void read_block(struct otapack_cbor *r, struct otapack_envelope *e)
{
    struct otapack_block *b = &e->blocks[e->count++];
    struct otapack_string s;
    uint32_t behind;
    int32_t algorithm;

    MATCH(r, NULL, IS(0xd2, 0x84));
    behind = otapack_cbor_open(r);
    MATCH(r, NULL, IS(0xa1, 0x01));
    algorithm = otapack_cbor_int(r);
    otapack_cbor_close(r, behind);
    MATCH(r, b, OTAPACK_MORE(OTAPACK_MAP, 0, otapack_block, kid.size), KID(otapack_block), IS(0xf6));
    otapack_cbor_string(r, &s, OTAPACK_BYTES, MAX_SIGNATURE);
    if (algorithm == ESP256 || algorithm == ESP384) {
        const uint8_t *order = algorithm == ESP256 ? order_p256 : order_p384;
        uint32_t n = algorithm == ESP256 ? sizeof order_p256 : sizeof order_p384;

        if (s.size != 2 * n || !is_scalar(s.at, order, n) || !is_scalar(s.at + n, order, n))
            otapack_cbor_fail(r);
    }
    if (algorithm == ESP256)
        b->signature = s.at;
    if (algorithm == ES256 || algorithm == EDDSA)
        otapack_cbor_fail(r);
}

static void read_wrapper(struct otapack_cbor *r, struct otapack_envelope *e)
{
    uint32_t behind = otapack_cbor_open(r), behind_block;
    uint32_t n = otapack_cbor_count(r, OTAPACK_ARRAY, 2, 1 + OTAPACK_MAX_BLOCKS);

    MATCH(r, e, IS(0x58, 0x24, DIGEST), OTAPACK_TAKE(32, otapack_envelope, digest));
    for (; n > 1; n--) {
        behind_block = otapack_cbor_open(r);
        read_block(r, e);
        otapack_cbor_close(r, behind_block);
    }
    otapack_cbor_close(r, behind);
}

static void read_element(struct otapack_cbor *r, struct otapack_element *e, uint32_t max)
{
    e->head = r->at;
    otapack_cbor_string(r, &e->content, OTAPACK_BYTES, max);
}

static void reader_of(struct otapack_cbor *r, const struct otapack_element *e)
{
    r->at = e->content.at;
    r->left = e->content.size;
    r->bad = 0;
}

uint32_t otapack_read_envelope(struct otapack_envelope *e, const uint8_t *data, uint32_t size)
{
    static const uint8_t keys[OTAPACK_ELEMENTS] = {3, 20, 23};
    struct otapack_cbor r = {data, size, 0}, text;
    uint32_t pairs;

    otapack_wipe(e, sizeof *e);
    MATCH(&r, NULL, IS(0xd8, 0x6b));
    pairs = otapack_cbor_count(&r, OTAPACK_MAP, 2, 5) - 1;
    otapack_cbor_is(&r, 0x02);
    read_wrapper(&r, e);
    for (uint32_t i = 0; i < OTAPACK_ELEMENTS; i++)
        if (otapack_cbor_next(&r, keys[i])) {
            read_element(&r, &e->elements[i], MAX_MANIFEST << i);
            pairs--;
        }
    if (!e->elements[OTAPACK_ELEMENT_MANIFEST].head)
        otapack_cbor_fail(&r);
    if (e->elements[OTAPACK_ELEMENT_TEXT].head) {
        reader_of(&text, &e->elements[OTAPACK_ELEMENT_TEXT]);
        otapack_cbor_skip(&text, TEXT_DEPTH);
        if (!otapack_cbor_end(&text))
            otapack_cbor_fail(&r);
    }
    if (r.left != 0) {
        otapack_cbor_string(&r, &e->name, OTAPACK_TEXT, MAX_NAME);
        read_element(&r, &e->payload, UINT32_MAX);
        pairs--;
    }
    if (pairs != 0)
        otapack_cbor_fail(&r);
    return otapack_cbor_end(&r);
}

uint32_t otapack_element_is(const struct otapack_element *e, const uint8_t digest[32])
{
    struct otapack_sha256 s;
    uint8_t got[32];

    otapack_sha256_init(&s);
    otapack_sha256_update(&s, e->head, (size_t)(e->content.at + e->content.size - e->head));
    otapack_sha256_final(&s, got);
    return otapack_equal(got, digest, sizeof got);
}

/* read_version reads 1 to 3 numbers, and then perhaps -1 to -3 and its number. */
static void read_version(struct otapack_cbor *r)
{
    uint32_t n = otapack_cbor_count(r, OTAPACK_ARRAY, 1, 5), numbers = n;

    for (uint32_t i = 0; i < n; i++) {
        int32_t v = otapack_cbor_int(r);

        if (v >= 0)
            continue;
        if (v < -3 || numbers != n)
            otapack_cbor_fail(r);
        numbers = i;
    }
    if (numbers < 1 || numbers > 3 || n > numbers + 2)
        otapack_cbor_fail(r);
}

/* read_shared reads the shared sequence, which identifies the device and the image. */
static void read_shared(struct otapack_cbor *r, struct otapack_manifest *m)
{
    uint32_t elements = otapack_cbor_count(r, OTAPACK_ARRAY, 6, 10);

    MATCH(r, m, WHEN(staged, IS(0x0c, 0x00)), IS(0x14), MORE(OTAPACK_MAP, 4, has_slot),
          IS(0x01, 0x50), TAKE(16, vendor), IS(0x02, 0x50), TAKE(16, class_id), IS(0x03, 0x58, 0x24, DIGEST), TAKE(32, digest),
          WHEN(has_slot, IS(0x05), U32(slot)), IS(0x0e), POSITIVE(size), IS(0x01, 0x0f, 0x02, 0x0f),
          WHEN(has_slot, IS(0x05, 0x05)));
    if (elements != 6 + 2 * m->staged + 2 * m->has_slot)
        otapack_cbor_fail(r);
}

/* Components: the image, and the payload that it is made from. */
struct components {
    uint32_t two;
    struct otapack_string image, received;
};

/* read_common reads components and the shared sequence. Two components make it T3 or T4. */
static void read_common(struct otapack_cbor *r, struct otapack_manifest *m)
{
    struct components c = {0};
    uint32_t behind = otapack_cbor_open(r), behind_shared;

    MATCH(r, &c, IS(0xa2, 0x02), OTAPACK_MORE(OTAPACK_ARRAY, 1, components, two),
          IS(0x81), OTAPACK_STRING(OTAPACK_BYTES, MAX_COMPONENT, components, image),
          OTAPACK_WHEN(components, two, IS(0x81), OTAPACK_STRING(OTAPACK_BYTES, MAX_COMPONENT, components, received)),
          IS(0x04));
    if (is_same(&c.image, &c.received))
        otapack_cbor_fail(r);
    m->staged = c.two;
    behind_shared = otapack_cbor_open(r);
    read_shared(r, m);
    otapack_cbor_close(r, behind_shared);
    otapack_cbor_close(r, behind);
}

void otapack_read_recipient(struct otapack_cbor *r, struct otapack_recipient *to)
{
    otapack_wipe(to, sizeof *to);
    otapack_cbor_is(r, 0x83);
    to->agreed = !otapack_cbor_next(r, 0x40); /* A128KW: nothing protected */
    if (to->agreed)
        MATCH(r, to, IS(0x44, 0xa1, 0x01, 0x38, 0x1c), OTAPACK_MORE(OTAPACK_MAP, 1, otapack_recipient, kid.size));
    else
        MATCH(r, to, OTAPACK_MORE(OTAPACK_MAP, 1, otapack_recipient, kid.size), IS(0x01, 0x22));
    MATCH(r, to, KID(otapack_recipient),
          OTAPACK_WHEN(otapack_recipient, agreed, IS(0x20, 0xa4, 0x01, 0x02, 0x20, 0x01, 0x21, 0x58, 0x20),
                       OTAPACK_TAKE(32, otapack_recipient, x), IS(0x22, 0x58, 0x20), OTAPACK_TAKE(32, otapack_recipient, y)),
          IS(0x58, 0x18), OTAPACK_TAKE(24, otapack_recipient, wrapped));
}

static void read_encryption(struct otapack_cbor *r, struct otapack_manifest *m)
{
    struct otapack_recipient recipient;

    MATCH(r, m, IS(0xd8, 0x60, 0x84, 0x40, 0xa2, 0x01, 0x39, 0xff, 0xfd, 0x05, 0x50), TAKE(16, iv), IS(0xf6));
    m->recipients = otapack_cbor_count(r, OTAPACK_ARRAY, 1, 8);
    m->recipient = *r;
    for (uint32_t n = m->recipients; n != 0; n--)
        otapack_read_recipient(r, &recipient);
}

/* read_decoding reads the argument of the private command that decodes. */
static void read_decoding(struct otapack_cbor *r, struct otapack_manifest *m)
{
    static const uint32_t whole = 1 << OTAPACK_OD1 | 1 << OTAPACK_ZSTD | 1 << OTAPACK_DEFLATE;
    static const uint32_t difference = 1 << OTAPACK_OD1 | 1 << OTAPACK_HPATCHLITE | 1 << OTAPACK_DETOOLS;
    uint32_t codings = whole, behind, pairs;

    MATCH(r, NULL, IS(0x01, 0x00));
    behind = otapack_cbor_open(r);
    pairs = otapack_cbor_count(r, OTAPACK_MAP, 2, 4);
    MATCH(r, m, IS(0x01), U32(coding), IS(0x02), POSITIVE(ram));
    if (pairs == 4) {
        MATCH(r, m, IS(0x03, DIGEST), TAKE(32, base), IS(0x04), POSITIVE(base_size));
        codings = difference;
    }
    if (m->coding > OTAPACK_DETOOLS || (codings >> m->coding & 1) == 0 || pairs == 3)
        otapack_cbor_fail(r);
    otapack_cbor_close(r, behind);
}

/* read_install reads what fetches the payload, and how the image is made from it. */
static void read_install(struct otapack_cbor *r, struct otapack_manifest *m)
{
    uint32_t behind;

    m->payload_size = m->size;
    if (m->staged)
        MATCH(r, m, IS(0x90, 0x0c, 0x01, 0x14, 0xa3, 0x03, 0x58, 0x24, DIGEST), TAKE(32, received), IS(0x0e), POSITIVE(payload_size));
    else
        MATCH(r, NULL, IS(0x86, 0x14, 0xa1));
    MATCH(r, m, IS(0x15), OTAPACK_STRING(OTAPACK_TEXT, MAX_NAME, otapack_manifest, uri), IS(0x15, 0x02, 0x03, 0x0f),
          WHEN(staged, IS(0x0c, 0x00, 0x14), MORE(OTAPACK_MAP, 1, encrypted), WHEN(encrypted, IS(0x13))));
    if (!m->staged)
        return;
    if (m->encrypted) {
        behind = otapack_cbor_open(r);
        read_encryption(r, m);
        otapack_cbor_close(r, behind);
    }
    MATCH(r, NULL, IS(0x16, 0x01));
    if (otapack_cbor_next(r, 0x39)) { /* T4 */
        read_decoding(r, m);
    } else { /* T3: A128CTR keeps the length */
        if (!m->encrypted || m->payload_size != m->size)
            otapack_cbor_fail(r);
        MATCH(r, NULL, IS(0x16, 0x02));
    }
    MATCH(r, NULL, IS(0x03, 0x0f));
}

/* What a manifest has instead of an element that may be severed. */
struct severed {
    const uint8_t *digest;
};

/* read_severable reads the install sequence, or its digest and then the severed one if it is there. */
static void read_severable(struct otapack_cbor *r, const struct otapack_envelope *e, struct otapack_manifest *m)
{
    struct otapack_cbor install;
    struct severed s;
    uint32_t behind;

    otapack_cbor_is(r, 0x14);
    if (!otapack_cbor_next(r, 0x82)) {
        behind = otapack_cbor_open(r);
        read_install(r, m);
        otapack_cbor_close(r, behind);
        if (e->elements[OTAPACK_ELEMENT_INSTALL].head) /* twice */
            otapack_cbor_fail(r);
        return;
    }
    MATCH(r, &s, IS(0x2f, 0x58, 0x20), OTAPACK_TAKE(32, severed, digest)); /* the rest of DIGEST */
    m->severed = e->elements[OTAPACK_ELEMENT_INSTALL].head == NULL;
    if (r->bad || m->severed)
        return;
    reader_of(&install, &e->elements[OTAPACK_ELEMENT_INSTALL]);
    if (otapack_element_is(&e->elements[OTAPACK_ELEMENT_INSTALL], s.digest) != OTAPACK_GOOD)
        otapack_cbor_fail(&install); /* nothing is read of it */
    read_install(&install, m);
    if (!otapack_cbor_end(&install))
        otapack_cbor_fail(r);
}

/* check_text compares the digest of a text. It may be missing, but not be another. */
static void check_text(struct otapack_cbor *r, const struct otapack_element *text, uint32_t has_digest)
{
    struct severed s = {NULL};

    if (has_digest)
        MATCH(r, &s, IS(0x17, DIGEST), OTAPACK_TAKE(32, severed, digest));
    if (text->head && (!s.digest || otapack_element_is(text, s.digest) != OTAPACK_GOOD))
        otapack_cbor_fail(r);
}

uint32_t otapack_read_manifest(struct otapack_manifest *m, const struct otapack_envelope *e)
{
    struct otapack_cbor r;
    uint32_t pairs, behind;

    otapack_wipe(m, sizeof *m);
    reader_of(&r, &e->elements[OTAPACK_ELEMENT_MANIFEST]);
    pairs = otapack_cbor_count(&r, OTAPACK_MAP, 6, 8) - 6;
    MATCH(&r, m, IS(0x01, 0x01, 0x02), U32(sequence), IS(0x03));
    read_common(&r, m);
    if (otapack_cbor_next(&r, 6)) {
        behind = otapack_cbor_open(&r);
        read_version(&r);
        otapack_cbor_close(&r, behind);
        pairs--;
    }
    if (m->staged)
        MATCH(&r, NULL, IS(0x07, 0x45, 0x84, 0x0c, 0x00, 0x03, 0x0f, 0x09, 0x45, 0x84, 0x0c, 0x00, 0x17, 0x02));
    else
        MATCH(&r, NULL, IS(0x07, 0x43, 0x82, 0x03, 0x0f, 0x09, 0x43, 0x82, 0x17, 0x02));
    read_severable(&r, e, m);
    if (pairs > 1)
        otapack_cbor_fail(&r);
    check_text(&r, &e->elements[OTAPACK_ELEMENT_TEXT], pairs);
    /* The names of elements are not signed: an integrated payload is held against the manifest. */
    if (e->payload.head && (m->severed || e->payload.content.size != m->payload_size || !is_same(&e->name, &m->uri)))
        otapack_cbor_fail(&r);
    return otapack_cbor_end(&r);
}
