/* SPDX-License-Identifier: Apache-2.0 */
/* Store service configuration: file, environment, definitions, mistakes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/config.h"

static const char *const env_names[] = {
	"MOONCAKE_LOCAL_HOSTNAME", "MOONCAKE_TE_META_DATA_SERVER",
	"MOONCAKE_MASTER",	   "MOONCAKE_GLOBAL_SEGMENT_SIZE",
	"MOONCAKE_PROTOCOL",	   "MOONCAKE_DEVICE",
};

static int setup(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(env_names); i++)
		unsetenv(env_names[i]);
	return 0;
}

static int load(struct node_config *config, const char *json,
		char *const *defines, struct err *err)
{
	struct flag_list list = {0};
	char path[] = "/tmp/node_test_XXXXXX.json";
	FILE *file;
	int ret;

	while (defines && defines[list.count])
		list.count++;
	list.items = (char **)(uintptr_t)defines;
	if (!json)
		return node_config_load(config, "", &list, err);
	file = fdopen(mkstemps(path, 5), "w");
	fputs(json, file);
	fclose(file);
	ret = node_config_load(config, path, &list, err);
	unlink(path);
	return ret;
}

static const char *pair(const struct node_pairs *pairs, const char *name)
{
	for (size_t i = 0; i < pairs->count; i++) {
		if (strcmp(pairs->names[i], name) == 0)
			return pairs->values[i];
	}
	return "(absent)";
}

#define GOOD                                                                   \
	"\"local_hostname\": \"10.0.0.1\", \"metadata_server\": "              \
	"\"P2PHANDSHAKE\", \"master_server_address\": \"10.0.0.2:50051\""

static void test_file(void **state)
{
	char one[] = "global_segment_size=2gb", two[] = "replica-num = 3";
	char *defines[] = {one, two, NULL};
	struct node_config config;
	struct node_pairs pairs;
	struct err err = {0};

	/* a file replaces the environment as a whole */
	setenv("MOONCAKE_DEVICE", "mlx5_9", 1);
	if (load(&config,
		 "{" GOOD ", \"global_segment_size\": \"50gb\", \"protocol\": "
		 "\"TCP\", \"mode\": {\"x\": [1]}, \"local_buffer_size\": "
		 "1024}",
		 defines, &err))
		fail_msg("%s", err.text);
	node_config_pairs(&config, &pairs);
	assert_string_equal(pair(&pairs, "local_hostname"), "10.0.0.1");
	assert_string_equal(pair(&pairs, "master_server_address"),
			    "10.0.0.2:50051");
	assert_string_equal(pair(&pairs, "global_segment_size"), "2147483648");
	assert_string_equal(pair(&pairs, "local_buffer_size"), "1024");
	assert_string_equal(pair(&pairs, "protocol"), "tcp");
	assert_string_equal(pair(&pairs, "replica_num"), "3");
	assert_string_equal(pair(&pairs, "rdma_devices"), "(absent)");
	assert_string_equal(pair(&pairs, "nof_replica_num"), "(absent)");
	node_config_fini(&config);
}

static void test_environment(void **state)
{
	struct node_config config;
	struct err err = {0};

	assert_int_equal(load(&config, NULL, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "MOONCAKE_MASTER"));
	node_config_fini(&config);
	setenv("MOONCAKE_MASTER", "m:1", 1);
	setenv("MOONCAKE_GLOBAL_SEGMENT_SIZE", "1.5g", 1);
	err = (struct err){0};
	if (load(&config, NULL, NULL, &err))
		fail_msg("%s", err.text);
	assert_int_equal(config.segment_bytes, 3 * GiB / 2);
	assert_string_equal(config.local_hostname, "localhost");
	assert_string_equal(config.metadata_server, "P2PHANDSHAKE");
	node_config_fini(&config);
}

static const struct {
	const char *json, *define, *word;
} broken[] = {
	{"{\"metadata_server\": \"a\", \"master_server_address\": \"b\"}", NULL,
	 "\"local_hostname\" is required"},
	{"{\"local_hostname\": \"a\", \"master_server_address\": \"b\"}", NULL,
	 "\"metadata_server\" is required"},
	{"{\"local_hostname\": \"a\", \"metadata_server\": \"b\"}", NULL,
	 "\"master_server_address\" is required"},
	{"{" GOOD ",\n  \"global_segment_size\": \"many\"}", NULL, ":2:26: "},
	{"{" GOOD ",\n}", NULL, ":2:1"},
	{"{" GOOD "}", "nonsense", "key=value"},
	{"{" GOOD "}", "=1", "key=value"},
	{"{" GOOD "}", "global_segment_sise=1", "global_segment_sise"},
	{"{" GOOD "}", "global_segment_size=-1", "-1"},
};

static void test_broken(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		char define[64] = "", *defines[] = {define, NULL};
		struct node_config config;
		struct err err = {0};

		if (broken[i].define)
			snprintf(define, sizeof(define), "%s",
				 broken[i].define);
		if (load(&config, broken[i].json,
			 broken[i].define ? defines : NULL, &err) == 0 ||
		    !strstr(err.text, broken[i].word))
			fail_msg("%s: '%s', expected %s", broken[i].json,
				 err.text, broken[i].word);
		node_config_fini(&config);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_file, setup),
		cmocka_unit_test_setup(test_environment, setup),
		cmocka_unit_test_setup(test_broken, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
