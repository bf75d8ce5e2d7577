/* SPDX-License-Identifier: Apache-2.0 */
#include "ends.h"

#include "../decide.h"

/* More than one branch, since skipping one of them is a fault as well. */
void stop(void)
{
    __asm__ volatile(".global stopped\nstopped: b .\nb .\nb .\nb .");
    __builtin_unreachable();
}

/* The image. IMAGE is its address, which one changed bit does not make of any in the bootloader. */
__attribute__((section(".image"))) void booted(void)
{
    __asm__ volatile("b .");
    __builtin_unreachable();
}

/*
 * boot follows what decide.h asks of accept. A changed return address leads behind
 * the test of the token, and a changed pointer to a table reads constants: so the
 * address of the image wants the token, and stands nowhere as it is.
 */
void boot(void *ctx, uint32_t token)
{
    volatile uint32_t part = token;

    (void)ctx;
    if (part != OTAPACK_TOKEN)
        stop();
    ((void (*)(void))((IMAGE | 1) - OTAPACK_TOKEN + part))();
    stop();
}
