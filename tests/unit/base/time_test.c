/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static void test_mono_never_goes_back(void **state)
{
	uint64_t last = time_mono_ns();

	for (int i = 0; i < 1000; i++) {
		uint64_t now = time_mono_ns();

		assert_true(now >= last);
		last = now;
	}
}

static void test_wall_is_the_wall_clock(void **state)
{
	uint64_t before = (uint64_t)time(NULL);
	uint64_t now = time_wall_ns() / NS_PER_S;

	/* time() may lag by a tick of the kernel. */
	assert_in_range(now, before, before + 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mono_never_goes_back),
		cmocka_unit_test(test_wall_is_the_wall_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
