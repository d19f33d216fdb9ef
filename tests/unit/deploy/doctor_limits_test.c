/* SPDX-License-Identifier: Apache-2.0 */
/* What the doctor says of targets, by what they said of themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "deploy/doctor_check.h"

static const struct flag_list none;
static const struct doctor_facts facts = {.cpus = 64};

static struct doctor *make(void)
{
	struct doctor_opts opts = {
		.root = "/nonexistent",
		.facts = &facts,
		.master = "",
		.admin = "",
		.config = "",
		.endpoints = &none,
		.discover = &none,
		.timeout_ms = 100,
	};
	struct err err = {0};
	struct doctor *d;

	if (doctor_create(&opts, &d, &err))
		fail_msg("%s", err.text);
	return d;
}

static const struct look good_look = {
	.ep = {.traddr = "10.0.0.7",
	       .trsvcid = 4420,
	       .subnqn = "nqn.2026-11.io.example:a",
	       .trtype = NVME_TRTYPE_TCP,
	       .nsid = 1},
	.info = {.io_queues = 64,
		 .mqes = 128,
		 .max_transfer = MiB,
		 .icd_bytes = 16 * KiB,
		 .kas_100ms = 1},
	.ns = {.nsid = 1, .size_lba = 1 << 20, .lba_bytes = 4096},
	.has_ns = true,
	.smart = {.spare_percent = 100, .spare_threshold = 10},
	.has_smart = true,
};

/* The worst of what is said of the target and its namespace. */
static void expect_look(const struct look *look, enum doctor_level level,
			const char *text)
{
	struct doctor *d = make();
	size_t extra = level != DOCTOR_OK;

	doctor_judge_target(d, look);
	doctor_judge_namespace(d, look);
	if (d->count != 1 + extra)
		fail_msg("%s: %zu findings", text, d->count);
	if (extra) {
		assert_int_equal(d->findings[1].level, level);
		assert_non_null(strstr(d->findings[1].text, text));
		assert_true(*d->findings[1].advice);
	}
	doctor_destroy(d);
}

static void test_good_target(void **state)
{
	struct look look = good_look;

	expect_look(&look, DOCTOR_OK, "");
	look.has_smart = false;
	look.smart.critical_warning = 1; /* was not read: does not count */
	expect_look(&look, DOCTOR_OK, "");
}

static void test_poor_target(void **state)
{
	struct look look = good_look;

	look.info.max_transfer = 128 * KiB;
	expect_look(&look, DOCTOR_NOTE, "128 KiB (MDTS)");
	look = good_look;
	look.info.icd_bytes = 4096;
	expect_look(&look, DOCTOR_NOTE, "4096 bytes");
	look = good_look;
	look.info.io_queues = 3;
	expect_look(&look, DOCTOR_WARN, "3 I/O queues granted");
	look = good_look;
	look.info.mqes = 32;
	expect_look(&look, DOCTOR_NOTE, "32 entries");
	look = good_look;
	look.info.kas_100ms = 0;
	expect_look(&look, DOCTOR_NOTE, "no keep-alive");
	look.info.kas_100ms = 100;
	expect_look(&look, DOCTOR_NOTE, "10000 ms");
	look = good_look;
	look.info.has_write_cache = true;
	expect_look(&look, DOCTOR_NOTE, "write cache");
}

static void test_poor_namespace(void **state)
{
	struct look look = good_look;

	look.ns.lba_bytes = 512;
	expect_look(&look, DOCTOR_NOTE, "512 bytes");
	look = good_look;
	look.ns.metadata_bytes = 8;
	expect_look(&look, DOCTOR_FAIL, "metadata");
	look = good_look;
	look.ns.is_write_protected = true;
	expect_look(&look, DOCTOR_FAIL, "write-protected");
	look = good_look;
	look.ns.is_not_ready = true;
	expect_look(&look, DOCTOR_FAIL, "not ready");
}

static void test_sick_disk(void **state)
{
	struct look look = good_look;

	look.smart.critical_warning = 1 << 2 | 1 << 3;
	expect_look(&look, DOCTOR_WARN, "unreliable, it has become read-only");
	look = good_look;
	look.smart.used_percent = 100;
	expect_look(&look, DOCTOR_WARN, "100 % of its life");
	look = good_look;
	look.smart.spare_percent = 9;
	expect_look(&look, DOCTOR_WARN, "9 % spare");
	look = good_look;
	look.smart.media_errors = 3;
	expect_look(&look, DOCTOR_NOTE, "3 media errors");
}

static int setup(void **state)
{
	return setenv("MC_NOF_WORKERS", "4", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_target),
		cmocka_unit_test(test_poor_target),
		cmocka_unit_test(test_poor_namespace),
		cmocka_unit_test(test_sick_disk),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
