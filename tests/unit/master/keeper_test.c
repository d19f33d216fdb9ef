/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What waits for the journal and what does not, and what becomes of both when
 * it cannot be written or synced: a real service over RPC, and a disk that is
 * slow or broken when the test says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/backend.h"
#include "io/thread.h"
#include "master/note.h"
#include "master/object.h"
#include "master/service.h"
#include "rpc/client.h"
#include "t_dir.h"

/* --- the disk --- */

static struct {
	_Atomic bool is_slow, is_full, is_broken;
	struct gate begun, goes_on; /* of a slow sync */
} disk;

int fdatasync(int fd)
{
	if (atomic_exchange(&disk.is_slow, false)) {
		gate_open(&disk.begun);
		gate_wait(&disk.goes_on);
	}
	return (int)syscall(SYS_fdatasync, disk.is_broken ? -1 : fd);
}

int fsync(int fd)
{
	return (int)syscall(SYS_fsync, disk.is_broken ? -1 : fd);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	return syscall(SYS_pwrite64, disk.is_full ? -1 : fd, p, n, at);
}

/* --- the master --- */

struct world {
	struct t_dir dir;
	enum keep_sync sync;
	uint64_t sync_interval_ns;
	struct shard meta, net;
	struct service *svc;
	struct rpc_server *server;
	struct addr addr;
	struct rpc_sync *rs;
	struct gate gate;
	uint64_t failures;
	bool has_news_at_the_end;
	uint32_t timers_left;
};

static uint8_t client_id[16] = {1}, segment_id[16] = {2};

