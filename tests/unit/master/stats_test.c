/* SPDX-License-Identifier: Apache-2.0 */
/* The texts: what dashboards, scripts and people read off the master. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "master/health.h"
#include "t_core.h"

static void has(const struct strbuf *text, const char *want)
{
	if (!text->p || !strstr(text->p, want))
		fail_msg("'%s' is not in:\n%s", want, text->p ? text->p : "");
}

static void has_not(const struct strbuf *text, const char *word)
{
	if (text->p && strstr(text->p, word))
		fail_msg("'%s' is in the text", word);
}

/* "nof_segment_x{segment=\"nof0\"…} 7" */
static void has_value(const struct strbuf *text, const char *name,
		      const char *more, uint64_t value)
{
	struct strbuf line = {0};

	strbuf_addf(&line, "\n%s{segment=\"nof0\"%s} %llu\n", name, more,
		    (unsigned long long)value);
	has(text, line.p);
	strbuf_fini(&line);
}

/* Every NoF name that upstream's dashboards know, on an empty master. */
static void test_upstream_names(void **state)
{
	static const char *const names[] = {
		"master_nof_allocated_bytes",
		"master_total_nof_capacity_bytes",
		"master_mount_nof_segment_requests_total",
		"master_mount_nof_segment_failures_total",
		"master_unmount_nof_segment_requests_total",
		"master_unmount_nof_segment_failures_total",
		"master_remount_nof_segment_requests_total",
		"master_remount_nof_segment_failures_total",
		"master_nof_heartbeat_success_total",
		"master_nof_heartbeat_failure_total",
		"master_nof_heartbeat_timeout_total",
		"master_nof_segments_unmounted_by_heartbeat_total",
		"master_nof_heartbeat_probe_latency_ms",
		"master_successful_evictions_nof",
		"master_attempted_evictions_nof",
		"master_evicted_key_count_nof",
		"master_evicted_size_bytes_nof",
		"master_put_start_partial_allocations_total",
		"master_put_start_alloc_failures_total",
	};
	struct core *core = t_core(NULL);
	struct strbuf text = {0};

	stats_metrics(core, &text);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct strbuf line = {0};

		strbuf_addf(&line, "\n# TYPE %s ", names[i]);
		has(&text, line.p);
		strbuf_fini(&line);
	}
	has_not(&text, "nof_segment_allocated_bytes");
	has_not(&text, "nof_segment_state");
	strbuf_fini(&text);
	core_destroy(core);
}

static void test_use_of_a_namespace(void **state)
{
	struct core *core = t_core(NULL);
	struct strbuf text = {0};

	t_segment(core, KIND_NOF, 0, 16 * MiB);
	t_segment(core, KIND_MEM, 0, 16 * MiB);
	assert_int_equal(t_put(core, "pool", 5000, 0, 1), 0);
	assert_int_equal(t_put(core, "both", 7000, 1, 1), 0);
	assert_int_equal(t_get(core, "pool"), 0);
	assert_int_equal(t_get(core, "both"), 0);
	assert_int_equal(t_get(core, "none"), -704);
	stats_metrics(core, &text);
	has_value(&text, "nof_segment_allocated_bytes", "", 16384);
	has_value(&text, "nof_segment_total_capacity_bytes", "", 16 * MiB);
	has_value(&text, "nof_segment_replicas", "", 2);
	has_value(&text, "nof_segment_hits_total", "", 1);
	has_value(&text, "nof_segment_hit_bytes_total", "", 5000);
	has(&text, "\nmem_cache_hit_nums_ 1\n");
	has(&text, "\nnof_cache_hit_nums_ 1\n");
	has(&text, "\nnof_cache_hit_bytes_total 5000\n");
	has(&text, "\nvalid_get_nums_ 2\n");
	has(&text, "\ntotal_get_nums_ 3\n");
	strbuf_fini(&text);
	core_destroy(core);
}

