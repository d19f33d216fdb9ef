/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal and the service, on the metadata shard.
 *
 * Records of one turn of the loop are one write, which the answers of that turn
 * wait for.  Invariant: an answer in held waits for the next commit, one in
 * waiting for the sync after the one under way, one in syncing for that one;
 * while a snapshot is being written one push or end is under way.
 */
#include "master/keeper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "journal/files.h"
#include "master/change.h"
#include "master/note.h"
#include "master/replay.h"
#include "master/scan.h"
#include "master/service.h"
#include "master/watch.h"

#define SAVE_OBJECTS  1024
#define SAVE_RETRY_NS (30 * NS_PER_S)
#define MEND_NS	      (1 * NS_PER_S)
/* Logs beyond this are not left to the next start to read. */
#define STOP_SAVE_BYTES (1 * MiB)

struct keeper {
	struct service *svc;
	struct keeper_opts opts;
	struct journal *journal;
	struct loop_task commit_task;
	struct timer sync_timer, vouch_timer, save_timer;
	struct list held, waiting, syncing; /* struct rpc_req */
	struct list askers;		    /* the same, for a snapshot */
	bool is_syncing;
	uint64_t sync_upto; /* record that the sync under way covers */
	uint64_t synced;    /* records below are on disk */
	uint64_t vouched;   /* behind the last record that only says so */
	uint64_t epochs;    /* those below have the epochs of this life */
	bool is_broken;	    /* from a failure to the next snapshot */
	bool is_sync_lost;  /* a sync of this log has failed: none counts */
	bool is_stopping;

	bool is_saving;
	bool is_save_late; /* the last one failed: the timer begins the next */
	struct scan scan;
	uint64_t save_start_ns;
};

bool keeper_is_broken(const struct keeper *k)
{
	return k->is_broken;
}

bool keeper_refuses(const struct keeper *k, const struct rpc_req *req)
{
	return k->is_broken && change_is_asked(req);
}

void keeper_stats(const struct keeper *k, struct keeper_stats *out)
{
	*out = (struct keeper_stats){0};
	if (!k)
		return;
	out->is_broken = k->is_broken;
	out->records = k->journal->records;
	out->bytes = k->journal->bytes;
	out->log_bytes = k->journal->log_bytes;
	out->snapshot_bytes = k->journal->snapshot_bytes;
}

bool keeper_is_settled(const struct keeper *k)
{
	const struct segment *seg;

	list_for_each (seg, &k->svc->core->segments, node)
		if (seg->kind == KIND_NOF && seg->state == SEG_OFFLINE &&
		    !seg->failures && !seg->errors[SEG_ERROR_IDENTITY])
			return false;
	return true;
}

/* --- answers --- */

static void refuse(struct rpc_req *req)
{
	rpc_reply(req, MOONCAKE_PERSISTENT_FAIL, NULL);
}

static struct rpc_req *take_first(struct list *reqs)
{
	struct rpc_req *req = list_first(reqs, struct rpc_req, node);

	list_del(&req->node);
	return req;
}

static void refuse_all(struct list *reqs)
{
	while (!list_is_empty(reqs))
		refuse(take_first(reqs));
}

static void refuse_changes(struct list *reqs)
{
	struct rpc_req *req, *tmp;

	list_for_each_safe (req, tmp, reqs, node) {
		if (!change_is_asked(req))
			continue;
		list_del(&req->node);
		refuse(req);
	}
}

void keeper_reply(struct keeper *k, struct rpc_req *req, int32_t status,
		  const ProtobufCMessage *rsp)
{
	const struct journal *j = k->journal;
	bool is_late = k->opts.sync == KEEP_ALWAYS && change_is_asked(req) &&
		       j->next > k->synced;

	if (keeper_refuses(k, req)) {
		refuse(req);
		return;
	}
	rpc_encode(req, status, rsp);
	if (!j->has_news && !is_late) {
		rpc_send(req);
		return;
	}
	list_add_tail(&k->held, &req->node);
	loop_defer(k->svc->loop, &k->commit_task);
}

/* --- failure --- */

static void save_begin(struct keeper *k);
static void sync_soon(struct keeper *k);

/* What was acknowledged before a write that failed still gets to the disk. */
static void broke(struct keeper *k)
{
	struct stats *st = &k->svc->core->stats;

	st->journal_failures++;
	k->is_broken = true;
	refuse_all(&k->waiting);
	/* Now, as a snapshot may begin before the next commit, which finds a
	 * log that works: their records are in none. */
	refuse_changes(&k->held);
	if (k->is_sync_lost)
		timer_cancel(k->svc->loop, &k->sync_timer);
	else
		sync_soon(k);
	if (!k->is_saving && !k->is_stopping)
		timer_set(k->svc->loop, &k->save_timer, MEND_NS);
}

