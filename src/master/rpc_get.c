/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Get, Exist, Report over RPC, on the metadata shard.  Invariant: an answer
 * stays below the frame's limit; what does not fit any more says so.
 */
#include "master/get.h"

#include "master/doubt.h"
#include "master/health.h"
#include "master/object.h"
#include "master/reply.h"
#include "master/segment.h"
#include "master/service.h"
#include "master/watch.h"

/* Of an answer, beside its replicas and checksums. */
#define OBJECT_BYTES 128

/* The keys first..first + n as views. */
static size_t next_keys(const ProtobufCBinaryData *keys, size_t left,
			struct str *out)
{
	size_t n = MIN(left, (size_t)GET_BATCH);

	for (size_t i = 0; i < n; i++)
		out[i] = reply_str(&keys[i]);
	return n;
}

static size_t fill_object(struct reply *reply, struct object *obj,
			  Mc__Object *out)
{
	uint32_t crcs = obj_crc_count(obj->size) * (uint32_t)sizeof(uint32_t);

	out->size = obj->size;
	out->generation = obj->generation;
	out->crcs = (ProtobufCBinaryData){crcs, (uint8_t *)obj->crcs};
	reply_replicas(reply, obj, true, &out->replicas, &out->n_replicas);
	return OBJECT_BYTES + crcs + reply_bytes(obj);
}

struct get_run {
	struct service *svc;
	const Mc__GetReq *msg;
	struct reply reply;
	Mc__Object *objects;
	Mc__Object **list;
	size_t failed, bytes;
};

static void get_chunk(struct get_run *run, size_t first, size_t n,
		      const struct str *keys)
{
	struct object *found[GET_BATCH];

	get_lookup(run->svc->core, keys, n, found);
	for (size_t i = 0; i < n; i++) {
		Mc__Object *out = &run->objects[first + i];

		mc__object__init(out);
		run->list[first + i] = out;
		if (run->bytes > run->svc->answer_bytes)
			out->status = MOONCAKE_BUFFER_OVERFLOW;
		else
			out->status = get_object(run->svc->core, found[i],
						 run->msg->no_lease);
		if (out->status == MOONCAKE_OK)
			run->bytes += fill_object(&run->reply, found[i], out);
		else
			run->failed++;
	}
}

void rpc_get(struct service *svc, struct rpc_req *req)
{
	struct get_run run = {.svc = svc, .msg = (const Mc__GetReq *)req->body};
	size_t count = run.msg->n_keys, n;
	Mc__GetRsp rsp = MC__GET_RSP__INIT;
	struct str keys[GET_BATCH];

	if (count > FRAME_ITEMS_MAX) {
		service_refuse(req, MOONCAKE_INVALID_PARAMS);
		return;
	}
	reply_init(&run.reply, svc->core, &req->arena);
	run.objects =
		arena_alloc(&req->arena, (count + 1) * sizeof(*run.objects));
	run.list = arena_alloc(&req->arena, (count + 1) * sizeof(*run.list));
	if (!run.objects || !run.list) {
		service_refuse(req, MOONCAKE_INTERNAL_ERROR);
		return;
	}
	for (size_t first = 0; first < count; first += n) {
		n = next_keys(&run.msg->keys[first], count - first, keys);
		get_chunk(&run, first, n, keys);
	}
	stats_op(&svc->core->stats, OP_GET, count, run.failed);
	rsp.segments = run.reply.segments;
	rsp.n_segments = run.reply.count;
	rsp.objects = run.list;
	rsp.n_objects = count;
	rsp.lease_ms =
		run.msg->no_lease
			? 0
			: (uint32_t)(svc->core->opts.lease_ns / NS_PER_MS);
	if (run.reply.failed)
		service_refuse(req, MOONCAKE_INTERNAL_ERROR);
	else
		service_reply(svc, req, 0, &rsp.base);
}

