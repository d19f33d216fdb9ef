/* SPDX-License-Identifier: Apache-2.0 */
/* What a client makes of a replica that the master has named. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/xfer.h"

/* Nothing was submitted then, so no segment has failed. */
static void test_nonsense_is_nobodys_failure(void **state)
{
	Mc__Extent extent = MC__EXTENT__INIT, *extents[] = {&extent};
	Mc__Replica replica = MC__REPLICA__INIT;
	struct xfer_io xio = {0};
	struct vols vols = {0};
	struct arena arena;

	arena_init(&arena, 0);
	extent.length = 4096;
	extent.segment = 3; /* there is none */
	replica.extents = extents;
	replica.n_extents = 1;
	xio.io.ret = xfer_set_replica(&xio, &vols, &replica, 4096, &arena);
	assert_int_equal(xio.io.ret, -EBADMSG);
	assert_null(xfer_failed_segment(&vols, &xio));
	arena_fini(&arena);
}

/* What is told to the master, and what is our own trouble. */
static void test_problems(void **state)
{
	const int own[] = {0, -ENOMEM, -EINVAL, -ECANCELED};
	const int lost[] = {-ETIMEDOUT, -EHOSTUNREACH, -ECONNRESET, -EIO};
	Mc__Problem what;

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		assert_false(xfer_problem(own[i], &what));
	for (size_t i = 0; i < ARRAY_SIZE(lost); i++) {
		assert_true(xfer_problem(lost[i], &what));
		assert_int_equal(what, MC__PROBLEM__PROBLEM_UNREACHABLE);
	}
	assert_true(xfer_problem(-EILSEQ, &what));
	assert_int_equal(what, MC__PROBLEM__PROBLEM_CHECKSUM);
	assert_true(xfer_problem(-ENODATA, &what));
	assert_int_equal(what, MC__PROBLEM__PROBLEM_MEDIA);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nonsense_is_nobodys_failure),
		cmocka_unit_test(test_problems),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
