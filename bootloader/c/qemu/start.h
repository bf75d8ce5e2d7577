/* SPDX-License-Identifier: Apache-2.0 */
/* Programs for boards that QEMU emulates, with its semihosting and no library. */
#ifndef START_H
#define START_H

#include <stdint.h>

uint32_t run(void); /* the program; what it returns is QEMU's exit status */

void print(const char *text);

/* open_file opens a file of the host, whose name has so many bytes, to be read. */
uint32_t open_file(const char *name, uint32_t length);

/* read_file answers how many of n bytes there were. */
uint32_t read_file(uint32_t file, void *to, uint32_t n);

void leave(uint32_t status) __attribute__((noreturn));

#endif
