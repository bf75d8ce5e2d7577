/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OTAPACK_ECDH_H
#define OTAPACK_ECDH_H

#include "recipient.h"

/*
 * otapack_ecdh is an otapack_agreement in software; key is the private key, 32
 * bytes big endian, from 1 to n - 1. The sequence of instructions and addresses
 * is the same for every private key. It is slow: where the chip has a crypto
 * cell that keeps the key, write an agreement over that.
 */
uint32_t otapack_ecdh(const void *key, const uint8_t x[32], const uint8_t y[32], uint8_t shared[32]);

#endif
