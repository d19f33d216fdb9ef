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
	"MC_NVME_ADMIN_QUEUE_SIZE",
	"MC_NVME_TRANSPORT_ACK_TIMEOUT",
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
	assert_true(strlen(opts.nvmf.host.nqn) > 0);
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
	assert_int_equal(vol_opts_init(&opts, &err), 0);
	assert_int_equal(opts.workers, 2);
	assert_int_equal(opts.chunk_bytes, 2 * CRC_BLOCK);
	assert_int_equal(opts.inflight_bytes, 64 * MiB);
	assert_int_equal(opts.nvmf.io_queues, 3);
	assert_int_equal(opts.nvmf.io_depth, 256);
	assert_int_equal(opts.nvmf.connect_timeout_ms, 500);
	assert_true(opts.nvmf.ddgst);
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
		cmocka_unit_test_setup_teardown(test_refused, clear, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
