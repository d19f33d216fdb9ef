/* SPDX-License-Identifier: Apache-2.0 */
/* Two subsystems on one socket: what one of them leaves behind there. */
#include "t_control.h"

#define CNODE	"nqn.2016-06.io.spdk:cnode1"
#define OTHER	"nqn.2016-06.io.spdk:other"
#define INVALID "!-32602 Invalid parameters"

static int setup(void **state)
{
	t_begin();
	return 0;
}

static int teardown(void **state)
{
	t_end();
	return 0;
}

static unsigned port; /* 0: any */

static void call(const char *method, const char *nqn, const char *more,
		 const char *want)
{
	char params[256];

	snprintf(params, sizeof(params),
		 "{\"nqn\":\"%s\",\"listen_address\":{\"trtype\":\"TCP\","
		 "\"traddr\":\"127.0.0.1\",\"trsvcid\":\"%u\"}%s}",
		 nqn, port, more);
	t_expect(method, params, want);
}

static void add(const char *nqn, const char *more, const char *want)
{
	struct tgt_listener_info info;

	call("nvmf_subsystem_add_listener", nqn, more, want);
	if (!port) {
		assert_true(tgt_listener_at(t_tgt, 0, &info));
		port = addr_port(&info.addr);
	}
}

/* CNODE with a namespace and ANA, at the first port; OTHER has neither. */
static void make_two(void)
{
	port = 0;
	t_expect("nvmf_create_transport", "{\"trtype\":\"TCP\"}", "true");
	t_expect("nvmf_create_subsystem",
		 "{\"nqn\":\"" CNODE "\",\"ana_reporting\":true}", "true");
	t_expect("nvmf_create_subsystem", "{\"nqn\":\"" OTHER "\"}", "true");
	t_expect("bdev_malloc_create",
		 "{\"name\":\"M0\",\"num_blocks\":64,\"block_size\":4096}",
		 "\"M0\"");
	t_expect("nvmf_subsystem_add_ns",
		 "{\"nqn\":\"" CNODE "\",\"namespace\":{\"bdev_name\":\"M0\"}}",
		 "1");
	add(CNODE, "", "true");
}

static void expect_ana(const char *name)
{
	char want[128];

	snprintf(want, sizeof(want),
		 "[{\"ana_states\":[{\"ana_group\":1,\"ana_state\":\"%s\"}]}]",
		 name);
	t_expect("nvmf_subsystem_get_listeners", "{\"nqn\":\"" CNODE "\"}",
		 want);
}

/* A path that is attached anew is a good one, also at a socket that others
 * have kept open. */
static void test_starts_optimized(void **state)
{
	make_two();
	add(OTHER, "", "true");
	call("nvmf_subsystem_listener_set_ana_state", CNODE,
	     ",\"ana_state\":\"inaccessible\"", "true");
	expect_ana("inaccessible");
	call("nvmf_subsystem_remove_listener", CNODE, "", "true");
	add(CNODE, "", "true");
	expect_ana("optimized");
}

static void test_not_half_done(void **state)
{
	make_two();
	add(OTHER, ",\"ana_state\":\"inaccessible\"", INVALID);
	t_expect("nvmf_subsystem_get_listeners", "{\"nqn\":\"" OTHER "\"}",
		 "[]");
	add(OTHER, "", "true");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_starts_optimized, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_not_half_done, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
