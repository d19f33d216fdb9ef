/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PutStart, PutEnd, PutRevoke over RPC, on the metadata shard.
 *
 * A PutStart whose space still rests, or that has used up its slice, is parked
 * and goes on later where it stopped.  Invariant: the answer is built in one go
 * at the end, because segments and objects may go while it is parked.
 */
#include <errno.h>

#include "master/object.h"
#include "master/put.h"
#include "master/reply.h"
#include "master/service.h"

#define PUT_SLICE_ITEMS	 2048
#define PUT_SLICE_EVICTS 1024
#define PARK_NS_MAX	 (2 * NS_PER_S)
#define GRANT_BYTES	 32 /* of an answer, beside its replicas */

/* In the request's arena. */
struct put_job {
	struct list node; /* service.parked */
	struct rpc_req *req;
	const Mc__PutStartReq *msg;
	struct put_ask ask;
	Mc__PutStartRsp rsp;
	Mc__PutGrant *grants;
	size_t next;  /* item */
	size_t bytes; /* of the answer to those before it */
	uint64_t give_up_ns;
};

static int count_of(bool has, uint32_t n)
{
	/* What is too large stays too large. */
	return has ? (int)MIN(n, (uint32_t)REPLICAS_MAX + 1) : -1;
}

static bool read_avoid(const Mc__PutStartReq *msg, struct place *place)
{
	if (msg->n_avoid_segments > AVOID_MAX)
		return false;
	for (size_t i = 0; i < msg->n_avoid_segments; i++)
		if (!reply_uuid(&msg->avoid_segments[i], &place->avoid[i]))
			return false;
	place->avoid_count = msg->n_avoid_segments;
	return true;
}

static enum mooncake_status read_ask(const struct core *core,
				     const Mc__PutStartReq *msg,
				     struct put_ask *ask)
{
	const Mc__ReplicateConfig *conf = msg->config;

	*ask = (struct put_ask){.count = {-1, -1}};
	if (!reply_uuid(&msg->client_id, &ask->client) ||
	    !read_avoid(msg, &ask->place))
		return MOONCAKE_INVALID_PARAMS;
	if (!conf)
		return put_resolve(core, ask);
	/* Each is looked for among all segments, for each item. */
	if (conf->n_preferred_segments > PREFERRED_MAX ||
	    conf->n_preferred_nof_segments > PREFERRED_MAX)
		return MOONCAKE_INVALID_PARAMS;
	ask->count[KIND_MEM] =
		count_of(conf->ask_memory_case ==
				 MC__REPLICATE_CONFIG__ASK_MEMORY_REPLICA_NUM,
			 conf->replica_num);
	ask->count[KIND_NOF] =
		count_of(conf->ask_nof_case ==
				 MC__REPLICATE_CONFIG__ASK_NOF_NOF_REPLICA_NUM,
			 conf->nof_replica_num);
	ask->place.preferred[KIND_MEM] = conf->preferred_segments;
	ask->place.preferred_count[KIND_MEM] = conf->n_preferred_segments;
	ask->place.preferred[KIND_NOF] = conf->preferred_nof_segments;
	ask->place.preferred_count[KIND_NOF] = conf->n_preferred_nof_segments;
	ask->place.host_id = str_of(conf->host_id);
	ask->place.is_near_wanted = conf->prefer_same_node;
	ask->has_soft_pin = conf->with_soft_pin;
	ask->has_hard_pin = conf->with_hard_pin;
	ask->soft_pin_ms = conf->soft_pin_ttl_ms;
	ask->data_type = conf->data_type;
	/* Members of a group are placed one by one. */
	if (conf->n_group_ids && conf->n_group_ids != msg->n_items)
		return MOONCAKE_INVALID_PARAMS;
	return put_resolve(core, ask);
}

