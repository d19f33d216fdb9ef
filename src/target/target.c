/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target as a whole: limits, totals, and the end.  Control loop, or before
 * it runs.  Invariant: the target goes when its listeners are closed, its
 * connections have gone and no removal is under way.
 */
#include "target/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "target/conn.h"
#include "target/keys.h"
#include "target/tls.h"

#define MIN_TRANSFER	8192u /* MDTS 0, 4 KiB, would mean "no limit" */
#define MIN_H2CDATA	4096u
#define MAX_TRANSFER	(32u << 20)
#define MAX_IN_CAPSULE	(128u << 10)
#define MIN_BUFFER_CMDS 4     /* commands of the largest size per shard */
#define NOTICE_MS	1000u /* for hosts to see that they should move */

static uint32_t floor_pow2(uint32_t x)
{
	return 1u << (31 - __builtin_clz(x));
}

static int opts_default(struct tgt_opts *o, struct err *err)
{
	o->max_transfer = o->max_transfer ? o->max_transfer : 1u << 20;
	o->in_capsule = o->in_capsule ? o->in_capsule : MAX_IN_CAPSULE;
	o->max_h2cdata = o->max_h2cdata ? o->max_h2cdata : 1u << 20;
	o->max_queues = o->max_queues ? o->max_queues : 64;
	o->queue_depth = o->queue_depth ? o->queue_depth : 128;
	o->max_connections = o->max_connections ? o->max_connections : 4096;
	o->buffer_bytes = o->buffer_bytes ? o->buffer_bytes : 64 * MiB;
	if (o->max_transfer < MIN_TRANSFER || o->max_transfer > MAX_TRANSFER)
		return err_set(err, -EINVAL,
			       "largest transfer of %u bytes: %u to %u work",
			       o->max_transfer, MIN_TRANSFER, MAX_TRANSFER);
	if (o->in_capsule > MAX_IN_CAPSULE || o->in_capsule % 16)
		return err_set(err, -EINVAL,
			       "in-capsule data of %u bytes: multiples of 16 up"
			       " to %u work",
			       o->in_capsule, MAX_IN_CAPSULE);
	if (o->max_h2cdata < MIN_H2CDATA || o->max_h2cdata % 4)
		return err_set(err, -EINVAL,
			       "MAXH2CDATA of %u bytes: multiples of 4 from"
			       " 4096 work",
			       o->max_h2cdata);
	if (o->queue_depth < 2 || o->queue_depth > 4096)
		return err_set(err, -EINVAL,
			       "queue depth of %u: 2 to 4096 work",
			       o->queue_depth);
	o->max_transfer = floor_pow2(o->max_transfer);
	return 0;
}

static bool listeners_open(const struct tgt *tgt)
{
	for (unsigned i = 0; i < TGT_LISTENER_MAX; i++) {
		if (tgt->listeners[i])
			return true;
	}
	return false;
}

static void tgt_free(struct tgt *tgt)
{
	for (unsigned i = 0; i < TGT_SUBSYS_MAX; i++)
		subsys_free(tgt->subsys[i]);
	fault_set_fini(&tgt->faults);
	for (unsigned i = 0; tgt->shards && i < tgt->shard_count; i++)
		bufs_fini(&tgt->shards[i].bufs);
	keyring_destroy(tgt->keyring);
	tgt_tls_destroy(tgt->tls);
	free(tgt->shards);
	free(tgt);
}

/* Data buffers as the options say; what there was before is given back. */
static int bufs_renew(struct tgt *tgt, const struct tgt_opts *o,
		      struct err *err)
{
	uint64_t least = (uint64_t)o->max_transfer * MIN_BUFFER_CMDS;
	uint64_t bytes = MAX(o->buffer_bytes / tgt->shard_count, least);
	struct bufs *fresh = calloc(tgt->shard_count, sizeof(*fresh));
	int ret = fresh ? 0 : -ENOMEM;

	for (unsigned i = 0; !ret && i < tgt->shard_count; i++)
		ret = bufs_init(&fresh[i], bytes);
	for (unsigned i = 0; fresh && i < tgt->shard_count; i++) {
		struct bufs *bufs = &tgt->shards[i].bufs, old = *bufs;

		if (!ret) {
			*bufs = fresh[i];
			fresh[i] = old;
		}
		list_init(&bufs->waiters);
		list_init(&fresh[i].waiters);
		bufs_fini(&fresh[i]);
	}
	free(fresh);
	return !ret ? 0
		    : err_set(err, ret, "can't map %llu bytes of data buffers",
			      (unsigned long long)bytes);
}

static int shards_init(struct tgt *tgt, struct err *err)
{
	tgt->shard_count = MAX(tgt->opts.shard_count, 1u);
	tgt->shards = calloc(tgt->shard_count, sizeof(*tgt->shards));
	if (!tgt->shards)
		return err_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < tgt->shard_count; i++) {
		struct tgt_shard *shard = &tgt->shards[i];

		shard->tgt = tgt;
		shard->index = i;
		list_init(&shard->conns);
		shard->loop = tgt->opts.shard_count ? tgt->opts.shards[i]
						    : tgt->opts.loop;
	}
	return bufs_renew(tgt, &tgt->opts, err);
}

