/* SPDX-License-Identifier: Apache-2.0 */
#include "start.h"

#include <stddef.h>

extern uint32_t data_from, data_start, data_end, bss_start, bss_end, stack_top;

/* The calls of semihosting (Arm IHI 0100) that are needed. */
enum { SYS_OPEN = 0x01, SYS_WRITE0 = 0x04, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026 };

static uint32_t semihosting(uint32_t call, const void *argument)
{
    register uint32_t r0 __asm__("r0") = call;
    register const void *r1 __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void print(const char *text) { semihosting(SYS_WRITE0, text); }

uint32_t open_file(const char *name, uint32_t length)
{
    const uint32_t arguments[3] = {(uint32_t)name, 1 /* "rb" */, length};

    return semihosting(SYS_OPEN, arguments);
}

uint32_t read_file(uint32_t file, void *to, uint32_t n)
{
    const uint32_t arguments[3] = {file, (uint32_t)to, n};

    return n - semihosting(SYS_READ, arguments); /* it says how many are missing */
}

void leave(uint32_t status)
{
    const uint32_t reason[2] = {APPLICATION_EXIT, status};

    semihosting(SYS_EXIT_EXTENDED, reason);
    for (;;)
        ;
}

static void fault(void)
{
    print("fault\n");
    leave(99);
}

void reset(void)
{
    for (uint32_t *from = &data_from, *to = &data_start; to < &data_end;)
        *to++ = *from++;
    for (uint32_t *to = &bss_start; to < &bss_end;)
        *to++ = 0;
    leave(run());
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
};

/* What the compiler may call. Time and addresses depend on n alone. */
void *memcpy(void *to, const void *from, size_t n)
{
    volatile uint8_t *t = to;
    const uint8_t *f = from;

    for (size_t i = 0; i < n; i++)
        t[i] = f[i];
    return to;
}

void *memset(void *to, int value, size_t n)
{
    volatile uint8_t *t = to;

    for (size_t i = 0; i < n; i++)
        t[i] = (uint8_t)value;
    return to;
}
