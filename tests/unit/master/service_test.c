/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata shard over RPC: real loops, a free port, a synchronous client.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "io/thread.h"
#include "master/copy.h"
#include "master/object.h"
#include "master/service.h"
#include "rpc/client.h"
#include "t_core.h"

struct world {
	struct shard meta, net;
	struct service *svc;
	struct rpc_server *server;
	struct addr addr;
	struct rpc_sync *rs;
	struct gate gate;
	uint64_t lease_ns, margin_ns;
	const struct task *task;
};

static const struct uuid other_id = {{KIND_NOF, 1, 1}}; /* by t_segment() */

static uint8_t client_id[16] = {1}, segment_id[16] = {2};

static void open_service(void *arg)
{
	struct world *w = arg;
	struct service_opts opts = {.cluster_id = "test",
				    .probe_interval_ns = NS_PER_S};
	struct err err = {0};

	core_opts_default(&opts.core);
	/* Nothing goes in the background, however long a call takes. */
	opts.core.high_watermark[KIND_MEM] = 1;
	opts.core.lease_ns = w->lease_ns;
	opts.core.margin_ns = w->margin_ns;
	opts.core.generation = 1000;
	ASSERT(service_open(w->meta.loop, &opts, NULL, &w->svc, &err) == 0);
}

static void open_server(void *arg)
{
	struct world *w = arg;
	struct err err = {0};

	ASSERT(addr_parse("127.0.0.1", 0, &w->addr) == 0);
	ASSERT(rpc_server_open(
		       &(struct rpc_server_opts){.loop = w->net.loop,
						 .addr = w->addr,
						 .handler = service_handle,
						 .arg = w->svc},
		       &w->addr, &w->server, &err) == 0);
}

static int setup_times(void **state, uint64_t lease_ns, uint64_t margin_ns)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err err = {0};

	w->lease_ns = lease_ns;
	w->margin_ns = margin_ns;
	ASSERT(shard_start(&w->meta, &(struct loop_opts){.name = "meta"},
			   &err) == 0);
	ASSERT(shard_start(&w->net, &(struct loop_opts){.name = "net"}, &err) ==
	       0);
	shard_call(&w->meta, open_service, w);
	shard_call(&w->net, open_server, w);
	ASSERT(rpc_sync_open(&w->addr, 10000, &w->rs, &err) == 0);
	*state = w;
	return 0;
}

static int setup(void **state)
{
	return setup_times(state, 100 * NS_PER_MS, 100 * NS_PER_MS);
}

/* A lease ends when the test says so, and the margin is longer than a busy
 * machine takes for the next call. */
static int setup_parking(void **state)
{
	return setup_times(state, 3600 * NS_PER_S, NS_PER_S);
}

static void opened(void *arg)
{
	struct world *w = arg;

	gate_open(&w->gate);
}

static void stop_service(void *arg)
{
	struct world *w = arg;

	service_stop(w->svc, opened, w);
}

static void destroy_service(void *arg)
{
	service_destroy(((struct world *)arg)->svc);
}

static void stop_server(void *arg)
{
	struct world *w = arg;

	rpc_server_close(w->server, opened, w);
}

static int teardown(void **state)
{
	struct world *w = *state;

	gate_init(&w->gate);
	shard_call(&w->meta, stop_service, w);
	gate_wait(&w->gate);
	gate_init(&w->gate);
	shard_call(&w->net, stop_server, w);
	gate_wait(&w->gate);
	rpc_sync_close(w->rs);
	shard_stop(&w->net);
	/* On its thread, which may still be on the way out of the call that
	 * said stopped; and before the loop, as its timers are the loop's. */
	shard_call(&w->meta, destroy_service, w);
	shard_stop(&w->meta);
	free(w);
	return 0;
}

