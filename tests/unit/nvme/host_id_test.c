/* SPDX-License-Identifier: Apache-2.0 */
/* Host identity: stable, valid, and never the machine id. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "nvme/endpoint.h"

#define MACHINE "0f01fb429f7f4856b0b351e60b8de349"

static void test_stable(void **state)
{
	struct host_id a, b, c;

	host_id_derive(STR(MACHINE "\n"), &a);
	host_id_derive(STR(MACHINE), &b);
	host_id_derive(STR(MACHINE "0"), &c);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_memory_not_equal(a.id, c.id, sizeof(a.id));
	assert_int_equal(nqn_check(str_of(a.nqn), &(struct err){0}), 0);
	assert_null(strstr(a.nqn, "0f01fb42"));
}

static void test_random(void **state)
{
	struct host_id a, b;

	host_id_derive(STR(""), &a);
	host_id_derive((struct str){0}, &b);
	assert_memory_not_equal(a.id, b.id, sizeof(a.id));
	assert_int_equal(nqn_check(str_of(a.nqn), &(struct err){0}), 0);
}

/* An NQN of its own has an id of its own. */
static void test_nqn(void **state)
{
	struct host_id plain, nqn, same;

	host_id_derive(STR(MACHINE), &plain);
	host_id_of_nqn("nqn.2020-01.org.x:h", &nqn);
	host_id_of_nqn("nqn.2020-01.org.x:h", &same);
	assert_string_equal(nqn.nqn, "nqn.2020-01.org.x:h");
	assert_memory_not_equal(nqn.id, plain.id, sizeof(nqn.id));
	assert_memory_equal(&nqn, &same, sizeof(nqn));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stable),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_nqn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
