/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DRAIN, on the metadata shard: from the call on the segments take nothing new.
 * Whoever asks calls again until they are idle, then unmounts.  What lies on
 * them is counted on a walk over all objects, in slices.  Invariant: the answer
 * names only segments that are mounted when it is sent.
 */
#include <errno.h>

#include "base/log.h"
#include "master/census.h"
#include "master/copy.h"
#include "master/object.h"
#include "master/reply.h"
#include "master/scan.h"
#include "master/segment.h"
#include "master/service.h"

#define COUNT_SLICE 1024

/* In the request's arena. */
struct drain_job {
	struct slice slice;
	struct scan scan;
	struct rpc_req *req;
	Mc__DrainRsp rsp;
	Mc__Drained *drained; /* rsp.segments points to these */
	struct uuid *ids;     /* one each */
	size_t count;
};

static void drain_matching(struct service *svc, struct drain_job *job,
			   const struct uuid *id, const struct endpoint *ep)
{
	struct segment *seg;

	list_for_each (seg, &svc->core->segments, node) {
		if (seg->kind != KIND_NOF || !segment_matches(seg, id, ep))
			continue;
		if (!seg->is_draining)
			log_info("segment drains", "segment=\"%s\"", seg->name);
		segment_set_draining(svc->core, seg, true);
		mc__drained__init(&job->drained[job->count]);
		job->ids[job->count++] = seg->id;
	}
}

static uint64_t until_ms(const struct core *core, uint64_t until_ns)
{
	return until_ns ? (until_ns - core->now_ns) / NS_PER_MS + 1 : 0;
}

static void answer(struct service *svc, struct drain_job *job)
{
	struct core *core = svc->core;

	for (size_t i = 0; i < job->count; i++) {
		struct segment *seg = segment_find(core, &job->ids[i]);
		Mc__Drained *one = &job->drained[i];

		if (!seg)
			continue; /* unmounted meanwhile */
		one->segment = reply_segment(&job->req->arena, seg);
		one->busy_ms = until_ms(core, segment_busy_until(core, seg));
		one->unfinished = seg->unfinished;
		one->is_moving = copy_is_moving(core);
		one->moved_replicas = seg->moved;
		one->moved_bytes = seg->moved_bytes;
		if (!one->segment) {
			service_refuse(job->req, MOONCAKE_INTERNAL_ERROR);
			return;
		}
		job->rsp.segments[job->rsp.n_segments++] = one;
	}
	service_reply(svc, job->req, 0, &job->rsp.base);
}

/* --- what is on them --- */

static bool lies_on(const struct replica *rep, const struct uuid *id)
{
	for (unsigned i = 0; i < rep->extent_count; i++)
		if (uuid_eq(&rep->extents[i].seg->id, id))
			return true;
	return false;
}

/* A replica that has its bytes and stays when all that drains is unmounted;
 * what has been away for long is not counted on. */
static bool has_other(const struct core *core, const struct object *obj)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj)
		if (rep->state == REPLICA_COMPLETE &&
		    !replica_is_leaving(core, rep))
			return true;
	return false;
}

static void count_object(const struct core *core, struct drain_job *job,
			 const struct object *obj)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj) {
		if (!replica_is_draining(rep))
			continue;
		for (size_t i = 0; i < job->count; i++) {
			Mc__Drained *one = &job->drained[i];

			if (!lies_on(rep, &job->ids[i]))
				continue;
			if (has_other(core, obj)) {
				one->other_objects++;
				one->other_bytes += obj->size;
			} else {
				one->only_objects++;
				one->only_bytes += obj->size;
			}
		}
	}
}

static bool count_step(struct service *svc, struct slice *slice)
{
	struct drain_job *job = container_of(slice, struct drain_job, slice);

	for (unsigned i = 0; i < COUNT_SLICE; i++) {
		const struct object *obj = scan_next(svc->core, &job->scan);

		if (!obj) {
			scan_stop(&job->scan);
			answer(svc, job);
			return false;
		}
		if (obj->is_complete)
			count_object(svc->core, job, obj);
	}
	return true;
}

static bool job_init(struct service *svc, struct drain_job *job,
		     struct rpc_req *req)
{
	size_t n = svc->core->segment_count + 1;

	mc__drain_rsp__init(&job->rsp);
	job->req = req;
	job->slice.step = count_step;
	job->rsp.segments = arena_alloc(&req->arena, n * sizeof(Mc__Drained *));
	job->drained = arena_alloc(&req->arena, n * sizeof(*job->drained));
	job->ids = arena_alloc(&req->arena, n * sizeof(*job->ids));
	return job->rsp.segments && job->drained && job->ids;
}

void rpc_drain(struct service *svc, struct rpc_req *req)
{
	const Mc__DrainReq *msg = (const Mc__DrainReq *)req->body;
	struct drain_job *job = arena_alloc(&req->arena, sizeof(*job));
	bool by_endpoint = msg->endpoint[0] != '\0';
	struct err err = {0};
	struct endpoint ep;
	struct uuid id;

	if (!job || !job_init(svc, job, req)) {
		service_refuse(req, MOONCAKE_INTERNAL_ERROR);
		return;
	}
	if (!reply_uuid(&msg->id, &id) || (!by_endpoint && uuid_is_zero(&id)))
		err_set(&err, -EINVAL,
			"name a segment: id (16 bytes) or endpoint");
	else if (by_endpoint)
		endpoint_parse(str_of(msg->endpoint), &ep, &err);
	if (err.code) {
		job->rsp.status = MOONCAKE_INVALID_PARAMS;
		job->rsp.error = err.text;
		service_reply(svc, req, 0, &job->rsp.base);
		return;
	}
	drain_matching(svc, job, &id, by_endpoint ? &ep : NULL);
	if (!job->count)
		job->rsp.status = MOONCAKE_SEGMENT_NOT_FOUND;
	if (!msg->count || !job->count) {
		answer(svc, job);
		return;
	}
	scan_start(svc->core, &job->scan);
	service_slice(svc, &job->slice);
}
