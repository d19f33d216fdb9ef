/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker: issues the chunks of the parts it was given.
 *
 * Worker's thread; chunk_on_lane() and chunk_answer() run on the thread of the
 * worker that has the queue pair, when a controller grants fewer queue pairs
 * than there are workers.  Invariant: a part is in active; while it has chunks
 * to issue it is also in one queue or parked at one volume; it ends when it has
 * none and none is under way.
 */
#include <errno.h>
#include <stdio.h>

#include "base/time.h"
#include "pool/job.h"
#include "proto/frame.h"

#define TURN_BYTES  MiB /* of one part before the next one's turn */
#define LOCAL_BYTES MiB /* copied before the loop gets a look at its I/O */
#define RETRY_NS    (2 * NS_PER_S)

struct chunk {
	struct nvmf_io io;
	struct part *part;
	struct split_chunk at;
	struct split_cursor cur; /* where the chunk begins */
	unsigned ext;
	struct lane *lane;
	uint64_t gen;
	void *bounce;
	struct mbox_msg msg;
	struct iovec iov[CHUNK_PIECES];
};

enum issue {
	ISSUE_GOOD,
	ISSUE_LOCAL,
	ISSUE_WAIT, /* for bytes of the budget */
	ISSUE_PARKED,
	ISSUE_OVER, /* nothing left */
};

/* Zeros behind the end of an object; never written. */
static uint8_t zeros[BLOCK_MAX];

static void part_maybe_end(struct part *part)
{
	struct vol_job *job = part->job;

	if (part->out || (part->next < job->chunk_count && !job->ret))
		return;
	list_del(&part->node);
	list_del(&part->turn);
	part->is_parked = false;
	job_part_done(job);
}

/* --- checksums --- */

/* Of the blocks that begin in the chunk: computes them (write) or compares
 * those (read; they end in it, too). */
static int chunk_crcs(const struct vol_io *io, const struct split_chunk *at,
		      struct split_cursor cur)
{
	uint64_t i = split_block_first(at->at, CRC_BLOCK);
	uint32_t crc;

	for (; i * CRC_BLOCK < at->at + at->len; i++) {
		/* The next chunk goes on from its own cursor: copies. */
		split_seek(&cur, i * CRC_BLOCK);
		crc = split_crc(&cur,
				MIN((uint64_t)CRC_BLOCK, io->bytes - cur.at));
		if (io->is_write)
			io->crcs[i] = crc;
		else if (io->crcs[i] != crc)
			return -EILSEQ;
	}
	return 0;
}

static int verify_chunk(const struct vol_job *job, const struct split_chunk *at,
			struct split_cursor cur)
{
	const struct vol_io *io = job->io;

	if (io->is_write || !io->crcs || job->is_verified_late)
		return 0;
	return chunk_crcs(io, at, cur);
}

/* --- chunks over the network --- */

static int chunk_errno(uint16_t sc)
{
	int ret = nvme_sc_errno(sc);

	return ret == -ENOTCONN ? -EHOSTUNREACH : ret;
}

static void chunk_end(struct chunk *chunk)
{
	struct part *part = chunk->part;
	struct worker *w = part->worker;
	int ret = chunk_errno(chunk->io.sc);

	budget_give(&w->set->budget, chunk->at.dev_len);
	if (!ret && chunk->bounce && !part->job->io->is_write) {
		struct split_cursor cur = chunk->cur;

		split_scatter(&cur, chunk->at.len, chunk->bounce);
	}
	if (!ret)
		ret = verify_chunk(part->job, &chunk->at, chunk->cur);
	if (ret)
		job_fail(part->job, ret, chunk->ext);
	pool_give(&w->bounces, chunk->bounce);
	pool_give(&w->chunks, chunk);
	part->out--;
	part_maybe_end(part);
}

static void chunk_back(struct mbox_msg *msg)
{
	chunk_end(container_of(msg, struct chunk, msg));
}

static void chunk_answer(struct nvmf_io *io)
{
	struct chunk *chunk = container_of(io, struct chunk, io);
	struct worker *w = chunk->part->worker;

	if (chunk->lane->worker == w) {
		chunk_end(chunk);
		return;
	}
	chunk->msg.run = chunk_back;
	loop_post(w->shard.loop, &chunk->msg);
}

