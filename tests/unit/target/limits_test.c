/* SPDX-License-Identifier: Apache-2.0 */
/* Limits that a target refuses, with a sentence. */
#include "target/target.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "io/loop.h"

static struct loop *loop;

static void refused(struct tgt_opts opts, const char *word)
{
	struct err err = {0};
	struct tgt *tgt;

	opts.loop = loop;
	assert_int_equal(tgt_create(&opts, &tgt, &err), -EINVAL);
	assert_null(tgt);
	if (!strstr(err.text, word))
		fail_msg("'%s' does not say '%s'", err.text, word);
}

static void test_refused(void **state)
{
	/* 4096 would be MDTS 0, which means that there is no limit. */
	refused((struct tgt_opts){.max_transfer = 4096}, "8192 to");
	refused((struct tgt_opts){.max_transfer = 64 << 20}, "8192 to");
	refused((struct tgt_opts){.max_h2cdata = 4095}, "4096");
	refused((struct tgt_opts){.in_capsule = 8}, "16");
	refused((struct tgt_opts){.queue_depth = 1}, "2 to 4096");
}

static int setup(void **state)
{
	struct err err = {0};

	return loop_create(&(struct loop_opts){.name = "test"}, &loop, &err);
}

static int teardown(void **state)
{
	loop_destroy(loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