/* --- writing and syncing --- */

static void sync_start(struct keeper *k)
{
	ASSERT(!k->is_syncing && list_is_empty(&k->syncing));
	k->is_syncing = true;
	k->sync_upto = k->journal->written;
	list_splice_tail(&k->syncing, &k->waiting);
	k->journal->ops->sync(k->journal);
}

/* What is written and not on disk gets there, now or soon; at the end, when
 * the journal is closed. */
static void sync_soon(struct keeper *k)
{
	if (k->is_syncing || k->is_sync_lost ||
	    k->journal->written <= k->synced)
		return;
	if (k->opts.sync == KEEP_ALWAYS)
		sync_start(k);
	else if (k->opts.sync == KEEP_INTERVAL && !k->is_stopping &&
		 !timer_is_set(&k->sync_timer))
		timer_set(k->svc->loop, &k->sync_timer,
			  k->opts.sync_interval_ns);
}

static void sync_fire(struct timer *timer)
{
	struct keeper *k = container_of(timer, struct keeper, sync_timer);

	if (!k->is_syncing && !k->is_sync_lost)
		sync_start(k);
}

/* Only a later record says that one was on disk, without which damage passes
 * for a torn tail.  After a burst one comes that says nothing else; it is
 * synced as well, and that is the end. */
static void vouch_fire(struct timer *timer)
{
	struct keeper *k = container_of(timer, struct keeper, vouch_timer);
	const struct journal *j = k->journal;

	/* A log in which nothing is yet says so of those before it. */
	if (k->is_broken || j->next > k->synced || !j->log_bytes)
		return;
	k->vouched = j->next + 1;
	note_marks(k->svc->core);
}

/* Not while one sync follows the other. */
static void vouch_soon(struct keeper *k)
{
	if (k->opts.sync != KEEP_NEVER && !k->is_stopping &&
	    k->synced > k->vouched)
		timer_set(k->svc->loop, &k->vouch_timer,
			  k->opts.sync_interval_ns);
}

static void save_soon(struct keeper *k)
{
	const struct journal *j = k->journal;

	if (k->is_saving || k->is_stopping || k->is_broken)
		return;
	if (j->log_bytes >= k->opts.snapshot_bytes && !k->is_save_late)
		save_begin(k);
	else if (!timer_is_set(&k->save_timer))
		timer_set(k->svc->loop, &k->save_timer,
			  k->opts.snapshot_interval_ns);
}

/* A sync that began before they came may have covered what they wait for. */
static void send_synced(struct keeper *k)
{
	while (k->journal->written <= k->synced && !list_is_empty(&k->waiting))
		rpc_send(take_first(&k->waiting));
}

static void commit_run(struct loop_task *task)
{
	struct keeper *k = container_of(task, struct keeper, commit_task);
	int ret = k->journal->ops->commit(k->journal);
	struct list round;

	if (ret < 0)
		refuse_changes(&k->held);
	list_init(&round);
	list_splice_tail(&round, &k->held);
	while (!list_is_empty(&round)) {
		struct rpc_req *req = take_first(&round);

		if (k->opts.sync == KEEP_ALWAYS && change_is_asked(req))
			list_add_tail(&k->waiting, &req->node);
		else
			rpc_send(req);
	}
	if (ret < 0 && !k->is_broken) {
		broke(k);
	} else {
		send_synced(k);
		sync_soon(k);
		save_soon(k);
	}
	service_try_stopped(k->svc);
}

static void has_news(void *arg)
{
	struct keeper *k = arg;

	loop_defer(k->svc->loop, &k->commit_task);
}

/* What was recovered may be looked at: what this life calls its own is on
 * disk. */
static void start_watches(struct keeper *k)
{
	struct segment *seg;

	if (k->is_stopping || !k->svc->vols || k->synced < k->epochs)
		return;
	list_for_each (seg, &k->svc->core->segments, node) {
		if (seg->kind != KIND_NOF || seg->watch)
			continue;
		if (watch_start(k->svc, seg) < 0)
			log_err("out of memory for the probes of a segment",
				"segment=\"%s\"", seg->name);
		else
			watch_now(seg);
	}
}