static const void *call(struct world *w, uint16_t method, const void *req)
{
	const ProtobufCMessage *rsp = NULL;
	struct err err = {0};

	if (rpc_sync_call(w->rs, method, req, &rsp, &err) < 0)
		fail_msg("%s: %s", method_name(method), err.text);
	return rsp;
}

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static void mount(struct world *w, uint64_t size)
{
	char *paths[] = {"traddr:127.0.0.1 subnqn:nqn.2024-01.t:m ns:1"};
	Mc__Segment seg = MC__SEGMENT__INIT;
	Mc__MountReq req = MC__MOUNT_REQ__INIT;
	const Mc__MountRsp *rsp;

	req.client_id = (ProtobufCBinaryData){16, client_id};
	req.segment = &seg;
	seg.id = (ProtobufCBinaryData){16, segment_id};
	seg.name = "host:1";
	seg.size = size;
	seg.endpoints = paths;
	seg.n_endpoints = 1;
	rsp = call(w, METHOD_MOUNT, &req);
	assert_int_equal(rsp->status, 0);
	assert_false(rsp->already);
	assert_string_equal(rsp->segment->host_id, "host");
	assert_int_equal(rsp->segment->block_size, 4096);
	rsp = call(w, METHOD_MOUNT, &req);
	assert_int_equal(rsp->status, 0);
	assert_true(rsp->already);
	seg.size++;
	rsp = call(w, METHOD_MOUNT, &req);
	assert_int_equal(rsp->status, -102);
	seg.kind = MC__KIND__NOF_SSD;
	rsp = call(w, METHOD_MOUNT, &req);
	assert_int_equal(rsp->status, -1011); /* no volumes here */
}

static int put(struct world *w, const char *key, uint64_t size)
{
	Mc__PutItem item = MC__PUT_ITEM__INIT, *items[] = {&item};
	Mc__PutStartReq req = MC__PUT_START_REQ__INIT;
	Mc__PutEndItem last = MC__PUT_END_ITEM__INIT, *lasts[] = {&last};
	Mc__PutEndReq end = MC__PUT_END_REQ__INIT;
	const Mc__PutStartRsp *rsp;
	const Mc__StatusRsp *st;
	static uint8_t crcs[1024];

	item.key = last.key = bytes(key);
	item.size = size;
	req.client_id = end.client_id = (ProtobufCBinaryData){16, client_id};
	req.items = items;
	end.items = lasts;
	req.n_items = end.n_items = 1;
	rsp = call(w, METHOD_PUT_START, &req);
	if (rsp->grants[0]->status)
		return rsp->grants[0]->status;
	assert_int_equal(rsp->n_segments, 1);
	assert_int_equal(rsp->write_timeout_ms, 20000);
	assert_int_equal(rsp->grants[0]->replicas[0]->extents[0]->length, size);
	last.generation = rsp->grants[0]->generation;
	last.crcs = (ProtobufCBinaryData){
		(size + CRC_BLOCK - 1) / CRC_BLOCK * 4, crcs};
	st = call(w, METHOD_PUT_END, &end);
	return st->status[0];
}

static const Mc__GetRsp *get(struct world *w, const char *key)
{
	Mc__GetReq req = MC__GET_REQ__INIT;
	ProtobufCBinaryData keys[] = {bytes(key), bytes("absent")};

	req.keys = keys;
	req.n_keys = 2;
	return call(w, METHOD_GET, &req);
}

static void test_put_get(void **state)
{
	struct world *w = *state;
	const Mc__GetRsp *rsp;
	const Mc__StatsRsp *stats;
	const Mc__HelloRsp *hello;
	Mc__HelloReq hi = MC__HELLO_REQ__INIT;
	Mc__StatsReq ask = MC__STATS_REQ__INIT;

	hello = call(w, METHOD_HELLO, &hi);
	assert_int_equal(hello->status, -300);
	hi.protocol = PROTO_VERSION;
	hello = call(w, METHOD_HELLO, &hi);
	assert_int_equal(hello->status, 0);
	assert_string_equal(hello->cluster_id, "test");
	mount(w, 16 * MiB);
	assert_int_equal(put(w, "a", 300000), 0);
	assert_int_equal(put(w, "a", 300000), -705);
	rsp = get(w, "a");
	assert_int_equal(rsp->lease_ms, 100);
	assert_int_equal(rsp->objects[0]->status, 0);
	assert_int_equal(rsp->objects[0]->crcs.len, 12);
	assert_int_equal(rsp->objects[0]->n_replicas, 1);
	assert_int_equal(rsp->objects[1]->status, -704);
	stats = call(w, METHOD_STATS, &ask);
	assert_int_equal(stats->keys, 1);
	assert_int_equal(stats->mem_capacity, 16 * MiB);
	assert_non_null(strstr(stats->summary, "Keys: 1"));
}

struct count {
	struct world *w;
	uint64_t n;
};

