/* SPDX-License-Identifier: Apache-2.0 */
/* Placement: apart, preferred, near, split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_core.h"

static struct object *start(struct core *core, const char *key, uint64_t size,
			    struct put_ask *ask)
{
	struct object *obj;

	assert_int_equal(put_start(core, ask, str_of(key), size, &obj), 0);
	return obj;
}

static struct segment *home(struct object *obj, uint32_t index)
{
	return obj_replica(obj, index)->extents[0].seg;
}

static void test_hosts_apart(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask ask;
	char key[16];

	for (unsigned i = 0; i < 6; i++)
		t_segment(core, KIND_NOF, i, 16 * MiB);
	/* Five of the six are on one host. */
	for (unsigned i = 1; i < 6; i++)
		core->online[KIND_NOF][i]->host_hash =
			core->online[KIND_NOF][1]->host_hash;
	ask = t_ask(core, 0, 2);
	for (unsigned i = 0; i < 50; i++) {
		struct object *obj;

		snprintf(key, sizeof(key), "k%u", i);
		obj = start(core, key, 100, &ask);
		assert_true(home(obj, 0)->host_hash != home(obj, 1)->host_hash);
	}
	/* Three hosts are not there; three segments are. */
	ask = t_ask(core, 0, 3);
	assert_int_equal(start(core, "three", 100, &ask)->replica_count, 3);
	core_destroy(core);
}

/* Two hosts give a subsystem the same name: that makes them no closer. */
static void test_same_name_elsewhere(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask ask = t_ask(core, 0, 3);
	struct segment *seg[4];
	char key[16];

	for (unsigned i = 0; i < 4; i++) {
		seg[i] = t_segment(core, KIND_NOF, i, 16 * MiB);
		seg[i]->host_hash = i == 1 ? 2 : 1;
		seg[i]->target_hash = seg[i]->host_hash;
		seg[i]->subsys_hash = i < 2 ? 7 : 100;
	}
	/* One on the other host, and one of each subsystem on this one. */
	for (unsigned i = 0; i < 50; i++) {
		unsigned sevens = 0;
		struct object *obj;

		snprintf(key, sizeof(key), "k%u", i);
		obj = start(core, key, 100, &ask);
		for (uint32_t r = 0; r < 3; r++)
			sevens += home(obj, r)->subsys_hash == 7;
		assert_int_equal(sevens, 2);
	}
	core_destroy(core);
}

static void test_preferred_and_near(void **state)
{
	struct core *core = t_core(NULL);
	char first[] = "nof9", second[] = "nof2";
	char *names[] = {first, second};
	struct put_ask ask;
	char key[16];

	for (unsigned i = 0; i < 4; i++) {
		t_segment(core, KIND_NOF, i, 16 * MiB);
		t_segment(core, KIND_MEM, i, 16 * MiB);
	}
	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		ask = t_ask(core, 0, 1);
		ask.place.preferred[KIND_NOF] = names;
		ask.place.preferred_count[KIND_NOF] = 2;
		assert_string_equal(home(start(core, key, 100, &ask), 0)->name,
				    "nof2");
		snprintf(key, sizeof(key), "m%u", i);
		ask = t_ask(core, 1, 0);
		ask.place.host_id = STR("10.0.0.3");
		ask.place.is_near_wanted = true;
		assert_string_equal(home(start(core, key, 100, &ask), 0)->name,
				    "mem3");
	}
	core_destroy(core);
}

