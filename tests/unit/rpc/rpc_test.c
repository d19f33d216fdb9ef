/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RPC client and server against each other: on both kernel back ends and over
 * a simulated network that drops connections.  Every call ends exactly once,
 * and nothing is executed twice.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "io/sim.h"
#include "io/stream.h"
#include "rpc/client.h"
#include "rpc/server.h"

#define KEYS_MAX 512

struct world {
	struct io_sim *sim;
	struct loop *cl, *sv; /* the same one on a kernel back end */
	struct rpc_server *server;
	struct rpc_client *client;
	struct addr addr;
	unsigned executed[KEYS_MAX];
	struct list held; /* PING requests are answered by hand */
	unsigned held_count;
	int32_t hello_status;
};

struct test_call {
	struct rpc_call call;
	Mc__RemoveReq req;
	ProtobufCBinaryData key;
	uint32_t number;
	unsigned done;
};

static void turn(struct world *w)
{
	if (w->sim)
		io_sim_step(w->sim, io_sim_now_ns(w->sim) + 100 * NS_PER_MS);
	else
		loop_turn(w->cl, 20 * NS_PER_MS);
}

static void reply_hello(struct world *w, struct rpc_req *req)
{
	Mc__HelloRsp rsp = MC__HELLO_RSP__INIT;

	rsp.status = w->hello_status;
	rsp.protocol = PROTO_VERSION;
	rsp.instance = 7;
	rpc_reply(req, 0, &rsp.base);
}

static void handle(struct rpc_req *req, void *arg)
{
	const Mc__RemoveReq *remove_req;
	Mc__StatusRsp rsp = MC__STATUS_RSP__INIT;
	struct world *w = arg;
	int32_t status = 1;
	uint32_t number;

	switch (req->method) {
	case METHOD_HELLO:
		reply_hello(w, req);
		return;
	case METHOD_PING:
		list_add_tail(&w->held, &req->node);
		w->held_count++;
		return;
	case METHOD_REMOVE:
		remove_req = (const Mc__RemoveReq *)req->body;
		assert_int_equal(remove_req->n_keys, 1);
		memcpy(&number, remove_req->keys[0].data, sizeof(number));
		assert_true(number < KEYS_MAX);
		w->executed[number]++;
		rsp.n_status = 1;
		rsp.status = &status;
		rpc_reply(req, 0, &rsp.base);
		return;
	default:
		rpc_reply(req, -1012, NULL);
	}
}

static void open_server(struct world *w)
{
	struct rpc_server_opts opts = {
		.loop = w->sv,
		.addr = w->addr,
		.handler = handle,
		.arg = w,
		.max_in_flight = 8,
	};
	struct err err = {0};

	if (rpc_server_open(&opts, &w->addr, &w->server, &err))
		fail_msg("%s", err.text);
}

static void open_loops(struct world *w, enum io_backend_kind kind)
{
	struct loop_opts opts = {.backend = kind};
	struct err err = {0};

	*w = (struct world){0};
	list_init(&w->held);
	if (kind == IO_BACKEND_SIM)
		opts.sim = w->sim = io_sim_create(20260101);
	if (loop_create(&opts, &w->cl, &err) == -ENOSYS || err.code == -EPERM)
		skip();
	assert_int_equal(err.code, 0);
	w->sv = w->cl;
	if (w->sim)
		assert_int_equal(loop_create(&opts, &w->sv, &err), 0);
	addr_parse("127.0.0.1", w->sim ? 50051 : 0, &w->addr);
}

static void open_client(struct world *w)
{
	struct rpc_client_opts opts = {.addr = w->addr, .version = "test"};

	assert_int_equal(rpc_client_create(w->cl, &opts, &w->client), 0);
}

static void set_true(void *arg)
{
	*(bool *)arg = true;
}

static void drop_held(struct world *w)
{
	while (!list_is_empty(&w->held)) {
		struct rpc_req *req =
			list_first(&w->held, struct rpc_req, node);

		list_del(&req->node);
		rpc_reply(req, -1010, NULL);
	}
}

static void close_world(struct world *w)
{
	bool is_client_gone = !w->client, is_server_gone = !w->server;

	if (w->client)
		rpc_client_destroy(w->client, set_true, &is_client_gone);
	if (w->server)
		rpc_server_close(w->server, set_true, &is_server_gone);
	for (int i = 0; i < 2000 && !(is_client_gone && is_server_gone); i++) {
		drop_held(w);
		turn(w);
	}
	assert_true(is_client_gone && is_server_gone);
	if (w->sv != w->cl)
		loop_destroy(w->sv);
	loop_destroy(w->cl);
	if (w->sim)
		io_sim_destroy(w->sim);
}

static void call_done(struct rpc_call *call)
{
	container_of(call, struct test_call, call)->done++;
}

