/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The envelope and the manifest of docs/manifest.cddl, all four templates. Of what
 * an envelope says nothing is copied: results point into it, and it must not
 * change while they are used.
 */
#ifndef OTAPACK_SUIT_H
#define OTAPACK_SUIT_H

#include <stdint.h>

#include "cbor.h"

enum { OTAPACK_MAX_BLOCKS = 3 };

/* A byte string of the envelope. Its digest covers the head too. */
struct otapack_element {
    const uint8_t *head; /* NULL where there is none */
    struct otapack_string content;
};

/* The elements of an envelope: the manifest, and what may be severed from it. */
enum { OTAPACK_ELEMENT_MANIFEST, OTAPACK_ELEMENT_INSTALL, OTAPACK_ELEMENT_TEXT, OTAPACK_ELEMENTS };

/* A signature block. */
struct otapack_block {
    const uint8_t *signature;  /* r and s; NULL for an algorithm other than ESP256 */
    struct otapack_string kid; /* not signed: says which key to try first; size 0 for none */
};

struct otapack_envelope {
    const uint8_t *digest; /* of the manifest, 32 bytes, which the signatures cover */
    struct otapack_block blocks[OTAPACK_MAX_BLOCKS];
    uint32_t count; /* of blocks */
    struct otapack_element elements[OTAPACK_ELEMENTS];
    struct otapack_string name;     /* of the integrated payload */
    struct otapack_element payload; /* integrated */
};

struct otapack_manifest {
    uint32_t sequence;
    const uint8_t *vendor, *class_id; /* 16 bytes */
    const uint8_t *digest;            /* of the image, 32 bytes */
    uint32_t size;                    /* of the image in bytes; not 0 */
    uint32_t has_slot, slot;
    uint32_t severed; /* 1: there is no install sequence, and what follows is not set */
    struct otapack_string uri;
    uint32_t payload_size; /* of what is received, in bytes */

    uint32_t staged;         /* 1 for T3 and T4: the image is made from what is received */
    const uint8_t *received; /* digest of that; NULL if it is the image */

    uint32_t encrypted;            /* 1: decrypt it; else what follows is not set */
    const uint8_t *iv;             /* 16 bytes: the first counter block */
    uint32_t recipients;           /* their number */
    struct otapack_cbor recipient; /* reads the first of them */

    uint32_t coding;     /* enum otapack_coding: decode it, after decryption; 0 for no decoding */
    uint32_t ram;        /* that the decoder needs, in bytes */
    const uint8_t *base; /* digest of the plain image that the payload is a difference to, NULL for none */
    uint32_t base_size;  /* bytes */
};

enum otapack_coding { OTAPACK_OD1 = 1, OTAPACK_ZSTD, OTAPACK_DEFLATE, OTAPACK_HPATCHLITE, OTAPACK_DETOOLS };

/* Who can read the content key. */
struct otapack_recipient {
    struct otapack_string kid; /* as of a block */
    uint32_t agreed;           /* 1: ECDH-ES+A128KW; 0: A128KW */
    const uint8_t *x, *y;      /* ephemeral key, 32 bytes each; NULL for A128KW */
    const uint8_t *wrapped;    /* 24 bytes */
};

/* otapack_read_envelope reads the structure of an envelope and of its signature blocks. It answers 1 if all is well, or 0. */
uint32_t otapack_read_envelope(struct otapack_envelope *e, const uint8_t *data, uint32_t size);

/*
 * otapack_read_manifest reads the manifest of an envelope, in which it must be
 * one of the templates byte for byte, and compares the digests of severed
 * elements, and the name and the size of an integrated payload. It answers 1 or 0.
 */
uint32_t otapack_read_manifest(struct otapack_manifest *m, const struct otapack_envelope *e);

/* otapack_read_recipient reads the next recipient from a copy of the manifest's reader. */
void otapack_read_recipient(struct otapack_cbor *r, struct otapack_recipient *to);

/* otapack_element_is compares the digest of an element, head included, and answers OTAPACK_GOOD or OTAPACK_BAD. */
uint32_t otapack_element_is(const struct otapack_element *e, const uint8_t digest[32]);

#endif