void rpc_exist(struct service *svc, struct rpc_req *req)
{
	const Mc__ExistReq *msg = (const Mc__ExistReq *)req->body;
	Mc__StatusRsp rsp = MC__STATUS_RSP__INIT;
	struct object *found[GET_BATCH];
	struct str keys[GET_BATCH];
	size_t n;

	rsp.status = arena_alloc(&req->arena,
				 (msg->n_keys + 1) * sizeof(*rsp.status));
	if (!rsp.status || msg->n_keys > FRAME_ITEMS_MAX) {
		service_refuse(req, MOONCAKE_INVALID_PARAMS);
		return;
	}
	for (size_t first = 0; first < msg->n_keys; first += n) {
		n = next_keys(&msg->keys[first], msg->n_keys - first, keys);
		get_lookup(svc->core, keys, n, found);
		for (size_t i = 0; i < n; i++)
			rsp.status[first + i] =
				exist_object(svc->core, found[i]);
	}
	rsp.n_status = msg->n_keys;
	stats_op(&svc->core->stats, OP_EXIST, msg->n_keys, 0);
	service_reply(svc, req, 0, &rsp.base);
}

static enum mooncake_status take_unreachable(struct service *svc,
					     const struct uuid *client,
					     const Mc__ReportItem *item)
{
	struct segment *seg;
	struct uuid id;

	seg = reply_uuid(&item->segment_id, &id) ? segment_find(svc->core, &id)
						 : NULL;
	if (!seg)
		return MOONCAKE_SEGMENT_NOT_FOUND;
	if (health_reported(svc->core, seg, client, item->text))
		watch_soon(seg);
	return MOONCAKE_OK;
}

enum mooncake_status rpc_take_report(struct service *svc,
				     const struct uuid *client,
				     const Mc__ReportItem *item)
{
	struct bad_replica bad = {
		.generation = item->generation,
		.index = item->replica,
		.is_media_error = item->problem == MC__PROBLEM__PROBLEM_MEDIA,
	};
	struct str key = reply_str(&item->key);
	struct segment *seg;
	int st;

	if (!reply_uuid(&item->segment_id, &bad.segment))
		return MOONCAKE_INVALID_PARAMS;
	if (item->problem == MC__PROBLEM__PROBLEM_UNREACHABLE)
		return take_unreachable(svc, client, item);
	if (item->problem != MC__PROBLEM__PROBLEM_CHECKSUM &&
	    !bad.is_media_error)
		return MOONCAKE_INVALID_PARAMS;
	/* What is dropped now could not be told to the journal. */
	st = svc->keeper && keeper_is_broken(svc->keeper)
		     ? MOONCAKE_PERSISTENT_FAIL
		     : get_report_bad(svc->core, key, &bad);
	if (st == GET_DOUBTED)
		st = doubt_report(svc, key, &bad);
	/* Is it one block, or all of them? */
	seg = bad.is_media_error ? segment_find(svc->core, &bad.segment) : NULL;
	if (seg)
		watch_now(seg);
	return (enum mooncake_status)st;
}

void rpc_report(struct service *svc, struct rpc_req *req)
{
	const Mc__ReportReq *msg = (const Mc__ReportReq *)req->body;
	Mc__StatusRsp rsp = MC__STATUS_RSP__INIT;
	struct uuid client = {0}; /* all that don't say count as one */

	reply_uuid(&msg->client_id, &client);
	rsp.status = arena_alloc(&req->arena,
				 (msg->n_items + 1) * sizeof(*rsp.status));
	if (!rsp.status || msg->n_items > FRAME_ITEMS_MAX) {
		service_refuse(req, MOONCAKE_INVALID_PARAMS);
		return;
	}
	for (size_t i = 0; i < msg->n_items; i++)
		rsp.status[i] = rpc_take_report(svc, &client, msg->items[i]);
	rsp.n_status = msg->n_items;
	service_reply(svc, req, 0, &rsp.base);
}
