/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ListKeys and Stats over RPC, on the metadata shard.  A list is one walk in
 * slices that keeps the limit smallest keys seen so far (a max-heap of copies,
 * for objects may go meanwhile).
 */
#include <stdlib.h>

#include "base/flag.h"
#include "master/object.h"
#include "master/reply.h"
#include "master/scan.h"
#include "master/service.h"

#define LIST_DEFAULT 1000
#define LIST_MAX     10000
#define LIST_SLICE   2048 /* objects */

struct list_job {
	struct slice slice; /* this struct is in the request's arena */
	struct scan scan;
	struct rpc_req *req;
	struct str prefix, after;
	Mc__KeyInfo *heap; /* largest key first; key.data is malloc's */
	size_t count, limit;
	bool has_more, failed;
};

static int compare(struct str a, struct str b)
{
	int ret = memcmp(a.p, b.p, MIN(a.n, b.n));

	if (ret == 0)
		ret = a.n < b.n ? -1 : a.n > b.n;
	return ret;
}

static int compare_infos(const void *a, const void *b)
{
	const Mc__KeyInfo *left = a, *right = b;

	return compare(reply_str(&left->key), reply_str(&right->key));
}

static void swap(Mc__KeyInfo *a, Mc__KeyInfo *b)
{
	Mc__KeyInfo tmp = *a;

	*a = *b;
	*b = tmp;
}

static void sift_up(Mc__KeyInfo *heap, size_t i)
{
	while (i > 0 && compare_infos(&heap[(i - 1) / 2], &heap[i]) < 0) {
		swap(&heap[(i - 1) / 2], &heap[i]);
		i = (i - 1) / 2;
	}
}

static void sift_down(Mc__KeyInfo *heap, size_t count)
{
	for (size_t i = 0, kid = 1; kid < count; kid = 2 * i + 1) {
		if (kid + 1 < count &&
		    compare_infos(&heap[kid], &heap[kid + 1]) < 0)
			kid++;
		if (compare_infos(&heap[i], &heap[kid]) >= 0)
			return;
		swap(&heap[i], &heap[kid]);
		i = kid;
	}
}

static bool describe(const struct core *core, const struct object *obj,
		     Mc__KeyInfo *out)
{
	struct str key = obj_key(obj);
	const struct replica *rep;

	mc__key_info__init(out);
	out->key.data = malloc(key.n);
	if (!out->key.data)
		return false;
	out->key.len = key.n;
	memcpy(out->key.data, key.p, key.n);
	out->size = obj->size;
	obj_for_each_replica (rep, obj) {
		out->memory_replicas += rep->kind == KIND_MEM;
		out->nof_replicas += rep->kind == KIND_NOF;
	}
	out->has_lease = obj_is_leased(core, obj);
	out->has_pin = obj->is_hard_pinned || obj_is_soft_pinned(core, obj);
	return true;
}

static void visit(struct list_job *job, const struct core *core,
		  const struct object *obj)
{
	struct str key = obj_key(obj);
	Mc__KeyInfo info;

	if (!obj->is_complete || !str_has_prefix(key, job->prefix) ||
	    (job->after.n && compare(key, job->after) <= 0))
		return;
	job->has_more = job->has_more || job->count == job->limit;
	if (job->count == job->limit &&
	    compare(key, reply_str(&job->heap[0].key)) > 0)
		return;
	if (!describe(core, obj, &info)) {
		job->failed = true;
		return;
	}
	if (job->count < job->limit) {
		job->heap[job->count] = info;
		sift_up(job->heap, job->count++);
		return;
	}
	free(job->heap[0].key.data);
	job->heap[0] = info;
	sift_down(job->heap, job->count);
}

static void list_finish(struct service *svc, struct list_job *job)
{
	Mc__ListKeysRsp rsp = MC__LIST_KEYS_RSP__INIT;
	struct rpc_req *req = job->req;
	Mc__KeyInfo *heap = job->heap, **list;
	size_t count = job->count;

	list = arena_alloc(&req->arena, (count + 1) * sizeof(*list));
	qsort(heap, count, sizeof(*heap), compare_infos);
	for (size_t i = 0; list && i < count; i++)
		list[i] = &heap[i];
	rsp.keys = list;
	rsp.n_keys = count;
	rsp.more = job->has_more;
	if (!list || job->failed)
		service_refuse(req, MOONCAKE_INTERNAL_ERROR);
	else
		service_reply(svc, req, 0, &rsp.base);
	for (size_t i = 0; i < count; i++)
		free(heap[i].key.data);
	free(heap);
}

static bool list_step(struct service *svc, struct slice *slice)
{
	struct list_job *job = container_of(slice, struct list_job, slice);

	for (unsigned i = 0; i < LIST_SLICE; i++) {
		struct object *obj = scan_next(svc->core, &job->scan);

		if (!obj || job->failed) {
			scan_stop(&job->scan);
			list_finish(svc, job);
			return false;
		}
		visit(job, svc->core, obj);
	}
	return true;
}

void rpc_list_keys(struct service *svc, struct rpc_req *req)
{
	const Mc__ListKeysReq *msg = (const Mc__ListKeysReq *)req->body;
	struct list_job *job = arena_alloc(&req->arena, sizeof(*job));

	if (job) {
		job->limit = msg->limit ? MIN(msg->limit, (uint32_t)LIST_MAX)
					: LIST_DEFAULT;
		job->heap = malloc(job->limit * sizeof(*job->heap));
	}
	if (!job || !job->heap) {
		service_refuse(req, MOONCAKE_INTERNAL_ERROR);
		return;
	}
	job->req = req;
	job->prefix = str_of(msg->prefix);
	job->after = reply_str(&msg->after);
	job->slice.step = list_step;
	scan_start(svc->core, &job->scan);
	service_slice(svc, &job->slice);
}

void rpc_stats(struct service *svc, struct rpc_req *req)
{
	Mc__StatsRsp rsp = MC__STATS_RSP__INIT;
	struct core *core = svc->core;
	struct strbuf summary = {0};
	struct stats_usage usage;

	stats_usage(core, &usage);
	stats_summary(core, &svc->summary_stats,
		      (double)(core->now_ns - svc->summary_ns) / NS_PER_S,
		      &summary);
	rsp.version = (char *)(uintptr_t)mooncake_version;
	rsp.cluster_id = (char *)(uintptr_t)svc->opts.cluster_id;
	rsp.uptime_ms = (core->now_ns - svc->started_ns) / NS_PER_MS;
	rsp.keys = core->objects.count;
	rsp.clients = core->clients.count;
	rsp.mem_used = usage.used[KIND_MEM];
	rsp.mem_capacity = usage.capacity[KIND_MEM];
	rsp.nof_used = usage.used[KIND_NOF];
	rsp.nof_capacity = usage.capacity[KIND_NOF];
	rsp.quarantined = usage.quarantined;
	if (svc->keeper)
		rsp.journal = keeper_is_broken(svc->keeper)
				      ? MC__JOURNAL_STATE__JOURNAL_FAILED
				      : MC__JOURNAL_STATE__JOURNAL_KEPT;
	rsp.summary = summary.failed || !summary.p ? "" : summary.p;
	service_reply(svc, req, 0, &rsp.base);
	strbuf_fini(&summary);
}