static void read_parked(void *arg)
{
	struct count *c = arg;

	c->n = c->w->svc->core->stats.parked;
}

static uint64_t parked(struct world *w)
{
	struct count c = {.w = w};

	shard_call(&w->meta, read_parked, &c);
	return c.n;
}

static void test_bad_mounts(void **state)
{
	static const struct {
		uint64_t start, size;
		uint32_t block;
	} bad[] = {
		{0, 0, 0},	    {0, MiB, 256},
		{0, MiB, 131072},   {0, MiB, 1000},
		{1, MiB, 0},	    {4096, UINT64_MAX, 0},
		{0, UINT64_MAX, 0}, {0, (uint64_t)1 << 51, 0},
	};
	struct world *w = *state;
	char *paths[] = {"traddr:127.0.0.1 subnqn:nqn.2024-01.t:m ns:1"};
	Mc__Segment seg = MC__SEGMENT__INIT;
	Mc__MountReq req = MC__MOUNT_REQ__INIT;
	const Mc__MountRsp *rsp;

	req.client_id = (ProtobufCBinaryData){16, client_id};
	req.segment = &seg;
	seg.id = (ProtobufCBinaryData){16, segment_id};
	seg.name = "host:1";
	seg.endpoints = paths;
	seg.n_endpoints = 1;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		seg.start = bad[i].start;
		seg.size = bad[i].size;
		seg.block_size = bad[i].block;
		rsp = call(w, METHOD_MOUNT, &req);
		if (rsp->status != -600)
			fail_msg("mount %zu: status %d", i, rsp->status);
	}
}

struct lease_end {
	struct world *w;
	const char *key;
	uint64_t now_ns;
};

static void end_lease_run(void *arg)
{
	struct lease_end *l = arg;
	struct core *core = service_enter(l->w->svc);

	l->now_ns = core->now_ns;
	obj_find(core, str_of(l->key))->used_ns =
		core->now_ns - core->opts.lease_ns;
}

/* Returns when that was. */
static uint64_t end_lease(struct world *w, const char *key)
{
	struct lease_end l = {.w = w, .key = key};

	shard_call(&w->meta, end_lease_run, &l);
	return l.now_ns;
}

/* Everything was read: the last put is answered when a lease and the margin
 * are over, not before and not never. */
static void test_parked(void **state)
{
	struct world *w = *state;
	uint64_t end_ns;

	mount(w, MiB);
	assert_int_equal(put(w, "a", MiB), 0);
	assert_int_equal(get(w, "a")->objects[0]->status, 0);
	assert_int_equal(put(w, "b", MiB), -200); /* leased: no waiting */
	assert_int_equal(parked(w), 0);
	end_ns = end_lease(w, "a");
	assert_int_equal(put(w, "b", MiB), 0);
	assert_true(time_mono_ns() >= end_ns + w->margin_ns);
	assert_int_equal(get(w, "a")->objects[0]->status, -704);
	assert_int_equal(parked(w), 1);
}

struct deadlines {
	struct world *w;
	uint64_t x_ns, y_ns;
};

static void read_deadlines(void *arg)
{
	struct deadlines *d = arg;
	struct core *core = d->w->svc->core;

	d->x_ns = obj_find(core, STR("x"))->writing->deadline_ns;
	d->y_ns = obj_find(core, STR("y"))->writing->deadline_ns;
}

/* A writer's time begins with the answer, for each object of a batch, also for
 * one that had its space before the batch was parked. */
static void test_parked_deadline(void **state)
{
	struct world *w = *state;
	Mc__PutItem x = MC__PUT_ITEM__INIT, y = MC__PUT_ITEM__INIT;
	Mc__PutItem *items[] = {&x, &y};
	Mc__PutStartReq req = MC__PUT_START_REQ__INIT;
	struct deadlines d = {.w = w};
	const Mc__PutStartRsp *rsp;
	uint64_t end_ns;

	mount(w, 3 * MiB);
	assert_int_equal(put(w, "a", MiB), 0);
	assert_int_equal(get(w, "a")->objects[0]->status, 0);
	x.key = bytes("x");
	x.size = MiB;
	y.key = bytes("y");
	y.size = 2 * MiB;
	req.client_id = (ProtobufCBinaryData){16, client_id};
	req.items = items;
	req.n_items = 2;
	end_ns = end_lease(w, "a");
	rsp = call(w, METHOD_PUT_START, &req);
	assert_int_equal(rsp->grants[0]->status, 0);
	assert_int_equal(rsp->grants[1]->status, 0);
	assert_int_equal(parked(w), 1);
	shard_call(&w->meta, read_deadlines, &d);
	assert_int_equal(d.x_ns, d.y_ns);
	assert_true(d.x_ns >= end_ns + w->margin_ns + 20 * NS_PER_S);
}

