/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Path: one controller and a queue pair per worker, shared by the volumes of
 * a subsystem.  Everything here runs on the control thread, except what is
 * named lane_*, which runs on the lane's worker.
 *
 * Invariant: a connection (generation) fails as a whole.  When the controller
 * or one queue pair fails, the volumes are told first, then all queue pairs are
 * closed, then the controller; only then the next generation begins.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"
#include "pool/set.h"

#define BACKOFF_MIN_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS (5 * NS_PER_S)
#define GIVEN_UP_NS    (30 * NS_PER_S) /* after the loss timeout */
#define LOOK_NS	       (30 * NS_PER_S) /* is anybody still using it? */
#define CONNECT_MS     3000

static void path_step(struct path *path);

/* --- on the lane's worker --- */

static void lane_report(struct lane *lane, uint64_t gen, enum lane_report what)
{
	atomic_store(&lane->report, gen * 4 + what);
	poke_send(&lane->answer);
}

static void lane_state(struct nvmf_qp *qp, enum nvmf_state state,
		       const struct err *err, void *arg)
{
	struct lane *lane = arg;

	if (lane->is_closing)
		return;
	lane->is_live = state == NVMF_LIVE;
	if (!lane->is_live && err)
		lane->err = *err;
	lane_report(lane, lane->gen, lane->is_live ? LANE_LIVE : LANE_FAILED);
}

static void lane_open(struct lane *lane, uint64_t gen)
{
	struct path *path = lane->path;
	struct nvmf_qp_opts opts = {
		.qid = (uint16_t)(lane->worker->index + 1),
		.opts = &path->opts,
		.info = path->info,
		.ctrl = path->ctrl,
	};
	int ret;

	lane->gen = gen;
	lane->is_live = false;
	lane->err = (struct err){0};
	lane->trash = malloc(BLOCK_MAX);
	ret = lane->trash ? nvmf_qp_open(lane->worker->shard.loop, &opts,
					 lane_state, lane, &lane->qp)
			  : -ENOMEM;
	if (ret) {
		lane->qp = NULL;
		free(TAKE(lane->trash));
		err_set(&lane->err, ret, "no memory for a queue pair");
		lane_report(lane, gen, LANE_FAILED);
	}
}

static void lane_closed(void *arg);

static void lane_step(struct lane *lane)
{
	uint64_t want = atomic_load(&lane->want), gen = want >> 1;
	bool is_open = want & 1;

	if (lane->is_closing)
		return;
	if (lane->qp && (!is_open || lane->gen != gen)) {
		lane->is_closing = true;
		lane->is_live = false;
		nvmf_qp_close(lane->qp, lane_closed, lane);
	} else if (!lane->qp && !is_open) {
		atomic_store(&lane->closed_gen, gen);
		poke_send(&lane->answer);
	} else if (!lane->qp && lane->gen != gen) {
		lane_open(lane, gen);
	}
}

static void lane_closed(void *arg)
{
	struct lane *lane = arg;

	lane->qp = NULL;
	free(TAKE(lane->trash));
	lane->is_closing = false;
	lane_step(lane);
}

static void lane_cmd(struct poke *poke)
{
	lane_step(container_of(poke, struct lane, cmd));
}

/* --- on the control thread --- */

static void lane_answer(struct poke *poke)
{
	path_step(container_of(poke, struct lane, answer)->path);
}

static void lane_want(struct lane *lane, uint64_t gen, bool is_open)
{
	if (is_open)
		lane->opened_gen = gen;
	atomic_store(&lane->want, gen << 1 | is_open);
	poke_send(&lane->cmd);
}

/* Nothing of it is touched by its worker any more. */
static bool lane_is_quiet(const struct lane *lane)
{
	return atomic_load(&lane->closed_gen) >= lane->opened_gen;
}

static bool path_is_wanted(const struct path *path)
{
	struct vol_way *way;

	list_for_each (way, &path->ways, node)
		if (vol_is_wanted(way->vol))
			return true;
	return false;
}

static void each_way(struct path *path, void (*fn)(struct vol_way *way))
{
	struct vol_way *way;

	list_for_each (way, &path->ways, node)
		fn(way);
}

bool path_is_given_up(const struct path *path)
{
	uint64_t now_ns = loop_now_ns(set_loop(path->set));

	return path->failures &&
	       now_ns - path->lost_ns >=
		       path->set->opts.loss_timeout_s * NS_PER_S;
}