static bool lane_takes(const struct chunk *chunk)
{
	const struct lane *lane = chunk->lane;

	return lane->is_live && lane->gen == chunk->gen;
}

static void chunk_on_lane(struct mbox_msg *msg)
{
	struct chunk *chunk = container_of(msg, struct chunk, msg);

	if (lane_takes(chunk)) {
		nvmf_io_submit(chunk->lane->qp, &chunk->io);
		return;
	}
	chunk->io.sc = NVME_SC_HOST_PATH_ERROR;
	chunk_answer(&chunk->io);
}

/* The caller's pieces and the padding, or a bounce buffer for both. */
static int chunk_map(struct chunk *chunk, struct worker *w)
{
	const struct split_chunk *at = &chunk->at;
	struct split_cursor cur = chunk->cur;
	uint64_t pad = at->dev_len - at->len;
	bool is_write = chunk->part->job->io->is_write;
	unsigned n = split_pieces(&cur, at->len, chunk->iov, CHUNK_PIECES - 1);

	if (n && pad)
		chunk->iov[n++] = (struct iovec){
			is_write ? zeros : chunk->lane->trash, pad};
	if (!n) {
		chunk->bounce = pool_take(&w->bounces);
		if (!chunk->bounce)
			return -ENOMEM;
		chunk->iov[n++] = (struct iovec){chunk->bounce, at->dev_len};
		if (is_write) {
			split_gather(&cur, at->len, chunk->bounce);
			memset((char *)chunk->bounce + at->len, 0, pad);
		}
	}
	chunk->io.iov = chunk->iov;
	chunk->io.iovcnt = n;
	return 0;
}

static void chunk_submit(struct chunk *chunk, const struct vol *vol,
			 const struct vol_way *way)
{
	struct worker *w = chunk->part->worker;

	chunk->io.done = chunk_answer;
	chunk->io.op = chunk->part->job->io->is_write ? NVMF_WRITE : NVMF_READ;
	chunk->io.nsid = way->nsid;
	chunk->io.lba_bytes = vol->block_bytes;
	chunk->io.slba = chunk->at.dev_off / vol->block_bytes;
	chunk->io.bytes = chunk->at.dev_len;
	chunk->part->out++;
	if (chunk->lane->worker != w) {
		chunk->msg.run = chunk_on_lane;
		loop_post(chunk->lane->worker->shard.loop, &chunk->msg);
	} else if (lane_takes(chunk)) {
		nvmf_io_submit(chunk->lane->qp, &chunk->io);
	} else {
		chunk->io.sc = NVME_SC_HOST_PATH_ERROR;
		chunk_end(chunk);
	}
}

/* --- issuing --- */

/* Moves on to the extent that holds the part's next chunk. */
static void part_locate(struct part *part, struct split_chunk *out)
{
	const struct vol_io *io = part->job->io;
	uint64_t chunk_bytes = part->job->set->opts.chunk_bytes, n;
	struct split_extent ext;

	for (;;) {
		ASSERT(part->ext < io->extent_count);
		ext = job_extent(io, part->ext, part->ext_start);
		n = split_count(&ext, chunk_bytes);
		if (part->next < part->ext_chunk + n)
			break;
		part->ext_chunk += n;
		part->ext_start += ext.len;
		part->ext++;
	}
	split_get(&ext, chunk_bytes, part->next - part->ext_chunk, out);
	split_seek(&part->cur, out->at);
}

static void part_advance(struct part *part)
{
	part->next += part->job->stride;
}

static enum issue part_park(struct part *part, struct vol *vol,
			    uint64_t until_ns)
{
	struct worker *w = part->worker;

	list_del(&part->turn);
	list_add_tail(&vol->lanes[w->index].parked, &part->turn);
	if (!part->is_parked)
		part->wait_until_ns = MIN(until_ns, part->job->io->deadline_ns);
	part->is_parked = true;
	if (!timer_is_set(&w->timer) ||
	    w->timer.deadline_ns > part->wait_until_ns)
		timer_set_at(w->shard.loop, &w->timer, part->wait_until_ns);
	return ISSUE_PARKED;
}

/* The volume is not ready. */
static enum issue part_wait(struct part *part, struct vol *vol)
{
	int ret = -EHOSTUNREACH;

