/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What waits for the journal and what does not, and what becomes of both when
 * it cannot be written or synced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_world.h"

static int setup_always(void **state)
{
	return world_setup(state, KEEP_ALWAYS, 3600 * NS_PER_S);
}

static int setup_interval(void **state)
{
	return world_setup(state, KEEP_INTERVAL, 3600 * NS_PER_S);
}

static int setup_often(void **state)
{
	return world_setup(state, KEEP_INTERVAL, NS_PER_MS);
}

/* One change in one call. */
static bool remove_it(struct rpc_sync *rs, const char *key)
{
	Mc__RemoveReq req = MC__REMOVE_REQ__INIT;
	ProtobufCBinaryData keys[] = {world_bytes(key)};
	const Mc__StatusRsp *rsp;
	int ret;

	req.client_id = (ProtobufCBinaryData){16, world_client};
	req.keys = keys;
	req.n_keys = 1;
	req.force = true;
	rsp = world_call(rs, METHOD_REMOVE, &req, &ret);
	return rsp && rsp->n_status && rsp->status[0] == 0;
}

/* Somebody who waits for an answer. */
struct remover {
	pthread_t thread;
	struct rpc_sync *rs;
	const char *key;
	_Atomic bool is_answered;
	bool is_good;
};

static void *remover_run(void *arg)
{
	struct remover *r = arg;

	r->is_good = remove_it(r->rs, r->key);
	r->is_answered = true;
	return NULL;
}

/* Returns when the sync that the answer waits for is under way. */
static void remover_start(struct world *w, struct remover *r, const char *key)
{
	*r = (struct remover){.rs = world_connect(w), .key = key};
	gate_init(&disk.begun);
	gate_init(&disk.goes_on);
	disk.is_slow = true;
	ASSERT(pthread_create(&r->thread, NULL, remover_run, r) == 0);
	gate_wait(&disk.begun);
}

static bool remover_end(struct remover *r)
{
	gate_open(&disk.goes_on);
	pthread_join(r->thread, NULL);
	rpc_sync_close(r->rs);
	return r->is_good;
}

static void expect_after_restart(struct world *w, const char *key,
				 bool is_there)
{
	world_stop(w);
	world_start(w);
	assert_true(world_mount(w));
	assert_int_equal(world_get(w->rs, key), is_there ? 0 : -704);
}

/* --- tests --- */

/* A change is answered when it is on disk; who reads does not wait. */
static void always_waits_for_the_disk(void **state)
{
	struct world *w = *state;
	struct remover r;
	bool is_early;
	int st = 0;

	assert_true(world_mount(w));
	assert_true(world_put(w->rs, "a"));
	assert_true(world_put(w->rs, "b"));
	remover_start(w, &r, "b");
	for (unsigned i = 0; i < 10 && st == 0; i++)
		st = world_get(w->rs, "a");
	is_early = r.is_answered;
	assert_true(remover_end(&r));
	assert_int_equal(st, 0);
	assert_false(is_early);
	expect_after_restart(w, "a", true);
	expect_after_restart(w, "b", false);
}

/* Refused, and not carried out. */
static void expect_refusal(struct world *w)
{
	assert_false(remove_it(w->rs, "a"));
	assert_int_equal(world_get(w->rs, "a"), 0);
	assert_true(world_has_failed(w));
}

/* What waits for a sync that fails is refused, and so is all that follows,
 * until a snapshot has everything. */
static void failed_sync(void **state)
{
	struct world *w = *state;
	struct remover r;

	assert_true(world_mount(w));
	assert_true(world_put(w->rs, "a"));
	assert_true(world_put(w->rs, "b"));
	remover_start(w, &r, "b");
	disk.is_broken = true;
	assert_false(remover_end(&r));
	expect_refusal(w);
	disk.is_broken = false;
	world_expect_mended(w);
	assert_true(world_put(w->rs, "c"));
	expect_after_restart(w, "a", true);
	assert_int_equal(world_get(w->rs, "c"), 0);
}

/* The service's shard, which stands still. */
struct still {
	struct mbox_msg msg;
	struct gate begun, goes_on;
};

