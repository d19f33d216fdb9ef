/* SPDX-License-Identifier: Apache-2.0 */
/* Single cases; prop/extent has the random ones. */
#include "base/extent.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "t_death.h"

#define UNIT ((uint64_t)4096)

static void test_create_refuses(void **state)
{
	struct ext_alloc *ea = NULL;

	assert_int_equal(ext_create(0, 100 * UNIT, 4095, &ea), -EINVAL);
	assert_int_equal(ext_create(0, 100 * UNIT, 0, &ea), -EINVAL);
	assert_int_equal(ext_create(0, 0, UNIT, &ea), -EINVAL);
	assert_int_equal(ext_create(1, 100 * UNIT, UNIT, &ea), -EINVAL);
	assert_int_equal(ext_create(0, 100 * UNIT + 1, UNIT, &ea), -EINVAL);
	assert_int_equal(ext_create(UINT64_MAX - UNIT + 1, UNIT, UNIT, &ea),
			 -EINVAL);
	assert_null(ea);
	ext_destroy(NULL);
}

static void test_whole_and_again(void **state)
{
	struct ext_alloc *ea;
	struct ext ext, more;

	assert_int_equal(ext_create(UNIT, 10 * UNIT, UNIT, &ea), 0);
	assert_int_equal(ext_take(ea, 0, 0, &ext), -EINVAL);
	assert_int_equal(ext_take(ea, 1, 2048, &ext), -EINVAL);
	assert_int_equal(ext_take(ea, 1, 3 * UNIT, &ext), -EINVAL);
	assert_int_equal(ext_take(ea, UINT64_MAX, 0, &ext), -ENOSPC);
	assert_int_equal(ext_take(ea, 1, (uint64_t)1 << 63, &ext), -ENOSPC);
	assert_int_equal(ext_take(ea, 10 * UNIT - 5, 0, &ext), 0);
	assert_int_equal(ext.off, UNIT);
	assert_int_equal(ext.len, 10 * UNIT);
	assert_int_equal(ext_used(ea), 10 * UNIT);
	assert_int_equal(ext_largest_free(ea), 0);
	assert_int_equal(ext_take(ea, 1, 0, &more), -ENOSPC);
	ext_give(ea, &ext);
	assert_int_equal(ext_largest_free(ea), 10 * UNIT);
	ext_destroy(ea);
}

/* A range in the bin of the wanted size that fits must be found. */
static void test_last_resort(void **state)
{
	struct ext_alloc *ea;
	struct ext ext;

	assert_int_equal(ext_create(0, 1001 * UNIT, UNIT, &ea), 0);
	assert_int_equal(ext_take(ea, 1001 * UNIT, 0, &ext), 0);
	ext_give(ea, &ext);
	assert_int_equal(ext_take(ea, 1000 * UNIT, 0, &ext), 0);
	ext_destroy(ea);
}

/* Only the last of many in one bin fits: the whole bin is searched. */
static void test_deep_in_the_bin(void **state)
{
	struct ext_alloc *ea;
	struct ext holes[8], walls[8], ext;

	assert_int_equal(ext_create(0, 9000 * UNIT, UNIT, &ea), 0);
	for (uint64_t i = 0; i < 8; i++) {
		uint64_t len = (i == 0 ? 1050 : 1026) * UNIT;

		assert_int_equal(ext_take(ea, len, 0, &holes[i]), 0);
		assert_int_equal(ext_take(ea, UNIT, 0, &walls[i]), 0);
	}
	ext_take(ea, ext_largest_free(ea), 0, &ext);
	for (int i = 0; i < 8; i++)
		ext_give(ea, &holes[i]);
	assert_int_equal(ext_largest_free(ea), 1050 * UNIT);
	assert_int_equal(ext_take(ea, 1051 * UNIT, 0, &ext), -ENOSPC);
	assert_int_equal(ext_take(ea, 1040 * UNIT, 0, &ext), 0);
	assert_int_equal(ext.off, holes[0].off);
	ext_destroy(ea);
}

/*
 * A restore in random order: with a search of the list for each range this
 * would be 2^32 steps.
 */
