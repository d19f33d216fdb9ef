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
	ret = nvmf_qp_open(lane->worker->shard.loop, &opts, lane_state, lane,
			   &lane->qp);
	if (ret) {
		lane->qp = NULL;
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
	struct vol *vol;

	list_for_each (vol, &path->vols, path_node)
		if (vol_is_wanted(vol))
			return true;
	return false;
}

static void each_vol(struct path *path, void (*fn)(struct vol *vol))
{
	struct vol *vol, *tmp;

	list_for_each_safe (vol, tmp, &path->vols, path_node)
		fn(vol);
}

static void path_rest(struct path *path)
{
	struct vol_set *set = path->set;
	uint64_t ns = BACKOFF_MIN_NS << MIN(path->failures, 7u);

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
	ns = MIN(ns / 2, BACKOFF_MAX_NS);
	timer_set(set_loop(set), &path->timer,
		  ns / 2 + rng_below(&set->rng, ns / 2));
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
	char text[ENDPOINT_TEXT_LEN];

	path->err = (struct err){0};
	if (err)
		path->err = *err;
	if (!path->failures++ && !path->set->is_closing) {
		endpoint_format(&path->ep, text);
		log_warn("path lost", "path=\"%s\" reason=\"%s\"", text,
			 path->err.text);
	}
	path->failed_ns = loop_now_ns(set_loop(path->set));
	path->state = PATH_CLOSING;
	each_vol(path, vol_path_lost);
	path_close(path);
}

static void path_live(struct path *path)
{
	char text[ENDPOINT_TEXT_LEN];

	endpoint_format(&path->ep, text);
	log_debug("path live", "path=\"%s\" queues=%u", text, path->lane_count);
	path->state = PATH_LIVE;
	path->failures = 0;
	path->was_idle = false;
	timer_set(set_loop(path->set), &path->timer, RECHECK_NS);
	each_vol(path, vol_path_live);
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
	path->info = *nvmf_ctrl_info(ctrl);
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
	uint32_t ms = path->opts.connect_timeout_ms;

	path->gen++;
	path->state = PATH_RESOLVING;
	each_vol(path, vol_path_retry);
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
	bool is_wanted = path_is_wanted(path), has_unchecked = false;
	struct vol *vol;

	if (!is_wanted && path->was_idle) {
		each_vol(path, vol_path_idle);
		path_close(path);
		return;
	}
	path->was_idle = !is_wanted;
	list_for_each (vol, &path->vols, path_node) {
		if (!vol_needs_check(vol))
			continue;
		has_unchecked = true;
		vol_path_live(vol);
	}
	timer_set(set_loop(path->set), &path->timer,
		  has_unchecked ? RECHECK_NS : LOOK_NS);
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
}

void path_recheck(struct path *path)
{
	if (path->state == PATH_LIVE)
		timer_set(set_loop(path->set), &path->timer, RECHECK_NS);
}

void path_shut(struct path *path)
{
	switch (path->state) {
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

static bool is_same_path(const struct endpoint *a, const struct endpoint *b)
{
	return a->trsvcid == b->trsvcid && a->trtype == b->trtype &&
	       !strcmp(a->traddr, b->traddr) && !strcmp(a->subnqn, b->subnqn);
}

static struct path *path_create(struct vol_set *set, const struct endpoint *ep)
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
	path->opts.io_queues = (uint16_t)set->worker_count;
	if (set->opts.nvmf.io_queues)
		path->opts.io_queues =
			MIN(set->opts.nvmf.io_queues, path->opts.io_queues);
	memcpy(path->opts.subnqn, ep->subnqn, sizeof(path->opts.subnqn));
	path->timer.fire = path_timer;
	list_init(&path->vols);
	for (unsigned i = 0; i < set->worker_count; i++) {
		struct lane *lane = &path->lanes[i];

		lane->path = path;
		lane->worker = &set->workers[i];
		poke_init(&lane->cmd, lane->worker->shard.loop, lane_cmd);
		poke_init(&lane->answer, set_loop(set), lane_answer);
	}
	list_add_tail(&set->paths, &path->node);
	return path;
}

struct path *path_get(struct vol_set *set, const struct endpoint *ep)
{
	struct path *path;

	list_for_each (path, &set->paths, node)
		if (is_same_path(&path->ep, ep))
			return path;
	return path_create(set, ep);
}

void path_free(struct path *path)
{
	free(path);
}