static void submit_remove(struct world *w, struct test_call *tc,
			  uint32_t number, uint32_t timeout_ms)
{
	memset(tc, 0, sizeof(*tc));
	mc__remove_req__init(&tc->req);
	tc->number = number;
	tc->key.data = (uint8_t *)&tc->number;
	tc->key.len = sizeof(tc->number);
	tc->req.n_keys = 1;
	tc->req.keys = &tc->key;
	tc->call.done = call_done;
	tc->call.method = METHOD_REMOVE;
	tc->call.req = &tc->req.base;
	tc->call.timeout_ms = timeout_ms;
	rpc_call_submit(w->client, &tc->call);
	assert_int_equal(tc->done, 0);
}

static void wait_all(struct world *w, struct test_call *calls, unsigned count)
{
	for (unsigned turns = 0, open = 1; open && turns < 200000; turns++) {
		turn(w);
		open = 0;
		for (unsigned i = 0; i < count; i++)
			open += calls[i].done == 0;
	}
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(calls[i].done, 1);
}

static void run_pipeline(enum io_backend_kind kind)
{
	static struct test_call calls[KEYS_MAX];
	struct world w;

	open_loops(&w, kind);
	open_server(&w);
	open_client(&w);
	for (uint32_t i = 0; i < KEYS_MAX; i++)
		submit_remove(&w, &calls[i], i, 10000);
	wait_all(&w, calls, KEYS_MAX);
	for (uint32_t i = 0; i < KEYS_MAX; i++) {
		const Mc__StatusRsp *rsp;

		assert_int_equal(calls[i].call.ret, 0);
		rsp = (const Mc__StatusRsp *)calls[i].call.rsp;
		assert_int_equal(rsp->n_status, 1);
		assert_int_equal(rsp->status[0], 1);
		assert_int_equal(w.executed[i], 1);
		rpc_call_fini(&calls[i].call);
	}
	close_world(&w);
}

static void test_pipeline_epoll(void **state)
{
	run_pipeline(IO_BACKEND_EPOLL);
}

static void test_pipeline_uring(void **state)
{
	run_pipeline(IO_BACKEND_URING);
}

static void test_pipeline_sim(void **state)
{
	run_pipeline(IO_BACKEND_SIM);
}

/* Connections break all the time, in the middle of frames. */
static void test_drops(void **state)
{
	const struct io_sim_faults faults = {
		.latency_min_ns = NS_PER_US * 50,
		.latency_max_ns = NS_PER_MS,
		.max_segment = 200,
		.reset_rate = 0.01,
		.refuse_rate = 0.2,
	};
	static struct test_call calls[KEYS_MAX];
	unsigned ok = 0, lost = 0;
	struct world w;

	open_loops(&w, IO_BACKEND_SIM);
	io_sim_set_faults(w.sim, &faults);
	open_server(&w);
	open_client(&w);
	for (uint32_t i = 0; i < KEYS_MAX; i++) {
		submit_remove(&w, &calls[i], i, 60000);
		for (int n = 0; n < 5; n++)
			turn(&w);
	}
	wait_all(&w, calls, KEYS_MAX);
	for (uint32_t i = 0; i < KEYS_MAX; i++) {
		int ret = calls[i].call.ret;

		assert_true(w.executed[i] <= 1);
		if (ret == 0) {
			assert_int_equal(w.executed[i], 1);
			ok++;
		} else {
			assert_int_equal(ret, -ECONNRESET);
			lost++;
		}
		rpc_call_fini(&calls[i].call);
	}
	assert_true(ok > KEYS_MAX / 4);
	assert_true(lost > 0);
	assert_true(rpc_client_failures(w.client) > 0);
	close_world(&w);
}

/* Nobody is there: the deadline holds and the cause is told; when somebody
 * comes, waiting calls are served. */
static void test_absent_then_there(void **state)
{
	struct test_call calls[2];
	struct world w;
	uint64_t start;

	open_loops(&w, IO_BACKEND_SIM);
	open_client(&w);
	start = io_sim_now_ns(w.sim);
	submit_remove(&w, &calls[0], 0, 1000);
	submit_remove(&w, &calls[1], 1, 20000);
	wait_all(&w, calls, 1);
	assert_int_equal(calls[0].call.ret, -ECONNREFUSED);
	assert_true(io_sim_now_ns(w.sim) - start < 1300 * NS_PER_MS);
	assert_int_equal(calls[1].done, 0);
	open_server(&w);
	wait_all(&w, calls, 2);
	assert_int_equal(calls[1].call.ret, 0);
	rpc_call_fini(&calls[0].call);
	rpc_call_fini(&calls[1].call);
	close_world(&w);
}

struct quitter {
	struct world *w;
	unsigned hellos;
	bool is_gone;
};

static void quit_on_hello(const Mc__HelloRsp *rsp, const struct err *err,
			  void *arg)
{
	struct quitter *q = arg;

	q->hellos++;
	rpc_client_destroy(q->w->client, set_true, &q->is_gone);
	q->w->client = NULL;
}

