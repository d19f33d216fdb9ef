/* SPDX-License-Identifier: Apache-2.0 */
/* Probes and reports: OFFLINE, back ONLINE, fenced; clients' time to live. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "master/client.h"
#include "master/health.h"
#include "t_core.h"

static struct vol_probe good(const struct segment *seg)
{
	struct vol_probe probe = {.label = LABEL_OURS};

	probe.ns.size_lba = seg->ns_bytes / 4096;
	probe.ns.lba_bytes = 4096;
	probe.sb.segment = seg->id;
	probe.sb.epoch = seg->epoch;
	return probe;
}

static struct segment *segment(struct core *core)
{
	struct segment *seg = t_segment(core, KIND_NOF, 0, 16 * MiB);

	snprintf(seg->identity, sizeof(seg->identity), "none");
	return seg;
}

static void test_failures(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = segment(core);
	struct vol_probe bad = {.ret = -ETIMEDOUT}, ok = good(seg);

	assert_int_equal(t_put(core, "a", 100, 0, 1), 0);
	health_probed(core, seg, &bad);
	health_probed(core, seg, &bad);
	assert_int_equal(seg->state, SEG_ONLINE);
	health_probed(core, seg, &ok); /* the count begins again */
	health_probed(core, seg, &bad);
	health_probed(core, seg, &bad);
	assert_int_equal(seg->state, SEG_ONLINE);
	health_probed(core, seg, &bad);
	assert_int_equal(seg->state, SEG_OFFLINE);
	assert_int_equal(t_get(core, "a"), -704);
	assert_int_equal(t_start(core, "b", 100, 0, 1), -200);
	assert_int_equal(core->stats.probe_timeout, 5);
	health_probed(core, seg, &ok);
	assert_int_equal(seg->state, SEG_ONLINE);
	assert_int_equal(t_get(core, "a"), 0);
	core_destroy(core);
}

/* So many reports of one client, or of so many. */
static bool report(struct core *core, struct segment *seg, unsigned first,
		   unsigned count)
{
	bool want_probe = true;

	for (unsigned i = first; i < first + count; i++) {
		const struct uuid id = {{(uint8_t)i}};

		want_probe &= health_reported(core, seg, &id, "no route");
	}
	return want_probe;
}

static void test_reports(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = segment(core);
	struct vol_probe bad = {.ret = -EHOSTUNREACH}, ok = good(seg);

	assert_true(report(core, seg, 1, 1));
	health_probed(core, seg, &bad); /* both agree */
	assert_int_equal(seg->state, SEG_OFFLINE);
	assert_false(report(core, seg, 1, 1));
	health_probed(core, seg, &ok);
	assert_int_equal(seg->state, SEG_ONLINE);
	assert_true(report(core, seg, 1, HEALTH_REPORTS - 1));
	health_probed(core, seg, &ok);
	assert_true(report(core, seg, HEALTH_REPORTS, 1));
	assert_int_equal(seg->state, SEG_ONLINE);
	core_destroy(core);
}

/* Each counts once, since what one can't reach may be its own trouble. */
static void test_reports_of_one(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = segment(core);

	for (unsigned i = 0; i < 10 * HEALTH_REPORTS; i++)
		assert_true(report(core, seg, 7, 1));
	assert_true(report(core, seg, 8, HEALTH_REPORTS - 2));
	assert_int_equal(seg->state, SEG_ONLINE);
	assert_true(report(core, seg, 77, 1));
	assert_int_equal(seg->state, SEG_OFFLINE);
	assert_string_equal(seg->message, "no route");
	assert_int_equal(core->stats.went_offline, 1);
	core_destroy(core);
}

/* Many on one side of a cut: it goes once, and comes back to stay. */
static void test_reports_are_disputed(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = segment(core);
	struct vol_probe bad = {.ret = -EHOSTUNREACH}, ok = good(seg);

	report(core, seg, 1, HEALTH_REPORTS);
	health_probed(core, seg, &ok);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(seg->state, SEG_ONLINE);
		assert_true(report(core, seg, 1, 2 * HEALTH_REPORTS));
		assert_int_equal(seg->state, SEG_ONLINE);
		health_probed(core, seg, &ok);
	}
	report(core, seg, 1, 1);
	health_probed(core, seg, &bad); /* now it is right */
	assert_int_equal(seg->state, SEG_OFFLINE);
	health_probed(core, seg, &ok);
	health_probed(core, seg, &ok); /* nobody has said anything */
	report(core, seg, 1, HEALTH_REPORTS);
	assert_int_equal(seg->state, SEG_OFFLINE);
	assert_int_equal(core->stats.went_offline, 3);
	core_destroy(core);
}

