/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread of the master's tasks.  An object passes through one window of
 * memory, at the pace the master asks for: read and verified, written, read
 * back and verified.
 *
 * Invariant: nothing is written to a replica after its task's time, and a copy
 * is called done only when every byte of it was read back and matched.
 */
#include "client/task.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "client/call.h"
#include "client/xfer.h"

#define WINDOW	     (4 * MiB) /* a multiple of CRC_BLOCK */
#define WINDOW_NS    (10 * NS_PER_S)
#define WANT	     1	   /* no result waits for another task */
#define WAIT_MS_MAX  10000 /* longer waits are left to the pings */
#define PROBLEMS_MAX 16	   /* of one task */
/* More time than any master gives. */
#define TASK_MS_MAX ((uint64_t)UINT32_MAX)

/* One answer of the master. */
struct task_batch {
	struct client *client;
	struct arena arena;
	struct call call;
	const Mc__TasksRsp *rsp;
	uint64_t asked_ns;
	struct vols vols;
	uint8_t *window;
};

/* A replica, and where it is read or written. */
struct side {
	const Mc__Replica *replica;
	struct xfer_io whole;	    /* extents of all of it */
	struct vol_extent *extents; /* of the window */
	unsigned first;		    /* the window's first extent */
};

struct one {
	struct task_batch *batch;
	const Mc__Task *task;
	Mc__TaskResult *result;
	uint32_t *crcs;
	uint64_t deadline_ns, begun_ns, moved;
	bool is_target_bad; /* another source is no help */
};

/* --- waiting --- */

static bool tasks_end(struct tasks *t)
{
	bool is_stopping;

	pthread_mutex_lock(&t->mu);
	is_stopping = t->is_stopping;
	pthread_mutex_unlock(&t->mu);
	return is_stopping;
}

/* Until at_ns or the end. */
static void tasks_sleep(struct tasks *t, uint64_t at_ns)
{
	uint64_t now_ns = time_mono_ns();
	uint32_t seen = bell_seen(&t->bell);

	while (!tasks_end(t) && now_ns < at_ns) {
		bell_wait(&t->bell, seen, at_ns - now_ns);
		now_ns = time_mono_ns();
		seen = bell_seen(&t->bell);
	}
}

/* At most until the deadline, however slow it has to be. */
static void keep_pace(struct one *one, uint64_t bytes)
{
	double pace = (double)one->task->bytes_per_s, ns;
	uint64_t due_ns = one->deadline_ns;

	one->moved += bytes;
	if (pace <= 0 || due_ns <= one->begun_ns)
		return;
	ns = (double)one->moved / pace * (double)NS_PER_S;
	if (ns < (double)(due_ns - one->begun_ns))
		due_ns = one->begun_ns + (uint64_t)ns;
	if (due_ns > time_mono_ns())
		tasks_sleep(&one->batch->client->tasks, due_ns);
}

/* From here on, or from where it was told already, tasks_stop() ends it. */
static void tasks_enter(struct client *c, const struct vol_io *io)
{
	struct tasks *t = &c->tasks;
	bool is_stopping;

	pthread_mutex_lock(&t->mu);
	t->io = io;
	is_stopping = t->is_stopping;
	pthread_mutex_unlock(&t->mu);
	if (is_stopping)
		vol_cancel(c->vols, io);
}

static void tasks_leave(struct tasks *t)
{
	pthread_mutex_lock(&t->mu);
	t->io = NULL;
	pthread_mutex_unlock(&t->mu);
}

/* --- windows --- */

static int side_init(struct one *one, struct side *side,
		     const Mc__Replica *replica)
{
	struct task_batch *b = one->batch;
	int ret;

	*side = (struct side){.replica = replica};
	side->extents = arena_alloc(&b->arena, replica->n_extents *
						       sizeof(*side->extents));
	if (!side->extents)
		return -ENOMEM;
	ret = xfer_set_replica(&side->whole, &b->vols, replica, one->task->size,
			       &b->arena);
	for (size_t i = 0; ret == 0 && i + 1 < replica->n_extents; i++)
		if (replica->extents[i]->length % CRC_BLOCK)
			ret = -EBADMSG;
	return ret;
}

/* The extents that hold the window; returns how many. */
static unsigned side_cut(struct side *side, uint64_t at, uint64_t len)
{
	const struct vol_extent *all = side->whole.io.extents;
	unsigned n = 0, i = 0;

	for (; at >= all[i].len; i++)
		at -= all[i].len;
	side->first = i;
	for (; len > 0; i++) {
		struct vol_extent *ext = &side->extents[n++];

		*ext = all[i];
		ext->off += at;
		ext->len = MIN(ext->len - at, len);
		len -= ext->len;
		at = 0;
	}
	return n;
}

struct move {
	struct side *side;
	uint64_t at, len;
	bool is_write;
};

