/* SPDX-License-Identifier: Apache-2.0 */
/* Groups: kept together by who reads one of them, and evicted together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "master/evict.h"
#include "master/group.h"
#include "t_core.h"
#include "t_rand.h"

#define LEASE (10 * NS_PER_S)

static struct core *core_of(void)
{
	struct core_opts opts;

	core_opts_default(&opts);
	opts.seed = 1;
	opts.lease_ns = LEASE;
	return t_core(&opts);
}

struct how {
	const char *group; /* NULL: none */
	bool is_hard, is_soft;
};

static void put(struct core *core, const char *key, const struct how *how)
{
	struct put_ask ask = t_ask(core, 1, 0);
	struct object *obj;

	ask.has_hard_pin = how->is_hard;
	ask.has_soft_pin = how->is_soft;
	if (how->group)
		ask.group = str_of(how->group);
	t_pass(core, NS_PER_MS);
	assert_int_equal(put_start(core, &ask, str_of(key), 4096, &obj), 0);
	assert_int_equal(t_end(core, key), 0);
}

static void put_in(struct core *core, const char *key, const char *group)
{
	put(core, key, &(struct how){.group = group});
}

static bool is_there(struct core *core, const char *key)
{
	return obj_find(core, str_of(key)) != NULL;
}

static bool is_leased(struct core *core, const char *key)
{
	return obj_is_leased(core, obj_find(core, str_of(key)));
}

static void evicted_together(void **state)
{
	struct core *core = core_of();

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	t_segment(core, KIND_MEM, 1, 16 * MiB);
	put_in(core, "a1", "a");
	put_in(core, "x", NULL);
	put_in(core, "a2", "a");
	put_in(core, "b1", "b");
	put_in(core, "a3", "a");
	assert_int_equal(core->groups.count, 2);
	/* a1 is the coldest; the others of its group go with it. */
	assert_int_equal(evict_coldest(core, KIND_MEM), 3 * 4096);
	assert_false(is_there(core, "a1") || is_there(core, "a2") ||
		     is_there(core, "a3"));
	assert_true(is_there(core, "x") && is_there(core, "b1"));
	assert_int_equal(core->groups.count, 1);
	assert_int_equal(core->stats.evicted_keys_mem, 3);
	assert_int_equal(evict_coldest(core, KIND_MEM), 4096);
	assert_false(is_there(core, "x"));
	core_destroy(core);
}

/* The lease of any keeps all; when it is over the most recent use counts. */
static void read_together(void **state)
{
	struct core *core = core_of();

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	put_in(core, "a1", "a");
	put_in(core, "a2", "a");
	put_in(core, "x", NULL);
	t_pass(core, NS_PER_S);
	assert_int_equal(t_get(core, "a2"), 0);
	assert_true(is_leased(core, "a1") && is_leased(core, "a2"));
	assert_false(is_leased(core, "x"));
	assert_int_equal(evict_coldest(core, KIND_MEM), 4096);
	assert_false(is_there(core, "x"));
	assert_int_equal(evict_coldest(core, KIND_MEM), 0);
	/* Less than half of the lease is over: who is read has a new one, the
	 * others keep theirs, and go no sooner than that one. */
	t_pass(core, LEASE / 4);
	assert_true(t_exist(core, "a1"));
	t_pass(core, LEASE * 4 / 5);
	assert_true(is_leased(core, "a1"));
	assert_false(is_leased(core, "a2"));
	assert_int_equal(evict_coldest(core, KIND_MEM), 0);
	/* More than half. */
	assert_true(t_exist(core, "a1"));
	assert_true(is_leased(core, "a1") && is_leased(core, "a2"));
	t_pass(core, LEASE);
	assert_int_equal(evict_coldest(core, KIND_MEM), 2 * 4096);
	assert_int_equal(core->groups.count, 0);
	core_destroy(core);
}

