/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal over files.  The owner's loop appends and writes; a thread of
 * its own syncs, packs snapshots and deletes what they replace, in the order
 * in which it was asked to.
 *
 * Invariant: the log holds whole records up to log_at, and nothing behind it
 * counts: a write that fails is taken back, and the journal has failed until a
 * snapshot of all there is has made a new beginning.
 *
 * The same after a sync that fails.  The kernel tells that once, and forgets
 * the pages: the next sync of the same file says that all is well.  So from
 * then on no sync is believed that is not of a log begun afterwards.
 */
#include "journal/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "io/thread.h"
#include "journal/cut.h"
#include "journal/dir.h"
#include "journal/logfile.h"

/* Work of the thread.  There and back by mailbox. */
struct job {
	struct mbox_msg msg;
	struct files *files;
	int (*work)(struct files *files, struct job *job); /* the thread's */
	void (*ended)(struct files *files, struct job *job, int ret);
	int ret;
};

struct files {
	struct journal j;
	char path[256];
	char cluster_id[129];
	struct loop *loop;
	bool never_sync;
	int dir_fd, lock_fd;

	/* the owner's */
	int log_fd;
	uint64_t log_at;     /* end of the last whole record */
	uint64_t synced;     /* sequence of the first that may not be on disk */
	uint64_t sync_upto;  /* what the next sync makes of that */
	uint64_t end_upto;   /* the same, the sync at a snapshot's end */
	struct strbuf buf;   /* records that are not */
	struct strbuf snap;  /* the same of the snapshot */
	uint64_t snap_count; /* records of it */
	bool has_snapshot;   /* one is being written */
	struct job sync, push, end, turn;
	int sync_fd, end_fd;
	bool is_turn_fresh;  /* the log it begins does not go on from another */
	bool needs_snapshot; /* a failure was, and none has counted since */
	uint64_t log_before; /* bytes of log that the one under way replaces */

	/* the thread's */
	struct shard thread;
	struct snap_writer *writer;
	struct jr_header snap_header; /* of the writer to be made */
	int old_fd;		      /* log that was full, or -1 */
	uint64_t old_void;	      /* its sequence if nothing in it counts */
	int new_fd;		      /* the one after it */
	struct jr_header log_header;  /* of that; the owner's until the turn */
	uint64_t end_bytes;	      /* of the snapshot that ended */
	int log_ret; /* why no sync counts any more; 0: they do */
	int end_ret; /* the same, when the snapshot ended */
};

static struct files *files_of(struct journal *j)
{
	return container_of(j, struct files, j);
}

/* --- jobs --- */

static void job_back(struct mbox_msg *msg)
{
	struct job *job = container_of(msg, struct job, msg);

	ASSERT(job->files->j.busy > 0);
	job->files->j.busy--;
	job->ended(job->files, job, job->ret);
}

static void job_run(struct mbox_msg *msg)
{
	struct job *job = container_of(msg, struct job, msg);

	job->ret = job->work(job->files, job);
	msg->run = job_back;
	loop_post(job->files->loop, msg);
}

static void job_submit(struct files *f, struct job *job)
{
	job->files = f;
	job->msg.run = job_run;
	f->j.busy++;
	loop_post(f->thread.loop, &job->msg);
}

/* --- the log --- */

static void fail_with(struct files *f, int ret, const char *what)
{
	if (!f->j.is_failed)
		log_err("the journal has failed",
			"dir=%s %s: %s (puts are refused until a new snapshot "
			"is on disk)",
			f->path, what, strerror(-ret));
	f->j.is_failed = true;
	f->j.has_news = false;
	f->j.next = f->j.written;
	strbuf_reset(&f->buf);
}

/* A new log, which begins with record f->j.next. */
static int log_create(struct files *f, uint32_t flags, int *fd)
{
	struct jr_header h = {
		.kind = JR_LOG,
		.flags = flags,
		.sequence = f->j.next,
		.created_s = time_wall_ns() / NS_PER_S,
	};
	int ret;

	snprintf(h.cluster_id, sizeof(h.cluster_id), "%s", f->cluster_id);
	ret = jr_log_create(f->dir_fd, &h, fd);
	if (ret == 0)
		f->log_header = h;
	return ret;
}

/* The frame's body is that one. */
static void add_record(struct strbuf *buf, struct jr_frame frame,
		       const struct strbuf *body)
{
	uint8_t head[JR_FRAME_BYTES];

	frame.body = (const uint8_t *)body->p;
	frame.len = (uint32_t)body->n;

	if (body->failed) {
		buf->failed = true;
		return;
	}
	jr_frame_encode(&frame, head);
	strbuf_add(buf, head, sizeof(head));
	strbuf_add(buf, body->p, body->n);
}