/* What is left of the last failure's pause is random, so that hosts which lost
 * a target at the same moment don't return to it at the same moment. */
static uint64_t pause_ns(struct path *path)
{
	uint64_t ns = BACKOFF_MIN_NS << MIN(path->failures - 1, 6u);

	ns = path_is_given_up(path) ? GIVEN_UP_NS : MIN(ns, BACKOFF_MAX_NS);
	return ns / 2 + rng_below(&path->set->rng, ns / 2);
}

static void path_rest(struct path *path)
{
	struct vol_set *set = path->set;

	if (set->is_closing) {
		path->state = PATH_GONE;
		set_maybe_closed(set);
		return;
	}
	if (!path->failures) { /* closed because nobody used it */
		path->state = PATH_IDLE;
		if (path_is_wanted(path)) /* again, by now */
			path_want(path);
		return;
	}
	path->state = PATH_BACKOFF;
	timer_set(set_loop(set), &path->timer, pause_ns(path));
}

static void path_ctrl_closed(void *arg)
{
	struct path *path = arg;

	path->ctrl = NULL;
	path->is_ctrl_closing = false;
	path_rest(path);
}

/* CLOSING: queue pairs first, then the controller. */
static void path_close_step(struct path *path)
{
	for (unsigned i = 0; i < path->set->worker_count; i++)
		if (!lane_is_quiet(&path->lanes[i]))
			return;
	if (path->is_ctrl_closing)
		return;
	if (!path->ctrl) {
		path_rest(path);
		return;
	}
	path->is_ctrl_closing = true;
	nvmf_ctrl_close(path->ctrl, path_ctrl_closed, path);
}

static void path_close(struct path *path)
{
	path->state = PATH_CLOSING;
	timer_cancel(set_loop(path->set), &path->timer);
	for (unsigned i = 0; i < path->set->worker_count; i++)
		if (!lane_is_quiet(&path->lanes[i]))
			lane_want(&path->lanes[i], path->gen, false);
	path_close_step(path);
}

static void path_fail(struct path *path, const struct err *err)
{
	bool was_given_up = path_is_given_up(path);

	path->err = (struct err){0};
	if (err)
		path->err = *err;
	path->failed_ns = loop_now_ns(set_loop(path->set));
	if (path->state == PATH_LIVE)
		degraded_lost(path, path->failed_ns);
	if (!path->failures++) {
		path->lost_ns = path->failed_ns;
		if (!path->set->is_closing)
			log_warn("path lost", "path=\"%s\" reason=\"%s\"",
				 path->name, path->err.text);
	} else if (!was_given_up && path_is_given_up(path)) {
		log_warn("path given up",
			 "path=\"%s\" reason=\"%s\" it is tried again every "
			 "%u s",
			 path->name, path->err.text,
			 (unsigned)(GIVEN_UP_NS / NS_PER_S));
	}
	path->state = PATH_CLOSING;
	each_way(path, way_lost);
	path_close(path);
}

static void path_live(struct path *path)
{
	if (path->failures)
		log_info("path is back", "path=\"%s\" queues=%u", path->name,
			 path->lane_count);
	path->state = PATH_LIVE;
	path->failures = 0;
	path->was_idle = false;
	timer_set(set_loop(path->set), &path->timer, RECHECK_NS);
	each_way(path, way_live);
}

static void path_step(struct path *path)
{
	uint64_t report, live = 0;

	if (path->state == PATH_CLOSING) {
		path_close_step(path);
		return;
	}
	if (path->state != PATH_LANES && path->state != PATH_LIVE)
		return;
	for (unsigned i = 0; i < path->lane_count; i++) {
		report = atomic_load(&path->lanes[i].report);
		if (report == path->gen * 4 + LANE_FAILED) {
			path_fail(path, &path->lanes[i].err);
			return;
		}
		live += report == path->gen * 4 + LANE_LIVE;
	}
	if (path->state == PATH_LANES && live == path->lane_count)
		path_live(path);
}

/* Queue pairs are opened by what the controller says now; people get to know
 * what changed since the last time. */
static void note_limits(struct path *path, const struct nvmf_ctrl_info *info)
{
	struct err what = {0};

	if (path->has_info && nvmf_ctrl_info_differs(&path->info, info, &what))
		log_info("the controller has changed",
			 "path=\"%s\" what=\"%s\"", path->name, what.text);
	path->info = *info;
	path->has_info = true;
}