static void on_synced(int ret, void *arg)
{
	struct keeper *k = arg;

	k->is_syncing = false;
	k->svc->core->stats.journal_syncs++;
	if (ret < 0) {
		refuse_all(&k->syncing);
		k->is_sync_lost = true;
		broke(k);
	} else {
		k->synced = MAX(k->synced, k->sync_upto);
		while (!list_is_empty(&k->syncing))
			rpc_send(take_first(&k->syncing));
		send_synced(k);
		start_watches(k);
		sync_soon(k);
		vouch_soon(k);
	}
	service_try_stopped(k->svc);
}

/* --- snapshots --- */

static void answer_asker(struct service *svc, struct rpc_req *req, int ret)
{
	Mc__CountRsp rsp = MC__COUNT_RSP__INIT;

	if (ret < 0) {
		rsp.status = MOONCAKE_PERSISTENT_FAIL;
		rsp.error = ret == -ENOTSUP
				    ? "this master has no --journal_dir"
				    : "no snapshot could be written; the "
				      "master's log says why";
	}
	rsp.count = svc->core->objects.count;
	rpc_reply(req, 0, &rsp.base);
}

static void answer_askers(struct keeper *k, int ret)
{
	while (!list_is_empty(&k->askers))
		answer_asker(k->svc, take_first(&k->askers), ret);
}

static void save_failed(struct keeper *k, int ret)
{
	k->svc->core->stats.snapshots_failed++;
	k->is_save_late = true;
	log_warn("snapshot failed", "dir=%s: %s", k->opts.dir, strerror(-ret));
}

static void save_over(struct keeper *k, int ret)
{
	struct core *core = k->svc->core;

	scan_stop(&k->scan);
	core->notes->is_saving = false;
	k->is_saving = false;
	timer_cancel(k->svc->loop, &k->save_timer);
	answer_askers(k, ret);
	if (ret == 0) {
		core->stats.snapshots_ok++;
		k->is_save_late = false;
		k->svc->snapshot_ns = core->now_ns;
		log_info("snapshot written", "bytes=%llu objects=%llu ms=%llu",
			 (unsigned long long)k->journal->snapshot_bytes,
			 (unsigned long long)core->objects.count,
			 (unsigned long long)((time_mono_ns() -
					       k->save_start_ns) /
					      NS_PER_MS));
	} else {
		save_failed(k, ret);
	}
	if (k->is_broken && ret == 0 && !k->journal->is_failed) {
		k->is_broken = false;
		k->epochs = 0; /* the snapshot has them */
		log_info("the journal works again", "dir=%s", k->opts.dir);
		start_watches(k);
		sync_soon(k);
	}
	if (!k->is_stopping && (ret < 0 || k->is_broken))
		timer_set(k->svc->loop, &k->save_timer,
			  k->is_broken ? MEND_NS : SAVE_RETRY_NS);
	service_try_stopped(k->svc);
}

/* A slice of the walk; the rest goes on when it is written. */
static void save_some(struct keeper *k)
{
	struct core *core = service_enter(k->svc);
	struct journal *j = k->journal;

	for (unsigned i = 0; i < SAVE_OBJECTS; i++) {
		struct object *obj = scan_next(core, &k->scan);

		if (obj) {
			save_object(core, obj);
			continue;
		}
		scan_stop(&k->scan);
		core->notes->is_saving = false;
		j->ops->snap_end(j);
		return;
	}
	j->ops->snap_push(j);
}

static void on_pushed(int ret, void *arg)
{
	struct keeper *k = arg;

	/* What the log has lost must not be in a snapshot in part. */
	if (ret == 0 && k->journal->is_failed)
		ret = -EIO;
	if (ret == 0) {
		save_some(k);
		return;
	}
	k->journal->ops->snap_abort(k->journal);
	save_over(k, ret);
}

static void on_ended(int ret, void *arg)
{
	struct keeper *k = arg;

	/* Its log could not be synced: of a write that failed commit_run()
	 * knew before, as tasks come first in a turn. */
	if (k->journal->is_failed && !k->is_broken) {
		k->is_sync_lost = true;
		broke(k);
	}
	save_over(k, ret);
}

