/* SPDX-License-Identifier: Apache-2.0 */
/* Removal by key, by pattern, of everything; slices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_core.h"

static struct core *filled(void)
{
	struct core *core = t_core(NULL);
	char key[32];

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "model/%u/part", i);
		ASSERT(t_put(core, key, 100, 1, 0) == 0);
	}
	return core;
}

static uint64_t run(struct core *core, const char *pattern, bool is_forced)
{
	struct remover r;
	struct err err = {0};

	assert_int_equal(
		remover_init(&r, core, str_of(pattern), is_forced, &err), 0);
	while (remover_step(&r, core, 7))
		;
	remover_fini(&r);
	assert_int_equal(r.too_hard, 0);
	return r.count;
}

static void test_key(void **state)
{
	struct core *core = filled();

	assert_int_equal(remove_key(core, STR(""), false), -600);
	assert_int_equal(remove_key(core, STR("nope"), false), -704);
	assert_int_equal(t_start(core, "open", 100, 1, 0), 0);
	assert_int_equal(remove_key(core, STR("open"), true), -703);
	assert_true(t_exist(core, "model/1/part"));
	assert_int_equal(remove_key(core, STR("model/1/part"), false), -706);
	assert_int_equal(remove_key(core, STR("model/1/part"), true), 0);
	assert_int_equal(remove_key(core, STR("model/2/part"), false), 0);
	core_destroy(core);
}

static void test_pattern(void **state)
{
	struct core *core = filled();

	assert_true(t_exist(core, "model/5/part"));
	/* Search, not full match; leased ones stay. */
	assert_int_equal(run(core, "/[0-9]/", false), 9);
	assert_int_equal(run(core, "^/", false), 0);
	assert_int_equal(run(core, "/1[0-4]/p", false), 5);
	assert_int_equal(run(core, "/5/", true), 1);
	assert_int_equal(run(core, NULL, true), 85);
	assert_int_equal(core->objects.count, 0);
	core_destroy(core);
}

static void test_bad_patterns(void **state)
{
	struct core *core = filled();
	struct remover r;
	struct err err = {0};
	char *lots = calloc(1, 4098);

	assert_int_equal(remover_init(&r, core, STR("a(b"), false, &err), -22);
	assert_string_equal(err.text,
			    "bad pattern at offset 3: missing closing "
			    "parenthesis");
	err = (struct err){0};
	assert_int_equal(remover_init(&r, core, STR(""), false, &err), -22);
	memset(lots, 'a', 4097);
	assert_int_equal(remover_init(&r, core, str_of(lots), false, &err),
			 -22);
	/* Exponential: given up for the key, not for ever. */
	err = (struct err){0};
	lots[3000] = '\0';
	lots[2999] = 'b';
	assert_int_equal(t_put(core, lots, 100, 1, 0), 0);
	assert_int_equal(remover_init(&r, core, STR("^(a|aa)+$"), false, &err),
			 0);
	while (remover_step(&r, core, 1000))
		;
	remover_fini(&r);
	assert_int_equal(r.count, 0);
	assert_int_equal(r.too_hard, 1);
	free(lots);
	core_destroy(core);
}

static void test_world_goes_on(void **state)
{
	struct core *core = filled();
	struct remover r;
	struct err err = {0};

	assert_int_equal(remover_init(&r, core, STR("^model"), false, &err), 0);
	assert_true(remover_step(&r, core, 10));
	/* The cursor's object goes; a new one is not this removal's. */
	assert_int_equal(remove_key(core, STR("model/10/part"), false), 0);
	assert_int_equal(t_put(core, "model/new", 100, 1, 0), 0);
	while (remover_step(&r, core, 10))
		;
	remover_fini(&r);
	assert_int_equal(r.count, 99);
	assert_int_equal(core->objects.count, 1);
	core_destroy(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_pattern),
		cmocka_unit_test(test_bad_patterns),
		cmocka_unit_test(test_world_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
