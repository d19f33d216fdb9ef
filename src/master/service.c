/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata shard's frame: dispatch, timers, slices.  Everything here runs
 * on service.loop except service_handle().  Invariant: no timer is set while
 * there is nothing to wait for, so an idle master sleeps.
 */
#include "master/service.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "master/client.h"
#include "master/doubt.h"
#include "master/evict.h"
#include "master/mount_nof.h"
#include "master/put.h"
#include "master/release.h"
#include "master/segment.h"
#include "master/watch.h"

#define EVICT_TICK_NS (10 * NS_PER_MS)
#define EVICT_SLICE   512
#define REAP_SLICE    1024
#define SUMMARY_NS    (10 * NS_PER_S)
/* What is left of a frame is for the segments. */
#define ANSWER_BYTES (FRAME_BODY_MAX - (4u << 20))

/* --- requests --- */

static const service_method_fn methods[] = {
	[METHOD_HELLO] = rpc_hello,
	[METHOD_PING] = rpc_ping,
	[METHOD_MOUNT] = rpc_mount,
	[METHOD_UNMOUNT] = rpc_unmount,
	[METHOD_LIST_SEGMENTS] = rpc_list_segments,
	[METHOD_PUT_START] = rpc_put_start,
	[METHOD_PUT_END] = rpc_put_end,
	[METHOD_PUT_REVOKE] = rpc_put_revoke,
	[METHOD_GET] = rpc_get,
	[METHOD_EXIST] = rpc_exist,
	[METHOD_REMOVE] = rpc_remove,
	[METHOD_REMOVE_BY_REGEX] = rpc_remove_by_regex,
	[METHOD_REMOVE_ALL] = rpc_remove_all,
	[METHOD_REPORT] = rpc_report,
	[METHOD_LIST_KEYS] = rpc_list_keys,
	[METHOD_STATS] = rpc_stats,
	[METHOD_DRAIN] = rpc_drain,
	[METHOD_SNAPSHOT] = keeper_rpc_snapshot,
	[METHOD_TASKS] = rpc_tasks,
};

/* In the request's arena; gone with the answer. */
struct call {
	struct mbox_msg msg;
	struct service *svc;
	struct rpc_req *req;
};

void service_refuse(struct rpc_req *req, enum mooncake_status st)
{
	rpc_reply(req, st, NULL);
}

void service_reply(struct service *svc, struct rpc_req *req, int32_t status,
		   const ProtobufCMessage *rsp)
{
	if (svc->keeper)
		keeper_reply(svc->keeper, req, status, rsp);
	else
		rpc_reply(req, status, rsp);
}

static void call_run(struct mbox_msg *msg)
{
	struct call *call = container_of(msg, struct call, msg);

	if (call->svc->is_stopping) {
		service_refuse(call->req,
			       MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS);
		return;
	}
	if (call->svc->keeper && keeper_refuses(call->svc->keeper, call->req)) {
		service_refuse(call->req, MOONCAKE_PERSISTENT_FAIL);
		return;
	}
	service_enter(call->svc);
	methods[call->req->method](call->svc, call->req);
}

void service_handle(struct rpc_req *req, void *arg)
{
	struct service *svc = arg;
	struct call *call;

	if (req->method >= ARRAY_SIZE(methods) || !methods[req->method]) {
		service_refuse(req, MOONCAKE_NOT_SUPPORTED);
		return;
	}
	call = arena_alloc(&req->arena, sizeof(*call));
	if (!call) {
		service_refuse(req, MOONCAKE_INTERNAL_ERROR);
		return;
	}
	call->svc = svc;
	call->req = req;
	call->msg.run = call_run;
	loop_post(svc->loop, &call->msg);
}

struct core *service_enter(struct service *svc)
{
	ASSERT(loop_is_owner(svc->loop));
	core_enter(svc->core, loop_now_ns(svc->loop));
	return svc->core;
}

/* --- slices --- */

