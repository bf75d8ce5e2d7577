/* SPDX-License-Identifier: Apache-2.0 */
/* Programs for boards that QEMU emulates, with its semihosting and no library. */
#ifndef START_H
#define START_H

#include <stdint.h>

uint32_t run(void); /* the program; what it returns is QEMU's exit status */

void print(const char *text);
void leave(uint32_t status) __attribute__((noreturn));

#endif