static void path_ctrl_state(struct nvmf_ctrl *ctrl, enum nvmf_state state,
			    const struct err *err, void *arg)
{
	struct path *path = arg;

	if (path->state == PATH_CLOSING)
		return;
	if (state != NVMF_LIVE) {
		path_fail(path, err);
		return;
	}
	note_limits(path, nvmf_ctrl_info(ctrl));
	path->lane_count =
		MIN(path->set->worker_count, (unsigned)path->info.io_queues);
	if (!path->lane_count) {
		path_fail(path,
			  &(struct err){-ENOSPC, "the controller grants no I/O "
						 "queue"});
		return;
	}
	path->state = PATH_LANES;
	for (unsigned i = 0; i < path->lane_count; i++)
		lane_want(&path->lanes[i], path->gen, true);
}

static void path_resolved(int ret, const struct addr *addr,
			  const struct err *err, void *arg)
{
	struct path *path = arg;

	path->resolve = NULL;
	if (ret || path->set->is_closing) {
		path_fail(path, err);
		return;
	}
	path->opts.addr = *addr;
	path->state = PATH_CONNECTING;
	ret = nvmf_ctrl_open(set_loop(path->set), &path->opts, path_ctrl_state,
			     path, &path->ctrl);
	if (ret) {
		path->ctrl = NULL;
		path_fail(path, &(struct err){ret, "no memory to connect"});
	}
}

static void path_start(struct path *path)
{
	const struct nvmf_opts *now = &path->set->opts.nvmf;
	uint32_t ms = path->opts.connect_timeout_ms;

	if (path->err.code == -EACCES)
		set_keys_again(path->set);
	path->opts.dhchap_key = now->dhchap_key;
	path->opts.dhchap_ctrl_key = now->dhchap_ctrl_key;
	path->opts.tls_key = now->tls_key;
	path->gen++;
	path->state = PATH_RESOLVING;
	each_way(path, way_retry);
	path->resolve = resolve_start(
		set_loop(path->set), &(struct resolve_req){
					     .host = path->ep.traddr,
					     .port = path->ep.trsvcid,
					     .timeout_ms = ms ? ms : CONNECT_MS,
					     .done = path_resolved,
					     .arg = path,
				     });
	if (!path->resolve)
		path_fail(path, &(struct err){-ENOMEM, "no memory to resolve"});
}

void path_want(struct path *path)
{
	if (path->state == PATH_IDLE && !path->set->is_closing)
		path_start(path);
}

/* LIVE: volumes that failed their check are checked again; a path that nobody
 * has used between two looks is closed. */
static void path_look(struct path *path)
{
	bool is_wanted = path_is_wanted(path), is_unsettled = false;
	struct vol_way *way;

	if (!is_wanted && path->was_idle) {
		each_way(path, way_idle);
		path_close(path);
		return;
	}
	path->was_idle = !is_wanted;
	degraded_look(path, loop_now_ns(set_loop(path->set)));
	list_for_each (way, &path->ways, node)
		is_unsettled |= !way_look(way);
	timer_set(set_loop(path->set), &path->timer,
		  is_unsettled ? RECHECK_NS : LOOK_NS);
}

/* --- what the target says by itself --- */

static void ana_done(int ret, const struct nvmf_ana_group *groups, size_t count,
		     void *arg)
{
	struct path *path = arg;
	struct vol_way *way;

	path->is_ana_reading = false;
	if (path->state != PATH_LIVE)
		return;
	if (ret) {
		log_warn("ana log", "path=\"%s\" reason=\"%s\"", path->name,
			 strerror(-ret));
		groups = NULL;
		count = 0;
	}
	list_for_each (way, &path->ways, node)
		way_ana(way, groups, count);
	path_recheck(path); /* a transition ends, with or without an event */
	if (path->ana_again)
		path_ana_read(path);
}

void path_ana_read(struct path *path)
{
	if (path->state != PATH_LIVE || !path->info.has_ana)
		return;
	path->ana_again = path->is_ana_reading;
	if (path->is_ana_reading)
		return;
	path->is_ana_reading = true; /* without memory, done comes at once */
	if (nvmf_ana_get(path->ctrl, ana_done, path))
		path->is_ana_reading = false;
}

