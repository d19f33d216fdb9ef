/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a namespace of a target is one that a master has registered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "deploy/registered.h"

static bool is_registered(const char *at, const char *listener)
{
	static struct endpoint path;
	static struct registered_ns ns;
	struct registered reg = {.paths = &path, .count = 1};

	path = (struct endpoint){.nsid = 1};
	snprintf(path.subnqn, sizeof(path.subnqn), "nqn.x:a");
	snprintf(path.traddr, sizeof(path.traddr), "%s", at);
	ns = (struct registered_ns){.nqn = "nqn.x:a", .nsid = 1};
	if (listener)
		snprintf(ns.addrs[ns.addr_count++], sizeof(ns.addrs[0]), "%s",
			 listener);
	if (registered_has(&reg, &ns)) {
		ns.nsid = 2;
		assert_false(registered_has(&reg, &ns));
		return true;
	}
	return false;
}

static void test_addresses(void **state)
{
	assert_true(is_registered("10.0.0.7", "10.0.0.7"));
	assert_false(is_registered("10.0.0.7", "10.0.0.8"));
	assert_true(is_registered("10.0.0.7", "0.0.0.0"));
	assert_true(is_registered("10.0.0.7", "::"));
	assert_true(is_registered("10.0.0.7", NULL));
	assert_true(is_registered("10.0.0.7", "::ffff:10.0.0.7"));
}

/* One address has many texts. */
static void test_ipv6(void **state)
{
	assert_true(is_registered("fd00::7", "fd00:0:0:0:0:0:0:7"));
	assert_true(is_registered("FD00::7", "fd00::7"));
	assert_true(is_registered("fe80::7%eth0", "fe80::7"));
	assert_true(is_registered("fd00::7", "0:0:0:0:0:0:0:0"));
	assert_false(is_registered("fd00::7", "fd00::8"));
}

/* It is not known here what a name stands for. */
static void test_names(void **state)
{
	assert_true(is_registered("ssd1.example", "10.0.0.7"));
	assert_true(is_registered("10.0.0.7", "ssd1.example"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
