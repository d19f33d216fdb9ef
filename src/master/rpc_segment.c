/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hello, Ping, Mount, Unmount, ListSegments over RPC, on the metadata shard.
 * Invariant: an Unmount is answered when no object is on the segment any more.
 */
#include <errno.h>
#include <stdio.h>

#include "base/flag.h"
#include "base/hostport.h"
#include "base/log.h"
#include "master/client.h"
#include "master/copy.h"
#include "master/mount_nof.h"
#include "master/reply.h"
#include "master/segment.h"
#include "master/service.h"
#include "nvme/endpoint.h"

void rpc_hello(struct service *svc, struct rpc_req *req)
{
	const Mc__HelloReq *msg = (const Mc__HelloReq *)req->body;
	Mc__HelloRsp rsp = MC__HELLO_RSP__INIT;
	uint64_t ttl_ns = svc->core->opts.client_ttl_ns;

	log_debug("client says hello",
		  "client=\"%.200s\" version=\"%.60s\" protocol=%u",
		  msg->client, msg->version, msg->protocol);
	rsp.status = msg->protocol == PROTO_VERSION ? MOONCAKE_OK
						    : MOONCAKE_INVALID_VERSION;
	rsp.protocol = PROTO_VERSION;
	rsp.version = (char *)(uintptr_t)mooncake_version;
	rsp.cluster_id = (char *)(uintptr_t)svc->opts.cluster_id;
	rsp.instance = svc->instance;
	rsp.client_ttl_ms = (uint32_t)(ttl_ns / NS_PER_MS);
	rsp.ping_interval_ms =
		(uint32_t)(MIN(ttl_ns / 5, NS_PER_S) / NS_PER_MS) + 1;
	service_reply(svc, req, 0, &rsp.base);
}

/* One that is awaited is to be mounted again. */
static bool is_mounted(struct core *core, const struct uuid *id)
{
	const struct segment *seg = segment_find(core, id);

	return seg && !seg->is_awaited;
}

void rpc_ping(struct service *svc, struct rpc_req *req)
{
	const Mc__PingReq *msg = (const Mc__PingReq *)req->body;
	Mc__PingRsp rsp = MC__PING_RSP__INIT;
	struct uuid client, id;

	rsp.instance = svc->instance;
	rsp.unknown_segments =
		arena_alloc(&req->arena, (msg->n_segment_ids + 1) *
						 sizeof(ProtobufCBinaryData));
	if (!reply_uuid(&msg->client_id, &client) || uuid_is_zero(&client) ||
	    !rsp.unknown_segments) {
		rsp.status = MOONCAKE_INVALID_PARAMS;
	} else if (!client_seen(svc->core, &client)) {
		rsp.status = MOONCAKE_INTERNAL_ERROR;
	} else {
		service_client_seen(svc);
		if (msg->takes_tasks) {
			copy_seen_client(svc->core);
			rsp.tasks_wait = copy_is_waiting(svc->core);
		}
		for (size_t i = 0; i < msg->n_segment_ids; i++)
			if (!reply_uuid(&msg->segment_ids[i], &id) ||
			    !is_mounted(svc->core, &id))
				rsp.unknown_segments[rsp.n_unknown_segments++] =
					msg->segment_ids[i];
	}
	stats_op(&svc->core->stats, OP_PING, 1, rsp.status != MOONCAKE_OK);
	service_reply(svc, req, 0, &rsp.base);
}

/* --- mount of memory --- */

struct memory_mount {
	struct segment_desc desc;
	bool is_again;
	char texts[SEGMENT_PATHS][ENDPOINT_TEXT_LEN];
	char *endpoints[SEGMENT_PATHS];
	struct hostport host;
};

static int read_endpoints(struct memory_mount *mm, const Mc__Segment *seg,
			  struct err *err)
{
	struct endpoint ep;

	if (seg->n_endpoints == 0 || seg->n_endpoints > SEGMENT_PATHS)
		return err_set(err, -EINVAL,
			       "a segment has 1 to %d endpoints, %zu given",
			       SEGMENT_PATHS, seg->n_endpoints);
	for (size_t i = 0; i < seg->n_endpoints; i++) {
		if (endpoint_parse(str_of(seg->endpoints[i]), &ep, err) < 0)
			return -EINVAL;
		if (ep.nsid == 0)
			return err_set(err, -EINVAL,
				       "'%.120s' names no namespace",
				       seg->endpoints[i]);
		endpoint_format(&ep, mm->texts[i]);
		mm->endpoints[i] = mm->texts[i];
	}
	mm->desc.endpoints = mm->endpoints;
	mm->desc.endpoint_count = (unsigned)seg->n_endpoints;
	return 0;
}

