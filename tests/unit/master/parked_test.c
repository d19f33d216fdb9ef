/* SPDX-License-Identifier: Apache-2.0 */
/* Puts that are parked: what ends them but space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_core.h"
#include "t_world.h"

#define SPACE (16 * MiB)

static int setup(void **state)
{
	return world_setup(state, KEEP_INTERVAL, 3600 * NS_PER_S);
}

/* So many keys, for each of which size is wanted, for the last one all of the
 * space; *ret is what came of the call, NULL: refused, or not answered in time.
 */
static const Mc__PutStartRsp *put_many(struct rpc_sync *rs, unsigned count,
				       uint64_t size, struct err *err)
{
	Mc__PutItem *items = calloc(count, sizeof(*items));
	Mc__PutItem **list = calloc(count, sizeof(Mc__PutItem *));
	Mc__PutStartReq req = MC__PUT_START_REQ__INIT;
	const ProtobufCMessage *rsp = NULL;
	char(*keys)[16] = calloc(count, sizeof(*keys));

	for (unsigned i = 0; i < count; i++) {
		snprintf(keys[i], sizeof(keys[i]), "all%u", i);
		mc__put_item__init(&items[i]);
		items[i].key = world_bytes(keys[i]);
		items[i].size = i + 1 < count ? size : SPACE;
		list[i] = &items[i];
	}
	req.client_id = (ProtobufCBinaryData){16, world_client};
	req.items = list;
	req.n_items = count;
	if (rpc_sync_call(rs, METHOD_PUT_START, &req.base, &rsp, err) < 0)
		rsp = NULL;
	free(items);
	free(list);
	free(keys);
	return (const Mc__PutStartRsp *)rsp;
}

static const Mc__PutStartRsp *put_all(struct rpc_sync *rs, unsigned count)
{
	return put_many(rs, count, SPACE, &(struct err){0});
}

/* Read, and its lease has just ended: evicted now, it rests for longer than
 * anybody waits. */
static void fill_to_rest(void *arg)
{
	struct world *w = arg;
	struct core *core = service_enter(w->svc);

	t_segment(core, KIND_MEM, 0, SPACE);
	core->opts.margin_ns = 3600 * NS_PER_S;
	assert_int_equal(t_put(core, "a", SPACE, 1, 0), 0);
	assert_int_equal(t_get(core, "a"), 0);
	obj_find(core, STR("a"))->used_ns -= core->opts.lease_ns;
}

/* Who waits hears that there was no space, rather than nothing. */
static void answered_in_time(void **state)
{
	struct world *w = *state;
	const Mc__PutStartRsp *rsp;
	struct rpc_sync *rs;
	struct err err = {0};

	shard_call(&w->meta, fill_to_rest, w);
	assert_int_equal(rpc_sync_open(&w->addr, 2000, &rs, &err), 0);
	rsp = put_all(rs, 1);
	assert_non_null(rsp);
	assert_int_equal(rsp->grants[0]->status, -200);
	rpc_sync_close(rs);
}

#define SMALL 2048 /* objects: it takes two slices to evict them */

static void fill_small(void *arg)
{
	struct world *w = arg;
	struct core *core = service_enter(w->svc);
	char key[16];

	t_segment(core, KIND_MEM, 0, SPACE);
	for (unsigned i = 0; i < SMALL; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(t_put(core, key, SPACE / SMALL, 1, 0), 0);
	}
}

struct count {
	struct world *w;
	size_t n;
};

static void count_objects(void *arg)
{
	struct count *c = arg;

	c->n = c->w->svc->core->objects.count;
}

/* What the journal can't be told does not happen: the first slice, of which the
 * write fails, is the last one. */
static void ended_by_a_full_disk(void **state)
{
	struct world *w = *state;
	struct count c = {.w = w};

	shard_call(&w->meta, fill_small, w);
	assert_int_equal(world_get(w->rs, "x"), -704); /* all is written */
	disk.is_full = true;
	assert_null(put_all(w->rs, 1));
	shard_call(&w->meta, count_objects, &c);
	disk.is_full = false;
	assert_in_range(c.n, SMALL / 2, SMALL);
}

static void look_at_abandon(void *arg)
{
	struct count *c = arg;

	c->n = timer_is_set(&c->w->svc->abandon_timer);
}

/* What such a put has begun is released, though nobody puts any more. */
static void begun_before_a_full_disk(void **state)
{
	struct world *w = *state;
	struct count c = {.w = w};
	struct err err = {0};

	shard_call(&w->meta, fill_small, w);
	assert_int_equal(world_get(w->rs, "x"), -704); /* all is written */
	disk.is_full = true;
	assert_null(put_many(w->rs, 2, 4096, &err));
	shard_call(&w->meta, look_at_abandon, &c);
	disk.is_full = false;
	assert_int_equal(c.n, 1);
}

#define MANY 5000 /* items: more than a slice looks at */

static void *putter_run(void *arg)
{
	put_all(arg, MANY);
	return NULL;
}

static void read_parked(void *arg)
{
	struct count *c = arg;

	c->n = c->w->svc->core->stats.parked;
}

/* Before the master has stopped a batch of many slices is over. */
static void ended_by_the_masters_end(void **state)
{
	struct world *w = *state;
	struct rpc_sync *rs = world_connect(w);
	struct count c = {.w = w};
	pthread_t putter;

	shard_call(&w->meta, fill_to_rest, w);
	assert_int_equal(pthread_create(&putter, NULL, putter_run, rs), 0);
	while (c.n == 0)
		shard_call(&w->meta, read_parked, &c);
	world_stop(w);
	pthread_join(putter, NULL);
	rpc_sync_close(rs);
	world_start(w);
	assert_false(w->has_parked_left);
}

/* All have been read and may go, but have to rest. */
static void fill_small_to_rest(void *arg)
{
	struct world *w = arg;
	struct core *core = w->svc->core;
	char key[16];

	fill_small(arg);
	core->opts.margin_ns = 3600 * NS_PER_S;
	for (unsigned i = 0; i < SMALL; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(t_get(core, key), 0);
		obj_find(core, str_of(key))->used_ns -= core->opts.lease_ns;
	}
}

static void end_rest(void *arg)
{
	struct world *w = arg;

	w->svc->core->opts.margin_ns = 0;
}

struct putter {
	struct rpc_sync *rs;
	struct err err;
};

/* What one slice evicts: another one would begin anew when nothing rests. */
static void *quarter_run(void *arg)
{
	struct putter *p = arg;

	put_many(p->rs, 2, SPACE / 4, &p->err);
	return NULL;
}

/* Nobody can end then what would be granted, so nothing goes for it. */
static void evicts_nothing_at_the_end(void **state)
{
	struct world *w = *state;
	struct putter p = {.rs = world_connect(w)};
	struct count c = {.w = w};
	pthread_t putter;

	shard_call(&w->meta, fill_small_to_rest, w);
	assert_int_equal(pthread_create(&putter, NULL, quarter_run, &p), 0);
	while (c.n == 0)
		shard_call(&w->meta, read_parked, &c);
	shard_call(&w->meta, end_rest, w);
	world_stop(w);
	pthread_join(putter, NULL);
	rpc_sync_close(p.rs);
	world_start(w);
	assert_int_equal(w->evicted, SMALL / 4);
	assert_non_null(strstr(p.err.text, "status -1010"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answered_in_time, setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(ended_by_a_full_disk, setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(begun_before_a_full_disk, setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(ended_by_the_masters_end, setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(evicts_nothing_at_the_end,
						setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