	switch (atomic_load(&vol->state)) {
	case VOL_NEW:
		if (!vol->way_count)
			break;
		poke_send(&vol->control);
		return part_park(part, vol, UINT64_MAX);
	case VOL_READY: /* just now */
	case VOL_RETRY:
		return part_park(part, vol,
				 loop_now_ns(part->worker->shard.loop) +
					 RETRY_NS);
	case VOL_FENCED:
		ret = -ESTALE;
		break;
	case VOL_DOWN:
		break;
	}
	job_fail(part->job, ret, part->ext);
	return ISSUE_OVER;
}

static enum issue issue_local(struct part *part, const struct split_chunk *at,
			      void *mem, uint64_t size)
{
	const struct vol_io *io = part->job->io;
	struct split_cursor cur = part->cur;
	int ret = 0;

	if (at->dev_off > size || at->len > size - at->dev_off) {
		job_fail(part->job, -ERANGE, part->ext);
		return ISSUE_OVER;
	}
	if (io->is_write) {
		if (io->crcs)
			chunk_crcs(io, at, cur);
		split_gather(&cur, at->len, (char *)mem + at->dev_off);
		memset((char *)mem + at->dev_off + at->len, 0,
		       MIN(at->dev_len, size - at->dev_off) - at->len);
	} else {
		split_scatter(&cur, at->len, (char *)mem + at->dev_off);
		ret = verify_chunk(part->job, at, part->cur);
	}
	if (ret)
		job_fail(part->job, ret, part->ext);
	atomic_store(&part->job->was_local, true);
	part_advance(part);
	return ISSUE_LOCAL;
}

static enum issue issue_remote(struct part *part, const struct split_chunk *at,
			       const struct vol *vol, struct vol_way *way)
{
	struct worker *w = part->worker;
	const struct vol_io *io = part->job->io;
	unsigned lanes = atomic_load(&way->lane_count);
	struct chunk *chunk;

	if (!budget_take(&w->set->budget, &w->waiter, at->dev_len))
		return ISSUE_WAIT;
	chunk = pool_take(&w->chunks);
	if (chunk) {
		*chunk = (struct chunk){
			.part = part,
			.at = *at,
			.cur = part->cur,
			.ext = part->ext,
			.lane = &way->path->lanes[w->index % lanes],
			.gen = atomic_load(&way->gen),
		};
	}
	if (!chunk || chunk_map(chunk, w)) {
		pool_give(&w->chunks, chunk);
		budget_give(&w->set->budget, at->dev_len);
		job_fail(part->job, -ENOMEM, part->ext);
		return ISSUE_OVER;
	}
	/* Just before it is sent, so that it is in the cache then. */
	if (io->is_write && io->crcs)
		chunk_crcs(io, at, part->cur);
	part_advance(part);
	part->turn_bytes += at->dev_len;
	chunk_submit(chunk, vol, way);
	return ISSUE_GOOD;
}

static enum issue part_issue(struct part *part)
{
	struct vol_job *job = part->job;
	struct split_chunk at;
	struct vol_way *way;
	struct vol *vol;
	void *mem;

	if (atomic_load(&job->ret) || part->next >= job->chunk_count)
		return ISSUE_OVER;
	part_locate(part, &at);
	vol = job->io->extents[part->ext].vol;
	mem = atomic_load(&vol->mem);
	if (mem)
		return issue_local(part, &at, mem, atomic_load(&vol->mem_size));
	way = atomic_load(&vol->ready);
	if (!way)
		return part_wait(part, vol);
	part->is_parked = false;
	return issue_remote(part, &at, vol, way);
}

/* A part that has issued its share lets the next one go first. */
static void part_rotate(struct part *part, struct list *queue)
{
	if (part->turn_bytes < TURN_BYTES)
		return;
	part->turn_bytes = 0;
	list_del(&part->turn);
	list_add_tail(queue, &part->turn);
}

static struct part *next_part(struct worker *w)
{
	w->turn ^= 1; /* reads and writes take turns */
	if (list_is_empty(&w->queue[w->turn]))
		w->turn ^= 1;
	if (list_is_empty(&w->queue[w->turn]))
		return NULL;
	return list_first(&w->queue[w->turn], struct part, turn);
}

