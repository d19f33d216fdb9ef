/* SPDX-License-Identifier: Apache-2.0 */
/* PutStart, PutEnd, PutRevoke: upstream's rules, write modes, old puts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_core.h"

static void test_key_and_size(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask ask;
	struct object *obj;
	char *key = calloc(1, 4098);

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	ask = t_ask(core, -1, -1);
	memset(key, 'k', 4097);
	assert_int_equal(put_start(core, &ask, STR(""), 1, &obj), -600);
	assert_int_equal(put_start(core, &ask, STR("a"), 0, &obj), -600);
	assert_int_equal(put_start(core, &ask, STR("a"), 1, &obj), 0);
	assert_int_equal(
		put_start(core, &ask, STR("b"), OBJECT_BYTES_MAX + 1, &obj),
		-600);
	assert_int_equal(put_start(core, &ask, str_of(key), 1, &obj), -400);
	key[4096] = '\0';
	assert_int_equal(put_start(core, &ask, str_of(key), 1, &obj), 0);
	assert_int_equal(obj->replica_count, 1);
	/* Larger than everything that is mounted: no eviction helps. */
	assert_int_equal(t_start(core, "c", GiB, 1, 0), -200);
	free(key);
	core_destroy(core);
}

/* The answer got lost and the request comes again: it is one put. */
static void test_repeat(void **state)
{
	struct core *core = t_core(NULL);
	struct object *first, *again;
	struct put_ask ask;
	uint64_t used;

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	ask = t_ask(core, 1, 0);
	ask.request = 7;
	assert_int_equal(put_start(core, &ask, STR("a"), 100, &first), 0);
	used = ext_used(first->replicas->extents[0].seg->space);
	assert_int_equal(put_start(core, &ask, STR("a"), 100, &again), 0);
	assert_ptr_equal(first, again);
	assert_int_equal(ext_used(first->replicas->extents[0].seg->space),
			 used);
	/* Whatever is not the same is another put. */
	assert_int_equal(put_start(core, &ask, STR("a"), 101, &again), -705);
	ask.request++;
	assert_int_equal(put_start(core, &ask, STR("a"), 100, &again), -705);
	ask.request = 0;
	assert_int_equal(put_start(core, &ask, STR("a"), 100, &again), -705);
	ask.request = 7;
	ask.client.b[3]++;
	assert_int_equal(put_start(core, &ask, STR("a"), 100, &again), -705);
	assert_true(ask.is_being_written);
	ask.client.b[3]--;
	assert_int_equal(t_end(core, "a"), 0);
	assert_int_equal(put_start(core, &ask, STR("a"), 100, &again), -705);
	assert_false(ask.is_being_written);
	core_destroy(core);
}

/* Of a key whose object nobody can read at the moment, too. */
static void test_repeat_of_a_successor(void **state)
{
	struct core *core = t_core(NULL);
	struct object *first, *again;
	struct segment *seg;
	struct put_ask ask;

	seg = t_segment(core, KIND_NOF, 0, 16 * MiB);
	assert_int_equal(t_put(core, "a", 100, 0, 1), 0);
	segment_set_state(core, seg, SEG_OFFLINE, "");
	t_segment(core, KIND_NOF, 1, 16 * MiB);
	ask = t_ask(core, 0, 1);
	assert_int_equal(put_start(core, &ask, STR("a"), 100, &first), 0);
	assert_int_equal(put_start(core, &ask, STR("a"), 100, &again), -705);
	assert_true(ask.is_being_written); /* the new one */
	assert_int_equal(t_end(core, "a"), 0);
	seg = first->replicas->extents[0].seg;
	segment_set_state(core, seg, SEG_OFFLINE, "");
	t_segment(core, KIND_NOF, 2, 16 * MiB);
	ask.request = 9;
	assert_int_equal(put_start(core, &ask, STR("a"), 100, &first), 0);
	assert_int_equal(put_start(core, &ask, STR("a"), 100, &again), 0);
	assert_ptr_equal(first, again);
	core_destroy(core);
}