/* Blocks that can't be read cost the replicas that have them, however many they
 * are; but the last one only if somebody has looked, and none where probes
 * fail, too. */
static void test_media_errors(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = segment(core);
	struct vol_probe bad = {.ret = -ENODATA}, ok = good(seg);
	struct bad_replica what = {.is_media_error = true};

	for (unsigned i = 0; i <= HEALTH_REPORTS; i++) {
		char key[8];

		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(t_put(core, key, 100, 0, 1), 0);
		what.generation = obj_find(core, str_of(key))->generation;
		what.is_confirmed = false;
		assert_int_equal(get_report_bad(core, str_of(key), &what),
				 GET_DOUBTED);
		assert_int_equal(t_get(core, key), 0);
		what.is_confirmed = true;
		if (i == HEALTH_REPORTS) {
			health_probed(core, seg, &bad);
			assert_int_equal(
				get_report_bad(core, str_of(key), &what),
				MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS);
			assert_int_equal(t_get(core, key), 0);
			health_probed(core, seg, &ok);
		}
		assert_int_equal(get_report_bad(core, str_of(key), &what), 0);
		assert_int_equal(t_get(core, key), MOONCAKE_OBJECT_NOT_FOUND);
	}
	assert_int_equal(seg->state, SEG_ONLINE);
	assert_int_equal(seg->errors[SEG_ERROR_MEDIA], HEALTH_REPORTS + 1);
	assert_int_equal(core->stats.media_errors, HEALTH_REPORTS + 1);
	assert_int_equal(core->stats.checksum_mismatches, 0);
	core_destroy(core);
}

/* Who else has the bytes decides; what is OFFLINE loses none of them. */
static void test_media_errors_and_others(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *one = segment(core);
	struct segment *two = t_segment(core, KIND_NOF, 1, 16 * MiB);
	struct bad_replica what = {.is_media_error = true, .segment = one->id};
	struct object *obj;

	assert_int_equal(t_put(core, "k", 100, 0, 2), 0);
	obj = obj_find(core, STR("k"));
	what.generation = obj->generation;
	while (obj_replica(obj, what.index)->extents[0].seg != one)
		what.index++;
	segment_set_state(core, two, SEG_OFFLINE, "");
	assert_int_equal(get_report_bad(core, STR("k"), &what), GET_DOUBTED);
	segment_set_state(core, one, SEG_OFFLINE, "");
	segment_set_state(core, two, SEG_ONLINE, "");
	assert_int_equal(get_report_bad(core, STR("k"), &what),
			 MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS);
	segment_set_state(core, one, SEG_ONLINE, "");
	assert_int_equal(obj->replica_count, 2);
	assert_ptr_equal(get_bad_replica(core, STR("k"), &what),
			 obj_replica(obj, what.index));
	assert_int_equal(get_report_bad(core, STR("k"), &what), 0);
	assert_int_equal(obj->replica_count, 1);
	assert_null(get_bad_replica(core, STR("k"), &what));
	core_destroy(core);
}

/* A look beside the probes. */
static void test_well(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = segment(core);
	struct vol_probe bad = {.ret = -ENODATA}, ok = good(seg),
			 other = good(seg);

	other.sb.epoch++;
	assert_true(health_is_well(seg, &ok));
	assert_false(health_is_well(seg, &bad));
	assert_false(health_is_well(seg, &other));
	assert_int_equal(seg->failures, 0); /* it decides nothing */
	health_probed(core, seg, &bad);
	assert_false(health_is_well(seg, &ok));
	health_probed(core, seg, &other);
	assert_int_equal(seg->state, SEG_OFFLINE);
	assert_false(health_is_well(seg, &ok));
	core_destroy(core);
}