static void worker_pump(struct loop_task *task)
{
	struct worker *w = container_of(task, struct worker, pump);
	uint64_t local = 0;
	struct part *part;

	while ((part = next_part(w))) {
		/* One more than it has: it must not end inside of the call. */
		part->out++;
		enum issue what = part_issue(part);

		part->out--;
		if (what == ISSUE_WAIT)
			return;
		if (what == ISSUE_LOCAL)
			local += w->set->opts.chunk_bytes;
		if (what == ISSUE_OVER ||
		    part->next >= part->job->chunk_count) {
			list_del(&part->turn);
			part_maybe_end(part);
		} else if (what != ISSUE_PARKED) {
			part_rotate(part, &w->queue[w->turn]);
		}
		if (local >= LOCAL_BYTES) {
			loop_defer(w->shard.loop, &w->pump);
			break;
		}
	}
	budget_leave(&w->set->budget, &w->waiter);
}

/* --- parts --- */

static void queue_part(struct worker *w, struct part *part)
{
	list_add_tail(&w->queue[part->job->io->is_write], &part->turn);
	loop_defer(w->shard.loop, &w->pump);
}

void worker_accept(struct mbox_msg *msg)
{
	struct part *part = container_of(msg, struct part, msg);
	struct worker *w = part->worker;
	uint64_t deadline_ns = part->job->io->deadline_ns;

	list_init(&part->turn);
	list_add_tail(&w->active, &part->node);
	if (deadline_ns <= loop_now_ns(w->shard.loop))
		job_fail(part->job, -ETIMEDOUT, 0);
	else if (!timer_is_set(&w->timer) || w->timer.deadline_ns > deadline_ns)
		timer_set_at(w->shard.loop, &w->timer, deadline_ns);
	queue_part(w, part);
}

void worker_unpark(struct worker *w, struct list *parked)
{
	struct part *part;

	while (!list_is_empty(parked)) {
		part = list_first(parked, struct part, turn);
		list_del(&part->turn);
		queue_part(w, part);
	}
}

/* Returns when the part has to be looked at next, UINT64_MAX for never. */
static uint64_t part_expire(struct part *part, uint64_t now_ns)
{
	uint64_t deadline_ns = part->job->io->deadline_ns;

	if (deadline_ns <= now_ns)
		job_fail(part->job, -ETIMEDOUT, part->ext);
	else if (part->is_parked && part->wait_until_ns <= now_ns)
		job_fail(part->job, -EHOSTUNREACH, part->ext);
	else
		return part->is_parked ? part->wait_until_ns : deadline_ns;
	part_maybe_end(part);
	return UINT64_MAX;
}

static void worker_timer(struct timer *timer)
{
	struct worker *w = container_of(timer, struct worker, timer);
	uint64_t now_ns = loop_now_ns(w->shard.loop), next_ns = UINT64_MAX;
	struct part *part, *tmp;

	list_for_each_safe (part, tmp, &w->active, node)
		next_ns = MIN(next_ns, part_expire(part, now_ns));
	if (next_ns != UINT64_MAX)
		timer_set_at(w->shard.loop, &w->timer, next_ns);
	loop_defer(w->shard.loop, &w->pump); /* the line may be left */
}

/* --- life --- */

static void worker_woken(struct poke *poke)
{
	struct worker *w = container_of(poke, struct worker, wake);

	loop_defer(w->shard.loop, &w->pump);
}

static void wake_waiter(struct budget_waiter *waiter)
{
	poke_send(&container_of(waiter, struct worker, waiter)->wake);
}

int worker_start(struct worker *w, struct vol_set *set, unsigned index,
		 struct err *err)
{
	uint64_t bounce = MAX(set->opts.chunk_bytes, (uint64_t)BLOCK_MAX);
	int ret;

	w->set = set;
	w->index = index;
	list_init(&w->active);
	list_init(&w->queue[0]);
	list_init(&w->queue[1]);
	list_init(&w->waiter.node);
	list_init(&w->pump.node);
	w->waiter.wake = wake_waiter;
	w->timer.fire = worker_timer;
	w->pump.run = worker_pump;
	pool_init(&w->chunks, sizeof(struct chunk), 0);
	pool_init(&w->bounces, bounce, 0);
	ret = shard_start(&w->shard,
			  &(struct loop_opts){.spin_us = set->opts.spin_us,
					      .name = "mc-vol"},
			  err);
	if (!ret)
		poke_init(&w->wake, w->shard.loop, worker_woken);
	return ret;
}

void worker_free(struct worker *w)
{
	if (!w->set)
		return;
	pool_fini(&w->chunks);
	pool_fini(&w->bounces);
}