static void open_service(void *arg)
{
	struct world *w = arg;
	struct keeper_opts keeper = {
		.dir = w->dir.path,
		.sync = w->sync,
		.sync_interval_ns = w->sync_interval_ns,
		.snapshot_bytes = GiB,
		.snapshot_interval_ns = 3600 * NS_PER_S,
	};
	struct service_opts opts = {.cluster_id = "test",
				    .probe_interval_ns = NS_PER_S,
				    .journal = &keeper};
	struct err err = {0};

	core_opts_default(&opts.core);
	opts.core.high_watermark[KIND_MEM] = 1;
	opts.core.generation = 1000;
	if (service_open(w->meta.loop, &opts, NULL, &w->svc, &err) < 0)
		fail_msg("%s", err.text);
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

static struct rpc_sync *connect_to(struct world *w)
{
	struct rpc_sync *rs;
	struct err err = {0};

	ASSERT(rpc_sync_open(&w->addr, 60000, &rs, &err) == 0);
	return rs;
}

static void start(struct world *w)
{
	struct err err = {0};

	ASSERT(shard_start(&w->meta, &(struct loop_opts){.name = "meta"},
			   &err) == 0);
	ASSERT(shard_start(&w->net, &(struct loop_opts){.name = "net"}, &err) ==
	       0);
	shard_call(&w->meta, open_service, w);
	shard_call(&w->net, open_server, w);
	w->rs = connect_to(w);
}

static void opened(void *arg)
{
	struct world *w = arg;

	gate_open(&w->gate);
}

static void stop_service(void *arg)
{
	struct world *w = arg;
	struct notes *notes = w->svc->core->notes;

	if (w->has_news_at_the_end)
		notes->has_news(notes->arg);
	service_stop(w->svc, opened, w);
}

static void destroy_service(void *arg)
{
	struct world *w = arg;

	service_destroy(w->svc);
	w->timers_left = w->meta.loop->heap_len;
}

static void stop_server(void *arg)
{
	struct world *w = arg;

	rpc_server_close(w->server, opened, w);
}

static void stop(struct world *w)
{
	gate_init(&w->gate);
	shard_call(&w->meta, stop_service, w);
	gate_wait(&w->gate);
	gate_init(&w->gate);
	shard_call(&w->net, stop_server, w);
	gate_wait(&w->gate);
	rpc_sync_close(w->rs);
	shard_stop(&w->net);
	shard_call(&w->meta, destroy_service, w);
	shard_stop(&w->meta);
}

static int setup_sync(void **state, enum keep_sync sync, uint64_t interval_ns)
{
	struct world *w = calloc(1, sizeof(*w));

	ASSERT(w);
	w->sync = sync;
	w->sync_interval_ns = interval_ns;
	t_dir_open(&w->dir);
	start(w);
	*state = w;
	return 0;
}

static int setup_always(void **state)
{
	return setup_sync(state, KEEP_ALWAYS, 3600 * NS_PER_S);
}

static int setup_interval(void **state)
{
	return setup_sync(state, KEEP_INTERVAL, 3600 * NS_PER_S);
}

static int setup_often(void **state)
{
	return setup_sync(state, KEEP_INTERVAL, NS_PER_MS);
}

static int teardown(void **state)
{
	struct world *w = *state;

	stop(w);
	t_dir_close(&w->dir);
	free(w);
	return 0;
}

/* --- its clients --- */

/* NULL: refused. */
static const void *try_call(struct rpc_sync *rs, uint16_t method,
			    const void *req, int *ret)
{
	const ProtobufCMessage *rsp = NULL;
	struct err err = {0};

	*ret = rpc_sync_call(rs, method, req, &rsp, &err);
	return *ret < 0 ? NULL : rsp;
}

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static bool mount_as(struct world *w, const char *name, const char *host)
{
	char *paths[] = {"traddr:127.0.0.1 subnqn:nqn.2024-01.t:m ns:1"};
	Mc__Segment seg = MC__SEGMENT__INIT;
	Mc__MountReq req = MC__MOUNT_REQ__INIT;
	const Mc__MountRsp *rsp;
	int ret;

	req.client_id = (ProtobufCBinaryData){16, client_id};
	req.segment = &seg;
	seg.id = (ProtobufCBinaryData){16, segment_id};
	seg.name = (char *)(uintptr_t)name;
	seg.host_id = (char *)(uintptr_t)host;
	seg.size = 16 * MiB;
	seg.endpoints = paths;
	seg.n_endpoints = 1;
	rsp = try_call(w->rs, METHOD_MOUNT, &req, &ret);
	return rsp && rsp->status == 0;
}

static bool mount(struct world *w)
{
	return mount_as(w, "host:1", "");
}

/* Was it acknowledged? */
static bool put(struct rpc_sync *rs, const char *key)
{
	Mc__PutItem item = MC__PUT_ITEM__INIT, *items[] = {&item};
	Mc__PutStartReq req = MC__PUT_START_REQ__INIT;
	Mc__PutEndItem last = MC__PUT_END_ITEM__INIT, *lasts[] = {&last};
	Mc__PutEndReq end = MC__PUT_END_REQ__INIT;
	const Mc__PutStartRsp *rsp;
	const Mc__StatusRsp *st;
	int ret;

	item.key = last.key = bytes(key);
	item.size = 4096;
	req.client_id = end.client_id = (ProtobufCBinaryData){16, client_id};
	req.items = items;
	end.items = lasts;
	req.n_items = end.n_items = 1;
	rsp = try_call(rs, METHOD_PUT_START, &req, &ret);
	if (!rsp || !rsp->n_grants || rsp->grants[0]->status)
		return false;
	last.generation = rsp->grants[0]->generation;
	last.crcs = bytes("1234");
	st = try_call(rs, METHOD_PUT_END, &end, &ret);
	return st && st->n_status && st->status[0] == 0;
}

/* One change in one call. */
static bool remove_it(struct rpc_sync *rs, const char *key)
{
	Mc__RemoveReq req = MC__REMOVE_REQ__INIT;
	ProtobufCBinaryData keys[] = {bytes(key)};
	const Mc__StatusRsp *rsp;
	int ret;

	req.client_id = (ProtobufCBinaryData){16, client_id};
	req.keys = keys;
	req.n_keys = 1;
	req.force = true;
	rsp = try_call(rs, METHOD_REMOVE, &req, &ret);
	return rsp && rsp->n_status && rsp->status[0] == 0;
}

static int status_of_get(struct rpc_sync *rs, const char *key)
{
	Mc__GetReq req = MC__GET_REQ__INIT;
	ProtobufCBinaryData keys[] = {bytes(key)};
	const Mc__GetRsp *rsp;
	int ret;

	req.keys = keys;
	req.n_keys = 1;
	rsp = try_call(rs, METHOD_GET, &req, &ret);
	assert_non_null(rsp);
	return rsp->objects[0]->status;
}

static int snapshot(struct world *w)
{
	Mc__StatsReq req = MC__STATS_REQ__INIT;
	const Mc__CountRsp *rsp;
	int ret;

	rsp = try_call(w->rs, METHOD_SNAPSHOT, &req, &ret);
	assert_non_null(rsp);
	return rsp->status;
}

/* The disk works again.  A snapshot that was begun before may still fail. */
static void expect_mended(struct world *w)
{
	uint64_t until_ns = time_mono_ns() + 60 * NS_PER_S;

	while (snapshot(w) != 0)
		assert_true(time_mono_ns() < until_ns);
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
	*r = (struct remover){.rs = connect_to(w), .key = key};
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
	stop(w);
	start(w);
	assert_true(mount(w));
	assert_int_equal(status_of_get(w->rs, key), is_there ? 0 : -704);
}

/* --- tests --- */

/* A change is answered when it is on disk; who reads does not wait. */
static void always_waits_for_the_disk(void **state)
{
	struct world *w = *state;
	struct remover r;
	bool is_early;
	int st = 0;

	assert_true(mount(w));
	assert_true(put(w->rs, "a"));
	assert_true(put(w->rs, "b"));
	remover_start(w, &r, "b");
	for (unsigned i = 0; i < 10 && st == 0; i++)
		st = status_of_get(w->rs, "a");
	is_early = r.is_answered;
	assert_true(remover_end(&r));
	assert_int_equal(st, 0);
	assert_false(is_early);
	expect_after_restart(w, "a", true);
	expect_after_restart(w, "b", false);
}

static void read_failures(void *arg)
{
	struct world *w = arg;

	w->failures = w->svc->core->stats.journal_failures;
}

static bool has_failed(struct world *w)
{
	shard_call(&w->meta, read_failures, w);
	return w->failures > 0;
}

/* Refused, and not carried out. */
static void expect_refusal(struct world *w)
{
	assert_false(remove_it(w->rs, "a"));
	assert_int_equal(status_of_get(w->rs, "a"), 0);
	assert_true(has_failed(w));
}

/* What waits for a sync that fails is refused, and so is all that follows,
 * until a snapshot has everything. */
static void failed_sync(void **state)
{
	struct world *w = *state;
	struct remover r;

	assert_true(mount(w));
	assert_true(put(w->rs, "a"));
	assert_true(put(w->rs, "b"));
	remover_start(w, &r, "b");
	disk.is_broken = true;
	assert_false(remover_end(&r));
	expect_refusal(w);
	disk.is_broken = false;
	expect_mended(w);
	assert_true(put(w->rs, "c"));
	expect_after_restart(w, "a", true);
	assert_int_equal(status_of_get(w->rs, "c"), 0);
}

/* A write that fails: the same, and what came before it stays. */
static void failed_write(void **state)
{
	struct world *w = *state;

	assert_true(mount(w));
	assert_true(put(w->rs, "a"));
	assert_true(put(w->rs, "b"));
	disk.is_full = true;
	assert_false(remove_it(w->rs, "b"));
	expect_refusal(w);
	assert_int_not_equal(snapshot(w), 0);
	expect_refusal(w);
	disk.is_full = false;
	expect_mended(w);
	assert_true(put(w->rs, "c"));
	expect_after_restart(w, "a", true);
	assert_int_equal(status_of_get(w->rs, "c"), 0);
}

/* Nobody waits for that sync; who comes after it is told. */
static void failed_sync_in_between(void **state)
{
	uint64_t until_ns = time_mono_ns() + 60 * NS_PER_S;
	struct world *w = *state;

	assert_true(mount(w));
	assert_true(put(w->rs, "a"));
	disk.is_broken = true;
	put(w->rs, "b"); /* if it is not too late for that */
	while (!has_failed(w) && time_mono_ns() < until_ns)
		;
	expect_refusal(w);
	disk.is_broken = false;
	expect_mended(w);
	assert_true(put(w->rs, "c"));
	expect_after_restart(w, "a", true);
	assert_int_equal(status_of_get(w->rs, "c"), 0);
}

/* What was refused is not in the journal, also if the end comes before a
 * snapshot does. */
static void stopped_while_full(void **state)
{
	struct world *w = *state;

	assert_true(mount(w));
	assert_true(put(w->rs, "a"));
	assert_true(put(w->rs, "b"));
	disk.is_full = true;
	assert_false(remove_it(w->rs, "b"));
	stop(w);
	disk.is_full = false;
	start(w);
	assert_true(mount(w));
	assert_int_equal(status_of_get(w->rs, "a"), 0);
	assert_int_equal(status_of_get(w->rs, "b"), 0);
}

/* What is written between its end and its death leaves no timer behind. */
static void stopped_with_news(void **state)
{
	struct world *w = *state;

	assert_true(mount(w));
	assert_true(put(w->rs, "a"));
	w->has_news_at_the_end = true;
	stop(w);
	w->has_news_at_the_end = false;
	start(w);
	assert_int_equal(w->timers_left, 0);
	assert_true(mount(w));
	assert_int_equal(status_of_get(w->rs, "a"), 0);
}

/* What is taken can be read by the next life. */
static void longest_names(void **state)
{
	struct world *w = *state;
	char longest[1026];

	memset(longest, 'n', sizeof(longest));
	longest[1025] = '\0';
	assert_false(mount_as(w, "host:1", longest));
	assert_false(mount_as(w, longest, "host"));
	longest[1024] = '\0';
	assert_true(mount_as(w, longest, longest));
	assert_true(put(w->rs, "a"));
	stop(w);
	start(w);
	assert_true(mount_as(w, longest, longest));
	assert_int_equal(status_of_get(w->rs, "a"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(always_waits_for_the_disk,
						setup_always, teardown),
		cmocka_unit_test_setup_teardown(failed_sync, setup_always,
						teardown),
		cmocka_unit_test_setup_teardown(failed_write, setup_always,
						teardown),
		cmocka_unit_test_setup_teardown(failed_write, setup_interval,
						teardown),
		cmocka_unit_test_setup_teardown(failed_sync_in_between,
						setup_often, teardown),
		cmocka_unit_test_setup_teardown(longest_names, setup_always,
						teardown),
		cmocka_unit_test_setup_teardown(stopped_with_news,
						setup_interval, teardown),
		cmocka_unit_test_setup_teardown(stopped_while_full,
						setup_always, teardown),
		cmocka_unit_test_setup_teardown(stopped_while_full,
						setup_interval, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