/* on_hello may destroy the client, whether somebody answered or not. */
static void test_destroy_on_hello(void **state)
{
	for (int has_server = 0; has_server < 2; has_server++) {
		struct world w;
		struct quitter q = {.w = &w};
		struct rpc_client_opts opts = {
			.version = "test",
			.on_hello = quit_on_hello,
			.arg = &q,
		};

		open_loops(&w, IO_BACKEND_SIM);
		if (has_server)
			open_server(&w);
		opts.addr = w.addr;
		assert_int_equal(rpc_client_create(w.cl, &opts, &w.client), 0);
		for (int i = 0; i < 100 && !q.is_gone; i++)
			turn(&w);
		assert_true(q.is_gone);
		assert_int_equal(q.hellos, 1);
		close_world(&w);
	}
}

static void submit_ping(struct world *w, struct test_call *tc,
			const Mc__PingReq *ping, uint32_t timeout_ms)
{
	memset(tc, 0, sizeof(*tc));
	tc->call.done = call_done;
	tc->call.method = METHOD_PING;
	tc->call.req = &ping->base;
	tc->call.timeout_ms = timeout_ms;
	rpc_call_submit(w->client, &tc->call);
}

/* The server holds answers back: at most max_in_flight are read, calls time
 * out, late answers are dropped, and destroy ends calls once. */
static void test_back_pressure_and_destroy(void **state)
{
	Mc__PingReq ping = MC__PING_REQ__INIT;
	struct test_call calls[20];
	struct world w;

	open_loops(&w, IO_BACKEND_SIM);
	open_server(&w);
	open_client(&w);
	for (int i = 0; i < 20; i++)
		submit_ping(&w, &calls[i], &ping, i == 0 ? 500 : 60000);
	for (int i = 0; i < 3; i++)
		turn(&w);
	while (calls[0].done == 0)
		turn(&w);
	assert_int_equal(calls[0].call.ret, -ETIMEDOUT);
	assert_int_equal(w.held_count, 8);
	assert_true(rpc_client_is_connected(w.client));
	close_world(&w);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(calls[i].done, 1);
		assert_int_equal(calls[i].call.ret,
				 i == 0 ? -ETIMEDOUT : -ECANCELED);
		rpc_call_fini(&calls[i].call);
	}
}

/* A server that answers but never speaks again makes the client reconnect. */
static void test_deaf_server(void **state)
{
	Mc__PingReq ping = MC__PING_REQ__INIT;
	struct test_call calls[2];
	struct world w;

	open_loops(&w, IO_BACKEND_SIM);
	open_server(&w);
	open_client(&w);
	submit_ping(&w, &calls[0], &ping, 3000);
	wait_all(&w, calls, 1);
	assert_int_equal(calls[0].call.ret, -ETIMEDOUT);
	assert_int_equal(rpc_client_failures(w.client), 1);
	submit_remove(&w, &calls[1], 3, 5000);
	wait_all(&w, calls, 2);
	assert_int_equal(calls[1].call.ret, 0);
	rpc_call_fini(&calls[0].call);
	rpc_call_fini(&calls[1].call);
	close_world(&w);
}

static void test_status_only_and_version(void **state)
{
	Mc__StatsReq stats = MC__STATS_REQ__INIT;
	struct test_call calls[2];
	struct world w;

	open_loops(&w, IO_BACKEND_SIM);
	open_server(&w);
	open_client(&w);
	memset(&calls[0], 0, sizeof(calls[0]));
	calls[0].call.done = call_done;
	calls[0].call.method = METHOD_STATS;
	calls[0].call.req = &stats.base;
	calls[0].call.timeout_ms = 1000;
	rpc_call_submit(w.client, &calls[0].call);
	wait_all(&w, calls, 1);
	assert_int_equal(calls[0].call.ret, -EREMOTEIO);
	assert_int_equal(calls[0].call.status, -1012);
	rpc_call_fini(&calls[0].call);
	close_world(&w);

	open_loops(&w, IO_BACKEND_SIM);
	w.hello_status = -300;
	open_server(&w);
	open_client(&w);
	submit_remove(&w, &calls[0], 0, 60000);
	wait_all(&w, calls, 1);
	assert_int_equal(calls[0].call.ret, -EPROTONOSUPPORT);
	assert_true(io_sim_now_ns(w.sim) < 10 * NS_PER_S);
	submit_remove(&w, &calls[1], 0, 60000);
	wait_all(&w, calls, 2);
	assert_int_equal(calls[1].call.ret, -EPROTONOSUPPORT);
	rpc_call_fini(&calls[0].call);
	rpc_call_fini(&calls[1].call);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pipeline_epoll),
		cmocka_unit_test(test_pipeline_uring),
		cmocka_unit_test(test_pipeline_sim),
		cmocka_unit_test(test_drops),
		cmocka_unit_test(test_absent_then_there),
		cmocka_unit_test(test_destroy_on_hello),
		cmocka_unit_test(test_back_pressure_and_destroy),
		cmocka_unit_test(test_deaf_server),
		cmocka_unit_test(test_status_only_and_version),
	};

	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
