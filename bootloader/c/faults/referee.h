/* SPDX-License-Identifier: Apache-2.0 */
/* The same runs in Unicorn: slow, and another one's simulator. */
#ifndef REFEREE_H
#define REFEREE_H

#include <stdint.h>

#include "program.h"
#include "subject.h"

struct referee;

struct referee *referee_new(const struct program *p);

/*
 * referee_can answers whether it can make a run: in IT blocks Unicorn looks at the
 * flags before a fault, and does not stop at instructions that they rule out.
 */
bool referee_can(const struct state *states, const struct fault *fault);

/* referee_play makes a run. The states before the n attacked instructions are those without the fault. */
enum outcome referee_play(struct referee *r, const struct subject *s, const struct state *states, uint32_t n,
                          const struct fault *fault);

/* referee_follow makes a run without a fault, which must come to these states. */
void referee_follow(struct referee *r, const struct subject *s, const struct state *states, uint32_t n);

/* referee_check makes sure that instructions are skipped also where Unicorn is known not to do it by itself. */
void referee_check(void);

#endif
