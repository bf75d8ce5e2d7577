/* SPDX-License-Identifier: Apache-2.0 */
/* The two ends of a target, which the campaign knows by their names, and the way to one of them from decide.c. */
#ifndef ENDS_H
#define ENDS_H

#include <stdint.h>

__attribute__((noreturn)) void stop(void);
__attribute__((noreturn)) void booted(void);

void boot(void *ctx, uint32_t token);

#endif
