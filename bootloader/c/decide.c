/* SPDX-License-Identifier: Apache-2.0 */
#include "decide.h"

/*
 * One round. It returns the sum of the verdicts, which is the expected one only
 * if each check was made and was good, and leaves the index of the first check
 * that was not in *failed. What each check answered is read twice, and the
 * index is compared with the number of checks twice.
 */
static __attribute__((noinline)) uint32_t first_round(const struct otapack_decision *d, void *ctx, volatile uint32_t *failed)
{
    volatile uint32_t verdict;
    volatile uint32_t i;
    uint32_t sum = OTAPACK_SUM0;

    for (i = 0; i < d->count; i++) {
        verdict = OTAPACK_BAD;
        verdict = d->checks[i](ctx);
        if (verdict != OTAPACK_GOOD) {
            *failed = i;
            return OTAPACK_BAD;
        }
        sum += verdict;
        if (verdict != OTAPACK_GOOD)
            d->panic();
    }
    if (i != d->count)
        d->panic();
    return sum;
}

/* The same, counting down. All checks were good once: any that is not is a fault. */
static __attribute__((noinline)) uint32_t second_round(const struct otapack_decision *d, void *ctx)
{
    volatile uint32_t verdict;
    volatile uint32_t left = d->count, done = 0;
    uint32_t sum = OTAPACK_SUM1;

    for (; left != 0; left--, done++) {
        verdict = OTAPACK_BAD;
        verdict = d->checks[done](ctx);
        sum -= verdict;
        if (verdict != OTAPACK_GOOD) {
            d->panic();
            d->panic();
        }
    }
    if (done != d->count) {
        d->panic();
        d->panic();
    }
    return sum;
}

void otapack_decide(const struct otapack_decision *d, void *ctx)
{
    volatile uint32_t first = OTAPACK_BAD, second = OTAPACK_BAD, failed = UINT32_MAX;

    first = first_round(d, ctx, &failed);
    if (first != d->sums[0]) {
        if (failed == UINT32_MAX) /* no check failed, and yet the sum is wrong */
            d->panic();
        d->refuse(ctx, failed);
        return;
    }
    second = second_round(d, ctx);
    if (second != d->sums[1]) {
        d->panic();
        d->panic();
    }
    if (first != d->sums[0]) {
        d->panic();
        d->panic();
    }
    /* Both sums go into the token: a good one cannot be made without them. */
    d->accept(ctx, OTAPACK_TOKEN + (first - d->sums[0]) + (d->sums[1] - second));
}