static void save_begin(struct keeper *k)
{
	struct core *core = service_enter(k->svc);
	struct journal *j = k->journal;
	int ret;

	ASSERT(!k->is_saving);
	timer_cancel(k->svc->loop, &k->save_timer);
	k->save_start_ns = time_mono_ns();
	ret = j->ops->snap_begin(j);
	if (ret < 0) {
		/* Its first step is to write what the answers wait for. */
		if (j->is_failed && !k->is_broken)
			broke(k);
		save_failed(k, ret);
		answer_askers(k, ret);
		timer_set(k->svc->loop, &k->save_timer,
			  k->is_broken ? MEND_NS : SAVE_RETRY_NS);
		return;
	}
	k->is_saving = true;
	/* A log of its own, which begins behind the one that failed. */
	if (k->is_broken)
		k->is_sync_lost = false;
	core->notes->is_saving = true;
	save_rest(core);
	scan_start(core, &k->scan);
	save_some(k);
}

static void save_fire(struct timer *timer)
{
	struct keeper *k = container_of(timer, struct keeper, save_timer);

	if (k->is_saving || k->is_stopping)
		return;
	if (k->is_broken || k->journal->log_bytes)
		save_begin(k);
}

void keeper_rpc_snapshot(struct service *svc, struct rpc_req *req)
{
	struct keeper *k = svc->keeper;

	if (!k || k->is_stopping) {
		answer_asker(svc, req, k ? -ECANCELED : -ENOTSUP);
		return;
	}
	list_add_tail(&k->askers, &req->node);
	if (!k->is_saving)
		save_begin(k);
}

/* --- birth and death --- */

/* The epochs of this life are on disk before a superblock has them. */
static void note_epochs(struct keeper *k)
{
	struct core *core = k->svc->core;
	struct segment *seg;

	list_for_each (seg, &core->segments, node) {
		if (seg->kind == KIND_NOF)
			note_segment(core, seg);
		else
			service_client_seen(k->svc);
	}
	k->epochs = k->journal->next;
	if (k->journal->ops->commit(k->journal) < 0) {
		k->epochs = UINT64_MAX; /* until a snapshot has them */
		broke(k);
	} else if (core->segment_count) {
		sync_start(k);
	} else {
		k->synced = k->journal->written;
	}
}

int keeper_open(struct service *svc, const struct keeper_opts *opts,
		struct keeper **out, struct err *err)
{
	struct keeper *k = calloc(1, sizeof(*k));
	const struct files_opts files = {
		.path = opts->dir,
		.cluster_id = svc->opts.cluster_id,
		.loop = svc->loop,
		.events = {on_synced, on_pushed, on_ended, k},
		.never_sync = opts->sync == KEEP_NEVER,
	};
	int ret;

	if (!k)
		return err_set(err, -ENOMEM, "out of memory");
	k->svc = svc;
	k->opts = *opts;
	k->commit_task.run = commit_run;
	k->sync_timer.fire = sync_fire;
	k->vouch_timer.fire = vouch_fire;
	k->save_timer.fire = save_fire;
	list_init(&k->held);
	list_init(&k->waiting);
	list_init(&k->syncing);
	list_init(&k->askers);
	list_init(&k->scan.node);
	ret = files_open(&files, &k->journal, err);
	if (ret == 0)
		ret = replay(svc, k->journal, opts->dir, err);
	if (ret == 0 && notes_init(svc->core, k->journal) < 0)
		ret = err_set(err, -ENOMEM, "out of memory");
	if (ret < 0) {
		keeper_close(k);
		return ret;
	}
	svc->core->notes->has_news = has_news;
	svc->core->notes->arg = k;
	note_epochs(k);
	*out = k;
	return 0;
}

void keeper_stop(struct keeper *k)
{
	k->is_stopping = true;
	timer_cancel(k->svc->loop, &k->sync_timer);
	timer_cancel(k->svc->loop, &k->vouch_timer);
	/* A journal that has failed: the disk may work again by now, and what
	 * a lost sync was to cover is in memory only. */
	if (!k->is_saving &&
	    (k->is_broken || k->journal->log_bytes > STOP_SAVE_BYTES))
		save_begin(k);
	timer_cancel(k->svc->loop, &k->save_timer);
}

bool keeper_is_idle(const struct keeper *k)
{
	return !k->is_saving && k->journal->busy == 0 &&
	       !k->commit_task.is_queued && list_is_empty(&k->held) &&
	       list_is_empty(&k->waiting) && list_is_empty(&k->syncing);
}

void keeper_close(struct keeper *k)
{
	if (!k)
		return;
	if (k->is_broken)
		log_err("the journal has not been mended before the end",
			"dir=%s (what was acknowledged after its last good "
			"sync may be lost)",
			k->opts.dir);
	loop_undefer(k->svc->loop, &k->commit_task);
	notes_fini(k->svc->core);
	if (k->journal)
		k->journal->ops->close(k->journal);
	free(k);
}