static void pins_keep_the_group(void **state)
{
	struct core *core = core_of();

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	put_in(core, "a1", "a");
	put(core, "a2", &(struct how){.group = "a", .is_hard = true});
	put_in(core, "b1", "b");
	put(core, "b2", &(struct how){.group = "b", .is_soft = true});
	put_in(core, "x", NULL);
	assert_int_equal(evict_coldest(core, KIND_MEM), 4096);
	assert_false(is_there(core, "x"));
	/* Pass two: soft pins may go, and their group with them. */
	assert_true(core->opts.can_evict_soft_pinned);
	assert_int_equal(evict_coldest(core, KIND_MEM), 2 * 4096);
	assert_false(is_there(core, "b1") || is_there(core, "b2"));
	assert_int_equal(evict_coldest(core, KIND_MEM), 0);
	assert_true(is_there(core, "a1") && is_there(core, "a2"));
	core_destroy(core);
}

static void held_members_keep_it(void **state)
{
	struct core *core = core_of();

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	put_in(core, "a1", "a");
	put_in(core, "a2", "a");
	/* A put under way is not there yet: it neither goes nor stays. */
	assert_int_equal(t_start(core, "u", 4096, 1, 0), 0);
	obj_hold(core, obj_find(core, STR("a2"))); /* it is being copied */
	assert_int_equal(evict_coldest(core, KIND_MEM), 0);
	obj_release(core, obj_find(core, STR("a2")));
	assert_int_equal(evict_coldest(core, KIND_MEM), 2 * 4096);
	core_destroy(core);
}

static void only_so_many(void **state)
{
	struct core *core = core_of();
	char key[16];

	t_segment(core, KIND_MEM, 0, 64 * MiB);
	for (unsigned i = 0; i <= GROUP_MEMBERS_MAX; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		put_in(core, key, "a");
	}
	assert_int_equal(core->members.count, GROUP_MEMBERS_MAX);
	assert_int_equal(evict_coldest(core, KIND_MEM),
			 (uint64_t)GROUP_MEMBERS_MAX * 4096);
	assert_int_equal(core->objects.count, 1);
	core_destroy(core);
}

/*
 * Whatever is put, read, removed and evicted: a group is whole or gone, but
 * for members that were removed by name, and nothing that is leased or
 * pinned ever goes.
 */
enum {
	GROUPS = 5,
	PARTS = 4,
	STEPS = 3000
};

struct model {
	bool was_put[GROUPS][PARTS];
};

static void name(char out[16], unsigned g, unsigned p)
{
	snprintf(out, 16, "g%u-%u", g, p);
}

static void check_whole(struct core *core, struct model *m, unsigned g)
{
	unsigned there = 0, put_ones = 0;
	char key[16];

	for (unsigned p = 0; p < PARTS; p++) {
		name(key, g, p);
		there += is_there(core, key);
		put_ones += m->was_put[g][p];
	}
	assert_true(there == 0 || there == put_ones);
	if (!there)
		memset(m->was_put[g], 0, sizeof(m->was_put[g]));
}

static void groups_are_whole_or_gone(void **state)
{
	struct core *core = core_of();
	struct model m = {0};
	struct rng rng = t_rng(0);
	char key[16], group[16];

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	t_segment(core, KIND_MEM, 1, 16 * MiB);
	for (unsigned i = 0; i < STEPS; i++) {
		unsigned g = (unsigned)rng_below(&rng, GROUPS);
		unsigned p = (unsigned)rng_below(&rng, PARTS);

		name(key, g, p);
		snprintf(group, sizeof(group), "group %u", g);
		t_pass(core, rng_below(&rng, LEASE / 3));
		switch (rng_below(&rng, 8)) {
		case 0 ... 2:
			if (!is_there(core, key))
				put_in(core, key, group);
			m.was_put[g][p] = true;
			break;
		case 3 ... 4:
			t_get(core, key);
			break;
		case 5:
			if (remove_key(core, str_of(key), true) == 0)
				m.was_put[g][p] = false;
			break;
		default:
			evict_coldest(core, KIND_MEM);
		}
		for (g = 0; g < GROUPS; g++)
			check_whole(core, &m, g);
		assert_int_equal(core->members.count, core->objects.count);
	}
	core_destroy(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(evicted_together),
		cmocka_unit_test(read_together),
		cmocka_unit_test(pins_keep_the_group),
		cmocka_unit_test(held_members_keep_it),
		cmocka_unit_test(only_so_many),
		cmocka_unit_test(groups_are_whole_or_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