static int read_memory(struct memory_mount *mm, const Mc__MountReq *msg,
		       struct err *err)
{
	const Mc__Segment *seg = msg->segment;
	size_t name_len = strlen(seg->name);
	size_t host_len = strlen(seg->host_id);
	uint64_t end;

	mm->is_again = msg->again;
	mm->desc.kind = KIND_MEM;
	if (!reply_uuid(&seg->id, &mm->desc.id) || uuid_is_zero(&mm->desc.id) ||
	    !reply_uuid(&msg->client_id, &mm->desc.client) ||
	    uuid_is_zero(&mm->desc.client))
		return err_set(err, -EINVAL,
			       "segment id and client id are 16 bytes each");
	if (name_len == 0 || name_len > SEGMENT_TEXT_MAX)
		return err_set(err, -EINVAL,
			       "a segment's name has 1 to %d bytes, not %zu",
			       SEGMENT_TEXT_MAX, name_len);
	if (host_len > SEGMENT_TEXT_MAX)
		return err_set(err, -EINVAL,
			       "a segment's host has at most %d bytes, not %zu",
			       SEGMENT_TEXT_MAX, host_len);
	if (seg->size == 0 || add_overflows(seg->start, seg->size, &end) ||
	    (seg->block_size &&
	     (seg->block_size < 512 || seg->block_size > 64 * KiB ||
	      !IS_POW2(seg->block_size))))
		return err_set(err, -EINVAL,
			       "base %llu, size %llu, block size %u make no "
			       "segment",
			       (unsigned long long)seg->start,
			       (unsigned long long)seg->size, seg->block_size);
	mm->desc.name = seg->name;
	mm->desc.base = seg->start;
	mm->desc.size = mm->desc.ns_bytes = seg->size;
	/* Clients take no segment without a block size. */
	mm->desc.block_bytes = seg->block_size ? seg->block_size : EXTENT_UNIT;
	if (hostport_parse(str_of(seg->name), 0, &mm->host, NULL) < 0)
		mm->host.host[0] = '\0';
	mm->desc.host_id = seg->host_id[0] ? seg->host_id : mm->host.host;
	return read_endpoints(mm, seg, err);
}

/* A process that was restarted serves at the address of its former life: what
 * was there is gone. */
static void drop_former(struct service *svc, const struct memory_mount *mm)
{
	struct segment *seg;

	for (unsigned i = 0; i < mm->desc.endpoint_count; i++) {
		seg = segment_find_path(svc->core, mm->endpoints[i]);
		if (!seg || seg->kind != KIND_MEM)
			continue;
		log_info("segment replaced by one at the same address",
			 "segment=\"%s\"", seg->name);
		segment_start_unmount(svc->core, seg);
		service_reap(svc);
	}
}

/* Its node lived on while the master did not; so did what is in it. */
static void welcome(struct service *svc, struct segment *seg)
{
	if (client_seen(svc->core, &seg->client))
		service_client_seen(svc);
	if (!seg->is_awaited)
		return;
	seg->is_awaited = false;
	segment_set_state(svc->core, seg, SEG_ONLINE, "");
	log_info("memory segment is back", "segment=\"%s\" replicas=%llu",
		 seg->name, (unsigned long long)seg->replicas);
}

/* An id that had extents before: their writers may still be at it. */
static enum mooncake_status refuse_former(const struct service *svc,
					  const struct memory_mount *mm,
					  struct err *err)
{
	uint64_t now_ns = svc->core->now_ns;
	uint64_t until_ns = segment_tomb(svc->core, &mm->desc.id, "");

	if (mm->is_again) {
		err_set(err, -ENOENT, "segment '%.100s' is not known any more",
			mm->desc.name);
		return MOONCAKE_SEGMENT_NOT_FOUND;
	}
	if (until_ns > now_ns) {
		err_set(err, -EAGAIN,
			"former writers of segment '%.100s' have %llu s left: "
			"try again then, or with another id",
			mm->desc.name,
			(unsigned long long)((until_ns - now_ns) / NS_PER_S +
					     1));
		return MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS;
	}
	return MOONCAKE_OK;
}

