/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C by isa-l, and the CRC of a concatenation without its bytes.  Pure
 * functions, any thread.
 *
 * A CRC is a polynomial over GF(2) modulo P, kept reflected: bit 31 is x^0.
 * Appending n bytes to A multiplies its CRC by x^(8n) mod P, so combining
 * costs one multiplication per set bit of n.
 */
#include "base/crc.h"

#include <isa-l/crc.h>

#define POLY 0x82f63b78u /* Castagnoli without x^32, reflected */

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

/*
 * x^(2^k) mod P.  P is (x + 1) times a primitive polynomial of degree 31, so
 * x^(2^31) = x again: the table repeats after 31 entries.
 */
static const uint32_t x_pow_2k[31] = {
	0x40000000, 0x20000000, 0x08000000, 0x00800000, 0x00008000, 0x82f63b78,
	0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7, 0x88e56f72,
	0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269,
	0xe2ea32dc, 0xfe7740e6, 0xf946610b, 0x3c204f8f, 0x538586e3, 0x59726915,
	0x734d5309, 0xbc1ac763, 0x7d0722cc, 0xd289cabe, 0xe94ca9bc, 0x05b74f3f,
	0xa51e1f42,
};

/* a * b mod P; branches on random bits would cost more than the masks. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (int i = 0; i < 32; i++) {
		product ^= b & (0 - (a >> 31));
		a <<= 1;
		b = (b >> 1) ^ (POLY & (0 - (b & 1)));
	}
	return product;
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b)
{
	size_t k = 3; /* bytes to bits */

	for (; len_b; len_b >>= 1, k = k == 30 ? 0 : k + 1)
		if (len_b & 1)
			crc_a = multiply(x_pow_2k[k], crc_a);
	return crc_a ^ crc_b;
}