static void build_grants(struct put_job *job, struct reply *reply)
{
	for (size_t i = 0; i < job->msg->n_items; i++) {
		Mc__PutGrant *grant = &job->grants[i];
		struct object *obj;

		if (grant->status != MOONCAKE_OK)
			continue;
		obj = obj_find_put(reply->core,
				   reply_str(&job->msg->items[i]->key),
				   grant->generation);
		if (!obj || obj->is_complete) {
			/* Its segment went away while the job was parked, or
			 * somebody ended what nobody was told of. */
			grant->status = MOONCAKE_NO_AVAILABLE_HANDLE;
			continue;
		}
		/* It counts from the answer. */
		obj_give_time(reply->core, obj);
		reply_replicas(reply, obj, false, &grant->replicas,
			       &grant->n_replicas);
	}
}

static void put_finish(struct service *svc, struct put_job *job)
{
	struct core *core = svc->core;
	struct reply reply;
	size_t failed = 0;

	reply_init(&reply, core, &job->req->arena);
	build_grants(job, &reply);
	for (size_t i = 0; i < job->msg->n_items; i++) {
		failed += job->grants[i].status != MOONCAKE_OK;
		core->stats.alloc_failures +=
			job->grants[i].status == MOONCAKE_NO_AVAILABLE_HANDLE;
	}
	stats_op(&core->stats, OP_PUT_START, job->msg->n_items, failed);
	job->rsp.segments = reply.segments;
	job->rsp.n_segments = reply.count;
	job->rsp.write_timeout_ms = (uint32_t)(core->opts.write_ns / NS_PER_MS);
	service_space_taken(svc);
	if (reply.failed)
		service_refuse(job->req, MOONCAKE_INTERNAL_ERROR);
	else
		service_reply(svc, job->req, 0, &job->rsp.base);
}

/* One of many keys: the next ones are looked up together. */
static void warm_put(const struct core *core, const struct put_job *job)
{
	struct str keys[HTAB_WARM_MAX];
	size_t n = MIN(job->msg->n_items - job->next, ARRAY_SIZE(keys));

	for (size_t i = 0; i < n; i++)
		keys[i] = reply_str(&job->msg->items[job->next + i]->key);
	obj_warm(core, keys, n);
}

/* Clients that have no config, or no groups: none. */
static struct str group_of(const struct put_job *job, size_t item)
{
	const Mc__ReplicateConfig *conf = job->msg->config;

	return conf && item < conf->n_group_ids ? str_of(conf->group_ids[item])
						: STR("");
}

/* Goes on with the items; false when it has to be parked. */
static bool put_run(struct service *svc, struct put_job *job)
{
	struct core *core = svc->core;
	size_t items = 0;

	job->ask.budget = PUT_SLICE_EVICTS;
	while (job->next < job->msg->n_items) {
		const Mc__PutItem *item = job->msg->items[job->next];
		Mc__PutGrant *grant = &job->grants[job->next];
		struct object *obj;
		int st;

		if (items++ == PUT_SLICE_ITEMS) {
			job->ask.retry_ns = core->now_ns;
			return false;
		}
		if (job->bytes > svc->answer_bytes) {
			grant->status = MOONCAKE_BUFFER_OVERFLOW;
			job->next++;
			continue;
		}
		if ((items - 1) % HTAB_WARM_MAX == 0)
			warm_put(core, job);
		if (job->msg->request)
			job->ask.request = job->msg->request + job->next;
		job->ask.group = group_of(job, job->next);
		job->ask.is_last = core->now_ns >= job->give_up_ns;
		st = put_start(core, &job->ask, reply_str(&item->key),
			       item->size, &obj);
		if (st == PUT_LATER)
			return false;
		job->next++;
		grant->status = st;
		job->bytes += GRANT_BYTES;
		grant->being_written = job->ask.is_being_written;
		if (st != MOONCAKE_OK)
			continue;
		grant->generation = obj->generation;
		job->bytes += reply_bytes(obj);
	}
	return true;
}

