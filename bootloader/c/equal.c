/* SPDX-License-Identifier: Apache-2.0 */
#include "equal.h"

uint32_t otapack_equal(const void *a, const void *b, size_t n)
{
    const volatile uint8_t *x = a, *y = b;
    uint32_t differ = 0;
    size_t i;

    for (i = 0; i < n; i++)
        differ |= (uint32_t)(x[i] ^ y[i]);
    /* A loop that a fault ended early compared too little. */
    differ |= (uint32_t)(i ^ n) | (uint32_t)(n == 0);
    /* 0 becomes all ones, any other byte 0. */
    differ = (differ | (0u - differ)) >> 31;
    return OTAPACK_BAD ^ (differ - 1);
}

void otapack_wipe(void *p, size_t n)
{
    volatile uint8_t *bytes = p;

    for (size_t i = 0; i < n; i++)
        bytes[i] = 0;
}