static void test_free_ratio_first(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask ask;
	char key[16];

	core->opts.strategy = STRATEGY_FREE_RATIO_FIRST;
	for (unsigned i = 0; i < 4; i++)
		t_segment(core, KIND_NOF, i, 16 * MiB);
	for (unsigned i = 0; i < 32; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		ask = t_ask(core, 0, 1);
		start(core, key, MiB, &ask);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(ext_used(core->online[KIND_NOF][i]->space),
				 8 * MiB);
	core_destroy(core);
}

static void test_split(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask ask;
	struct replica *rep;
	struct object *obj;
	uint64_t sum = 0;

	t_segment(core, KIND_NOF, 0, 3 * MiB);
	t_segment(core, KIND_NOF, 1, 5 * MiB + 4096);
	ask = t_ask(core, 0, 1);
	obj = start(core, "big", 7 * MiB + 12345, &ask);
	rep = obj_replica(obj, 0);
	assert_int_equal(rep->extent_count, 2);
	for (unsigned i = 0; i < rep->extent_count; i++) {
		struct extent *ext = &rep->extents[i];

		sum += ext->bytes;
		assert_true(ext->bytes <= extent_range(ext).len);
		if (i + 1 < rep->extent_count)
			assert_int_equal(ext->bytes % (128 * KiB), 0);
	}
	assert_int_equal(sum, 7 * MiB + 12345);
	/* One segment lost is the object lost. */
	assert_int_equal(t_end(core, "big"), 0);
	assert_true(t_exist(core, "big"));
	segment_set_state(core, rep->extents[1].seg, SEG_OFFLINE, "");
	assert_false(t_exist(core, "big"));
	core_destroy(core);
}

static struct core *striped_core(unsigned segments)
{
	struct core_opts opts;
	struct core *core;

	core_opts_default(&opts);
	opts.seed = 1;
	opts.stripe_bytes = MiB;
	core = t_core(&opts);
	for (unsigned i = 0; i < segments; i++)
		t_segment(core, KIND_NOF, i, 16 * MiB);
	return core;
}

/* Every replica has its own namespaces; one that is away takes one replica. */
static void test_stripes(void **state)
{
	struct core *core = striped_core(4);
	struct put_ask ask = t_ask(core, 0, 2);
	struct object *obj = start(core, "two", 4 * MiB + 1, &ask);

	for (unsigned i = 0; i < 2; i++) {
		const struct replica *rep = obj_replica(obj, i);

		assert_int_equal(rep->extent_count, 5);
		for (unsigned e = 0; e < 4; e++) {
			assert_int_equal(rep->extents[e].bytes, MiB);
			assert_ptr_not_equal(rep->extents[e].seg,
					     rep->extents[e + 1].seg);
		}
		assert_int_equal(rep->extents[4].bytes, 1);
	}
	assert_int_equal(t_end(core, "two"), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(core->online[KIND_NOF][i]->replicas, 1);
	segment_set_state(core, home(obj, 0), SEG_OFFLINE, "");
	assert_false(replica_is_readable(obj_replica(obj, 0)));
	assert_true(replica_is_readable(obj_replica(obj, 1)));
	assert_true(t_exist(core, "two"));
	core_destroy(core);
}

static void test_stripe_limits(void **state)
{
	struct core *core = striped_core(2);
	struct put_ask ask = t_ask(core, 0, 1);
	struct replica *rep;

	/* Not above the size of a stripe, nor memory. */
	rep = obj_replica(start(core, "small", MiB, &ask), 0);
	assert_int_equal(rep->extent_count, 1);
	t_segment(core, KIND_MEM, 0, 16 * MiB);
	t_segment(core, KIND_MEM, 1, 16 * MiB);
	ask = t_ask(core, 1, 0);
	rep = obj_replica(start(core, "memory", 4 * MiB, &ask), 0);
	assert_int_equal(rep->extent_count, 1);
	/* At most 64 pieces: they grow. */
	core->opts.stripe_bytes = 128 * KiB;
	ask = t_ask(core, 0, 1);
	rep = obj_replica(start(core, "large", 20 * MiB, &ask), 0);
	assert_true(rep->extent_count <= EXTENTS_MAX);
	assert_int_equal(rep->extents[0].bytes, 384 * KiB);
	core_destroy(core);
}

/* What lies partly on a namespace that is away can make room elsewhere. */
static void test_spread_is_evicted(void **state)
{
	struct core *core = striped_core(2);
	struct put_ask ask = t_ask(core, 0, 1);
	struct segment *away;
	struct object *obj;

	obj = start(core, "spread", 16 * MiB, &ask);
	assert_int_equal(obj_replica(obj, 0)->extent_count, 16);
	assert_int_equal(t_end(core, "spread"), 0);
	away = home(obj, 0);
	segment_set_state(core, away, SEG_OFFLINE, "");
	obj = start(core, "next", 10 * MiB, &ask);
	assert_int_equal(obj_replica(obj, 0)->extent_count, 1);
	assert_null(obj_find(core, STR("spread")));
	core_destroy(core);
}

/* The pool has room on a close target; the far one is emptied first. */
static void test_far_before_free(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask ask = t_ask(core, 0, 1);
	struct object *obj;
	struct segment *far;

	for (unsigned i = 0; i < 3; i++)
		t_segment(core, KIND_NOF, i, 16 * MiB);
	core->online[KIND_NOF][1]->host_hash =
		core->online[KIND_NOF][0]->host_hash;
	far = core->online[KIND_NOF][2];
	ask.place.preferred[KIND_NOF] = &far->name;
	ask.place.preferred_count[KIND_NOF] = 1;
	start(core, "cold", 16 * MiB, &ask);
	assert_int_equal(t_end(core, "cold"), 0);
	ask = t_ask(core, 0, 2);
	obj = start(core, "two", 4 * MiB, &ask);
	assert_true(home(obj, 0)->host_hash != home(obj, 1)->host_hash);
	assert_null(obj_find(core, STR("cold")));
	core_destroy(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts_apart),
		cmocka_unit_test(test_same_name_elsewhere),
		cmocka_unit_test(test_preferred_and_near),
		cmocka_unit_test(test_free_ratio_first),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_stripes),
		cmocka_unit_test(test_stripe_limits),
		cmocka_unit_test(test_spread_is_evicted),
		cmocka_unit_test(test_far_before_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
