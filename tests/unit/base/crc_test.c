/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "t_rand.h"

static uint32_t bitwise(uint32_t crc, const uint8_t *p, size_t n)
{
	crc = ~crc;
	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

/* The vectors of RFC 3720 B.4 and the usual check value. */
static void test_known(void **state)
{
	uint8_t buf[32] = {0};

	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, NULL, 0), 0);
	assert_int_equal(crc32c(0, buf, 32), 0x8a9136aa);
	memset(buf, 0xff, 32);
	assert_int_equal(crc32c(0, buf, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		buf[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, buf, 32), 0x46dd794e);
}

static void test_against_bitwise(void **state)
{
	struct rng rng = t_rng(0);
	uint8_t buf[3000];

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)rng_u64(&rng);
	for (int i = 0; i < 200; i++) {
		size_t from = rng_below(&rng, sizeof(buf));
		size_t n = rng_below(&rng, sizeof(buf) - from + 1);
		size_t cut = rng_below(&rng, n + 1);
		const uint8_t *p = buf + from;
		uint32_t whole = crc32c(0, p, n), a = crc32c(0, p, cut);

		assert_int_equal(whole, bitwise(0, p, n));
		assert_int_equal(crc32c(a, p + cut, n - cut), whole);
		assert_int_equal(crc32c_combine(a, crc32c(0, p + cut, n - cut),
						(uint32_t)(n - cut)),
				 whole);
	}
}

/* More bytes than an int can count; all but a few pages stay unmapped. */
static void test_huge(void **state)
{
	size_t half = ((size_t)1 << 30) + 12345, n = 2 * half;
	uint8_t *p = mmap(NULL, n, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint32_t a;

	assert_true(p != MAP_FAILED);
	p[0] = 1;
	p[half] = 2;
	p[n - 1] = 3;
	a = crc32c(0, p, half);
	assert_int_equal(crc32c(0, p, n), crc32c(a, p + half, half));
	munmap(p, n);
}

/* The other polynomial: what zlib and Python's zlib.crc32() say. */
static void test_ieee(void **state)
{
	assert_int_equal(crc32_zlib(0, "123456789", 9), 0xcbf43926);
	assert_int_equal(crc32_zlib(crc32_zlib(0, "1234", 4), "56789", 5),
			 0xcbf43926);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_against_bitwise),
		cmocka_unit_test(test_huge),
		cmocka_unit_test(test_ieee),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
