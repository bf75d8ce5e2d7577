/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attacked program: three checks of an image, and the decision to boot it.
 * DECISION chooses how that is written: PLAIN as one writes it first, CONSTTIME
 * the same with a comparison in constant time, HARDENED as in decide.c.
 */
#include "../equal.h"

#include "ends.h"
#include "subject.h"

#define PLAIN 1
#define CONSTTIME 2
#define HARDENED 3

struct subject subject;

/* All of it is attacked. */
__asm__(".global attacked\n.set attacked, start");

#if DECISION == HARDENED

static __attribute__((noinline)) uint32_t check_signature(void *ctx)
{
    const volatile struct subject *s = ctx;

    return s->signature;
}

static __attribute__((noinline)) uint32_t check_sequence(void *ctx)
{
    const volatile struct subject *s = ctx;

    return s->sequence >= s->floor ? OTAPACK_GOOD : OTAPACK_BAD;
}

static __attribute__((noinline)) uint32_t check_image(void *ctx)
{
    const struct subject *s = ctx;

    return otapack_equal(s->digest, s->expected, sizeof s->digest);
}

static void refuse(void *ctx, uint32_t check)
{
    (void)ctx;
    (void)check;
}

static otapack_check *const checks[] = {check_signature, check_sequence, check_image};
static const struct otapack_decision decision = {checks, 3, OTAPACK_SUMS(3), boot, refuse, stop};

__attribute__((noreturn)) void start(void)
{
    otapack_decide(&decision, &subject);
    stop();
}

#else

static __attribute__((noinline)) int signature_is_valid(const volatile struct subject *s)
{
    return s->signature == OTAPACK_GOOD;
}

#if DECISION == PLAIN
static __attribute__((noinline)) int equal(const volatile uint8_t *a, const volatile uint8_t *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return 0;
    return 1;
}
#else
static __attribute__((noinline)) int equal(const volatile uint8_t *a, const volatile uint8_t *b, uint32_t n)
{
    uint8_t differ = 0;

    for (uint32_t i = 0; i < n; i++)
        differ |= a[i] ^ b[i];
    return differ == 0;
}
#endif

static __attribute__((noinline)) int verify(const volatile struct subject *s)
{
    if (!signature_is_valid(s))
        return 0;
    if (s->sequence < s->floor)
        return 0;
    return equal(s->digest, s->expected, sizeof s->digest);
}

__attribute__((noreturn)) void start(void)
{
    if (verify(&subject))
        booted();
    stop();
}

#endif