static void slice_run(struct loop_task *task)
{
	struct service *svc = container_of(task, struct service, slice_task);
	struct list round;

	list_init(&round);
	list_splice_tail(&round, &svc->slices);
	service_enter(svc);
	while (!list_is_empty(&round)) {
		struct slice *slice = list_first(&round, struct slice, node);

		list_del(&slice->node);
		if (slice->step(svc, slice))
			list_add_tail(&svc->slices, &slice->node);
	}
	if (!list_is_empty(&svc->slices))
		loop_defer(svc->loop, &svc->slice_task);
}

void service_slice(struct service *svc, struct slice *slice)
{
	list_add_tail(&svc->slices, &slice->node);
	loop_defer(svc->loop, &svc->slice_task);
}

static void reap_run(struct loop_task *task)
{
	struct service *svc = container_of(task, struct service, reap_task);

	if (segments_reap(service_enter(svc), REAP_SLICE))
		loop_defer(svc->loop, &svc->reap_task);
}

void service_reap(struct service *svc)
{
	loop_defer(svc->loop, &svc->reap_task);
}

/* Before a segment's memory goes. */
static void segment_gone(struct segment *seg, void *arg)
{
	struct release *release = release_segment(arg, seg);

	doubts_stop(seg);
	if (!watch_stop(seg, release))
		release_begin(release, NULL);
	rpc_unmount_gone(seg, arg);
}

/* --- timers --- */

static void park_fire(struct timer *timer)
{
	struct service *svc = container_of(timer, struct service, park_timer);

	service_enter(svc);
	rpc_put_run_parked(svc);
}

static void evict_fire(struct timer *timer)
{
	struct service *svc = container_of(timer, struct service, evict_timer);
	struct core *core = service_enter(svc);
	uint64_t next = 0;

	/* What is evicted now could not be told to the journal. */
	if (svc->keeper && keeper_is_broken(svc->keeper))
		return;
	for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
		uint64_t at = evict_background(core, kind, EVICT_SLICE);

		if (at && (!next || at < next))
			next = at;
	}
	if (next && !timer_is_set(timer))
		timer_set_at(svc->loop, timer,
			     MAX(next, core->now_ns + EVICT_TICK_NS));
}

static void abandon_fire(struct timer *timer)
{
	struct service *svc =
		container_of(timer, struct service, abandon_timer);
	struct core *core = service_enter(svc);
	uint64_t next;

	/* What is dropped now could not be told to the journal. */
	if (svc->keeper && keeper_is_broken(svc->keeper))
		next = core->now_ns + NS_PER_S;
	else
		next = put_expire(core);
	if (next)
		timer_set_at(svc->loop, timer, next);
}

void service_space_taken(struct service *svc)
{
	if (svc->is_stopping)
		return;
	/* Too early when that put has ended by then: it fires once more. */
	if (!timer_is_set(&svc->abandon_timer))
		timer_set(svc->loop, &svc->abandon_timer,
			  svc->core->opts.release_ns);
	if (timer_is_set(&svc->evict_timer))
		return;
	if (evict_is_due(svc->core, KIND_MEM) ||
	    evict_is_due(svc->core, KIND_NOF))
		timer_set(svc->loop, &svc->evict_timer, EVICT_TICK_NS);
}

static void client_fire(struct timer *timer)
{
	struct service *svc = container_of(timer, struct service, client_timer);
	struct core *core = service_enter(svc);
	uint64_t next = clients_expire(core);

	if (!list_is_empty(&core->dying))
		service_reap(svc);
	if (next)
		timer_set_at(svc->loop, timer, next);
}

void service_client_seen(struct service *svc)
{
	if (!timer_is_set(&svc->client_timer))
		timer_set(svc->loop, &svc->client_timer,
			  svc->core->opts.client_ttl_ns);
}

static void summary_fire(struct timer *timer)
{
	struct service *svc =
		container_of(timer, struct service, summary_timer);
	struct core *core = service_enter(svc);
	double seconds = (double)(core->now_ns - svc->summary_ns) / NS_PER_S;
	struct strbuf text = {0};

	stats_summary(core, &svc->summary_stats, seconds, &text);
	if (!text.failed)
		log_info("Master Admin Metrics:",
			 "role=leader, state=serving, service_ready=true, "
			 "master={%s}, ha={}",
			 text.p);
	strbuf_fini(&text);
	svc->summary_stats = core->stats;
	svc->summary_ns = core->now_ns;
	timer_set(svc->loop, timer, SUMMARY_NS);
}