static void files_append(struct journal *j, enum jr_type type,
			 const struct strbuf *body)
{
	struct files *f = files_of(j);

	if (j->is_failed)
		return;
	add_record(&f->buf,
		   (struct jr_frame){.type = type,
				     .sequence = j->next,
				     .unsynced = j->next - f->synced},
		   body);
	j->next++;
	j->has_news = true;
}

static int files_commit(struct journal *j)
{
	struct files *f = files_of(j);
	int ret = f->buf.failed ? -ENOMEM : 0;

	if (j->is_failed)
		return -EIO;
	if (!j->has_news)
		return 0;
	if (ret == 0)
		ret = jr_log_write(f->log_fd, f->buf.p, f->buf.n, f->log_at);
	if (ret < 0) {
		/* What stays of it would be cut as a torn tail. */
		if (ftruncate(f->log_fd, (off_t)f->log_at) < 0)
			log_warn("cannot take back half a record", "dir=%s: %s",
				 f->path, strerror(errno));
		fail_with(f, ret, "write");
		return ret;
	}
	f->log_at += f->buf.n;
	j->log_bytes += f->buf.n;
	j->bytes += f->buf.n;
	j->records += j->next - f->j.written;
	f->j.written = j->next;
	j->has_news = false;
	strbuf_reset(&f->buf);
	return 0;
}

/* The thread's.  Logs that go on from each other count together. */
static int log_sync(struct files *f, int fd)
{
	if (f->log_ret == 0 && fdatasync(fd) < 0)
		f->log_ret = -errno;
	return f->log_ret;
}

static int sync_work(struct files *f, struct job *job)
{
	return log_sync(f, f->sync_fd);
}

static void sync_ended(struct files *f, struct job *job, int ret)
{
	f->j.syncs++;
	if (ret < 0)
		fail_with(f, ret, "sync");
	else
		f->synced = MAX(f->synced, f->sync_upto);
	f->j.events.synced(ret, f->j.events.arg);
}

static void files_sync(struct journal *j)
{
	struct files *f = files_of(j);

	ASSERT(f->log_fd >= 0);
	f->sync_fd = f->log_fd;
	f->sync_upto = j->written;
	f->sync.work = sync_work;
	f->sync.ended = sync_ended;
	job_submit(f, &f->sync);
}

/* --- snapshots --- */

static int set_flags(struct files *f, int fd, uint32_t flags)
{
	f->log_header.flags = flags;
	return jr_log_mark(fd, &f->log_header);
}

/* What is in the new log counts whatever becomes of the old one, which is on
 * disk. */
static int settle_log(struct files *f)
{
	if (!(f->log_header.flags & JR_EARLY))
		return 0;
	return set_flags(f, f->new_fd, f->log_header.flags & ~JR_EARLY);
}

/* An attempt that came to nothing leaves no file behind; but a snapshot that
 * has its name may count after all, and then its log does. */
static void drop_void(struct files *f)
{
	struct jr_name log, snapshot;

	if (!f->old_void)
		return;
	jr_name_format(&log, JR_LOG, f->old_void);
	jr_name_format(&snapshot, JR_SNAPSHOT, f->old_void - 1);
	if (faccessat(f->dir_fd, snapshot.text, F_OK, 0) < 0 && errno == ENOENT)
		unlinkat(f->dir_fd, log.text, 0);
}

/* The full log reaches the disk, and the name of the new one. */
static int turn_work(struct files *f, struct job *job)
{
	if (f->old_fd >= 0) {
		if (!f->never_sync)
			log_sync(f, f->old_fd);
		close(f->old_fd);
		f->old_fd = -1;
		drop_void(f);
	}
	/* Whatever became of it: this one counts with its snapshot alone. */
	if (f->is_turn_fresh)
		f->log_ret = 0;
	if (!f->never_sync && fsync(f->dir_fd) < 0)
		f->log_ret = -errno;
	if (f->log_ret == 0 && !f->never_sync)
		f->log_ret = settle_log(f);
	return f->log_ret;
}

static void turn_ended(struct files *f, struct job *job, int ret)
{
}

/* The log that the snapshot goes on with: the present one if nothing is in it
 * yet, which must not be made again under the descriptor of all that follows.
 */
