/* SPDX-License-Identifier: Apache-2.0 */
/* Setup keys with their spellings, bad values, and who decides placement. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "client/conf.h"

#define PAIRS_MAX 8

struct pairs {
	const char *names[PAIRS_MAX], *values[PAIRS_MAX];
};

static int parse(const struct pairs *p, struct client_conf *conf,
		 struct err *err)
{
	const char *names[PAIRS_MAX + 2] = {"local_hostname",
					    "metadata_server"};
	const char *values[PAIRS_MAX + 2] = {"localhost", "P2PHANDSHAKE"};
	size_t n = 2;

	for (size_t i = 0; i < PAIRS_MAX && p->names[i]; i++, n++) {
		names[n] = p->names[i];
		values[n] = p->values[i];
	}
	*err = (struct err){0};
	return conf_parse(names, values, n, conf, err);
}

static void test_defaults(void **state)
{
	struct client_conf conf;
	struct err err;

	assert_int_equal(parse(&(struct pairs){0}, &conf, &err), 0);
	assert_int_equal(conf.segment_bytes, 16 << 20);
	assert_string_equal(conf.master.host, "127.0.0.1");
	assert_int_equal(conf.master.port, 50051);
	assert_false(conf.local.has_port);
	assert_int_equal(conf.setup.memory, -1);
	assert_int_equal(conf.setup.nof, -1);
	assert_int_equal(conf.port_min, 12300);
	assert_int_equal(conf.port_max, 14300);
}

static void test_spellings(void **state)
{
	const struct pairs legacy = {{"master_server_address", "device_name",
				      "ipc_socket_path", "no_such_key"},
				     {"h1:1", "mlx5_0", "/x", "y"}};
	const struct pairs both = {
		{"master_server_addr", "master_server_address"},
		{"h1:1", "h2:2"}};
	const struct pairs prefixed = {
		{"mooncake_master_server_addr", "master_server_addr",
		 "mooncake_nof_replica_num", "mooncake_memory_replica_num"},
		{"h3:3", "h1:1", "2", "0"}};
	struct client_conf conf;
	struct err err;

	assert_int_equal(parse(&legacy, &conf, &err), 0);
	assert_string_equal(conf.master.host, "h1");
	assert_int_equal(parse(&both, &conf, &err), 0);
	assert_string_equal(conf.master.host, "h1");
	assert_int_equal(parse(&prefixed, &conf, &err), 0);
	assert_string_equal(conf.master.host, "h3");
	assert_int_equal(conf.setup.nof, 2);
	assert_int_equal(conf.setup.memory, 0);
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"0", 0},
		{"4gb", 4ULL << 30},
		{"16777217", 16777216},
		{"1024", 0}, /* less than a page */
		{"1.5 MB", 3 << 19},
	};
	static const char *const bad[] = {"50%", "",	"-1",
					  "x",	 "512", "99999999999999999999"};
	struct pairs p = {{"global_segment_size"}, {NULL}};
	struct client_conf conf;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		p.values[0] = good[i].text;
		assert_int_equal(parse(&p, &conf, &err), 0);
		assert_int_equal(conf.segment_bytes, good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		p.values[0] = bad[i];
		assert_int_equal(parse(&p, &conf, &err), -EINVAL);
		assert_non_null(strstr(err.text, "global_segment_size"));
	}
}

static const struct {
	const char *name, *value, *word;
} refused[] = {
	{"protocol", "ascend", "ascend"},
	{"master_server_addr", "etcd://a:2379", "etcd"},
	{"master_server_addr", "k8s://ns/lease", "k8s"},
	{"master_server_addr", "host:0", "host:0"},
	{"master_server_addr", "host:99999", "99999"},
	{"local_hostname", "", "local_hostname"},
	{"local_hostname", "h:x", "x"},
	{"local_buffer_size", "12", "1024"},
	{"replica_num", "-1", "replica_num"},
	{"replica_num", "17", "17"},
	{"nof_replica_num", "many", "many"},
	{"enable_mooncake_nof_pool", "perhaps", "perhaps"},
};