static void still_run(struct mbox_msg *msg)
{
	struct still *still = container_of(msg, struct still, msg);

	gate_open(&still->begun);
	gate_wait(&still->goes_on);
}

static void still_start(struct world *w, struct still *still)
{
	gate_init(&still->begun);
	gate_init(&still->goes_on);
	still->msg.run = still_run;
	loop_post(w->meta.loop, &still->msg);
	gate_wait(&still->begun);
}

/* Returns when so many messages wait for it, which one turn of its loop takes
 * together. */
static void expect_posted(struct world *w, unsigned count)
{
	uint64_t until_ns = time_mono_ns() + 60 * NS_PER_S;
	unsigned n = 0;

	while (n < count) {
		const struct mbox_msg *msg =
			atomic_load(&w->meta.loop->mbox.head);

		assert_true(time_mono_ns() < until_ns);
		for (n = 0; msg; msg = msg->next)
			n++;
	}
}

static void *snapshot_run(void *arg)
{
	world_snapshot(arg);
	return NULL;
}

/* Of an answer that is held when a sync fails the record is thrown away, also
 * if a snapshot begins, and with it a new log, before it would leave. */
static void failed_sync_before_a_snapshot(void **state)
{
	struct world *w = *state;
	struct remover first, second;
	struct still still;
	pthread_t snapshot;

	assert_true(world_mount(w));
	assert_true(world_put(w->rs, "a"));
	assert_true(world_put(w->rs, "b"));
	remover_start(w, &first, "b");
	second = (struct remover){.rs = world_connect(w), .key = "a"};
	still_start(w, &still);
	ASSERT(pthread_create(&second.thread, NULL, remover_run, &second) == 0);
	expect_posted(w, 1);
	disk.is_broken = true;
	gate_open(&disk.goes_on);
	expect_posted(w, 2);
	ASSERT(pthread_create(&snapshot, NULL, snapshot_run, w) == 0);
	expect_posted(w, 3);
	gate_open(&still.goes_on);
	pthread_join(first.thread, NULL);
	pthread_join(second.thread, NULL);
	pthread_join(snapshot, NULL);
	rpc_sync_close(first.rs);
	rpc_sync_close(second.rs);
	disk.is_broken = false;
	assert_true(world_has_failed(w));
	assert_false(second.is_good);
	world_expect_mended(w);
}

/* A write that fails: the same, and what came before it stays. */
static void failed_write(void **state)
{
	struct world *w = *state;

	assert_true(world_mount(w));
	assert_true(world_put(w->rs, "a"));
	assert_true(world_put(w->rs, "b"));
	disk.is_full = true;
	assert_false(remove_it(w->rs, "b"));
	expect_refusal(w);
	assert_int_not_equal(world_snapshot(w), 0);
	expect_refusal(w);
	disk.is_full = false;
	world_expect_mended(w);
	assert_true(world_put(w->rs, "c"));
	expect_after_restart(w, "a", true);
	assert_int_equal(world_get(w->rs, "c"), 0);
}

static int report_bad(struct world *w, const char *key, uint64_t generation)
{
	Mc__ReportItem item = MC__REPORT_ITEM__INIT, *items[] = {&item};
	Mc__ReportReq req = MC__REPORT_REQ__INIT;
	const Mc__StatusRsp *rsp;
	int ret;

	item.problem = MC__PROBLEM__PROBLEM_CHECKSUM;
	item.key = world_bytes(key);
	item.generation = generation;
	req.items = items;
	req.n_items = 1;
	rsp = world_call(w->rs, METHOD_REPORT, &req, &ret);
	assert_non_null(rsp);
	return rsp->status[0];
}

struct found {
	struct world *w;
	uint64_t generation;
};

static void find_a(void *arg)
{
	struct found *f = arg;

	f->generation = obj_find(f->w->svc->core, STR("a"))->generation;
}

/* What a reader found wrong is not dropped then, as the journal would not know
 * that it is; the next reader reports it again. */
