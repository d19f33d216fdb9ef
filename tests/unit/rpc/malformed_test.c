/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer must not send: the server closes that connection, tells another
 * release why, and goes on serving everybody else.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "base/crc.h"
#include "base/log.h"
#include "base/time.h"
#include "io/sim.h"
#include "io/stream.h"
#include "rpc/server.h"

#define RX_BYTES (256u << 10)

struct peer {
	struct io_sim *sim;
	struct loop *loop;
	struct rpc_server *server;
	struct stream stream;
	struct iovec tx, rx;
	uint8_t in[4096];
	size_t in_len;
	unsigned handled;
	bool is_connected, is_ended, is_closed;
};

static void handle(struct rpc_req *req, void *arg)
{
	Mc__PingRsp rsp = MC__PING_RSP__INIT;

	((struct peer *)arg)->handled++;
	rpc_reply(req, 0, req->method == METHOD_PING ? &rsp.base : NULL);
}

static void on_recv(struct stream *s, int res)
{
	struct peer *p = s->arg;

	if (res <= 0) {
		/* not when we close it ourselves */
		p->is_ended = stream_is_open(s);
		return;
	}
	p->in_len += (size_t)res;
	assert_true(p->in_len < sizeof(p->in));
	p->rx = (struct iovec){p->in + p->in_len, sizeof(p->in) - p->in_len};
	stream_recv(s, &p->rx, 1, on_recv);
}

static void on_send(struct stream *s, int res)
{
}

static void on_connect(struct stream *s, int res)
{
	struct peer *p = s->arg;

	assert_int_equal(res, 0);
	p->is_connected = true;
	p->rx = (struct iovec){p->in, sizeof(p->in)};
	stream_recv(s, &p->rx, 1, on_recv);
}

static void set_true(void *arg)
{
	*(bool *)arg = true;
}

static void on_closed(struct stream *s)
{
	((struct peer *)s->arg)->is_closed = true;
}

static void run(struct peer *p, unsigned ms)
{
	uint64_t end = io_sim_now_ns(p->sim) + ms * NS_PER_MS;

	while (io_sim_step(p->sim, end))
		;
}

/* Sends the bytes, waits, and leaves in p what happened. */
static void exchange(struct peer *p, const void *bytes, size_t n)
{
	struct rpc_server_opts opts = {
		.handler = handle,
		.arg = p,
		.max_rx_bytes = RX_BYTES,
	};
	struct loop_opts lopts = {.backend = IO_BACKEND_SIM};
	bool is_gone = false;
	struct err err = {0};
	struct addr addr;

	memset(p, 0, sizeof(*p));
	p->sim = io_sim_create(5);
	lopts.sim = p->sim;
	assert_int_equal(loop_create(&lopts, &p->loop, &err), 0);
	addr_parse("127.0.0.1", 50051, &opts.addr);
	opts.loop = p->loop;
	assert_int_equal(rpc_server_open(&opts, &addr, &p->server, &err), 0);
	stream_init(&p->stream, p->loop, p);
	stream_connect(&p->stream, &addr, 1000, NULL, on_connect);
	run(p, 100);
	assert_true(p->is_connected);
	p->tx = (struct iovec){(void *)(uintptr_t)bytes, n};
	stream_send(&p->stream, &p->tx, 1, on_send);
	run(p, 1000);
	stream_close(&p->stream, on_closed);
	rpc_server_close(p->server, set_true, &is_gone);
	run(p, 1000);
	assert_true(is_gone && p->is_closed);
	loop_destroy(p->loop);
	io_sim_destroy(p->sim);
}

static struct frame good_frame(void)
{
	return (struct frame){
		.magic = FRAME_MAGIC,
		.version = PROTO_VERSION,
		.type = FRAME_REQUEST,
		.method = METHOD_PING,
		.id = 77,
	};
}

static struct frame answer_of(const struct peer *p)
{
	struct frame frame;

	assert_true(p->in_len >= sizeof(frame));
	memcpy(&frame, p->in, sizeof(frame));
	return frame;
}

static void test_good(void **state)
{
	struct frame frames[2] = {good_frame(), good_frame()};
	static struct peer p;

	exchange(&p, frames, sizeof(frames));
	assert_int_equal(p.handled, 2);
	assert_false(p.is_ended);
	assert_int_equal(answer_of(&p).id, 77);
	assert_int_equal(answer_of(&p).status, 0);
}

static void test_closed(void **state)
{
	struct frame bad[6];
	static struct peer p;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good_frame();
	memcpy(&bad[0], "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 32);
	bad[1].type = FRAME_RESPONSE;
	bad[2].type = 9;
	bad[3].body_len = FRAME_BODY_MAX + 1;
	bad[4].body_crc = 1; /* of no bytes it is 0 */
	bad[5].body_len = UINT32_MAX;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		exchange(&p, &bad[i], sizeof(bad[i]));
		assert_true(p.is_ended);
		assert_int_equal(p.handled, 0);
		assert_int_equal(p.in_len, 0);
	}
}

static void test_other_release(void **state)
{
	struct frame frame = good_frame();
	static struct peer p;

	frame.version = PROTO_VERSION + 1;
	exchange(&p, &frame, sizeof(frame));
	assert_true(p.is_ended);
	assert_int_equal(answer_of(&p).status, -300);
	assert_int_equal(answer_of(&p).version, PROTO_VERSION);
}

static void test_refused_but_open(void **state)
{
	struct {
		struct frame frame;
		uint8_t body[4];
	} bad = {good_frame(), {0xff, 0xff, 0xff, 0xff}};
	struct frame unknown = good_frame();
	static struct peer p;

	unknown.method = 4711;
	exchange(&p, &unknown, sizeof(unknown));
	assert_false(p.is_ended);
	assert_int_equal(answer_of(&p).status, -1012);

	bad.frame.body_len = 4;
	bad.frame.body_crc = crc32c(0, bad.body, 4);
	exchange(&p, &bad, sizeof(bad.frame) + 4);
	assert_false(p.is_ended);
	assert_int_equal(answer_of(&p).status, -1502);
	assert_int_equal(p.handled, 0);
}

/* A message is buffered up to the server's limit, and no further. */
static void test_receive_memory(void **state)
{
	static uint8_t bytes[2 * RX_BYTES];
	struct frame frame = good_frame();
	static struct peer p;

	frame.body_len = RX_BYTES / 2;
	frame.body_crc = crc32c(0, bytes, RX_BYTES / 2);
	memcpy(bytes, &frame, sizeof(frame));
	memset(bytes + sizeof(frame), 0, RX_BYTES / 2);
	exchange(&p, bytes, sizeof(frame) + RX_BYTES / 2);
	assert_false(p.is_ended);
	assert_int_equal(answer_of(&p).status, -1502);

	frame.body_len = sizeof(bytes);
	memcpy(bytes, &frame, sizeof(frame));
	exchange(&p, bytes, sizeof(bytes));
	assert_true(p.is_ended);
	assert_int_equal(p.in_len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_other_release),
		cmocka_unit_test(test_refused_but_open),
		cmocka_unit_test(test_receive_memory),
	};

	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
