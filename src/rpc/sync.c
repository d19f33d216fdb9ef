/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Synchronous calls for programs: the caller's thread posts to a shard of its
 * own and waits at a gate.  One caller at a time.
 *
 * Invariant: every wait ends, because every call has a deadline on the shard.
 */
#include "rpc/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/flag.h"
#include "io/thread.h"

#define MASTER_PORT		50051
#define MASTER_HELLO_TIMEOUT_MS 3000u

struct rpc_sync {
	struct shard shard;
	struct rpc_client *client;
	char addr_text[ADDR_TEXT_LEN];
	struct addr addr;
	uint32_t timeout_ms;
	int create_ret;
	struct mbox_msg msg;
	struct gate gate;
	struct rpc_call call; /* the last one, until the next */
	bool has_call;
	struct err call_err;	/* why connecting failed when the call ended */
	struct err connect_err; /* the shard's */
};

static void sync_on_hello(const Mc__HelloRsp *rsp, const struct err *err,
			  void *arg)
{
	struct rpc_sync *rs = arg;

	rs->connect_err = rsp ? (struct err){0} : *err;
}

static void sync_create(void *arg)
{
	struct rpc_sync *rs = arg;
	struct rpc_client_opts opts = {
		.addr = rs->addr,
		.version = mooncake_version,
		.on_hello = sync_on_hello,
		.arg = rs,
	};

	rs->create_ret = rpc_client_create(rs->shard.loop, &opts, &rs->client);
}

static void sync_done(struct rpc_call *call)
{
	struct rpc_sync *rs = container_of(call, struct rpc_sync, call);

	rs->call_err = rs->connect_err;
	gate_open(&rs->gate);
}

static void sync_submit(struct mbox_msg *msg)
{
	struct rpc_sync *rs = container_of(msg, struct rpc_sync, msg);

	rpc_call_submit(rs->client, &rs->call);
}

static int sync_explain(struct rpc_sync *rs, struct err *err)
{
	int ret = rs->call.ret;

	if (ret == -EREMOTEIO)
		return err_set(err, ret,
			       "the master at %s answered %s with status %d",
			       rs->addr_text, method_name(rs->call.method),
			       rs->call.status);
	if (rs->call_err.code)
		return err_set(err, ret, "%s", rs->call_err.text);
	return err_set(err, ret, "%s to the master at %s failed: %s",
		       method_name(rs->call.method), rs->addr_text,
		       strerror(-ret));
}

int rpc_sync_call(struct rpc_sync *rs, uint16_t method,
		  const ProtobufCMessage *req, const ProtobufCMessage **rsp,
		  struct err *err)
{
	if (rs->has_call)
		rpc_call_fini(&rs->call);
	rs->has_call = true;
	rs->call = (struct rpc_call){
		.done = sync_done,
		.method = method,
		.req = req,
		.timeout_ms = rs->timeout_ms,
	};
	gate_init(&rs->gate);
	rs->msg.run = sync_submit;
	loop_post(rs->shard.loop, &rs->msg);
	gate_wait(&rs->gate);
	*rsp = rs->call.rsp;
	return rs->call.ret < 0 ? sync_explain(rs, err) : 0;
}

int rpc_sync_open(const struct addr *addr, uint32_t timeout_ms,
		  struct rpc_sync **out, struct err *err)
{
	struct rpc_sync *rs = calloc(1, sizeof(*rs));
	Mc__HelloReq hello = MC__HELLO_REQ__INIT;
	const ProtobufCMessage *rsp;
	int ret;

	*out = NULL;
	if (!rs)
		return err_set(err, -ENOMEM, "out of memory");
	rs->addr = *addr;
	rs->timeout_ms = timeout_ms;
	addr_format(addr, rs->addr_text);
	ret = shard_start(&rs->shard, &(struct loop_opts){.name = "rpc"}, err);
	if (ret < 0)
		goto fail;
	shard_call(&rs->shard, sync_create, rs);
	ret = rs->create_ret;
	if (ret < 0) {
		err_set(err, ret, "out of memory");
		goto fail;
	}
	/* The client says HELLO by itself; a second one tells us it worked. */
	hello.protocol = PROTO_VERSION;
	ret = rpc_sync_call(rs, METHOD_HELLO, &hello.base, &rsp, err);
	if (ret < 0)
		goto fail;
	*out = rs;
	return 0;
fail:
	rpc_sync_close(rs);
	return ret;
}

int rpc_sync_dial(const char *address, uint32_t timeout_ms,
		  struct rpc_sync **out, struct err *err)
{
	struct err cause = {0};
	struct hostport hp;
	struct addr addr;
	int ret = hostport_parse(str_of(address), MASTER_PORT, &hp, err);

	*out = NULL;
	if (ret == 0)
		ret = addr_resolve(hp.host, hp.port, &addr, err);
	if (ret < 0)
		return ret;
	/* Once with little patience, to tell "not there" from "slow". */
	ret = rpc_sync_open(&addr, MIN(timeout_ms, MASTER_HELLO_TIMEOUT_MS),
			    out, &cause);
	if (ret == 0) {
		rpc_sync_close(TAKE(*out));
		ret = rpc_sync_open(&addr, timeout_ms, out, &cause);
	}
	if (ret < 0)
		return err_set(err, ret,
			       "%s; is mooncake_master running there, and is "
			       "that the right address?",
			       cause.text);
	return 0;
}

static void sync_destroyed(void *arg)
{
	gate_open(&((struct rpc_sync *)arg)->gate);
}

static void sync_destroy(struct mbox_msg *msg)
{
	struct rpc_sync *rs = container_of(msg, struct rpc_sync, msg);

	rpc_client_destroy(rs->client, sync_destroyed, rs);
}

void rpc_sync_close(struct rpc_sync *rs)
{
	if (!rs)
		return;
	if (rs->client) {
		gate_init(&rs->gate);
		rs->msg.run = sync_destroy;
		loop_post(rs->shard.loop, &rs->msg);
		gate_wait(&rs->gate);
	}
	if (rs->has_call)
		rpc_call_fini(&rs->call);
	shard_stop(&rs->shard);
	free(rs);
}