static void reported_while_full(void **state)
{
	struct world *w = *state;
	struct found f = {.w = w};

	assert_true(world_mount(w));
	assert_true(world_put(w->rs, "a"));
	assert_true(world_put(w->rs, "b"));
	shard_call(&w->meta, find_a, &f);
	disk.is_full = true;
	assert_false(remove_it(w->rs, "b"));
	assert_int_equal(report_bad(w, "a", f.generation), -1503);
	expect_refusal(w);
	disk.is_full = false;
	world_expect_mended(w);
	assert_int_equal(report_bad(w, "a", f.generation), 0);
	assert_int_equal(world_get(w->rs, "a"), -704);
}

/* Nobody waits for that sync; who comes after it is told. */
static void failed_sync_in_between(void **state)
{
	uint64_t until_ns = time_mono_ns() + 60 * NS_PER_S;
	struct world *w = *state;

	assert_true(world_mount(w));
	assert_true(world_put(w->rs, "a"));
	disk.is_broken = true;
	world_put(w->rs, "b"); /* if it is not too late for that */
	while (!world_has_failed(w) && time_mono_ns() < until_ns)
		;
	expect_refusal(w);
	disk.is_broken = false;
	world_expect_mended(w);
	assert_true(world_put(w->rs, "c"));
	expect_after_restart(w, "a", true);
	assert_int_equal(world_get(w->rs, "c"), 0);
}

/* What was refused is not in the journal, also if the end comes before a
 * snapshot does. */
static void stopped_while_full(void **state)
{
	struct world *w = *state;

	assert_true(world_mount(w));
	assert_true(world_put(w->rs, "a"));
	assert_true(world_put(w->rs, "b"));
	disk.is_full = true;
	assert_false(remove_it(w->rs, "b"));
	world_stop(w);
	disk.is_full = false;
	world_start(w);
	assert_true(world_mount(w));
	assert_int_equal(world_get(w->rs, "a"), 0);
	assert_int_equal(world_get(w->rs, "b"), 0);
}

/* What is written between its end and its death leaves no timer behind. */
static void stopped_with_news(void **state)
{
	struct world *w = *state;

	assert_true(world_mount(w));
	assert_true(world_put(w->rs, "a"));
	w->has_news_at_the_end = true;
	world_stop(w);
	w->has_news_at_the_end = false;
	world_start(w);
	assert_int_equal(w->timers_left, 0);
	assert_true(world_mount(w));
	assert_int_equal(world_get(w->rs, "a"), 0);
}

/* What is taken can be read by the next life. */
static void longest_names(void **state)
{
	struct world *w = *state;
	char longest[1026];

	memset(longest, 'n', sizeof(longest));
	longest[1025] = '\0';
	assert_false(world_mount_as(w, "host:1", longest));
	assert_false(world_mount_as(w, longest, "host"));
	longest[1024] = '\0';
	assert_true(world_mount_as(w, longest, longest));
	assert_true(world_put(w->rs, "a"));
	world_stop(w);
	world_start(w);
	assert_true(world_mount_as(w, longest, longest));
	assert_int_equal(world_get(w->rs, "a"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(always_waits_for_the_disk,
						setup_always, world_teardown),
		cmocka_unit_test_setup_teardown(failed_sync, setup_always,
						world_teardown),
		cmocka_unit_test_setup_teardown(failed_sync_before_a_snapshot,
						setup_often, world_teardown),
		cmocka_unit_test_setup_teardown(failed_write, setup_always,
						world_teardown),
		cmocka_unit_test_setup_teardown(failed_write, setup_interval,
						world_teardown),
		cmocka_unit_test_setup_teardown(reported_while_full,
						setup_always, world_teardown),
		cmocka_unit_test_setup_teardown(failed_sync_in_between,
						setup_often, world_teardown),
		cmocka_unit_test_setup_teardown(longest_names, setup_always,
						world_teardown),
		cmocka_unit_test_setup_teardown(stopped_with_news,
						setup_interval, world_teardown),
		cmocka_unit_test_setup_teardown(stopped_while_full,
						setup_always, world_teardown),
		cmocka_unit_test_setup_teardown(stopped_while_full,
						setup_interval, world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