static void test_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct pairs p = {{refused[i].name}, {refused[i].value}};
		struct client_conf conf;
		struct err err;

		assert_int_equal(parse(&p, &conf, &err), -EINVAL);
		if (!strstr(err.text, refused[i].word))
			fail_msg("'%s' does not name '%s'", err.text,
				 refused[i].word);
	}
}

static void test_no_metadata(void **state)
{
	const char *name = "local_hostname", *value = "h";
	struct client_conf conf;
	struct err err = {0};

	assert_int_equal(conf_parse(&name, &value, 1, &conf, &err), -EINVAL);
	assert_non_null(strstr(err.text, "metadata_server"));
}

static void expect(const struct client_conf *conf, struct policy wish,
		   struct policy want)
{
	struct policy got;

	assert_int_equal(policy_resolve(conf, wish, &got), 0);
	assert_int_equal(got.memory, want.memory);
	assert_int_equal(got.nof, want.nof);
}

static void test_policy(void **state)
{
	struct client_conf conf = {.setup = {0, 1}, .env = {2, 2}};
	struct policy got;

	/* a config that nobody touched is no wish */
	expect(&conf, (struct policy){1, 0}, (struct policy){0, 1});
	expect(&conf, (struct policy){1, -1}, (struct policy){0, 1});
	expect(&conf, POLICY_NONE, (struct policy){0, 1});
	expect(&conf, (struct policy){2, 0}, (struct policy){2, 0});
	expect(&conf, (struct policy){0, 2}, (struct policy){0, 2});
	expect(&conf, (struct policy){1, 1}, (struct policy){1, 1});
	conf.setup = POLICY_NONE;
	expect(&conf, POLICY_NONE, (struct policy){2, 2});
	conf.env = POLICY_NONE;
	expect(&conf, POLICY_NONE, POLICY_NONE);
	expect(&conf, (struct policy){1, 0}, POLICY_NONE);
	assert_int_equal(policy_resolve(&conf, (struct policy){0, 0}, &got),
			 -EINVAL);
	assert_int_equal(policy_resolve(&conf, (struct policy){99, 0}, &got),
			 -EINVAL);
}

static void test_policy_sources(void **state)
{
	const struct pairs pool = {{"enable_mooncake_nof_pool"}, {"True"}};
	const struct pairs pool3 = {{"enable_mooncake_nof_pool",
				     "mooncake_nof_replica_num",
				     "mooncake_memory_replica_num"},
				    {"true", "3", "1"}};
	const struct pairs none = {{"replica_num", "nof_replica_num"},
				   {"0", "0"}};
	struct client_conf conf;
	struct err err;

	assert_int_equal(parse(&pool, &conf, &err), 0);
	assert_int_equal(conf.setup.memory, 0);
	assert_int_equal(conf.setup.nof, 1);
	assert_int_equal(parse(&pool3, &conf, &err), 0);
	assert_int_equal(conf.setup.memory, 1);
	assert_int_equal(conf.setup.nof, 3);
	assert_int_equal(parse(&none, &conf, &err), -EINVAL);
	setenv("MOONCAKE_NOF_REPLICA_NUM", "2", 1);
	assert_int_equal(parse(&pool, &conf, &err), 0);
	assert_int_equal(conf.env.nof, 2);
	assert_int_equal(conf.env.memory, -1);
	setenv("MOONCAKE_NOF_REPLICA_NUM", "two", 1);
	assert_int_equal(parse(&pool, &conf, &err), -EINVAL);
	assert_non_null(strstr(err.text, "MOONCAKE_NOF_REPLICA_NUM"));
	unsetenv("MOONCAKE_NOF_REPLICA_NUM");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_no_metadata),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_policy_sources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
