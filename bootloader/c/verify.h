/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a device runs an image: the checks of the profile in its order, over an
 * envelope in memory and a payload that comes in blocks.
 *
 *     static const struct otapack_decision decision = {
 *         otapack_checks, OTAPACK_CHECKS, OTAPACK_SUMS(OTAPACK_CHECKS), boot, refuse, panic};
 *
 *     if (otapack_begin(&v, &device, envelope, size, payload_size) == OTAPACK_GOOD)
 *         while (... a block of the payload ...) {
 *             otapack_payload(&v, block, n); // decrypts it where it lies
 *             ... and now it may be written: to the bank, or to where the decoder
 *                 reads it if otapack_coding(&v) is not 0
 *         }
 *     if (otapack_received(&v) == OTAPACK_GOOD) // whole, and to be decoded
 *         while (otapack_decoded(&v, block, n = ... of the decoder ...) == OTAPACK_GOOD)
 *             ... and now it may be written to the bank
 *     otapack_decide(&decision, &v); // calls boot or refuse
 *     otapack_forget(&v);
 */
#ifndef OTAPACK_VERIFY_H
#define OTAPACK_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#include "aes.h"
#include "decide.h"
#include "ecdsa.h"
#include "recipient.h"
#include "sha256.h"
#include "suit.h"

/*
 * The checks. refuse of a decision is called with the number of the first that
 * fails. Names are those of the reference verifier.
 */
enum otapack_step {
    OTAPACK_ENVELOPE,
    OTAPACK_SIGNATURE,
    OTAPACK_MANIFEST,
    OTAPACK_VENDOR,
    OTAPACK_CLASS,
    OTAPACK_SLOT,
    OTAPACK_SEQUENCE,
    OTAPACK_SIZE,
    OTAPACK_DECODER,
    OTAPACK_BASE,
    OTAPACK_CIPHERTEXT,
    OTAPACK_UNWRAP,
    OTAPACK_IMAGE,
    OTAPACK_CHECKS /* their number */
};

enum { OTAPACK_MAX_KEYS = 8 };

/* A key that may sign manifests. */
struct otapack_key {
    uint8_t point[64]; /* x and y on P-256, big endian */
    uint8_t id[16];    /* first bytes of SHA-256 over its SubjectPublicKeyInfo */
    uint8_t revoked;   /* 0: it counts */
};

/* What a device knows. */
struct otapack_device {
    uint8_t vendor[16], class_id[16]; /* UUIDs */
    uint32_t min_sequence;            /* rollback floor; an equal sequence number passes */
    uint32_t has_slot, slot;          /* that would be written, where images are linked for slots */
    uint32_t bank_size;               /* bytes */
    const struct otapack_key *keys;
    uint32_t key_count; /* up to OTAPACK_MAX_KEYS */
    uint32_t threshold; /* how many of the keys must have signed; not 0 */

    /* One of them or neither: the agreement with the device's private key, and a shared key. */
    otapack_agreement *agree;
    const void *device_key; /* first argument of the agreement */
    const uint8_t *kek;     /* 16 bytes */

    struct otapack_string key_id; /* of the one that is there: compared with key identifiers of recipients */

    /* Payloads that are decoded. All is 0 in a device without a decoder. */
    uint32_t codings;       /* bit 1 << coding for each decoder, see enum otapack_coding */
    uint32_t decoder_ram;   /* bytes that a decoder may take */
    uint32_t one_bank;      /* 1: what runs would be overwritten, so that nothing can be a difference to it */
    const uint8_t *running; /* the plain image that runs */
    uint32_t running_size;  /* bytes; 0 for none */
};

/* Bytes that come in blocks and are hashed. */
struct otapack_intake {
    uint32_t left; /* bytes to come */
    uint32_t open; /* 1 while they are taken */
    struct otapack_sha256 hash;
    uint8_t digest[32]; /* when nothing is left */
};

/* A verification in progress. Members are of no use to callers. */
struct otapack_verifier {
    const struct otapack_device *device;
    uint32_t device_sum; /* checksum of it, as it was in the beginning */
    const uint8_t *data;
    uint32_t size, payload_size;

    struct otapack_envelope envelope;
    struct otapack_manifest manifest;

    /* What the costly checks compare. */
    struct {
        struct otapack_signed point;
        uint32_t key; /* index of the one that made it */
    } made[OTAPACK_MAX_BLOCKS];
    uint32_t unwrapped; /* verdict; the digest of the image is what vouches for the content key */
    struct otapack_ctr ctr;
    struct otapack_intake received; /* the payload */
    struct otapack_intake image;    /* what is made of it, T3 and T4 */
    uint8_t base_digest[32];
};

/*
 * otapack_begin makes the checks that do not need the payload, up to base, and
 * unwraps the content key. It answers OTAPACK_GOOD if the payload is worth
 * receiving. Device and envelope must not change until the decision; of a device
 * that did the sequence number is refused. Keys best lie in flash. A content
 * key that does not unwrap is found in its place, after the ciphertext; until
 * then blocks come out as zeros.
 */
uint32_t otapack_begin(struct otapack_verifier *v, const struct otapack_device *device, const uint8_t *envelope,
                       uint32_t size, uint32_t payload_size);

/* otapack_payload takes the next n bytes of the payload, and decrypts them in place where they are encrypted. */
void otapack_payload(struct otapack_verifier *v, uint8_t *block, size_t n);

/*
 * otapack_received answers OTAPACK_GOOD if the payload has come whole, is what was
 * signed, and is to be decoded: the image is made of it then, and only then. The
 * coding and the length of the image say how.
 */
uint32_t otapack_received(struct otapack_verifier *v);
uint32_t otapack_coding(const struct otapack_verifier *v);     /* enum otapack_coding */
uint32_t otapack_image_size(const struct otapack_verifier *v); /* bytes */

/*
 * otapack_decoded takes the next n bytes that the decoder made, and answers
 * OTAPACK_GOOD if they may be written. n is 0 at the end, and below 0 when the
 * decoder failed: that refuses the image.
 */
uint32_t otapack_decoded(struct otapack_verifier *v, const uint8_t *block, int32_t n);

/* otapack_checks is for a decision over a verifier, which is to be its ctx. */
extern otapack_check *const otapack_checks[OTAPACK_CHECKS];

/* otapack_forget wipes keys. */
void otapack_forget(struct otapack_verifier *v);

#endif
