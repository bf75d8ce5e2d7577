/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that changes behind the verifier's back, as a stray store changes it:
 * the check that compares its rollback floor has to fail, whichever byte it is.
 * Prints how many bytes of it were not noticed.
 */
#include <stdio.h>

#include "../faults/envelope.h"
#include "../verify.h"

int main(void)
{
    static const struct otapack_key key;
    static struct otapack_device device = {.min_sequence = SEQUENCE, .keys = &key, .key_count = 1, .threshold = 1};
    static struct otapack_verifier v;
    uint8_t *bytes = (uint8_t *)&device;
    unsigned unnoticed = 0;

    otapack_begin(&v, &device, envelope, sizeof envelope, IMAGE_SIZE); /* no key has signed it: no more than the envelope is read */
    if (otapack_checks[OTAPACK_MANIFEST](&v) != OTAPACK_GOOD || otapack_checks[OTAPACK_SEQUENCE](&v) != OTAPACK_GOOD)
        return 1;
    for (size_t i = 0; i < sizeof device; i++) {
        bytes[i] ^= 1; /* also of pointers, which that check does not follow */
        unnoticed += otapack_checks[OTAPACK_SEQUENCE](&v) == OTAPACK_GOOD;
        bytes[i] ^= 1;
    }
    printf("%u\n", unnoticed);
    return 0;
}
