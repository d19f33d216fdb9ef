/* SPDX-License-Identifier: Apache-2.0 */
/* Synchronous calls of a program, without and with a master. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "io/thread.h"
#include "rpc/client.h"
#include "rpc/server.h"

static struct shard shard;
static struct rpc_server *server;
static struct addr where;
static struct gate gate;

static void answer(struct rpc_req *req, void *arg)
{
	Mc__HelloRsp rsp = MC__HELLO_RSP__INIT;

	rsp.protocol = PROTO_VERSION;
	rpc_reply(req, req->method == METHOD_HELLO ? 0 : -600,
		  req->method == METHOD_HELLO ? &rsp.base : NULL);
}

static void open_server(void *arg)
{
	struct rpc_server_opts opts = {
		.loop = shard.loop, .addr = where, .handler = answer};
	struct err err = {0};

	assert_int_equal(rpc_server_open(&opts, &where, &server, &err), 0);
}

static void server_closed(void *arg)
{
	gate_open(&gate);
}

static void close_server(void *arg)
{
	rpc_server_close(server, server_closed, NULL);
}

static int setup(void **state)
{
	struct err err = {0};

	assert_int_equal(addr_parse("127.0.0.1", 0, &where), 0);
	assert_int_equal(shard_start(&shard,
				     &(struct loop_opts){.name = "server"},
				     &err),
			 0);
	shard_call(&shard, open_server, NULL);
	return 0;
}

static void stop_server(void)
{
	gate_init(&gate);
	shard_call(&shard, close_server, NULL);
	gate_wait(&gate);
}

static int teardown(void **state)
{
	shard_stop(&shard);
	return 0;
}

static void calls_are_answered(void **state)
{
	Mc__PingReq ping = MC__PING_REQ__INIT;
	const ProtobufCMessage *rsp;
	struct rpc_sync *rs;
	struct err err = {0};

	assert_int_equal(rpc_sync_open(&where, 5000, &rs, &err), 0);
	assert_int_equal(rpc_sync_call(rs, METHOD_PING, &ping.base, &rsp, &err),
			 -EREMOTEIO);
	assert_non_null(strstr(err.text, "status -600"));
	rpc_sync_close(rs);
	stop_server();
}

/*
 * The shard goes on trying, with a new sentence for each attempt, while the
 * caller reads the sentence of its call; they must not share one.
 */
static void nobody_there_is_told(void **state)
{
	Mc__PingReq ping = MC__PING_REQ__INIT;
	const ProtobufCMessage *rsp;
	struct rpc_sync *rs;
	struct err err = {0};
	char text[ADDR_TEXT_LEN];
	int ret;

	addr_format(&where, text);
	assert_int_equal(rpc_sync_open(&where, 400, &rs, &err), 0);
	stop_server();
	ret = rpc_sync_call(rs, METHOD_PING, &ping.base, &rsp, &err);
	assert_true(ret < 0);
	assert_non_null(strstr(err.text, text));
	rpc_sync_close(rs);
	assert_int_equal(rpc_sync_open(&where, 400, &rs, &err), -ECONNREFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls_are_answered, setup,
						teardown),
		cmocka_unit_test_setup_teardown(nobody_there_is_told, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
