/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OTAPACK_EQUAL_H
#define OTAPACK_EQUAL_H

#include <stddef.h>
#include <stdint.h>

#include "decide.h"

/*
 * otapack_equal compares n bytes and answers OTAPACK_GOOD or OTAPACK_BAD. Time
 * and addresses depend on n alone. n = 0 is OTAPACK_BAD: nothing was compared.
 */
uint32_t otapack_equal(const void *a, const void *b, size_t n);

/* otapack_mask answers all ones for 1, and 0 for 0, and keeps from the compiler that it is one of them: some would branch. */
static inline uint32_t otapack_mask(uint32_t yes)
{
    uint32_t mask = 0u - yes;

    __asm__("" : "+r"(mask));
    return mask;
}

/* otapack_wipe clears n bytes, also when nobody reads them any more. */
void otapack_wipe(void *p, size_t n);

#endif
