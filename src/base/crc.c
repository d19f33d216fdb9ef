/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C and CRC-32 by isa-l.  A pure function, any thread. */
#include "base/crc.h"

#include <isa-l/crc.h>

/* isa-l takes the length as int. */
#define CHUNK_MAX ((size_t)1 << 30)

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	const uint8_t *at = p;

	crc = ~crc;
	while (n > 0) {
		size_t len = MIN(n, CHUNK_MAX);

		/* isa-l only reads, whatever its prototype says. */
		crc = crc32_iscsi((unsigned char *)(uintptr_t)at, (int)len,
				  crc);
		at += len;
		n -= len;
	}
	return ~crc;
}

uint32_t crc32_zlib(uint32_t crc, const void *p, size_t n)
{
	return crc32_gzip_refl(crc, p, n);
}