static int log_turn(struct files *f, bool is_fresh)
{
	uint64_t sequence = f->log_header.sequence;
	int fd, ret;

	if (!is_fresh && f->log_at == JR_HEADER_BYTES) {
		f->new_fd = f->log_fd;
		return 0;
	}
	ret = log_create(f, is_fresh ? JR_FRESH : JR_EARLY, &fd);
	if (ret < 0)
		return ret;
	f->old_fd = f->log_fd;
	f->old_void = f->needs_snapshot ? sequence : 0;
	f->log_fd = f->new_fd = fd;
	f->log_at = JR_HEADER_BYTES;
	return 0;
}

static int files_snap_begin(struct journal *j)
{
	struct files *f = files_of(j);
	/* The log of an attempt that came to nothing is void as well. */
	bool is_fresh = j->is_failed || f->needs_snapshot;
	int ret = j->is_failed ? 0 : files_commit(j);

	ASSERT(!f->has_snapshot);
	if (ret < 0)
		return ret;
	/* The hole keeps the logs before the failure and those after it from
	 * being read as one, and gives each attempt a file of its own. */
	j->next += is_fresh;
	ret = log_turn(f, is_fresh);
	if (ret < 0) {
		j->next = f->j.written;
		return ret;
	}
	f->snap_header = (struct jr_header){
		.kind = JR_SNAPSHOT,
		.sequence = j->next - 1,
		.created_s = time_wall_ns() / NS_PER_S,
	};
	memcpy(f->snap_header.cluster_id, f->cluster_id, sizeof(f->cluster_id));
	f->j.written = j->next;
	f->log_before = j->log_bytes;
	j->log_bytes = 0;
	j->is_failed = false;
	f->has_snapshot = true;
	f->snap_count = 0;
	strbuf_reset(&f->snap);
	f->is_turn_fresh = f->needs_snapshot = is_fresh;
	f->turn.work = turn_work;
	f->turn.ended = turn_ended;
	job_submit(f, &f->turn);
	return 0;
}

static void files_snap_add(struct journal *j, enum jr_type type,
			   const struct strbuf *body)
{
	struct files *f = files_of(j);

	ASSERT(f->has_snapshot);
	add_record(&f->snap,
		   (struct jr_frame){.type = type, .sequence = f->snap_count},
		   body);
	f->snap_count++;
}

static int push_work(struct files *f, struct job *job)
{
	int ret = 0;

	if (f->snap.failed)
		return -ENOMEM;
	if (!f->writer)
		ret = snap_create(f->dir_fd, &f->snap_header, &f->writer);
	return ret < 0 ? ret : snap_add(f->writer, f->snap.p, f->snap.n);
}

static void push_ended(struct files *f, struct job *job, int ret)
{
	strbuf_reset(&f->snap);
	f->j.events.snap_pushed(ret, f->j.events.arg);
}

static void files_snap_push(struct journal *j)
{
	struct files *f = files_of(j);

	f->push.work = push_work;
	f->push.ended = push_ended;
	job_submit(f, &f->push);
}

static int end_work(struct files *f, struct job *job)
{
	int ret = push_work(f, job);

	/* What it has seen may be younger than what is on disk of the log, and
	 * counts only with that. */
	if (ret == 0)
		ret = f->end_fd < 0 ? -EIO : log_sync(f, f->end_fd);
	f->end_ret = f->log_ret;
	if (ret < 0) {
		snap_abort(TAKE(f->writer));
		return ret;
	}
	ret = snap_finish(TAKE(f->writer), &f->end_bytes);
	if (ret == 0)
		jr_dir_prune(f->dir_fd, f->snap_header.sequence);
	return ret;
}

static void end_ended(struct files *f, struct job *job, int ret)
{
	strbuf_reset(&f->snap);
	f->has_snapshot = false;
	if (ret == 0) {
		f->j.snapshot_bytes = f->end_bytes;
		f->needs_snapshot = false;
		f->synced = MAX(f->synced, f->end_upto);
	} else {
		f->j.log_bytes += f->log_before;
	}
	if (f->end_ret < 0)
		fail_with(f, f->end_ret, "sync");
	f->j.events.snap_ended(ret, f->j.events.arg);
}

static void files_snap_end(struct journal *j)
{
	struct files *f = files_of(j);
	struct strbuf body = {0};

	jr_end_encode(&(struct jr_end){f->snap_count}, &body);
	files_snap_add(j, JR_END, &body);
	strbuf_fini(&body);
	f->end_fd = files_commit(j) < 0 ? -1 : f->log_fd;
	f->end_upto = j->written;
	f->end.work = end_work;
	f->end.ended = end_ended;
	job_submit(f, &f->end);
}