int tgt_create(const struct tgt_opts *opts, struct tgt **out, struct err *err)
{
	struct tgt_subsys_opts disc = {.nqn = NVME_DISC_NQN};
	struct tgt *tgt = calloc(1, sizeof(*tgt));
	int ret;

	*out = NULL;
	if (!tgt)
		return err_set(err, -ENOMEM, "out of memory");
	ASSERT(opts->loop);
	tgt->opts = *opts;
	list_init(&tgt->conns);
	tgt->start_ns = time_mono_ns();
	fault_set_init(&tgt->faults);
	ret = opts_default(&tgt->opts, err);
	if (!ret)
		ret = shards_init(tgt, err);
	if (ret)
		goto fail;
	tgt->opts.shards = NULL; /* the caller's array */
	tgt->tls = tgt_tls_create();
	if (!tgt->tls || !subsys_new(tgt, 0, &disc)) {
		ret = err_set(err, -ENOMEM, "out of memory");
		goto fail;
	}
	tgt->subsys[0]->is_discovery = true;
	*out = tgt;
	return 0;
fail:
	tgt_free(tgt);
	return ret;
}

const struct tgt_opts *tgt_opts_get(const struct tgt *tgt)
{
	return &tgt->opts;
}

int tgt_opts_set(struct tgt *tgt, const struct tgt_opts *opts, struct err *err)
{
	struct tgt_opts o = *opts;
	int ret = opts_default(&o, err);

	if (ret)
		return ret;
	if (tgt->conn_count || listeners_open(tgt))
		return err_set(err, -EBUSY,
			       "the limits can be set before there is a"
			       " listener only");
	ret = bufs_renew(tgt, &o, err);
	if (ret)
		return ret;
	o.loop = tgt->opts.loop;
	o.shards = NULL;
	o.shard_count = tgt->opts.shard_count;
	tgt->opts = o;
	return 0;
}

void tgt_counters_sum(const struct tgt *tgt, struct tgt_counters *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < tgt->shard_count; i++)
		counters_add(out, &tgt->shards[i].counters);
}

/* --- the end --- */

static void stop_finish(struct loop_task *task)
{
	struct tgt *tgt = container_of(task, struct tgt, stop_task);
	tgt_done_fn done = tgt->stop_done;
	void *arg = tgt->stop_arg;

	ASSERT(!tgt->ctrl_count && list_is_empty(&tgt->conns));
	tgt_free(tgt);
	if (done)
		done(arg);
}

static void drain_finish(struct tgt *tgt)
{
	tgt_done_fn done = TAKE(tgt->drain_done);

	timer_cancel(tgt->opts.loop, &tgt->drain_timer);
	if (done)
		done(tgt->drain_arg);
}

void tgt_stop_check(struct tgt *tgt)
{
	if (tgt->conn_count || listeners_open(tgt))
		return;
	if (tgt->is_stopping) {
		tgt->stop_task.run = stop_finish;
		if (!tgt->pending)
			loop_defer(tgt->opts.loop, &tgt->stop_task);
	} else if (tgt->is_draining) {
		/* Soon, not inside of tgt_drain() or of what ended last. */
		timer_set(tgt->opts.loop, &tgt->drain_timer, 0);
	}
}

static void shut_listeners(struct tgt *tgt)
{
	for (unsigned i = 0; i < TGT_LISTENER_MAX; i++) {
		if (tgt->listeners[i])
			listener_shut(tgt->listeners[i]);
	}
}

/* The hosts know: now the connections end, the idle ones at once. */
static void drain_close(struct timer *timer)
{
	struct tgt *tgt = container_of(timer, struct tgt, drain_timer);
	uint64_t now = loop_now_ns(tgt->opts.loop);
	struct tgt_conn *conn;
	uint32_t ms;

	if (now >= tgt->drain_end_ns ||
	    (!tgt->conn_count && !listeners_open(tgt))) {
		drain_finish(tgt);
		return;
	}
	ms = (uint32_t)((tgt->drain_end_ns - now) / NS_PER_MS);
	list_for_each (conn, &tgt->conns, node)
		conn_kill_within(conn, ms);
	timer_set_at(tgt->opts.loop, timer, tgt->drain_end_ns);
}

void tgt_drain(struct tgt *tgt, uint32_t ms, tgt_done_fn done, void *arg)
{
	struct loop *loop = tgt->opts.loop;
	struct tgt_subsys *ss = NULL;
	struct tgt_ctrl *ctrl;

	ASSERT(!tgt->is_draining && !tgt->is_stopping);
	tgt->is_draining = true;
	tgt->drain_done = done;
	tgt->drain_arg = arg;
	tgt->drain_end_ns = loop_now_ns(loop) + ms * NS_PER_MS;
	tgt->drain_timer.fire = drain_close;
	timer_set(loop, &tgt->drain_timer, MIN(ms / 2, NOTICE_MS) * NS_PER_MS);
	shut_listeners(tgt);
	while ((ss = tgt_subsys_next(tgt, ss))) {
		subsys_ana_all(ss, TGT_ANA_INACCESSIBLE);
		/* Who reads no ANA states has no better path to wait for. */
		list_for_each (ctrl, &ss->ctrls, node) {
			if (!ss->ana && !ss->is_discovery)
				ctrl_kill_within(ctrl, ms);
		}
	}
	disc_changed(tgt);
	tgt_stop_check(tgt);
}

void tgt_stop(struct tgt *tgt, tgt_done_fn done, void *arg)
{
	struct tgt_conn *conn;

	ASSERT(!tgt->is_stopping);
	tgt->is_stopping = true;
	fault_set_stop(&tgt->faults, tgt->opts.loop);
	tgt->stop_done = done;
	tgt->stop_arg = arg;
	timer_cancel(tgt->opts.loop, &tgt->drain_timer);
	shut_listeners(tgt);
	list_for_each (conn, &tgt->conns, node)
		conn_kill(conn);
	tgt_stop_check(tgt);
}

void tgt_keeper_set(struct tgt *tgt,
		    void (*keep)(void *arg, struct tgt_save *save), void *arg)
{
	tgt->keep = keep;
	tgt->keep_arg = arg;
	atomic_store(&tgt->has_keeper, keep != NULL);
}