static uint64_t due_ns(const struct put_job *job)
{
	return MIN(job->ask.retry_ns, job->give_up_ns);
}

static void arm_park(struct service *svc)
{
	struct put_job *job;
	uint64_t first = UINT64_MAX;

	list_for_each (job, &svc->parked, node) {
		uint64_t at = due_ns(job);

		first = MIN(first, at);
	}
	/* In another turn of the loop: a slice is all that one turn pays for,
	 * and its records are written before the next one. */
	if (first == UINT64_MAX)
		timer_cancel(svc->loop, &svc->park_timer);
	else
		timer_set_at(svc->loop, &svc->park_timer,
			     MAX(first, loop_now_ns(svc->loop) + 1));
}

/* Why a parked put goes on no more; MOONCAKE_OK: it does. */
static enum mooncake_status why_refused(const struct service *svc)
{
	/* What would be granted could not be ended any more. */
	if (svc->is_stopping)
		return MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS;
	/* What is evicted now could not be told to the journal. */
	if (svc->keeper && keeper_is_broken(svc->keeper))
		return MOONCAKE_PERSISTENT_FAIL;
	return MOONCAKE_OK;
}

void rpc_put_run_parked(struct service *svc)
{
	enum mooncake_status st = why_refused(svc);
	struct list due;

	list_init(&due);
	list_splice_tail(&due, &svc->parked);
	/* What they have begun is released if nobody puts any more. */
	if (st != MOONCAKE_OK && !list_is_empty(&due))
		service_space_taken(svc);
	while (!list_is_empty(&due)) {
		struct put_job *job = list_first(&due, struct put_job, node);

		list_del(&job->node);
		if (st != MOONCAKE_OK)
			service_refuse(job->req, st);
		else if (due_ns(job) <= svc->core->now_ns && put_run(svc, job))
			put_finish(svc, job);
		else
			list_add_tail(&svc->parked, &job->node);
	}
	arm_park(svc);
}

/* While the answer still gets there: what is granted to nobody is in the way
 * until it is discarded. */
static uint64_t give_up_at(const struct core *core, const struct rpc_req *req)
{
	uint64_t now = core->now_ns;
	uint64_t left = req->deadline_ns > now ? req->deadline_ns - now : 0;

	return now +
	       MIN(PARK_NS_MAX + 2 * core->opts.margin_ns, left - left / 4);
}

static struct put_job *make_job(struct service *svc, struct rpc_req *req)
{
	const Mc__PutStartReq *msg = (const Mc__PutStartReq *)req->body;
	struct put_job *job = arena_alloc(&req->arena, sizeof(*job));
	Mc__PutGrant **list =
		arena_alloc(&req->arena, (msg->n_items + 1) * sizeof(*list));

	if (!job || !list)
		return NULL;
	job->grants = arena_alloc(&req->arena,
				  (msg->n_items + 1) * sizeof(*job->grants));
	if (!job->grants)
		return NULL;
	for (size_t i = 0; i < msg->n_items; i++) {
		mc__put_grant__init(&job->grants[i]);
		list[i] = &job->grants[i];
	}
	mc__put_start_rsp__init(&job->rsp);
	job->rsp.grants = list;
	job->rsp.n_grants = msg->n_items;
	job->req = req;
	job->msg = msg;
	job->give_up_ns = give_up_at(svc->core, req);
	return job;
}

/* Its answer is not waited for any more, so it must not go on: it would begin
 * what the repeat has begun and ended. */
static void end_former(struct service *svc, const struct put_job *repeat)
{
	struct put_job *job, *tmp;

	list_for_each_safe (job, tmp, &svc->parked, node)
		if (job->msg->request == repeat->msg->request &&
		    uuid_eq(&job->ask.client, &repeat->ask.client)) {
			list_del(&job->node);
			put_finish(svc, job);
		}
}