static void test_health_of_a_namespace(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = t_segment(core, KIND_NOF, 0, 16 * MiB);
	struct vol_probe late = {.ret = -ETIMEDOUT},
			 gone = {.ret = -ECONNREFUSED}, bad = {.ret = -EIO};
	struct strbuf text = {0};

	t_pass(core, 2500 * NS_PER_MS);
	seg->latency_ns = 1234 * NS_PER_US;
	health_path_probed(core, seg, 0, &late);
	health_path_probed(core, seg, 0, &gone);
	health_path_probed(core, seg, 0, &gone);
	health_path_probed(core, seg, 0, &bad);
	health_probed(core, seg, &bad);
	health_reported(core, seg, &T_CLIENT, "");
	stats_metrics(core, &text);
	has_value(&text, "nof_segment_state", ",state=\"ONLINE\"", 1);
	has_value(&text, "nof_segment_state", ",state=\"OFFLINE\"", 0);
	has_value(&text, "nof_segment_last_success_age_ms", "", 2500);
	has_value(&text, "nof_segment_probe_latency_us", "", 1234);
	has_value(&text, "nof_segment_probe_failures", "", 1);
	has_value(&text, "nof_segment_errors_total", ",kind=\"timeout\"", 1);
	has_value(&text, "nof_segment_errors_total", ",kind=\"unreachable\"",
		  2);
	has_value(&text, "nof_segment_errors_total", ",kind=\"io\"", 1);
	has_value(&text, "nof_segment_errors_total", ",kind=\"report\"", 1);
	has_value(&text, "nof_segment_errors_total", ",kind=\"identity\"", 0);
	strbuf_reset(&text);
	segment_set_draining(core, seg, true);
	stats_metrics(core, &text);
	has_value(&text, "nof_segment_state", ",state=\"DRAINING\"", 1);
	has_value(&text, "nof_segment_state", ",state=\"ONLINE\"", 0);
	has_value(&text, "nof_segment_online", "", 1);
	strbuf_reset(&text);
	segment_set_state(core, seg, SEG_OFFLINE, "gone");
	stats_metrics(core, &text);
	has_value(&text, "nof_segment_state", ",state=\"OFFLINE\"", 1);
	has_value(&text, "nof_segment_online", "", 0);
	strbuf_fini(&text);
	core_destroy(core);
}

static void test_wear(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = t_segment(core, KIND_NOF, 0, 16 * MiB);
	struct vol_probe probe = {.has_smart = true,
				  .smart = {.critical_warning = 1,
					    .temperature_k = 310,
					    .spare_percent = 97,
					    .spare_threshold = 10,
					    .used_percent = 130,
					    .written_bytes = UINT64_MAX,
					    .read_bytes = 1,
					    .media_errors = 2,
					    .power_on_hours = 8000}};
	struct strbuf text = {0};

	t_segment(core, KIND_NOF, 1, 16 * MiB); /* its target has no SMART */
	stats_metrics(core, &text);
	has_not(&text, "nof_segment_percentage_used");
	strbuf_reset(&text);
	health_path_probed(core, seg, 0, &probe);
	t_pass(core, 7 * NS_PER_S);
	stats_metrics(core, &text);
	has_value(&text, "nof_segment_critical_warning", "", 1);
	has_value(&text, "nof_segment_temperature_kelvin", "", 310);
	has_value(&text, "nof_segment_available_spare_percent", "", 97);
	has_value(&text, "nof_segment_available_spare_threshold_percent", "",
		  10);
	has_value(&text, "nof_segment_percentage_used", "", 130);
	has_value(&text, "nof_segment_data_written_bytes_total", "",
		  UINT64_MAX);
	has_value(&text, "nof_segment_data_read_bytes_total", "", 1);
	has_value(&text, "nof_segment_media_errors_total", "", 2);
	has_value(&text, "nof_segment_power_on_hours", "", 8000);
	has_value(&text, "nof_segment_smart_age_ms", "", 7000);
	has_not(&text, "nof_segment_percentage_used{segment=\"nof1\"");
	/* Then one that brings none: what was read stays. */
	probe = (struct vol_probe){0};
	health_path_probed(core, seg, 0, &probe);
	strbuf_reset(&text);
	stats_metrics(core, &text);
	has_value(&text, "nof_segment_temperature_kelvin", "", 310);
	strbuf_fini(&text);
	core_destroy(core);
}