static void test_fenced(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = segment(core);
	struct vol_probe probe = good(seg);

	probe.sb.epoch++;
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_OFFLINE);
	assert_non_null(strstr(seg->message, "epoch 2, expected 1"));
	probe = good(seg);
	probe.label = LABEL_EMPTY;
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_OFFLINE);
	probe = good(seg);
	probe.ns.size_lba--;
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_OFFLINE);
	probe = good(seg); /* reformatted, and as large as before */
	probe.ns.size_lba *= 8;
	probe.ns.lba_bytes = 512;
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_OFFLINE);
	assert_non_null(strstr(seg->message, "its blocks have 512 bytes"));
	probe = good(seg);
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_ONLINE);
	probe.ns.metadata_bytes = 8;
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_OFFLINE);
	assert_non_null(strstr(seg->message, "and 8 of metadata now"));
	probe = good(seg);
	probe.ns.uuid[0] = 1;
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_OFFLINE);
	probe = good(seg);
	probe.sb.segment.b[0]++;
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_OFFLINE);
	probe = good(seg);
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_ONLINE);
	core_destroy(core);
}

/* What the target says of reservations. */
static void test_owner(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = segment(core);
	struct vol_probe probe = good(seg);
	struct vol_label label = {.key = 7, .owner = {.hold = HOLD_OURS}};
	struct superblock sb;

	probe.owner.hold = HOLD_FREE;
	health_probed(core, seg, &probe);
	assert_false(health_is_unheld(seg, &probe, &sb)); /* never was */
	probe.owner.hold = HOLD_OTHER; /* somebody's who came before us */
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_ONLINE);
	health_adopted(seg, &label);
	assert_int_equal(seg->key, 7);
	probe.owner = (struct vol_owner){.hold = HOLD_OURS, .key = 7};
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_ONLINE);
	assert_false(health_is_unheld(seg, &probe, &sb));
	probe.owner.hold = HOLD_FREE; /* the target was restarted */
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_ONLINE);
	assert_true(health_is_unheld(seg, &probe, &sb));
	assert_int_equal(sb.epoch, seg->epoch);
	probe.owner = (struct vol_owner){.hold = HOLD_OTHER, .key = 0xbad};
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_OFFLINE);
	assert_non_null(strstr(seg->message, "another owner, key 0000000000000"
					     "bad"));
	assert_int_equal(seg->errors[SEG_ERROR_OWNER], 1);
	assert_int_equal(seg->errors[SEG_ERROR_IDENTITY], 0);
	assert_false(health_is_unheld(seg, &probe, &sb));
	/* A target that has none any more. */
	label.owner.hold = HOLD_NONE;
	health_adopted(seg, &label);
	assert_int_equal(seg->key, 0);
	health_probed(core, seg, &probe);
	assert_int_equal(seg->state, SEG_ONLINE);
	core_destroy(core);
}

static void test_client_ttl(void **state)
{
	struct core *core = t_core(NULL);
	struct uuid one = T_CLIENT, two = {{8}};
	uint64_t first;

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	assert_non_null(client_seen(core, &one));
	t_pass(core, NS_PER_S);
	assert_non_null(client_seen(core, &two));
	first = clients_expire(core);
	assert_int_equal(first, core->now_ns + 9 * NS_PER_S);
	t_pass(core, 8 * NS_PER_S);
	assert_non_null(client_seen(core, &one));
	assert_int_equal(clients_expire(core), core->now_ns + 2 * NS_PER_S);
	t_pass(core, 2 * NS_PER_S);
	/* two had nothing mounted */
	assert_int_equal(clients_expire(core), core->now_ns + 8 * NS_PER_S);
	assert_int_equal(core->clients.count, 1);
	assert_int_equal(core->online_count[KIND_MEM], 1);
	t_pass(core, 8 * NS_PER_S);
	assert_int_equal(clients_expire(core), 0);
	assert_int_equal(core->online_count[KIND_MEM], 0);
	assert_false(segments_reap(core, 10));
	assert_int_equal(core->segment_count, 0);
	core_destroy(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_reports_of_one),
		cmocka_unit_test(test_reports_are_disputed),
		cmocka_unit_test(test_media_errors),
		cmocka_unit_test(test_media_errors_and_others),
		cmocka_unit_test(test_well),
		cmocka_unit_test(test_fenced),
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_client_ttl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
