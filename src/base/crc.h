/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli, reflected, init and final xor all ones) as NVMe/TCP
 * digests and our checksum tables use it.  crc32c("123456789") = 0xe3069283.
 */
#ifndef BASE_CRC_H
#define BASE_CRC_H

#include "base/def.h"

/* crc = 0 to begin, the last result to continue. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
/* That of A followed by B: a is A's, b is B's, which is n bytes long. */
uint32_t crc32c_combine(uint32_t a, uint32_t b, uint32_t n);
/* CRC-32 (IEEE 802.3) as zlib computes it: crc32_zlib("123456789") =
 * 0xcbf43926. */
uint32_t crc32_zlib(uint32_t crc, const void *p, size_t n);

#endif