static const char summary[] =
	"Mem Storage: 4.00 KB / 16.00 MB (0.0%) | "
	"NVMe-oF SSD: 64.00 KB / 16.00 MB (0.4%) | "
	"SSD Storage: 0 B / 0 B (0.0%) | "
	"Keys: 2 (soft-pinned: 0) | Clients: 0 | "
	"Requests (Success/Total per sec): PutStart=1.50/2.00, "
	"PutEnd=0.00/0.00, PutRevoke=0.00/0.00, Get=0.00/0.00, "
	"Exist=0.00/0.00, Del=0.00/0.00, DelAll=0.00/0.00, Ping=0.00/0.00, "
	"CopyStart=0.00/0.00, CopyEnd=0.00/0.00, CopyRevoke=0.00/0.00, "
	"MoveStart=0.00/0.00, MoveEnd=0.00/0.00, MoveRevoke=0.00/0.00, "
	"EvictDiskReplica=0.00/0.00 | "
	"Batch Requests (per sec, Req=Success/PartialSuccess/Total, "
	"Item=Success/Total): PutStart:(Req=0.00/0.00/0.00, Item=0.00/0.00), "
	"PutEnd:(Req=0.00/0.00/0.00, Item=0.00/0.00), "
	"PutRevoke:(Req=0.00/0.00/0.00, Item=0.00/0.00), "
	"Get:(Req=0.00/0.25/0.50, Item=1.75/2.50), "
	"ExistKey:(Req=0.00/0.00/0.00, Item=0.00/0.00), "
	"QueryIp:(Req=0.00/0.00/0.00, Item=0.00/0.00), "
	"Clear:(Req=0.00/0.00/0.00, Item=0.00/0.00), "
	"CreateMoveTask:(Req=0.00/0.00), CreateCopyTask:(Req=0.00/0.00), "
	"QueryTask:(Req=0.00/0.00), FetchTasks:(Req=0.00/0.00), "
	"MarkTaskToComplete:(Req=0.00/0.00) | "
	"Eviction: Success/Attempts=3/7, AllocFail=8, PartialAlloc=9, "
	"keys=30, size=5.00 KB | "
	"Mem Eviction: Success/Attempts=1/3, keys=10, size=1.00 KB | "
	"NoF Eviction: Success/Attempts=2/4, keys=20, size=4.00 KB | "
	"Discard: Released/Total=5/11, StagingSize=0 B | "
	"Promotion: in_flight=0, admitted=0, completed=0, failed=0, "
	"cancelled=0, expired=0, bytes=0 B, rejected(freq/wm/cap)=0/0/0 | "
	"Snapshots: Success=3, Fail=1";

static void test_summary(void **state)
{
	struct core *core = t_core(NULL);
	struct stats *st = &core->stats, before;
	struct strbuf text = {0};

	t_segment(core, KIND_NOF, 0, 16 * MiB);
	t_segment(core, KIND_MEM, 0, 16 * MiB);
	assert_int_equal(t_put(core, "pool", 65536, 0, 1), 0);
	assert_int_equal(t_put(core, "mem", 100, 1, 0), 0);
	before = *st;
	for (unsigned i = 0; i < 8; i++)
		stats_op(st, OP_PUT_START, 1, i % 4 == 0);
	stats_op(st, OP_GET, 8, 1);
	stats_op(st, OP_GET, 2, 2);
	st->evictions_mem = 1;
	st->evictions_nof = 2;
	st->evict_tries_mem = 3;
	st->evict_tries_nof = 4;
	st->evicted_keys_mem = 10;
	st->evicted_keys_nof = 20;
	st->evicted_bytes_mem = 1024;
	st->evicted_bytes_nof = 4096;
	st->alloc_failures = 8;
	st->partial_allocs = 9;
	st->released = 5;
	st->discarded = 6;
	st->snapshots_ok = 3;
	st->snapshots_failed = 1;
	stats_summary(core, &before, 4, &text);
	assert_string_equal(text.p, summary);
	strbuf_fini(&text);
	core_destroy(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_upstream_names),
		cmocka_unit_test(test_use_of_a_namespace),
		cmocka_unit_test(test_health_of_a_namespace),
		cmocka_unit_test(test_wear),
		cmocka_unit_test(test_summary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
