/* SPDX-License-Identifier: Apache-2.0 */
/* Options of a volume set from the environment. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "pool/vol.h"
#include "proto/frame.h"

static const char *const names[] = {
	"MC_NOF_WORKERS",
	"MC_NOF_SUBMIT_CHUNK_BYTES",
	"MC_NOF_INFLIGHT_BYTES_LIMIT",
	"MC_NVME_NUM_IO_QUEUES",
	"MC_NVME_IO_QUEUE_SIZE",
	"MC_NVME_FABRICS_CONNECT_TIMEOUT_US",
	"MC_NVME_HEADER_DIGEST",
	"MC_NVME_DATA_DIGEST",
	"MC_NVME_ZEROCOPY_BYTES",
	"MC_NVME_ADMIN_QUEUE_SIZE",
	"MC_NVME_TRANSPORT_ACK_TIMEOUT",
	"MC_NVME_IO_QUEUE_REQUESTS",
	"MC_NVME_CTRL_LOSS_TMO",
	"MC_NOF_MULTIPATH",
	"MC_NOF_READ_WEIGHT",
	"MC_NOF_TRTYPE",
	"MC_NOF_DEBUG",
	"MC_NOF_DEBUG_INTERVAL_MS",
	"MC_STORE_NUMA_SOCKET_ID",
};

static int clear(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
	return 0;
}

static void test_defaults(void **state)
{
	struct vol_opts opts;
	struct err err = {0};

	assert_int_equal(vol_opts_init(&opts, &err), 0);
	assert_in_range(opts.workers, 1, 4); /* or as many as CPUs */
	assert_int_equal(opts.chunk_bytes, 262144);
	assert_int_equal(opts.inflight_bytes, 33554432);
	assert_false(opts.nvmf.hdgst || opts.nvmf.ddgst);
	assert_int_equal(opts.nvmf.zerocopy_bytes, 262144);
	assert_true(strlen(opts.nvmf.host.nqn) > 0);
	assert_int_equal(opts.multipath, MULTIPATH_ROUND_ROBIN);
	assert_int_equal(opts.loss_timeout_s, 600);
	assert_int_equal(opts.read_weight, 1);
	assert_int_equal(opts.numa_node, -1);
	assert_int_equal(opts.debug_ms, 0);
	assert_int_equal(opts.nvmf.ack_timeout_ms, 0);
}

static void test_paths(void **state)
{
	struct vol_opts opts;
	struct err err = {0};

	setenv("MC_NOF_MULTIPATH", "Queue-Depth", 1);
	setenv("MC_NVME_CTRL_LOSS_TMO", "30", 1);
	setenv("MC_NVME_TRANSPORT_ACK_TIMEOUT", "11", 1);
	setenv("MC_NVME_IO_QUEUE_REQUESTS", "31", 1);
	setenv("MC_NOF_READ_WEIGHT", "4", 1);
	setenv("MC_NOF_DEBUG", "yes", 1);
	setenv("MC_NOF_TRTYPE", "tcp", 1);
	setenv("MC_STORE_NUMA_SOCKET_ID", "0", 1);
	assert_int_equal(vol_opts_init(&opts, &err), 0);
	assert_int_equal(opts.multipath, MULTIPATH_QUEUE_DEPTH);
	assert_int_equal(opts.loss_timeout_s, 30);
	assert_int_equal(opts.nvmf.ack_timeout_ms, 2048);
	assert_int_equal(opts.nvmf.io_depth, 32);
	assert_int_equal(opts.read_weight, 4);
	assert_int_equal(opts.debug_ms, 1000);
	assert_int_equal(opts.numa_node, 0);
}

/* A node that this machine does not have is an error of the set. */
static void test_numa(void **state)
{
	struct vol_opts opts;
	struct vol_set *set = NULL;
	struct err err = {0};

	assert_int_equal(vol_opts_init(&opts, &err), 0);
	opts.numa_node = 1023;
	assert_int_equal(vol_set_create(&opts, &set, &err), -EINVAL);
	assert_non_null(strstr(err.text, "1023"));
	assert_null(set);
}

static void test_values(void **state)
{
	struct vol_opts opts;
	struct err err = {0};

	setenv("MC_NOF_WORKERS", "2", 1);
	setenv("MC_NOF_SUBMIT_CHUNK_BYTES", "300000", 1);
	setenv("MC_NOF_INFLIGHT_BYTES_LIMIT", "64m", 1);
	setenv("MC_NVME_NUM_IO_QUEUES", "3", 1);
	setenv("MC_NVME_IO_QUEUE_SIZE", "256", 1);
	setenv("MC_NVME_FABRICS_CONNECT_TIMEOUT_US", "500000", 1);
	setenv("MC_NVME_DATA_DIGEST", "1", 1);
	setenv("MC_NVME_ZEROCOPY_BYTES", "1m", 1);
	assert_int_equal(vol_opts_init(&opts, &err), 0);
	assert_int_equal(opts.workers, 2);
	assert_int_equal(opts.chunk_bytes, 2 * CRC_BLOCK);
	assert_int_equal(opts.inflight_bytes, 64 * MiB);
	assert_int_equal(opts.nvmf.io_queues, 3);
	assert_int_equal(opts.nvmf.io_depth, 256);
	assert_int_equal(opts.nvmf.connect_timeout_ms, 500);
	assert_true(opts.nvmf.ddgst);
	assert_int_equal(opts.nvmf.zerocopy_bytes, MiB);
}

static void test_refused(void **state)
{
	static const char *const bad[][2] = {
		{"MC_NOF_WORKERS", "0"},
		{"MC_NOF_WORKERS", "many"},
		{"MC_NOF_WORKERS", "1000"},
		{"MC_NOF_SUBMIT_CHUNK_BYTES", "100"},
		{"MC_NOF_SUBMIT_CHUNK_BYTES", "-1"},
		{"MC_NOF_INFLIGHT_BYTES_LIMIT", "1"},
		{"MC_NVME_IO_QUEUE_SIZE", "70000"},
		{"MC_NVME_HEADER_DIGEST", "2"},
		{"MC_NVME_TRANSPORT_ACK_TIMEOUT", "99"},
		{"MC_NOF_MULTIPATH", "random"},
		{"MC_NOF_READ_WEIGHT", "0"},
		{"MC_NVME_ZEROCOPY_BYTES", "2g"},
		{"MC_NVME_ZEROCOPY_BYTES", "some"},
		{"MC_NOF_TRTYPE", "RDMA"},
		{"MC_STORE_NUMA_SOCKET_ID", "-1"},
	};
	struct vol_opts opts;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {0};

		clear(NULL);
		setenv(bad[i][0], bad[i][1], 1);
		assert_int_equal(vol_opts_init(&opts, &err), -EINVAL);
		assert_non_null(strstr(err.text, bad[i][0]));
		assert_non_null(strstr(err.text, bad[i][1]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_defaults, clear, clear),
		cmocka_unit_test_setup_teardown(test_values, clear, clear),
		cmocka_unit_test_setup_teardown(test_paths, clear, clear),
		cmocka_unit_test_setup_teardown(test_numa, clear, clear),
		cmocka_unit_test_setup_teardown(test_refused, clear, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