static enum mooncake_status mount_memory(struct service *svc,
					 const struct memory_mount *mm,
					 struct segment **seg, bool *already,
					 struct err *err)
{
	enum mooncake_status st;

	*seg = segment_find(svc->core, &mm->desc.id);
	if (*seg) {
		*already = true;
		if (uuid_eq(&(*seg)->client, &mm->desc.client) &&
		    (*seg)->ns_bytes == mm->desc.size &&
		    (*seg)->base == mm->desc.base) {
			welcome(svc, *seg);
			return MOONCAKE_OK;
		}
		err_set(err, -EEXIST,
			"segment '%.100s' is mounted by another client or "
			"with another size",
			(*seg)->name);
		return MOONCAKE_SEGMENT_ALREADY_EXISTS;
	}
	st = refuse_former(svc, mm, err);
	if (st != MOONCAKE_OK)
		return st;
	drop_former(svc, mm);
	if (!client_seen(svc->core, &mm->desc.client)) {
		err_set(err, -ENOSPC, "%d clients are known already",
			CLIENTS_MAX);
		return MOONCAKE_INTERNAL_ERROR;
	}
	service_client_seen(svc);
	if (segment_add(svc->core, &mm->desc, seg, err) < 0)
		return MOONCAKE_INVALID_PARAMS;
	log_info("memory segment mounted", "segment=\"%s\" bytes=%llu host=%s",
		 (*seg)->name, (unsigned long long)(*seg)->size,
		 (*seg)->host_id);
	return MOONCAKE_OK;
}

void rpc_mount(struct service *svc, struct rpc_req *req)
{
	const Mc__MountReq *msg = (const Mc__MountReq *)req->body;
	Mc__MountRsp rsp = MC__MOUNT_RSP__INIT;
	struct memory_mount mm = {0};
	struct segment *seg = NULL;
	struct err err = {0};
	bool already = false;

	if (!msg->segment) {
		service_refuse(req, MOONCAKE_INVALID_PARAMS);
		return;
	}
	if (msg->segment->kind == MC__KIND__NOF_SSD) {
		nof_mount_start(svc, req);
		return;
	}
	rsp.status = MOONCAKE_INVALID_PARAMS;
	if (read_memory(&mm, msg, &err) == 0)
		rsp.status = mount_memory(svc, &mm, &seg, &already, &err);
	stats_op(&svc->core->stats, OP_MOUNT, 1, rsp.status != MOONCAKE_OK);
	if (rsp.status == MOONCAKE_OK)
		rsp.segment = reply_segment(&req->arena, seg);
	else
		rsp.error = err.text;
	rsp.already = already && rsp.status == MOONCAKE_OK;
	service_reply(svc, req, 0, &rsp.base);
}

/* --- unmount --- */

/* In the request's arena. */
struct unmount_job {
	struct rpc_req *req;
	Mc__UnmountRsp rsp;
	size_t pending;
};

static char *copy_text(struct arena *arena, const char *text)
{
	size_t n = strlen(text) + 1;
	char *copy = arena_alloc(arena, n);

	if (copy)
		memcpy(copy, text, n);
	return copy;
}

/* Outlives the segment. */
static Mc__Segment *farewell(struct arena *arena, struct segment *seg)
{
	Mc__Segment *out = reply_segment(arena, seg);
	uint8_t *id = arena_alloc(arena, sizeof(seg->id.b));

	if (!out || !id)
		return NULL;
	memcpy(id, seg->id.b, sizeof(seg->id.b));
	out->id.data = id;
	out->name = copy_text(arena, seg->name);
	out->identity = copy_text(arena, seg->identity);
	out->host_id = "";
	out->message = "";
	out->client_id = (ProtobufCBinaryData){0};
	out->n_endpoints = 0;
	out->state = MC__SEGMENT_STATE__SEGMENT_UNMOUNTING;
	return out->name && out->identity ? out : NULL;
}

static void finish(struct service *svc, struct unmount_job *job,
		   enum op_kind op)
{
	stats_op(&svc->core->stats, op, 1, job->rsp.status != MOONCAKE_OK);
	service_reply(svc, job->req, 0, &job->rsp.base);
}

