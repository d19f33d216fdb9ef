/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client and its master: hello, pings, and the mounting of the memory
 * segment, again and again when the master forgot it.  Control shard only.
 *
 * A segment that the master has forgotten is mounted under another id.
 *
 * Invariant: mount_call is under way exactly in MOUNT_ASKED (or, when closing,
 * for the unmount), ping exactly while is_pinging.
 */
#include "client/client.h"

#include <errno.h>
#include <string.h>

#include "base/flag.h"
#include "base/log.h"
#include "base/time.h"

#define PING_MS_DEFAULT	   1000
#define PING_MS_MIN	   50
#define PING_MS_MAX	   10000
#define UNMOUNT_TIMEOUT_MS 2000

static void session_ready(struct client *c, enum mooncake_status st)
{
	if (c->is_ready)
		return;
	c->is_ready = true;
	c->ready_status = st;
	gate_open(&c->ready);
}

/* --- another id for the segment --- */

static void session_mount(struct client *c);

static void session_end(struct client *c)
{
	rpc_client_destroy(c->rpc, c->stop_done, c->stop_arg);
}

static void session_renew_done(struct mbox_msg *msg)
{
	struct client *c = container_of(msg, struct client, renewed);
	struct segment *seg = &c->segment;
	int ret = c->renew_ret;

	c->mount = MOUNT_NONE;
	if (ret == 0)
		ret = vol_attach_memory(c->vols, &seg->id, seg->mem,
					seg->bytes);
	if (ret == 0) {
		c->is_asked = c->is_forgotten = false;
		log_info("memory segment has a new id",
			 "segment=%s endpoint=%s", c->name, seg->endpoint);
	} else {
		log_warn("memory segment gets no new id",
			 "segment=%s error=\"%s\" (trying again)", c->name,
			 strerror(-ret));
	}
	if (c->is_closing)
		session_end(c);
	else if (ret == 0)
		session_mount(c);
}

/* On the segment's shard. */
static void session_renewed(struct segment *seg, int ret)
{
	struct client *c = container_of(seg, struct client, segment);

	c->renew_ret = ret;
	c->renewed.run = session_renew_done;
	loop_post(c->ctl.loop, &c->renewed);
}

/* On a worker. */
static void session_detached(struct vol_detach *detach)
{
	struct client *c = container_of(detach, struct client, detach);

	segment_renew(&c->segment, session_renewed);
}

/* The master gives all of a segment that it does not know to others, and what
 * a former grant allowed, to us or to them, may still be under way.  First our
 * own writers lose the memory, then all others; then it is a new segment. */
static void session_renew(struct client *c)
{
	c->mount = MOUNT_RENEWING;
	c->detach.done = session_detached;
	vol_detach_memory_start(c->vols, &c->segment.id, &c->detach);
}

/* --- mounting --- */

static void session_mount_failed(struct client *c, enum mooncake_status st,
				 const char *why)
{
	c->mount = MOUNT_NONE;
	if (!c->is_ready) {
		c->ready_err = (struct err){0};
		err_set(&c->ready_err, -EIO,
			"the master refused the memory segment %s: %s (%d)",
			c->name, why, st);
		session_ready(c, st);
		return;
	}
	log_warn("memory segment is not mounted",
		 "segment=%s error=\"%s\" (trying again)", c->name, why);
}

static void session_mount_done(struct rpc_call *call)
{
	struct client *c = container_of(call, struct client, mount_call);
	const Mc__MountRsp *rsp = (const Mc__MountRsp *)call->rsp;
	enum mooncake_status st;

	c->mount = MOUNT_NONE;
	if (call->ret == 0 && rsp->status == 0) {
		c->mount = MOUNT_DONE;
		if (c->is_ready)
			stats_add(&c->stats, STAT_remounts, 1);
		session_ready(c, MOONCAKE_OK);
	} else if (call->ret == 0 && c->mount_req.again &&
		   rsp->status == MOONCAKE_SEGMENT_NOT_FOUND) {
		c->is_forgotten = true;
		session_mount(c);
	} else if (call->ret == 0) {
		st = (enum mooncake_status)rsp->status;
		session_mount_failed(
			c, st, *rsp->error ? rsp->error : status_text(st));
	} else if (call->ret == -EREMOTEIO) {
		session_mount_failed(c, (enum mooncake_status)call->status,
				     "it does not know how");
	}
	/* Else the connection broke: the next hello mounts. */
	rpc_call_fini(call);
}

static void session_mount(struct client *c)
{
	Mc__Segment *s = &c->mount_segment;

	if (!c->segment.mem || c->mount != MOUNT_NONE || c->is_closing)
		return;
	if (c->is_forgotten) {
		session_renew(c);
		return;
	}
	mc__segment__init(s);
	s->id.data = c->segment.id.b;
	s->id.len = sizeof(c->segment.id.b);
	s->name = c->name;
	s->kind = MC__KIND__MEMORY;
	s->n_endpoints = 1;
	s->endpoints = c->mount_endpoints;
	c->mount_endpoints[0] = c->segment.endpoint;
	s->size = c->segment.bytes;
	s->block_size = 4096;
	s->host_id = c->host;
	s->client_id = client_id_bytes(c);
	mc__mount_req__init(&c->mount_req);
	c->mount_req.client_id = client_id_bytes(c);
	c->mount_req.segment = s;
	/* A master that knows it gives its objects back. */
	c->mount_req.again = c->is_asked;
	c->is_asked = true;
	c->mount = MOUNT_ASKED;
	c->mount_call = (struct rpc_call){
		.done = session_mount_done,
		.method = METHOD_MOUNT,
		.req = &c->mount_req.base,
		.timeout_ms = c->conf.rpc_timeout_ms,
	};
	rpc_call_submit(c->rpc, &c->mount_call);
}