void rpc_put_start(struct service *svc, struct rpc_req *req)
{
	const Mc__PutStartReq *msg = (const Mc__PutStartReq *)req->body;
	struct put_job *job;
	enum mooncake_status st;

	if (msg->n_items > FRAME_ITEMS_MAX) {
		service_refuse(req, MOONCAKE_INVALID_PARAMS);
		return;
	}
	job = make_job(svc, req);
	if (!job) {
		service_refuse(req, MOONCAKE_INTERNAL_ERROR);
		return;
	}
	st = read_ask(svc->core, msg, &job->ask);
	for (size_t i = 0; st != MOONCAKE_OK && i < msg->n_items; i++)
		job->grants[i].status = st;
	if (st != MOONCAKE_OK)
		job->next = msg->n_items;
	else if (msg->request)
		end_former(svc, job);
	if (put_run(svc, job)) {
		put_finish(svc, job);
		return;
	}
	svc->core->stats.parked++;
	list_add_tail(&svc->parked, &job->node);
	arm_park(svc);
}

/* --- the ends --- */

static int32_t *make_statuses(struct rpc_req *req, size_t count,
			      Mc__StatusRsp *rsp)
{
	mc__status_rsp__init(rsp);
	rsp->n_status = count;
	rsp->status =
		arena_alloc(&req->arena, (count + 1) * sizeof(*rsp->status));
	return count <= FRAME_ITEMS_MAX ? rsp->status : NULL;
}

static void end_reply(struct service *svc, struct rpc_req *req, enum op_kind op,
		      const Mc__StatusRsp *rsp)
{
	size_t failed = 0;

	for (size_t i = 0; i < rsp->n_status; i++)
		failed += rsp->status[i] != MOONCAKE_OK;
	stats_op(&svc->core->stats, op, rsp->n_status, failed);
	service_reply(svc, req, 0, &rsp->base);
}

static void warm_end(const struct core *core, const Mc__PutEndReq *msg,
		     size_t first)
{
	struct str keys[HTAB_WARM_MAX];
	size_t n = MIN(msg->n_items - first, ARRAY_SIZE(keys));

	for (size_t i = 0; i < n; i++)
		keys[i] = reply_str(&msg->items[first + i]->key);
	obj_warm(core, keys, n);
}

void rpc_put_end(struct service *svc, struct rpc_req *req)
{
	const Mc__PutEndReq *msg = (const Mc__PutEndReq *)req->body;
	struct put_end end = {0};
	Mc__StatusRsp rsp;
	int32_t *st = make_statuses(req, msg->n_items, &rsp);

	if (!st || !reply_uuid(&msg->client_id, &end.client)) {
		service_refuse(req, MOONCAKE_INVALID_PARAMS);
		return;
	}
	for (size_t i = 0; i < msg->n_items; i++) {
		const Mc__PutEndItem *item = msg->items[i];

		if (i % HTAB_WARM_MAX == 0)
			warm_end(svc->core, msg, i);
		end.key = reply_str(&item->key);
		end.generation = item->generation;
		end.crcs = reply_str(&item->crcs);
		end.failed = item->failed;
		end.failed_count = item->n_failed;
		end.is_resent = item->resent;
		st[i] = put_end(svc->core, &end);
	}
	end_reply(svc, req, OP_PUT_END, &rsp);
}

void rpc_put_revoke(struct service *svc, struct rpc_req *req)
{
	const Mc__PutRevokeReq *msg = (const Mc__PutRevokeReq *)req->body;
	struct uuid client;
	Mc__StatusRsp rsp;
	int32_t *st = make_statuses(req, msg->n_items, &rsp);

	if (!st || !reply_uuid(&msg->client_id, &client)) {
		service_refuse(req, MOONCAKE_INVALID_PARAMS);
		return;
	}
	for (size_t i = 0; i < msg->n_items; i++)
		st[i] = put_revoke(svc->core, &client,
				   reply_str(&msg->items[i]->key),
				   msg->items[i]->generation);
	end_reply(svc, req, OP_PUT_REVOKE, &rsp);
}
