/* SPDX-License-Identifier: Apache-2.0 */
/* A directory that can be listed in part only. */
#include <dirent.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "life.h"

static unsigned fail_at; /* the call of that number; 0 = none */

/* One log at a time, at most. */
ssize_t getdents64(int fd, void *p, size_t n)
{
	bool fails = fail_at && --fail_at == 0;

	return syscall(SYS_getdents64, fails ? -1 : fd, p, MIN(n, (size_t)64));
}

/* What was not seen is not begun anew: the start is refused. */
static void test_listing_fails(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	for (char c = 1; c < 4; c++) {
		begin(&life, &d);
		append(&life, c);
		end(&life);
	}
	for (unsigned i = 1; i <= 4; i++) {
		fail_at = i;
		assert_int_equal(try_begin(&life, &d, "c"), -EBADF);
	}
	fail_at = 0;
	begin(&life, &d);
	assert_int_equal(life.count, 3);
	end(&life);
	t_dir_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listing_fails),
	};

	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
