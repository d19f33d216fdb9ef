/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removal over RPC, on the metadata shard.  Patterns and "everything" go over
 * all objects in slices of about a millisecond; the answer comes after the
 * last one.
 */
#include "master/remove.h"

#include <errno.h>

#include "master/reply.h"
#include "master/service.h"

#define STEP_OBJECTS 32
#define SLICE_NS     (1 * NS_PER_MS)
/* Keys on which a pattern may hit its limits before it is refused. */
#define TOO_HARD_MAX 100

void rpc_remove(struct service *svc, struct rpc_req *req)
{
	const Mc__RemoveReq *msg = (const Mc__RemoveReq *)req->body;
	Mc__StatusRsp rsp = MC__STATUS_RSP__INIT;
	size_t failed = 0;

	rsp.status = arena_alloc(&req->arena,
				 (msg->n_keys + 1) * sizeof(*rsp.status));
	if (!rsp.status || msg->n_keys > FRAME_ITEMS_MAX) {
		service_refuse(req, MOONCAKE_INVALID_PARAMS);
		return;
	}
	for (size_t i = 0; i < msg->n_keys; i++) {
		rsp.status[i] = remove_key(svc->core, reply_str(&msg->keys[i]),
					   msg->force);
		failed += rsp.status[i] != MOONCAKE_OK;
	}
	rsp.n_status = msg->n_keys;
	stats_op(&svc->core->stats, OP_REMOVE, msg->n_keys, failed);
	service_reply(svc, req, 0, &rsp.base);
}

/* In the request's arena. */
struct remove_job {
	struct slice slice;
	struct remover remover;
	struct rpc_req *req;
	enum op_kind op;
};

static void answer(struct service *svc, struct remove_job *job, int32_t status,
		   char *error)
{
	Mc__CountRsp rsp = MC__COUNT_RSP__INIT;

	rsp.status = status;
	rsp.count = job->remover.count;
	rsp.error = error;
	stats_op(&svc->core->stats, job->op, 1, status != MOONCAKE_OK);
	service_reply(svc, job->req, 0, &rsp.base);
}

static bool remove_step(struct service *svc, struct slice *slice)
{
	struct remove_job *job = container_of(slice, struct remove_job, slice);
	struct remover *r = &job->remover;
	uint64_t start_ns = time_mono_ns();
	bool has_more;

	do {
		has_more = remover_step(r, svc->core, STEP_OBJECTS);
		if (r->too_hard > TOO_HARD_MAX)
			has_more = false;
	} while (has_more && time_mono_ns() - start_ns < SLICE_NS);
	if (has_more)
		return true;
	remover_fini(r);
	if (r->too_hard > TOO_HARD_MAX)
		answer(svc, job, MOONCAKE_INVALID_PARAMS,
		       "the pattern needs too many steps to match; stopped");
	else
		answer(svc, job, MOONCAKE_OK, "");
	return false;
}

static void start(struct service *svc, struct rpc_req *req, struct str pattern,
		  bool is_forced)
{
	struct remove_job *job = arena_alloc(&req->arena, sizeof(*job));
	struct err err = {0};
	int ret;

	if (!job) {
		service_refuse(req, MOONCAKE_INTERNAL_ERROR);
		return;
	}
	job->req = req;
	job->op = pattern.p ? OP_REMOVE_BY_REGEX : OP_REMOVE_ALL;
	job->slice.step = remove_step;
	ret = remover_init(&job->remover, svc->core, pattern, is_forced, &err);
	if (ret < 0) {
		answer(svc, job,
		       ret == -EINVAL ? MOONCAKE_INVALID_PARAMS
				      : MOONCAKE_INTERNAL_ERROR,
		       err.text);
		return;
	}
	service_slice(svc, &job->slice);
}

void rpc_remove_by_regex(struct service *svc, struct rpc_req *req)
{
	const Mc__RemoveByRegexReq *msg =
		(const Mc__RemoveByRegexReq *)req->body;

	start(svc, req, str_of(msg->pattern), msg->force);
}

void rpc_remove_all(struct service *svc, struct rpc_req *req)
{
	const Mc__RemoveAllReq *msg = (const Mc__RemoveAllReq *)req->body;

	start(svc, req, (struct str){NULL, 0}, msg->force);
}