/* --- pings --- */

static void session_note_instance(struct client *c, uint64_t instance)
{
	if (c->instance && c->instance != instance && c->mount == MOUNT_DONE)
		c->mount = MOUNT_NONE;
	c->instance = instance;
}

static void session_ping_done(struct rpc_call *call)
{
	struct client *c = container_of(call, struct client, ping);
	const Mc__PingRsp *rsp = (const Mc__PingRsp *)call->rsp;

	c->is_pinging = false;
	if (call->ret == 0) {
		session_note_instance(c, rsp->instance);
		if (rsp->n_unknown_segments && c->mount == MOUNT_DONE) {
			log_warn("the master forgot our memory segment",
				 "segment=%s (mounting again)", c->name);
			c->mount = MOUNT_NONE;
		}
		session_mount(c);
		if (rsp->tasks_wait && !c->is_closing)
			tasks_kick(c);
	}
	rpc_call_fini(call);
}

static void session_ping(struct timer *timer)
{
	struct client *c = container_of(timer, struct client, ping_timer);
	Mc__PingReq *req = &c->ping_req;

	timer_set(c->ctl.loop, timer, c->ping_ms * NS_PER_MS);
	if (c->is_pinging || !rpc_client_is_connected(c->rpc))
		return;
	mc__ping_req__init(req);
	req->client_id = client_id_bytes(c);
	c->ping_segment.data = c->segment.id.b;
	c->ping_segment.len = sizeof(c->segment.id.b);
	req->segment_ids = &c->ping_segment;
	req->n_segment_ids = c->mount == MOUNT_DONE;
	req->takes_tasks = c->conf.tasks != 0;
	c->is_pinging = true;
	c->ping = (struct rpc_call){
		.done = session_ping_done,
		.method = METHOD_PING,
		.req = &req->base,
		.timeout_ms = c->conf.rpc_timeout_ms,
	};
	rpc_call_submit(c->rpc, &c->ping);
}

/* --- hello --- */

static void session_on_hello(const Mc__HelloRsp *rsp, const struct err *err,
			     void *arg)
{
	struct client *c = arg;

	if (c->is_closing)
		return;
	if (!rsp) {
		if (!c->is_ready)
			c->ready_err = *err;
		if (err->code == -EPROTONOSUPPORT)
			session_ready(c, MOONCAKE_INVALID_VERSION);
		return;
	}
	session_note_instance(c, rsp->instance);
	c->ping_ms =
		rsp->ping_interval_ms ? rsp->ping_interval_ms : PING_MS_DEFAULT;
	c->ping_ms = MIN(MAX(c->ping_ms, (uint32_t)PING_MS_MIN),
			 (uint32_t)PING_MS_MAX);
	timer_set(c->ctl.loop, &c->ping_timer, 0);
	if (c->segment.mem)
		session_mount(c);
	else
		session_ready(c, MOONCAKE_OK);
}

/* --- start and stop --- */

int session_start(struct client *c)
{
	struct rpc_client_opts opts = {
		.addr = c->master,
		.host = c->conf.master.host,
		.version = mooncake_version,
		.on_hello = session_on_hello,
		.arg = c,
	};

	c->ping_timer.fire = session_ping;
	return rpc_client_create(c->ctl.loop, &opts, &c->rpc);
}

static void session_unmount_done(struct rpc_call *call)
{
	struct client *c = container_of(call, struct client, mount_call);

	rpc_call_fini(call);
	c->mount = MOUNT_NONE;
	session_end(c);
}

void session_stop(struct client *c, void (*done)(void *arg), void *arg)
{
	c->is_closing = true;
	c->stop_done = done;
	c->stop_arg = arg;
	timer_cancel(c->ctl.loop, &c->ping_timer);
	if (c->mount == MOUNT_RENEWING)
		return; /* session_renew_done() ends it */
	if (c->mount != MOUNT_DONE || !rpc_client_is_connected(c->rpc)) {
		session_end(c);
		return;
	}
	mc__unmount_req__init(&c->unmount_req);
	c->unmount_req.client_id = client_id_bytes(c);
	c->unmount_req.id.data = c->segment.id.b;
	c->unmount_req.id.len = sizeof(c->segment.id.b);
	c->mount_call = (struct rpc_call){
		.done = session_unmount_done,
		.method = METHOD_UNMOUNT,
		.req = &c->unmount_req.base,
		.timeout_ms = UNMOUNT_TIMEOUT_MS,
	};
	rpc_call_submit(c->rpc, &c->mount_call);
}
