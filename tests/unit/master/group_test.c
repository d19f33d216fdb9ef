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
	assert_int_equal(t_evict(core, KIND_MEM), 3 * 4096);
	assert_false(is_there(core, "a1") || is_there(core, "a2") ||
		     is_there(core, "a3"));
	assert_true(is_there(core, "x") && is_there(core, "b1"));
	assert_int_equal(core->groups.count, 1);
	assert_int_equal(core->stats.evicted_keys_mem, 3);
	assert_int_equal(t_evict(core, KIND_MEM), 4096);
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
	assert_int_equal(t_evict(core, KIND_MEM), 4096);
	assert_false(is_there(core, "x"));
	assert_int_equal(t_evict(core, KIND_MEM), 0);
	/* Less than half of the lease is over: who is read has a new one, the
	 * others keep theirs, and go no sooner than that one. */
	t_pass(core, LEASE / 4);
	assert_true(t_exist(core, "a1"));
	t_pass(core, LEASE * 4 / 5);
	assert_true(is_leased(core, "a1"));
	assert_false(is_leased(core, "a2"));
	assert_int_equal(t_evict(core, KIND_MEM), 0);
	/* More than half. */
	assert_true(t_exist(core, "a1"));
	assert_true(is_leased(core, "a1") && is_leased(core, "a2"));
	t_pass(core, LEASE);
	assert_int_equal(t_evict(core, KIND_MEM), 2 * 4096);
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
	assert_int_equal(t_evict(core, KIND_MEM), 4096);
	assert_false(is_there(core, "x"));
	/* Pass two: soft pins may go, and their group with them. */
	assert_true(core->opts.can_evict_soft_pinned);
	assert_int_equal(t_evict(core, KIND_MEM), 2 * 4096);
	assert_false(is_there(core, "b1") || is_there(core, "b2"));
	assert_int_equal(t_evict(core, KIND_MEM), 0);
	assert_true(is_there(core, "a1") && is_there(core, "a2"));
	core_destroy(core);
}

/* Pass one does not count as a look of pass two. */
static void soft_pins_are_looked_at_twice(void **state)
{
	struct core *core = core_of();

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	put_in(core, "a1", "a");
	put(core, "a2", &(struct how){.group = "a", .is_soft = true});
	put(core, "a3", &(struct how){.group = "a", .is_hard = true});
	put_in(core, "b1", "b");
	put(core, "b2", &(struct how){.group = "b", .is_soft = true});
	assert_int_equal(t_evict(core, KIND_MEM), 2 * 4096);
	assert_false(is_there(core, "b1") || is_there(core, "b2"));
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
	assert_int_equal(t_evict(core, KIND_MEM), 0);
	obj_release(core, obj_find(core, STR("a2")));
	assert_int_equal(t_evict(core, KIND_MEM), 2 * 4096);
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
	assert_int_equal(t_evict(core, KIND_MEM),
			 (uint64_t)GROUP_MEMBERS_MAX * 4096);
	assert_int_equal(core->objects.count, 1);
	core_destroy(core);
}

/* count members, the first of which is pinned for good. */
static void put_blocked(struct core *core, const char *group, unsigned count)
{
	char key[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "%s%u", group, i);
		put(core, key, &(struct how){.group = group, .is_hard = !i});
	}
}

/* However many are before what may go: one look is enough for all of them. */
static void one_look_puts_all_behind(void **state)
{
	struct core *core = core_of();
	struct sweep sweep = {.budget = 201};

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	t_segment(core, KIND_MEM, 1, 16 * MiB);
	put_blocked(core, "a", 200);
	put_in(core, "x", NULL);
	put_in(core, "y", NULL);
	assert_int_equal(evict_coldest(core, KIND_MEM, &sweep), 4096);
	assert_false(is_there(core, "x"));
	assert_int_equal(sweep.budget, 0);
	/* y is older now. */
	sweep = (struct sweep){.budget = 1};
	assert_int_equal(evict_coldest(core, KIND_MEM, &sweep), 4096);
	assert_false(is_there(core, "y"));
	assert_int_equal(core->objects.count, 200);
	core_destroy(core);
}

static void put_both(struct core *core, const char *key, const char *group)
{
	struct put_ask ask = t_ask(core, 1, 1);
	struct object *obj;

	if (group)
		ask.group = str_of(group);
	t_pass(core, NS_PER_MS);
	assert_int_equal(put_start(core, &ask, str_of(key), 4096, &obj), 0);
	assert_int_equal(t_end(core, key), 0);
}