static void files_snap_abort(struct journal *j)
{
	struct files *f = files_of(j);

	snap_abort(TAKE(f->writer));
	strbuf_fini(&f->snap);
	f->has_snapshot = false;
	j->log_bytes += f->log_before;
}

/* --- open, recover, close --- */

static int files_recover(struct journal *j, jr_record_fn fn, void *arg,
			 struct jr_report *report, struct err *err)
{
	struct files *f = files_of(j);
	struct err why = {0};
	int ret = jr_walk(f->dir_fd, f->cluster_id, fn, arg, report, &why);

	if (ret < 0)
		return err_set(err, ret, "%.40s: %s", f->path, why.text);
	ret = jr_tidy(f->dir_fd, f->path, report, err);
	if (ret < 0)
		return ret;
	jr_dir_sweep(f->dir_fd);
	/* Also of one that never syncs: what it says of this life is synced
	 * before a superblock says it (master/keeper.c), and would be void if
	 * the power took the end of what goes before. */
	ret = jr_sync_logs(f->dir_fd);
	if (ret < 0)
		return err_set(err, ret, "cannot sync the logs in %s: %s",
			       f->path, strerror(-ret));
	j->next = f->j.written = f->synced = report->next;
	j->log_bytes = report->log_bytes;
	ret = log_create(f, 0, &f->log_fd);
	if (ret < 0) {
		f->log_fd = -1;
		return err_set(
			err, ret, "cannot begin a log in %s: %s", f->path,
			ret == -EEXIST ? "one with records is there, which "
					 "was not listed; check the disk"
				       : strerror(-ret));
	}
	f->log_at = JR_HEADER_BYTES;
	if (fsync(f->dir_fd) < 0)
		return err_set(err, -errno, "cannot sync %s: %s", f->path,
			       strerror(errno));
	return 0;
}

static void close_log(struct files *f)
{
	int ret = files_commit(&f->j);

	if (!f->never_sync && fdatasync(f->log_fd) < 0) {
		ret = -errno;
		log_err("the journal could not be synced", "dir=%s: %s",
			f->path, strerror(-ret));
	}
	/* A wish: without it a damaged end passes for a torn one. */
	if (!f->never_sync && ret == 0 && f->log_ret == 0)
		set_flags(f, f->log_fd, f->log_header.flags | JR_CLOSED);
	close(f->log_fd);
}

static void files_close(struct journal *j)
{
	struct files *f = files_of(j);

	ASSERT(j->busy == 0);
	shard_stop(&f->thread);
	snap_abort(TAKE(f->writer));
	if (f->log_fd >= 0)
		close_log(f);
	if (f->old_fd >= 0)
		close(f->old_fd);
	if (f->lock_fd >= 0)
		close(f->lock_fd);
	if (f->dir_fd >= 0)
		close(f->dir_fd);
	strbuf_fini(&f->buf);
	strbuf_fini(&f->snap);
	free(f);
}

static const struct journal_ops files_ops = {
	.recover = files_recover,
	.append = files_append,
	.commit = files_commit,
	.sync = files_sync,
	.snap_begin = files_snap_begin,
	.snap_add = files_snap_add,
	.snap_push = files_snap_push,
	.snap_end = files_snap_end,
	.snap_abort = files_snap_abort,
	.close = files_close,
};

int files_open(const struct files_opts *opts, struct journal **out,
	       struct err *err)
{
	struct files *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return err_set(err, -ENOMEM, "out of memory");
	f->j.ops = &files_ops;
	f->j.events = opts->events;
	f->loop = opts->loop;
	f->never_sync = opts->never_sync;
	f->lock_fd = f->log_fd = f->old_fd = -1;
	snprintf(f->path, sizeof(f->path), "%s", opts->path);
	snprintf(f->cluster_id, sizeof(f->cluster_id), "%s", opts->cluster_id);
	f->dir_fd = ret = jr_dir_open(opts->path, true, err);
	if (ret >= 0)
		f->lock_fd = ret = jr_dir_lock(f->dir_fd, opts->path, err);
	if (ret >= 0)
		ret = shard_start(&f->thread,
				  &(struct loop_opts){.name = "journal"}, err);
	if (ret < 0) {
		files_close(&f->j);
		return ret;
	}
	*out = &f->j;
	return 0;
}