void rpc_unmount_gone(struct segment *seg, void *arg)
{
	struct unmount_job *job = TAKE(seg->waiter);

	if (!job)
		return;
	job->rsp.dropped_objects += seg->dropped;
	log_info("segment unmounted", "segment=\"%s\" dropped_objects=%llu",
		 seg->name, (unsigned long long)seg->dropped);
	if (--job->pending == 0)
		finish(arg, job,
		       seg->kind == KIND_NOF ? OP_UNMOUNT_NOF : OP_UNMOUNT);
}

/* Why a request for idle segments only can't be served; "" = it can. */
static const char *not_idle(const struct core *core, const struct uuid *id,
			    const struct endpoint *ep)
{
	const struct segment *seg;

	list_for_each (seg, &core->segments, node) {
		if (!segment_matches(seg, id, ep))
			continue;
		if (!seg->is_draining)
			return "it does not drain";
		if (segment_busy_until(core, seg))
			return "it is still read or written";
	}
	return "";
}

static void unmount_matching(struct service *svc, struct unmount_job *job,
			     const struct uuid *id, const struct endpoint *ep)
{
	struct arena *arena = &job->req->arena;
	struct segment *seg, *tmp;

	list_for_each_safe (seg, tmp, &svc->core->segments, node) {
		Mc__Segment *last;

		if (!segment_matches(seg, id, ep))
			continue;
		last = farewell(arena, seg);
		if (last)
			job->rsp.segments[job->rsp.n_segments++] = last;
		seg->waiter = job;
		job->pending++;
		segment_start_unmount(svc->core, seg);
	}
}

void rpc_unmount(struct service *svc, struct rpc_req *req)
{
	const Mc__UnmountReq *msg = (const Mc__UnmountReq *)req->body;
	struct unmount_job *job = arena_alloc(&req->arena, sizeof(*job));
	bool by_endpoint = msg->endpoint[0] != '\0';
	struct err err = {0};
	struct endpoint ep;
	struct uuid id;

	if (!job)
		goto refuse;
	mc__unmount_rsp__init(&job->rsp);
	job->req = req;
	job->rsp.segments =
		arena_alloc(&req->arena, (svc->core->segment_count + 1) *
						 sizeof(Mc__Segment *));
	if (!job->rsp.segments)
		goto refuse;
	if (!reply_uuid(&msg->id, &id) || (!by_endpoint && uuid_is_zero(&id)))
		err_set(&err, -EINVAL,
			"name a segment: id (16 bytes) or "
			"endpoint");
	else if (by_endpoint)
		endpoint_parse(str_of(msg->endpoint), &ep, &err);
	if (err.code) {
		job->rsp.status = MOONCAKE_INVALID_PARAMS;
	} else if (msg->only_idle &&
		   *not_idle(svc->core, &id, by_endpoint ? &ep : NULL)) {
		job->rsp.status = MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS;
		err_set(&err, -EAGAIN, "%s",
			not_idle(svc->core, &id, by_endpoint ? &ep : NULL));
	} else {
		unmount_matching(svc, job, &id, by_endpoint ? &ep : NULL);
		if (job->pending) {
			service_reap(svc);
			return;
		}
		/* A segment that is gone by its id is what was asked for. */
		if (by_endpoint) {
			job->rsp.status = MOONCAKE_SEGMENT_NOT_FOUND;
			err_set(&err, -ENODEV, "nothing is mounted from %.200s",
				msg->endpoint);
		}
	}
	job->rsp.error = err.text;
	finish(svc, job, by_endpoint ? OP_UNMOUNT_NOF : OP_UNMOUNT);
	return;
refuse:
	service_refuse(req, MOONCAKE_INTERNAL_ERROR);
}

void rpc_list_segments(struct service *svc, struct rpc_req *req)
{
	Mc__ListSegmentsRsp rsp = MC__LIST_SEGMENTS_RSP__INIT;

	rsp.segments =
		reply_all_segments(svc->core, &req->arena, &rsp.n_segments);
	if (!rsp.segments)
		service_refuse(req, MOONCAKE_INTERNAL_ERROR);
	else
		service_reply(svc, req, 0, &rsp.base);
}
