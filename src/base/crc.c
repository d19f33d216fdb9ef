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

/* x^(8 * 2^k) modulo the polynomial, bit 31 is x^0: k zero doublings of one
 * byte appended. */
static const uint32_t shift_pow2[32] = {
	0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a,
	0xb82be955, 0xb8fdb1e7, 0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a,
	0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc, 0xfe7740e6, 0xf946610b,
	0x3c204f8f, 0x538586e3, 0x59726915, 0x734d5309, 0xbc1ac763, 0x7d0722cc,
	0xd289cabe, 0xe94ca9bc, 0x05b74f3f, 0xa51e1f42, 0x40000000, 0x20000000,
	0x08000000, 0x00800000,
};

static uint32_t mul_mod(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
		if (a & bit)
			product ^= b;
		b = b >> 1 ^ (b & 1 ? 0x82f63b78u : 0);
	}
	return product;
}

uint32_t crc32c_combine(uint32_t a, uint32_t b, uint32_t n)
{
	for (unsigned k = 0; n; k++, n >>= 1)
		if (n & 1)
			a = mul_mod(shift_pow2[k], a);
	return a ^ b;
}

uint32_t crc32_zlib(uint32_t crc, const void *p, size_t n)
{
	return crc32_gzip_refl(crc, p, n);
}