static int resolve(struct core *core, int mem, int nof, int *out)
{
	struct put_ask ask = {.count = {mem, nof}};
	int st = put_resolve(core, &ask);

	*out = ask.count[KIND_MEM] * 10 + ask.count[KIND_NOF];
	return st;
}

static void test_default_policy(void **state)
{
	struct core *core = t_core(NULL);
	int n;

	/* Nothing mounted: NoF is what is missing. */
	assert_int_equal(resolve(core, -1, -1, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(resolve(core, 0, 0, &n), -600);
	assert_int_equal(resolve(core, 9, 0, &n), -600);
	t_segment(core, KIND_NOF, 0, 16 * MiB);
	/* Memory by habit, but there is only a pool. */
	assert_int_equal(resolve(core, 1, -1, &n), 0);
	assert_int_equal(n, 1);
	/* Said twice that it must be memory. */
	assert_int_equal(resolve(core, 1, 0, &n), 0);
	assert_int_equal(n, 10);
	t_segment(core, KIND_MEM, 0, 16 * MiB);
	assert_int_equal(resolve(core, -1, -1, &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(resolve(core, -1, 1, &n), 0);
	assert_int_equal(n, 11);
	assert_int_equal(resolve(core, 0, 2, &n), 0);
	assert_int_equal(n, 2);
	core->opts.replica_num = 0;
	core->opts.nof_replica_num = 1;
	assert_int_equal(resolve(core, -1, -1, &n), 0);
	assert_int_equal(n, 1);
	core_destroy(core);
}

static void test_refused_asks(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask near = {.count = {1, 1}, .place = {.is_near_wanted = 1}};
	struct put_ask ttl = {.count = {1, 0}, .soft_pin_ms = 5};
	struct put_ask life = {
		.count = {1, 0}, .has_soft_pin = true, .soft_pin_ms = 86400001};

	assert_int_equal(put_resolve(core, &near), -600);
	assert_int_equal(put_resolve(core, &ttl), -600);
	assert_int_equal(put_resolve(core, &life), -600);
	core_destroy(core);
}

static void test_exists_already(void **state)
{
	struct core *core = t_core(NULL);
	uint64_t generation;

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	assert_int_equal(t_start(core, "a", 100, 1, 0), 0);
	assert_int_equal(t_start(core, "a", 100, 1, 0), -705);
	assert_int_equal(t_get(core, "a"), -703);
	assert_false(t_exist(core, "a"));
	generation = obj_find(core, STR("a"))->generation;
	t_pass(core, 31 * NS_PER_S);
	assert_int_equal(t_start(core, "a", 200, 1, 0), 0);
	assert_true(obj_find(core, STR("a"))->generation > generation);
	assert_int_equal(core->stats.discarded, 1);
	assert_int_equal(t_end(core, "a"), 0);
	assert_int_equal(t_end(core, "a"), 0); /* the answer got lost */
	assert_int_equal(t_start(core, "a", 100, 1, 0), -705);
	assert_int_equal(t_get(core, "a"), 0);
	core_destroy(core);
}

static void test_old_puts_are_released(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = t_segment(core, KIND_MEM, 0, 16 * MiB);

	assert_int_equal(t_start(core, "a", 8 * MiB, 1, 0), 0);
	t_pass(core, 599 * NS_PER_S);
	put_expire(core);
	assert_non_null(obj_find(core, STR("a")));
	t_pass(core, 1 * NS_PER_S);
	put_expire(core);
	assert_null(obj_find(core, STR("a")));
	assert_int_equal(ext_used(seg->space), 0);
	assert_int_equal(core->stats.released, 1);
	/* Under pressure already when it has to give way. */
	assert_int_equal(t_start(core, "b", 12 * MiB, 1, 0), 0);
	assert_int_equal(t_start(core, "c", 12 * MiB, 1, 0), -200);
	t_pass(core, 30 * NS_PER_S);
	assert_int_equal(t_start(core, "c", 12 * MiB, 1, 0), 0);
	core_destroy(core);
}

static void test_end_checks(void **state)
{
	struct core *core = t_core(NULL);
	struct put_end end = {.client = T_CLIENT, .key = STR("a")};
	struct uuid other = {{9}};

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	assert_int_equal(put_end(core, &end), -704);
	assert_int_equal(t_start(core, "a", 100, 1, 0), 0);
	assert_int_equal(put_end(core, &end), -700); /* generation */
	end.generation = obj_find(core, STR("a"))->generation;
	assert_int_equal(put_end(core, &end), -600); /* checksums */
	end.crcs = (struct str){"1234", 4};
	end.client = other;
	assert_int_equal(put_end(core, &end), -601);
	assert_int_equal(put_revoke(core, &other, STR("a"), end.generation),
			 -601);
	end.client = T_CLIENT;
	assert_int_equal(put_end(core, &end), 0);
	assert_int_equal(
		put_revoke(core, &end.client, STR("a"), end.generation), -700);
	core_destroy(core);
}

static void test_revoked_space_rests(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = t_segment(core, KIND_MEM, 0, 16 * MiB);
	struct uuid client = T_CLIENT;

	assert_int_equal(t_start(core, "a", 12 * MiB, 1, 0), 0);
	/* At the end of its time, with a write that may hang at the target. */
	t_pass(core, core->opts.write_ns - 1);
	assert_int_equal(put_revoke(core, &client, STR("a"),
				    obj_find(core, STR("a"))->generation),
			 0);
	/* A late write may still come. */
	assert_int_equal(seg->quarantined, 12 * MiB);
	assert_int_equal(t_start(core, "a", 12 * MiB, 1, 0), -200);
	t_pass(core, core->opts.write_ns + core->opts.margin_ns - 1);
	assert_int_equal(t_start(core, "a", 12 * MiB, 1, 0), PUT_LATER);
	t_pass(core, 1);
	assert_int_equal(t_start(core, "a", 12 * MiB, 1, 0), 0);
	core_destroy(core);
}

/* What was sent first may come to be written after the second attempt. */
static void test_resent_rests(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = t_segment(core, KIND_MEM, 0, 16 * MiB);
	struct put_end end = {
		.client = T_CLIENT, .key = STR("a"), .is_resent = true};
	uint8_t crcs[96 * 4] = {0};

	end.crcs = (struct str){(const char *)crcs, sizeof(crcs)};
	assert_int_equal(t_start(core, "a", 12 * MiB, 1, 0), 0);
	end.generation = obj_find(core, STR("a"))->generation;
	assert_int_equal(put_end(core, &end), 0);
	t_pass(core, NS_PER_S);
	obj_destroy(core, obj_find(core, STR("a")));
	assert_int_equal(seg->quarantined, 12 * MiB);
	t_pass(core, core->opts.write_ns + core->opts.margin_ns - NS_PER_S - 1);
	assert_int_equal(t_start(core, "b", 12 * MiB, 1, 0), PUT_LATER);
	t_pass(core, 1);
	assert_int_equal(t_start(core, "b", 12 * MiB, 1, 0), 0);
	/* Long afterwards there is nothing to wait for. */
	end = (struct put_end){.client = T_CLIENT,
			       .key = STR("b"),
			       .crcs = end.crcs,
			       .generation =
				       obj_find(core, STR("b"))->generation,
			       .is_resent = true};
	assert_int_equal(put_end(core, &end), 0);
	t_pass(core, core->opts.write_ns + core->opts.margin_ns);
	obj_destroy(core, obj_find(core, STR("b")));
	assert_int_equal(seg->quarantined, 0);
	core_destroy(core);
}

static void put_resent(struct core *core, const char *key)
{
	struct put_end end = {.client = T_CLIENT,
			      .key = str_of(key),
			      .crcs = {"1234", 4},
			      .is_resent = true};

	assert_int_equal(t_start(core, key, 100, 1, 0), 0);
	end.generation = obj_find(core, str_of(key))->generation;
	assert_int_equal(put_end(core, &end), 0);
}

static bool is_settled(struct core *core, const char *key)
{
	return !obj_find(core, str_of(key))->writing;
}

/* What was sent twice is remembered only as long as it matters. */
static void test_resent_settles(void **state)
{
	struct core *core = t_core(NULL);

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	put_resent(core, "a");
	core->opts.write_ns /= 2;
	put_resent(core, "b");
	put_resent(core, "gone");
	obj_destroy(core, obj_find(core, STR("gone")));
	t_pass(core, core->opts.write_ns - 1);
	assert_int_equal(t_put(core, "x", 100, 1, 0), 0);
	assert_false(is_settled(core, "a") || is_settled(core, "b"));
	t_pass(core, 1);
	assert_int_equal(t_put(core, "y", 100, 1, 0), 0);
	assert_true(is_settled(core, "b"));
	assert_false(is_settled(core, "a"));
	/* Also when nobody puts any more. */
	t_pass(core, core->opts.write_ns);
	assert_int_equal(put_expire(core), 0);
	assert_true(is_settled(core, "a"));
	core_destroy(core);
}

static void test_flexible(void **state)
{
	struct core *core = t_core(NULL);
	struct put_end end = {.client = T_CLIENT, .key = STR("a")};
	struct object *obj;
	uint32_t failed = 0;

	t_segment(core, KIND_NOF, 0, 16 * MiB);
	/* Only one side can be had. */
	assert_int_equal(t_start(core, "x", 100, 1, 1), 0);
	assert_int_equal(core->stats.partial_allocs, 1);
	t_segment(core, KIND_MEM, 0, 16 * MiB);
	assert_int_equal(t_start(core, "a", 100, 1, 1), 0);
	obj = obj_find(core, STR("a"));
	assert_int_equal(obj->replica_count, 2);
	end.generation = obj->generation;
	end.crcs = (struct str){"1234", 4};
	end.failed = &failed;
	end.failed_count = 1;
	assert_int_equal(put_end(core, &end), 0);
	assert_int_equal(obj->replica_count, 1);
	assert_int_equal(t_get(core, "a"), 0);
	assert_int_equal(core->stats.hits_nof, 1);
	core_destroy(core);
}

/* When one side has rested is known, though the other one is full. */
static void test_flexible_waits_for_the_side_that_rests(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask ask = t_ask(core, 1, 1);
	struct object *obj;

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	t_segment(core, KIND_NOF, 0, 16 * MiB);
	assert_int_equal(t_put(core, "gone", 12 * MiB, 1, 0), 0);
	assert_int_equal(t_start(core, "being put", 12 * MiB, 0, 1), 0);
	assert_int_equal(t_get(core, "gone"), 0);
	t_pass(core, core->opts.lease_ns);
	obj_destroy(core, obj_find(core, STR("gone")));
	assert_int_equal(put_start(core, &ask, STR("a"), 12 * MiB, &obj),
			 PUT_LATER);
	assert_int_equal(ask.retry_ns, core->now_ns + core->opts.margin_ns);
	t_pass(core, core->opts.margin_ns);
	assert_int_equal(put_start(core, &ask, STR("a"), 12 * MiB, &obj), 0);
	core_destroy(core);
}

/* A side that the slice has no evictions left for is not one that is full. */
static void test_flexible_by_slices(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask ask;
	struct object *obj;
	char key[16];

	t_segment(core, KIND_NOF, 0, 4 * MiB);
	for (unsigned i = 0; i < 4; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(t_put(core, key, MiB, 0, 1), 0);
	}
	t_segment(core, KIND_MEM, 0, 16 * MiB);
	ask = t_ask(core, 1, 1);
	ask.budget = 1;
	assert_int_equal(put_start(core, &ask, STR("a"), 3 * MiB, &obj),
			 PUT_LATER);
	assert_int_equal(ask.retry_ns, core->now_ns);
	/* Who can't wait gets what there is. */
	ask.is_last = true;
	assert_int_equal(put_start(core, &ask, STR("b"), 3 * MiB, &obj), 0);
	assert_int_equal(obj->replica_count, 1);
	ask.is_last = false;
	ask.budget = 100;
	assert_int_equal(put_start(core, &ask, STR("a"), 3 * MiB, &obj), 0);
	assert_int_equal(obj->replica_count, 2);
	/* All of it is leased: that side is full. */
	assert_int_equal(t_end(core, "a"), 0);
	assert_int_equal(t_get(core, "a"), 0);
	assert_int_equal(put_start(core, &ask, STR("c"), 4 * MiB, &obj), 0);
	assert_int_equal(obj->replica_count, 1);
	core_destroy(core);
}

static void test_reliable(void **state)
{
	struct core *core = t_core(NULL);
	struct put_end end = {.client = T_CLIENT, .key = STR("a")};
	struct object *obj;
	uint32_t failed = 1;

	t_segment(core, KIND_NOF, 0, 16 * MiB);
	assert_int_equal(t_start(core, "a", 100, 0, 2), -200);
	t_segment(core, KIND_NOF, 1, 16 * MiB);
	assert_int_equal(t_start(core, "a", 100, 0, 2), 0);
	obj = obj_find(core, STR("a"));
	end.generation = obj->generation;
	end.crcs = (struct str){"1234", 4};
	end.failed = &failed;
	end.failed_count = 1;
	assert_int_equal(put_end(core, &end), -800);
	assert_null(obj_find(core, STR("a")));
	/* Memory alone: one is enough. */
	t_segment(core, KIND_MEM, 0, 16 * MiB);
	assert_int_equal(t_start(core, "b", 100, 3, 0), 0);
	assert_int_equal(obj_find(core, STR("b"))->replica_count, 1);
	core_destroy(core);
}

static void put_pinned(struct core *core, const char *key, uint64_t size)
{
	struct put_ask ask = t_ask(core, 0, 1);
	struct object *obj;

	ask.has_hard_pin = true;
	assert_int_equal(put_start(core, &ask, str_of(key), size, &obj), 0);
	assert_int_equal(t_end(core, key), 0);
}

/* Read, evicted at the end of its lease: its space rests for the margin. */
static void leave_resting(struct core *core, const char *key)
{
	assert_int_equal(t_put(core, key, 512 * KiB, 0, 1), 0);
	assert_int_equal(t_get(core, key), 0);
	t_pass(core, core->opts.lease_ns);
	obj_destroy(core, obj_find(core, str_of(key)));
}

/* Two segments on one host, beside a full one on another. */
static void add_pair(struct core *core)
{
	struct segment *a = t_segment(core, KIND_NOF, 1, 16 * MiB);
	struct segment *b = t_segment(core, KIND_NOF, 2, 16 * MiB);

	b->host_hash = a->host_hash;
}

/* The other host is full for good: what rests here does not change that. */
static void test_rest_that_is_no_use(void **state)
{
	struct core *core = t_core(NULL);

	t_segment(core, KIND_NOF, 0, 16 * MiB);
	put_pinned(core, "p", 16 * MiB);
	add_pair(core);
	leave_resting(core, "r");
	assert_int_equal(t_start(core, "k", MiB, 0, 2), 0);
	assert_int_equal(obj_find(core, STR("k"))->replica_count, 2);
	core_destroy(core);
}

/* Nearer is better than not at all, for who can't wait any longer. */
static void test_rest_until_the_last_try(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask ask = t_ask(core, 0, 2);
	struct segment *c = t_segment(core, KIND_NOF, 0, 16 * MiB);
	struct object *obj;

	put_pinned(core, "p", 15 * MiB);
	put_pinned(core, "q", 512 * KiB);
	leave_resting(core, "r");
	add_pair(core);
	assert_int_equal(c->quarantined, 512 * KiB);
	assert_int_equal(put_start(core, &ask, STR("k"), MiB, &obj), PUT_LATER);
	ask.is_last = true;
	assert_int_equal(put_start(core, &ask, STR("k"), MiB, &obj), 0);
	assert_int_equal(obj->replica_count, 2);
	assert_int_equal(c->unfinished, 0);
	core_destroy(core);
}

/* What nobody can read now is lost only to a put that ends well. */
static void test_unreadable_gives_way_at_the_end(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *a = t_segment(core, KIND_NOF, 0, 16 * MiB);
	struct uuid client = T_CLIENT;
	struct object *old, *put;
	struct put_ask ask;

	assert_int_equal(t_put(core, "k", MiB, 0, 1), 0);
	old = obj_find(core, STR("k"));
	segment_set_state(core, a, SEG_OFFLINE, "");
	/* No room: it is still there. */
	assert_int_equal(t_start(core, "k", MiB, 0, 1), -200);
	t_segment(core, KIND_NOF, 1, 16 * MiB);
	/* Revoked: it is still there. */
	ask = t_ask(core, 0, 1);
	assert_int_equal(put_start(core, &ask, STR("k"), 2 * MiB, &put), 0);
	assert_int_equal(t_get(core, "k"), -704);
	assert_int_equal(t_start(core, "k", MiB, 0, 1), -705);
	assert_int_equal(put_revoke(core, &client, STR("k"), put->generation),
			 0);
	segment_set_state(core, a, SEG_ONLINE, "");
	assert_int_equal(t_get(core, "k"), 0);
	assert_ptr_equal(obj_find(core, STR("k")), old);
	/* Given up: it is still there. */
	segment_set_state(core, a, SEG_OFFLINE, "");
	assert_int_equal(t_start(core, "k", 2 * MiB, 0, 1), 0);
	t_pass(core, 31 * NS_PER_S);
	assert_int_equal(put_start(core, &ask, STR("k"), 3 * MiB, &put), 0);
	assert_int_equal(core->stats.discarded, 1);
	/* Ended: the new one has the key, the old one's space is free. */
	assert_int_equal(core->objects.count, 1);
	assert_int_equal(t_end(core, "k"), 0);
	assert_ptr_equal(obj_find(core, STR("k")), put);
	assert_int_equal(t_get(core, "k"), 0);
	assert_int_equal(core->objects.count, 1);
	assert_true(list_is_empty(&a->extents));
	core_destroy(core);
}

/* The old one goes first: the put goes on under the key. */
static void test_former_removed(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *a = t_segment(core, KIND_NOF, 0, 16 * MiB), *b;

	assert_int_equal(t_put(core, "k", MiB, 0, 1), 0);
	segment_set_state(core, a, SEG_OFFLINE, "");
	b = t_segment(core, KIND_NOF, 1, 16 * MiB);
	assert_int_equal(t_start(core, "k", MiB, 0, 1), 0);
	assert_int_equal(remove_key(core, STR("k"), false), 0);
	assert_int_equal(t_get(core, "k"), -703);
	assert_int_equal(remove_key(core, STR("k"), true), -703);
	assert_int_equal(t_end(core, "k"), 0);
	assert_int_equal(t_get(core, "k"), 0);
	/* Both at once, by the end of everything. */
	segment_set_state(core, a, SEG_ONLINE, "");
	segment_set_state(core, b, SEG_OFFLINE, "");
	assert_int_equal(t_start(core, "k", MiB, 0, 1), 0);
	core_destroy(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_repeat),
		cmocka_unit_test(test_repeat_of_a_successor),
		cmocka_unit_test(test_key_and_size),
		cmocka_unit_test(test_default_policy),
		cmocka_unit_test(test_refused_asks),
		cmocka_unit_test(test_exists_already),
		cmocka_unit_test(test_old_puts_are_released),
		cmocka_unit_test(test_end_checks),
		cmocka_unit_test(test_revoked_space_rests),
		cmocka_unit_test(test_resent_rests),
		cmocka_unit_test(test_resent_settles),
		cmocka_unit_test(test_flexible),
		cmocka_unit_test(test_flexible_waits_for_the_side_that_rests),
		cmocka_unit_test(test_flexible_by_slices),
		cmocka_unit_test(test_reliable),
		cmocka_unit_test(test_rest_that_is_no_use),
		cmocka_unit_test(test_rest_until_the_last_try),
		cmocka_unit_test(test_unreadable_gives_way_at_the_end),
		cmocka_unit_test(test_former_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