/* 0 or -errno of the I/O; *segment is where it failed. */
static int move_window(struct one *one, const struct move *m,
		       const Mc__Segment **segment)
{
	struct task_batch *b = one->batch;
	uint64_t now_ns = time_mono_ns();
	struct iovec iov = {b->window, m->len};
	struct xfer_io xio = {.replica = m->side->replica};
	struct xfer xfer;

	*segment = NULL;
	if (now_ns >= one->deadline_ns)
		return -ECANCELED;
	xio.io = (struct vol_io){
		.is_write = m->is_write,
		.extents = m->side->extents,
		.extent_count = side_cut(m->side, m->at, m->len),
		.iov = &iov,
		.iovcnt = 1,
		.bytes = m->len,
		.deadline_ns = MIN(one->deadline_ns, now_ns + WINDOW_NS),
		.crcs = m->is_write ? NULL : one->crcs + m->at / CRC_BLOCK,
	};
	xfer_init(&xfer, b->client);
	xfer_submit(&xfer, &xio);
	tasks_enter(b->client, &xio.io);
	xfer_wait(&xfer);
	tasks_leave(&b->client->tasks);
	one->result->resent |= xio.io.is_resent;
	if (xio.io.ret)
		*segment = xfer_segment(&b->vols, m->side->replica,
					m->side->first + xio.io.failed_extent);
	return xio.io.ret;
}

/* --- what went wrong --- */

/* That replica's bytes; the segment is as good as ever. */
static bool is_bad(int ret)
{
	return ret == -EILSEQ || ret == -ENODATA;
}

static void note(struct one *one, const struct side *side, int ret,
		 const Mc__Segment *segment)
{
	struct arena *arena = &one->batch->arena;
	Mc__TaskProblem *problem;
	Mc__Problem what;

	if (!segment || !xfer_problem(ret, &what) ||
	    one->result->n_problems == PROBLEMS_MAX)
		return;
	problem = arena_alloc(arena, sizeof(*problem));
	if (!problem)
		return;
	mc__task_problem__init(problem);
	problem->problem = what;
	problem->replica = side->replica->index;
	problem->segment_id = segment->id;
	problem->text = "a task could not move its bytes";
	one->result->problems[one->result->n_problems++] = problem;
	log_debug("replica can't be read or written", "segment=%s error=%s",
		  segment->name, strerror(-ret));
}

/* --- tasks --- */

/* Reads all of it; with a target also writes and reads back.  0 or -errno. */
static int go_through(struct one *one, struct side *source, struct side *target)
{
	struct tasks *t = &one->batch->client->tasks;
	uint64_t size = one->task->size;
	const Mc__Segment *segment;
	int ret = 0;

	for (uint64_t at = 0; ret == 0 && at < size; at += WINDOW) {
		struct move m = {source, at, MIN(WINDOW, size - at), false};

		if (tasks_end(t))
			return -ECANCELED;
		ret = move_window(one, &m, &segment);
		if (ret)
			note(one, source, ret, segment);
		for (int step = 0; target && ret == 0 && step < 2; step++) {
			m.side = target;
			m.is_write = step == 0;
			ret = move_window(one, &m, &segment);
			/* No reader has seen it, so it is dropped unreported
			 * when its bytes are wrong or lost. */
			if (ret && !is_bad(ret))
				note(one, target, ret, segment);
			one->is_target_bad = ret != 0;
		}
		keep_pace(one, m.len);
	}
	return ret;
}

static void do_copy(struct one *one)
{
	const Mc__Task *task = one->task;
	struct side source, target;
	int ret = -EILSEQ;

	if (!task->target || side_init(one, &target, task->target) < 0)
		return;
	/* A source that fails may have been written in part: once more. */
	for (size_t i = 0; ret && !one->is_target_bad && i < task->n_sources;
	     i++) {
		ret = side_init(one, &source, task->sources[i]);
		if (ret == 0)
			ret = go_through(one, &source, &target);
		if (ret == -ECANCELED)
			return;
	}
	one->result->done = ret == 0 && task->n_sources > 0;
	stats_add(&one->batch->client->stats,
		  one->result->done ? STAT_copies : STAT_copy_errors, 1);
}

static void do_check(struct one *one)
{
	const Mc__Task *task = one->task;
	struct side source;
	bool is_done = true;

	for (size_t i = 0; i < task->n_sources; i++) {
		int ret = side_init(one, &source, task->sources[i]);

		if (ret == 0)
			ret = go_through(one, &source, NULL);
		if (ret == -ECANCELED)
			return;
		is_done &= ret == 0 || is_bad(ret);
	}
	one->result->done = is_done;
	stats_add(&one->batch->client->stats, STAT_checks, 1);
}

static void do_task(struct task_batch *b, const Mc__Task *task,
		    Mc__TaskResult *result)
{
	uint64_t blocks = task->size / CRC_BLOCK + (task->size % CRC_BLOCK > 0);
	struct one one = {
		.batch = b,
		.task = task,
		.result = result,
		.crcs = arena_alloc(&b->arena, task->crcs.len),
		.deadline_ns = b->asked_ns +
			       MIN(task->timeout_ms, TASK_MS_MAX) * NS_PER_MS,
		.begun_ns = time_mono_ns(),
	};

	mc__task_result__init(result);
	result->id = task->id;
	result->problems = arena_alloc(
		&b->arena, PROBLEMS_MAX * sizeof(*result->problems));
	if (!one.crcs || !result->problems || task->size == 0 ||
	    task->size > INT64_MAX - CRC_BLOCK ||
	    task->crcs.len != blocks * sizeof(uint32_t))
		return;
	memcpy(one.crcs, task->crcs.data, task->crcs.len);
	if (task->kind == MC__TASK_KIND__TASK_COPY)
		do_copy(&one);
	else
		do_check(&one);
}