/* --- birth and death --- */

int service_open(struct loop *loop, const struct service_opts *opts,
		 struct vol_set *vols, struct service **out, struct err *err)
{
	struct service *svc = calloc(1, sizeof(*svc));

	if (!svc || core_create(&opts->core, &svc->core) < 0) {
		free(svc);
		return err_set(err, -ENOMEM, "out of memory");
	}
	svc->opts = *opts;
	svc->loop = loop;
	svc->vols = vols;
	svc->instance = opts->core.generation;
	svc->answer_bytes = ANSWER_BYTES;
	svc->started_ns = time_mono_ns();
	core_enter(svc->core, svc->started_ns);
	svc->core->on_gone = segment_gone;
	svc->core->on_gone_arg = svc;
	list_init(&svc->parked);
	list_init(&svc->slices);
	list_init(&svc->mounts);
	list_init(&svc->releases);
	svc->park_timer.fire = park_fire;
	svc->evict_timer.fire = evict_fire;
	svc->client_timer.fire = client_fire;
	svc->abandon_timer.fire = abandon_fire;
	svc->summary_timer.fire = summary_fire;
	svc->slice_task.run = slice_run;
	svc->reap_task.run = reap_run;
	svc->summary_ns = svc->started_ns;
	svc->summary_stats = svc->core->stats;
	if (opts->journal) {
		int ret = keeper_open(svc, opts->journal, &svc->keeper, err);

		svc->opts.journal = NULL; /* lives as long as this call */
		if (ret < 0) {
			core_destroy(svc->core);
			free(svc);
			return ret;
		}
	}
	if (opts->has_summary)
		timer_set(loop, &svc->summary_timer, SUMMARY_NS);
	*out = svc;
	return 0;
}

void service_try_stopped(struct service *svc)
{
	void (*stopped)(void *arg) = svc->stopped;

	if (!svc->is_stopping || svc->vol_ops > 0 || !stopped ||
	    !list_is_empty(&svc->slices) || !list_is_empty(&svc->core->dying) ||
	    (svc->keeper && !keeper_is_idle(svc->keeper)))
		return;
	svc->stopped = NULL;
	stopped(svc->stopped_arg);
}

void service_vol_op_done(struct service *svc)
{
	ASSERT(svc->vol_ops > 0);
	svc->vol_ops--;
	service_try_stopped(svc);
}

/* Slices, the dying and the connections that are probed end by themselves. */
static bool stop_step(struct service *svc, struct slice *slice)
{
	if (!list_is_empty(&svc->slices) || !list_is_empty(&svc->core->dying))
		return true;
	free(slice);
	service_try_stopped(svc);
	return false;
}

void service_stop(struct service *svc, void (*done)(void *arg), void *arg)
{
	struct slice *slice = calloc(1, sizeof(*slice));
	struct segment *seg;

	ASSERT(!svc->is_stopping);
	svc->is_stopping = true;
	svc->stopped = done;
	svc->stopped_arg = arg;
	timer_cancel(svc->loop, &svc->evict_timer);
	timer_cancel(svc->loop, &svc->client_timer);
	timer_cancel(svc->loop, &svc->abandon_timer);
	timer_cancel(svc->loop, &svc->summary_timer);
	service_enter(svc);
	rpc_put_run_parked(svc);
	nof_mounts_abort(svc);
	releases_stop(svc);
	list_for_each (seg, &svc->core->segments, node) {
		watch_stop(seg, NULL);
		doubts_stop(seg);
	}
	if (svc->keeper)
		keeper_stop(svc->keeper);
	if (!slice) {
		log_err("out of memory while stopping", "state=%s", "stopping");
		service_try_stopped(svc);
		return;
	}
	slice->step = stop_step;
	service_slice(svc, slice);
}

void service_destroy(struct service *svc)
{
	if (!svc)
		return;
	ASSERT(svc->is_stopping && list_is_empty(&svc->parked));
	keeper_close(svc->keeper);
	/* What is mounted stays reserved: the next life goes on with it. */
	svc->core->on_gone = NULL;
	core_destroy(svc->core);
	free(svc);
}
