/* SPDX-License-Identifier: Apache-2.0 */
/* Host identity: stable, valid, overridable, and never the machine id. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "nvme/endpoint.h"

#define MACHINE "0f01fb429f7f4856b0b351e60b8de349"

static int clear_env(void **state)
{
	unsetenv("MC_NVME_HOSTNQN");
	unsetenv("MC_NVME_HOSTID");
	return 0;
}

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

static void test_environment(void **state)
{
	struct host_id plain, nqn, both;

	host_id_derive(STR(MACHINE), &plain);
	setenv("MC_NVME_HOSTNQN", "nqn.2020-01.org.x:h", 1);
	host_id_derive(STR(MACHINE), &nqn);
	assert_string_equal(nqn.nqn, "nqn.2020-01.org.x:h");
	assert_memory_not_equal(nqn.id, plain.id, sizeof(nqn.id));
	setenv("MC_NVME_HOSTID", "00112233-4455-6677-8899-aabbccddeeff", 1);
	host_id_derive(STR(MACHINE), &both);
	assert_int_equal(both.id[1], 0x11);
	assert_int_equal(both.id[15], 0xff);
	setenv("MC_NVME_HOSTNQN", "rubbish", 1);
	setenv("MC_NVME_HOSTID", "rubbish", 1);
	host_id_derive(STR(MACHINE), &both);
	assert_memory_equal(&both, &plain, sizeof(both));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_stable, clear_env),
		cmocka_unit_test_setup(test_random, clear_env),
		cmocka_unit_test_setup(test_environment, clear_env),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