/* --- batches --- */

static bool batch_ask(struct task_batch *b, Mc__TasksReq *req)
{
	enum mooncake_status st;

	b->asked_ns = time_mono_ns();
	/* A lost answer's tasks expire. */
	st = call_run(b->client, &b->call, METHOD_TASKS, &req->base, CALL_ONCE);
	b->rsp = (const Mc__TasksRsp *)b->call.rpc.rsp;
	return st == MOONCAKE_OK && b->rsp->status == MOONCAKE_OK;
}

/* Does what was handed out; fills the next request with the results. */
static void batch_do(struct task_batch *b, Mc__TasksReq *next)
{
	const Mc__TasksRsp *rsp = b->rsp;
	Mc__TaskResult *results =
		arena_alloc(&b->arena, rsp->n_tasks * sizeof(*results));

	next->results =
		arena_alloc(&b->arena, rsp->n_tasks * sizeof(*next->results));
	if (!results || !next->results ||
	    vols_init(&b->vols, b->client, rsp->segments, rsp->n_segments,
		      &b->arena) < 0)
		return;
	for (size_t i = 0; i < rsp->n_tasks; i++) {
		do_task(b, rsp->tasks[i], &results[i]);
		next->results[next->n_results++] = &results[i];
		if (tasks_end(&b->client->tasks))
			break;
	}
	vols_fini(&b->vols);
}

/* Asks and does until there is nothing more. */
static void tasks_run(struct client *c, uint8_t *window)
{
	struct task_batch done = {.client = c}, now;
	Mc__TasksReq req = MC__TASKS_REQ__INIT;
	bool go_on = true;

	arena_init(&done.arena, 0);
	while (go_on) {
		uint32_t wait_ms = 0;

		now = (struct task_batch){.client = c, .window = window};
		arena_init(&now.arena, 0);
		req.client_id = client_id_bytes(c);
		req.want = tasks_end(&c->tasks) ? 0 : WANT;
		go_on = batch_ask(&now, &req) && req.want;
		/* The results that were sent live in the batch before. */
		call_fini(&done.call);
		arena_fini(&done.arena);
		mc__tasks_req__init(&req);
		if (go_on && now.rsp->n_tasks) {
			batch_do(&now, &req);
		} else if (go_on) {
			wait_ms = now.rsp->wait_ms;
			go_on = wait_ms && wait_ms <= WAIT_MS_MAX;
		}
		if (go_on && wait_ms)
			tasks_sleep(&c->tasks,
				    time_mono_ns() + wait_ms * NS_PER_MS);
		done = now;
	}
	call_fini(&done.call);
	arena_fini(&done.arena);
}

/* Was it kicked since the last time? */
static bool tasks_take_kick(struct tasks *t)
{
	bool is_kicked;

	pthread_mutex_lock(&t->mu);
	is_kicked = t->is_kicked;
	t->is_kicked = false;
	pthread_mutex_unlock(&t->mu);
	return is_kicked;
}

static void tasks_main(void *arg)
{
	struct client *c = arg;
	struct tasks *t = &c->tasks;
	uint32_t seen = bell_seen(&t->bell);

	while (!tasks_end(t)) {
		if (tasks_take_kick(t)) {
			uint8_t *window = aligned_alloc(4096, WINDOW);

			if (window)
				tasks_run(c, window);
			free(window);
		} else {
			bell_wait(&t->bell, seen, UINT64_MAX);
		}
		seen = bell_seen(&t->bell);
	}
}

/* --- public --- */

void tasks_init(struct tasks *t)
{
	*t = (struct tasks){0};
	bell_init(&t->bell);
	pthread_mutex_init(&t->mu, NULL);
}

void tasks_kick(struct client *c)
{
	struct tasks *t = &c->tasks;

	pthread_mutex_lock(&t->mu);
	if (!t->is_stopping) {
		if (!t->thread.is_running)
			thread_start(&t->thread, tasks_main, c);
		t->is_kicked = true;
	}
	pthread_mutex_unlock(&t->mu);
	bell_ring(&t->bell);
}

void tasks_stop(struct client *c)
{
	struct tasks *t = &c->tasks;
	const struct vol_io *io;

	pthread_mutex_lock(&t->mu);
	t->is_stopping = true;
	io = t->io;
	pthread_mutex_unlock(&t->mu);
	bell_ring(&t->bell);
	/* It may end meanwhile; nobody looks into it then. */
	if (io)
		vol_cancel(c->vols, io);
	thread_join(&t->thread);
}

void tasks_fini(struct tasks *t)
{
	pthread_mutex_destroy(&t->mu);
}