static void path_ana_poked(struct poke *poke)
{
	path_ana_read(container_of(poke, struct path, ana_poke));
}

static bool event_names(const struct nvmf_event *ev, uint32_t nsid)
{
	for (size_t i = 0; i < ev->nsid_count; i++)
		if (ev->nsids[i] == nsid)
			return true;
	return !ev->nsid_count; /* it does not say which */
}

static void path_event(struct nvmf_ctrl *ctrl, const struct nvmf_event *ev,
		       void *arg)
{
	struct path *path = arg;
	struct vol_way *way;

	if (path->state != PATH_LIVE)
		return;
	if (ev->kind == NVMF_EVENT_ANA_CHANGED)
		path_ana_read(path);
	if (ev->kind != NVMF_EVENT_NS_CHANGED)
		return;
	list_for_each (way, &path->ways, node)
		if (event_names(ev, way->nsid))
			way_live(way);
}

static void path_timer(struct timer *timer)
{
	struct path *path = container_of(timer, struct path, timer);

	if (path->state == PATH_LIVE) {
		path_look(path);
		return;
	}
	ASSERT(path->state == PATH_BACKOFF);
	path->state = PATH_IDLE;
	if (path_is_wanted(path))
		path_want(path);
	else
		each_way(path, way_rest);
}

void path_recheck(struct path *path)
{
	if (path->state == PATH_LIVE)
		timer_set(set_loop(path->set), &path->timer, RECHECK_NS);
}

void path_shut(struct path *path)
{
	switch (atomic_load(&path->state)) {
	case PATH_IDLE:
	case PATH_BACKOFF:
		timer_cancel(set_loop(path->set), &path->timer);
		path->state = PATH_GONE;
		break;
	case PATH_RESOLVING:
		if (resolve_cancel(path->resolve)) {
			path->resolve = NULL;
			path->state = PATH_GONE;
		} /* else path_resolved() comes and ends it */
		break;
	case PATH_CONNECTING:
	case PATH_LANES:
	case PATH_LIVE:
		path_close(path);
		break;
	case PATH_CLOSING:
	case PATH_GONE:
		break;
	}
}

bool path_is_same(const struct endpoint *a, const struct endpoint *b)
{
	return a->trsvcid == b->trsvcid && a->trtype == b->trtype &&
	       !strcmp(a->traddr, b->traddr) && !strcmp(a->subnqn, b->subnqn);
}

static struct path *path_create(struct vol_set *set, const struct endpoint *ep,
				uint64_t key)
{
	struct path *path;

	path = calloc(1, sizeof(*path) +
				 set->worker_count * sizeof(path->lanes[0]));
	if (!path)
		return NULL;
	path->set = set;
	path->ep = *ep;
	path->ep.nsid = 0;
	path->opts = set->opts.nvmf;
	path->key = key;
	if (key)
		host_id_of_key(key, path->opts.host.id);
	path->opts.io_queues = (uint16_t)set->worker_count;
	if (set->opts.nvmf.io_queues)
		path->opts.io_queues =
			MIN(set->opts.nvmf.io_queues, path->opts.io_queues);
	memcpy(path->opts.subnqn, ep->subnqn, sizeof(path->opts.subnqn));
	path->timer.fire = path_timer;
	list_init(&path->ways);
	endpoint_format(&path->ep, path->name);
	poke_init(&path->ana_poke, set_loop(set), path_ana_poked);
	path->opts.on_event = path_event;
	for (unsigned i = 0; i < set->worker_count; i++) {
		struct lane *lane = &path->lanes[i];

		lane->path = path;
		lane->worker = &set->workers[i];
		list_init(&lane->load.held);
		poke_init(&lane->cmd, lane->worker->shard.loop, lane_cmd);
		poke_init(&lane->answer, set_loop(set), lane_answer);
	}
	list_add_tail(&set->paths, &path->node);
	return path;
}

struct path *path_get(struct vol_set *set, const struct endpoint *ep,
		      uint64_t key)
{
	struct path *path;

	list_for_each (path, &set->paths, node)
		if (path->key == key && path_is_same(&path->ep, ep))
			return path;
	return path_create(set, ep, key);
}

void path_free(struct path *path)
{
	secret_clear(&path->opts, sizeof(path->opts));
	free(path);
}