static void test_lists_and_patterns(void **state)
{
	struct world *w = *state;
	Mc__ListKeysReq list = MC__LIST_KEYS_REQ__INIT;
	Mc__RemoveByRegexReq regex = MC__REMOVE_BY_REGEX_REQ__INIT;
	Mc__RemoveAllReq all = MC__REMOVE_ALL_REQ__INIT;
	const Mc__ListKeysRsp *keys;
	const Mc__CountRsp *count;
	char key[16];

	mount(w, 16 * MiB);
	for (unsigned i = 0; i < 30; i++) {
		snprintf(key, sizeof(key), "k%02u", (i * 7) % 30);
		assert_int_equal(put(w, key, 100), 0);
	}
	list.prefix = "k";
	list.limit = 8;
	list.after = bytes("k04");
	keys = call(w, METHOD_LIST_KEYS, &list);
	assert_int_equal(keys->n_keys, 8);
	assert_true(keys->more);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(key, sizeof(key), "k%02u", i + 5);
		assert_memory_equal(keys->keys[i]->key.data, key, 3);
	}
	list.after = bytes("k21");
	keys = call(w, METHOD_LIST_KEYS, &list);
	assert_int_equal(keys->n_keys, 8);
	assert_false(keys->more);
	regex.pattern = "[";
	count = call(w, METHOD_REMOVE_BY_REGEX, &regex);
	assert_int_equal(count->status, -600);
	assert_non_null(strstr(count->error, "offset"));
	regex.pattern = "^k1";
	count = call(w, METHOD_REMOVE_BY_REGEX, &regex);
	assert_int_equal(count->count, 10);
	count = call(w, METHOD_REMOVE_ALL, &all);
	assert_int_equal(count->count, 20);
}

static void test_unmount(void **state)
{
	struct world *w = *state;
	Mc__UnmountReq req = MC__UNMOUNT_REQ__INIT;
	Mc__PingReq ping = MC__PING_REQ__INIT;
	ProtobufCBinaryData id = {16, segment_id};
	const Mc__UnmountRsp *rsp;
	const Mc__PingRsp *pong;

	mount(w, 16 * MiB);
	assert_int_equal(put(w, "a", 100), 0);
	ping.client_id = (ProtobufCBinaryData){16, client_id};
	ping.segment_ids = &id;
	ping.n_segment_ids = 1;
	pong = call(w, METHOD_PING, &ping);
	assert_int_equal(pong->n_unknown_segments, 0);
	req.id = id;
	rsp = call(w, METHOD_UNMOUNT, &req);
	assert_int_equal(rsp->status, 0);
	assert_int_equal(rsp->dropped_objects, 1);
	assert_string_equal(rsp->segments[0]->name, "host:1");
	rsp = call(w, METHOD_UNMOUNT, &req);
	assert_int_equal(rsp->status, 0);
	assert_int_equal(rsp->n_segments, 0);
	req.endpoint = "traddr:127.0.0.1 subnqn:nqn.2024-01.t:m";
	rsp = call(w, METHOD_UNMOUNT, &req);
	assert_int_equal(rsp->status, -101);
	pong = call(w, METHOD_PING, &ping);
	assert_int_equal(pong->n_unknown_segments, 1);
	assert_int_equal(get(w, "a")->objects[0]->status, -704);
}

/* Two namespaces, and more objects than one slice looks at. */
static void fill_pool(void *arg)
{
	struct world *w = arg;
	struct core *core = service_enter(w->svc);
	char key[16];

	t_segment(core, KIND_NOF, 0, 64 * MiB);
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "only%u", i);
		assert_int_equal(t_put(core, key, 100, 0, 1), 0);
	}
	t_segment(core, KIND_NOF, 1, 64 * MiB);
	assert_int_equal(t_put(core, "both", 5000, 0, 2), 0);
	assert_int_equal(t_start(core, "open", 100, 0, 2), 0);
}