/* A member that memory has to keep does not shield others in the pool. */
static void both_kinds_go_behind(void **state)
{
	struct core *core = core_of();

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	t_segment(core, KIND_NOF, 0, 16 * MiB);
	put_both(core, "a1", "a");
	put_both(core, "a2", "a");
	put_both(core, "x", NULL);
	assert_int_equal(t_get(core, "a1"), 0);
	t_pass(core, NS_PER_S);
	assert_int_equal(t_get(core, "x"), 0);
	t_pass(core, LEASE / 2 - 2 * NS_PER_S);
	assert_int_equal(t_get(core, "a2"), 0);
	/* a1 and x are not leased any more, a2 is. */
	t_pass(core, LEASE / 2 + 2 * NS_PER_S);
	assert_true(is_leased(core, "a2") && !is_leased(core, "a1"));
	assert_int_equal(t_evict(core, KIND_MEM), 4096);
	assert_int_equal(obj_find(core, STR("x"))->replica_count, 1);
	assert_int_equal(t_evict(core, KIND_NOF), 4096);
	assert_false(is_there(core, "x"));
	/* Who is put behind is not leased by that. */
	assert_false(is_leased(core, "a1"));
	core_destroy(core);
}

/* Nor does it forget that a reader may still be at it. */
static void margin_outlives_the_place(void **state)
{
	struct core *core = core_of();
	struct segment *seg = t_segment(core, KIND_MEM, 0, 16 * MiB);

	put_in(core, "a1", "a");
	put_in(core, "a2", "a");
	assert_int_equal(t_get(core, "a1"), 0);
	t_pass(core, LEASE / 4);
	assert_int_equal(t_get(core, "a2"), 0);
	t_pass(core, LEASE * 3 / 4);
	assert_int_equal(t_evict(core, KIND_MEM), 0);
	assert_int_equal(remove_key(core, STR("a1"), false), 0);
	assert_int_equal(seg->quarantined, 4096);
	t_pass(core, core->opts.margin_ns);
	quarantine_release(core);
	assert_int_equal(seg->quarantined, 0);
	core_destroy(core);
}

static bool goes_on(struct core *core, unsigned budget)
{
	uint64_t at = evict_background(core, KIND_MEM, budget);

	return at == core->now_ns;
}

/* Their members count, those of what has to stay as well. */
static void background_counts_members(void **state)
{
	struct core *core = core_of();
	char key[16], group[16];

	t_segment(core, KIND_MEM, 0, 400 * 4096);
	put_blocked(core, "b", 30);
	for (unsigned i = 0; i < 360; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		snprintf(group, sizeof(group), "g%u", i / 10);
		put_in(core, key, group);
	}
	core->opts.evict_ratio[KIND_MEM] = 0.5;
	assert_true(evict_is_due(core, KIND_MEM));
	t_pass(core, NS_PER_MS);
	/* The first that is found costs as much as a look at it. */
	assert_true(goes_on(core, 20));
	assert_int_equal(core->objects.count, 390);
	assert_true(goes_on(core, 15));
	assert_int_equal(core->objects.count, 370);
	assert_true(goes_on(core, 20));
	assert_int_equal(core->objects.count, 350);
	assert_int_equal(evict_background(core, KIND_MEM, 1000), 0);
	assert_int_equal(core->objects.count, 160);
	core_destroy(core);
}

/* It ends when nothing is left that was not looked at. */
static void background_ends(void **state)
{
	struct core *core = core_of();
	char group[16];

	t_segment(core, KIND_MEM, 0, 400 * 4096);
	for (unsigned i = 0; i < 39; i++) {
		snprintf(group, sizeof(group), "g%u", i);
		put_blocked(core, group, 10);
	}
	t_pass(core, NS_PER_MS);
	for (unsigned i = 0; i < 39; i++)
		assert_true(goes_on(core, 10));
	assert_int_equal(evict_background(core, KIND_MEM, 10), 0);
	assert_int_equal(core->objects.count, 390);
	core_destroy(core);
}

static int put_sliced(struct core *core, const char *key, unsigned *slices)
{
	struct put_ask ask = t_ask(core, 1, 0);
	struct object *obj;
	int st;

	*slices = 0;
	do {
		t_pass(core, NS_PER_MS);
		ask.budget = 100;
		st = put_start(core, &ask, str_of(key), 4096, &obj);
		++*slices;
	} while (st == PUT_LATER && ask.retry_ns <= core->now_ns);
	return st;
}

/* A put looks at all there is, a slice at a time, before it gives up. */
static void put_looks_on(void **state)
{
	struct core *core = core_of();
	char group[16];
	unsigned slices;

	t_segment(core, KIND_MEM, 0, 401 * 4096);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(group, sizeof(group), "g%u", i);
		put_blocked(core, group, 10);
	}
	put_in(core, "x", NULL);
	assert_int_equal(put_sliced(core, "y", &slices), 0);
	assert_true(slices > 1);
	assert_false(is_there(core, "x"));
	assert_int_equal(put_sliced(core, "z", &slices), -200);
	assert_int_equal(slices, 5);
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
			t_evict(core, KIND_MEM);
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
		cmocka_unit_test(soft_pins_are_looked_at_twice),
		cmocka_unit_test(held_members_keep_it),
		cmocka_unit_test(only_so_many),
		cmocka_unit_test(one_look_puts_all_behind),
		cmocka_unit_test(both_kinds_go_behind),
		cmocka_unit_test(margin_outlives_the_place),
		cmocka_unit_test(background_counts_members),
		cmocka_unit_test(background_ends),
		cmocka_unit_test(put_looks_on),
		cmocka_unit_test(groups_are_whole_or_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
