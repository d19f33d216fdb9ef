/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks over RPC, on the metadata shard: results in, the next task out.
 * Invariant: what a client found wrong counts only while the object is the one
 * its task was about.
 */
#include "master/copy.h"
#include "master/object.h"
#include "master/reply.h"
#include "master/service.h"

#define LOOKS_MAX 2048 /* objects looked at for one answer */

/* --- results --- */

/* What a reader would report. */
static void take_problem(struct service *svc, const struct uuid *client,
			 const struct object *obj,
			 const Mc__TaskProblem *problem)
{
	Mc__ReportItem item = MC__REPORT_ITEM__INIT;
	struct str key = obj_key(obj);

	item.problem = problem->problem;
	item.key.data = (uint8_t *)(uintptr_t)key.p;
	item.key.len = key.n;
	item.generation = obj->generation;
	item.replica = problem->replica;
	item.segment_id = problem->segment_id;
	item.text = problem->text;
	rpc_take_report(svc, client, &item);
}

static void take_result(struct service *svc, const struct uuid *client,
			const Mc__TaskResult *msg)
{
	struct task_result result = {
		.id = msg->id,
		.is_good = msg->done,
		.is_resent = msg->resent,
	};
	struct object *obj;

	/* Dropping a replica may drop the object, so each is looked up. */
	for (size_t i = 0; i < msg->n_problems; i++) {
		obj = copy_object(svc->core, client, msg->id);
		if (obj)
			take_problem(svc, client, obj, msg->problems[i]);
	}
	copy_end(svc->core, client, &result);
}

/* --- tasks --- */

static bool add_sources(struct reply *r, const struct object *obj,
			const struct task *task, Mc__Task *out)
{
	const struct replica *rep;

	out->sources = arena_alloc(r->arena,
				   obj->replica_count * sizeof(*out->sources));
	if (!out->sources)
		return false;
	obj_for_each_replica (rep, obj) {
		Mc__Replica *msg;

		if (!replica_is_readable(rep) ||
		    (task->kind == TASK_CHECK && rep->kind != KIND_NOF))
			continue;
		msg = reply_replica(r, rep);
		if (!msg)
			return false;
		out->sources[out->n_sources++] = msg;
	}
	return true;
}

static Mc__Task *task_message(struct reply *r, struct object *obj,
			      const struct task *task)
{
	uint32_t crcs = obj_crc_count(obj->size) * (uint32_t)sizeof(uint32_t);
	Mc__Task *out = arena_alloc(r->arena, sizeof(*out));
	uint64_t left_ns = task->deadline_ns - r->core->now_ns;

	if (!out)
		return NULL;
	mc__task__init(out);
	out->id = task->id;
	out->kind = task->kind == TASK_COPY ? MC__TASK_KIND__TASK_COPY
					    : MC__TASK_KIND__TASK_CHECK;
	out->size = obj->size;
	out->crcs = (ProtobufCBinaryData){crcs, (uint8_t *)obj->crcs};
	out->timeout_ms = left_ns / NS_PER_MS;
	out->bytes_per_s = copy_pace(r->core, task->kind);
	if (!add_sources(r, obj, task, out))
		return NULL;
	if (task->kind == TASK_COPY)
		out->target = reply_replica(r, obj_replica(obj, task->target));
	return out;
}

/* One, however many are asked for: a copy that has ended is thrown away when
 * its client says so too late, and so it must not wait for a check that is slow
 * or for a copy that is large. */
static void hand_out(struct service *svc, const struct uuid *client,
		     struct reply *r, Mc__TasksRsp *rsp)
{
	unsigned looks = LOOKS_MAX;
	uint64_t wait_ns;
	struct object *obj;
	struct task *task =
		copy_next(svc->core, client, &looks, &obj, &wait_ns);

	if (task) {
		rsp->tasks[0] = task_message(r, obj, task);
		rsp->n_tasks = rsp->tasks[0] ? 1 : 0;
		r->failed |= !rsp->n_tasks; /* the task expires */
	} else if (wait_ns) {
		rsp->wait_ms = (uint32_t)MIN(wait_ns / NS_PER_MS + 1,
					     (uint64_t)UINT32_MAX);
	}
}

void rpc_tasks(struct service *svc, struct rpc_req *req)
{
	const Mc__TasksReq *msg = (const Mc__TasksReq *)req->body;
	Mc__TasksRsp rsp = MC__TASKS_RSP__INIT;
	struct reply reply;
	struct uuid client;

	reply_init(&reply, svc->core, &req->arena);
	rsp.tasks = arena_alloc(&req->arena, sizeof(*rsp.tasks));
	if (!rsp.tasks || msg->n_results > FRAME_ITEMS_MAX ||
	    !reply_uuid(&msg->client_id, &client) || uuid_is_zero(&client)) {
		service_refuse(req, MOONCAKE_INVALID_PARAMS);
		return;
	}
	copy_seen_client(svc->core);
	for (size_t i = 0; i < msg->n_results; i++)
		take_result(svc, &client, msg->results[i]);
	copy_is_waiting(svc->core); /* expires what is late */
	if (msg->want)
		hand_out(svc, &client, &reply, &rsp);
	rsp.segments = reply.segments;
	rsp.n_segments = reply.count;
	if (rsp.n_tasks)
		service_space_taken(svc);
	if (reply.failed)
		service_refuse(req, MOONCAKE_INTERNAL_ERROR);
	else
		service_reply(svc, req, 0, &rsp.base);
}