/* A copy of what is on the first namespace is under way. */
static void begin_copy(void *arg)
{
	struct world *w = arg;
	unsigned looks = 10;
	struct object *obj;
	uint64_t wait_ns;

	w->task = copy_next(service_enter(w->svc), &T_CLIENT, &looks, &obj,
			    &wait_ns);
	assert_non_null(w->task);
}

/* It fails, since the second namespace has been away for too long. */
static void lose_other(void *arg)
{
	struct world *w = arg;
	struct core *core = service_enter(w->svc);
	struct task_result result = {.id = w->task->id};

	copy_end(core, &T_CLIENT, &result);
	core->opts.lost_ns = 1;
	segment_set_state(core, segment_find(core, &other_id), SEG_OFFLINE, "");
	core->now_ns++;
}

static void end_put(void *arg)
{
	struct world *w = arg;
	struct core *core = service_enter(w->svc);

	segment_set_state(core, segment_find(core, &other_id), SEG_ONLINE, "");
	assert_int_equal(t_end(core, "open"), 0);
}

static const Mc__Drained *drain(struct world *w, bool count)
{
	Mc__DrainReq req = MC__DRAIN_REQ__INIT;
	const Mc__DrainRsp *rsp;

	req.endpoint = "traddr:10.0.1.0 trsvcid:4420 subnqn:nqn.2024-01.t:nof0";
	req.count = count;
	rsp = call(w, METHOD_DRAIN, &req);
	assert_int_equal(rsp->status, 0);
	assert_int_equal(rsp->n_segments, 1);
	assert_int_equal(rsp->segments[0]->segment->state,
			 MC__SEGMENT_STATE__SEGMENT_DRAINING);
	return rsp->segments[0];
}

static void test_drain(void **state)
{
	struct world *w = *state;
	Mc__UnmountReq req = MC__UNMOUNT_REQ__INIT;
	Mc__DrainReq other = MC__DRAIN_REQ__INIT;
	const Mc__UnmountRsp *gone;
	const Mc__DrainRsp *refused;
	const Mc__Drained *one;

	shard_call(&w->meta, fill_pool, w);
	req.endpoint = "traddr:10.0.1.0 trsvcid:4420 subnqn:nqn.2024-01.t:nof0";
	req.only_idle = true;
	gone = call(w, METHOD_UNMOUNT, &req);
	assert_int_equal(gone->status, MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS);
	assert_int_equal(get(w, "only7")->objects[0]->status, 0);
	one = drain(w, true);
	assert_int_equal(one->only_objects, 3000);
	assert_int_equal(one->only_bytes, 300000);
	assert_int_equal(one->other_objects, 1);
	assert_int_equal(one->other_bytes, 5000);
	assert_int_equal(one->unfinished, 1);
	assert_true(one->busy_ms > 0);
	/* What is not there yet, or not there any more, is no other one. */
	shard_call(&w->meta, begin_copy, w);
	assert_int_equal(drain(w, true)->only_objects, 3000);
	shard_call(&w->meta, lose_other, w);
	assert_int_equal(drain(w, true)->only_objects, 3001);
	gone = call(w, METHOD_UNMOUNT, &req);
	assert_int_equal(gone->status, MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS);
	shard_call(&w->meta, end_put, w);
	/* Then there is the lease of 100 ms. */
	while (drain(w, false)->busy_ms)
		;
	gone = call(w, METHOD_UNMOUNT, &req);
	assert_int_equal(gone->status, 0);
	assert_int_equal(gone->dropped_objects, 3000);
	assert_int_equal(get(w, "both")->objects[0]->status, 0);
	other.endpoint = req.endpoint;
	refused = call(w, METHOD_DRAIN, &other);
	assert_int_equal(refused->status, MOONCAKE_SEGMENT_NOT_FOUND);
	other.endpoint = "nonsense";
	refused = call(w, METHOD_DRAIN, &other);
	assert_int_equal(refused->status, MOONCAKE_INVALID_PARAMS);
	assert_non_null(strstr(refused->error, "nonsense"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_put_get, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_mounts, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_parked, setup_parking,
						teardown),
		cmocka_unit_test_setup_teardown(test_parked_deadline,
						setup_parking, teardown),
		cmocka_unit_test_setup_teardown(test_lists_and_patterns, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_unmount, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