static void test_restore_is_quick(void **state)
{
	const uint32_t count = 1 << 16;
	struct ext_alloc *ea;
	struct ext ext;

	assert_int_equal(ext_create(0, 2 * count * UNIT, UNIT, &ea), 0);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t at = i * 40503u % count * 2; /* odd: a permutation */

		assert_int_equal(ext_take_at(ea, at * UNIT, UNIT, &ext), 0);
	}
	assert_int_equal(ext_used(ea), count * UNIT);
	assert_int_equal(ext_take(ea, 2 * UNIT, 0, &ext), -ENOSPC);
	assert_int_equal(ext_take(ea, UNIT, 0, &ext), 0);
	ext_destroy(ea);
}

static void test_huge_offsets(void **state)
{
	uint64_t size = EXT_SIZE_MAX, base = (uint64_t)7 << 61;
	struct ext_alloc *ea;
	struct ext a, b;

	assert_int_equal(ext_create(0, size + 1, 1, &ea), -EINVAL);
	base -= size;
	assert_int_equal(ext_create(base, size, 1, &ea), 0);
	assert_int_equal(ext_take(ea, size - 1, 0, &a), 0);
	assert_int_equal(ext_take(ea, 1, 0, &b), 0);
	assert_true(b.off == base + size - 1);
	assert_int_equal(ext_take(ea, 1, 0, &b), -ENOSPC);
	ext_destroy(ea);
}

static void test_take_at(void **state)
{
	struct ext_alloc *ea;
	struct ext ext;

	assert_int_equal(ext_create(8 * UNIT, 8 * UNIT, UNIT, &ea), 0);
	assert_int_equal(ext_take_at(ea, 10 * UNIT, 2 * UNIT, &ext), 0);
	assert_int_equal(ext_take_at(ea, 11 * UNIT, UNIT, &ext), -EBUSY);
	assert_int_equal(ext_take_at(ea, 9 * UNIT, 2 * UNIT, &ext), -EBUSY);
	assert_int_equal(ext_take_at(ea, 9 * UNIT, 0, &ext), -EINVAL);
	assert_int_equal(ext_take_at(ea, 9 * UNIT + 1, 1, &ext), -EINVAL);
	assert_int_equal(ext_take_at(ea, 7 * UNIT, UNIT, &ext), -EINVAL);
	assert_int_equal(ext_take_at(ea, 15 * UNIT, 2 * UNIT, &ext), -EINVAL);
	assert_int_equal(ext_take_at(ea, 15 * UNIT, UINT64_MAX, &ext), -EINVAL);
	assert_int_equal(ext_take_at(ea, 15 * UNIT, 5, &ext), 0);
	assert_int_equal(ext.len, UNIT);
	assert_int_equal(ext_used(ea), 3 * UNIT);
	ext_destroy(ea);
}

static void give_twice(void *arg)
{
	struct ext_alloc *ea = arg;
	struct ext ext;

	ext_take(ea, UNIT, 0, &ext);
	ext_give(ea, &ext);
	ext_give(ea, &ext);
}

static void give_other_length(void *arg)
{
	struct ext_alloc *ea = arg;
	struct ext ext;

	ext_take(ea, UNIT, 0, &ext);
	ext.len += UNIT;
	ext_give(ea, &ext);
}

static void test_wrong_gives_are_bugs(void **state)
{
	struct ext_alloc *ea;

	assert_int_equal(ext_create(0, 8 * UNIT, UNIT, &ea), 0);
	assert_non_null(strstr(t_death(give_twice, ea), "NODE_USED"));
	assert_non_null(strstr(t_death(give_other_length, ea), "ext->len"));
	ext_destroy(ea);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create_refuses),
		cmocka_unit_test(test_whole_and_again),
		cmocka_unit_test(test_last_resort),
		cmocka_unit_test(test_deep_in_the_bin),
		cmocka_unit_test(test_restore_is_quick),
		cmocka_unit_test(test_huge_offsets),
		cmocka_unit_test(test_take_at),
		cmocka_unit_test(test_wrong_gives_are_bugs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
