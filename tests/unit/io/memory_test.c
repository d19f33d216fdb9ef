/* SPDX-License-Identifier: Apache-2.0 */
#include "io/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/mman.h>

static void mappings_are_zero_and_aligned(void **state)
{
	static const uint64_t sizes[] = {1, 4096, 5000, 2 * MiB, 3 * MiB + 1};
	void *p;

	for (size_t i = 0; i < ARRAY_SIZE(sizes) * 2; i++) {
		uint64_t n = sizes[i / 2];

		assert_int_equal(mem_map(n, i % 2, &p), 0);
		assert_true(IS_ALIGNED((uintptr_t)p, (uintptr_t)4096));
		if (i % 2 && n >= 2 * MiB)
			assert_true(
				IS_ALIGNED((uintptr_t)p, (uintptr_t)(2 * MiB)));
		assert_int_equal(((char *)p)[0], 0);
		((char *)p)[n - 1] = 1;
		assert_true(mem_is_accessible(p, n, true));
		mem_unmap(p, n);
		assert_false(mem_is_accessible(p, n, false));
	}
	assert_int_equal(mem_map(UINT64_MAX, true, &p), -ENOMEM);
	assert_int_equal(mem_map((uint64_t)1 << 62, false, &p), -ENOMEM);
	assert_null(p);
	mem_unmap(NULL, 1);
}

static void access_is_checked(void **state)
{
	const char text[] = "text";
	char *p;
	void *map;

	assert_int_equal(mem_map(5 * 4096, false, &map), 0);
	p = map;
	assert_int_equal(mprotect(p + 4096, 4096, PROT_READ), 0);
	assert_int_equal(mprotect(p + 3 * 4096, 4096, PROT_NONE), 0);
	munmap(p + 4 * 4096, 4096);
	assert_true(mem_is_accessible(p, 3 * 4096, false));
	assert_true(mem_is_accessible(p, 4096, true));
	assert_false(mem_is_accessible(p, 4097, true));
	assert_true(mem_is_accessible(p + 2 * 4096, 4096, true));
	assert_false(mem_is_accessible(p, 3 * 4096 + 1, false));
	assert_false(mem_is_accessible(p + 3 * 4096, 1, false));
	assert_false(mem_is_accessible(p + 4 * 4096, 1, false));
	assert_true(mem_is_accessible(text, sizeof(text), true));
	assert_false(mem_is_accessible(NULL, 1, false));
	assert_true(mem_is_accessible(NULL, 0, true));
	assert_false(mem_is_accessible(p, SIZE_MAX, false));
	assert_false(mem_is_accessible((void *)-4096, 16, false));
	mem_unmap(p, 4 * 4096);
}

static void code_is_not_writable(void **state)
{
	const void *code = (const void *)(uintptr_t)access_is_checked;

	assert_true(mem_is_accessible(code, 16, false));
	assert_false(mem_is_accessible(code, 16, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mappings_are_zero_and_aligned),
		cmocka_unit_test(access_is_checked),
		cmocka_unit_test(code_is_not_writable),
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
