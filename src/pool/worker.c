/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker: issues the chunks of the parts it was given, by fair turns.
 *
 * Worker's thread.  Invariant: a part is in active; while it has chunks to
 * issue it is also in turns, parked at one volume or held at its paths; it ends
 * when it has none and none is under way.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "pool/chunk.h"

#define LOCAL_BYTES MiB /* copied before the loop gets a look at its I/O */

void part_leave(struct part *part)
{
	turns_leave(&part->worker->turns, &part->turn);
	part_unhold(part);
	list_del(&part->wait);
}

void part_maybe_end(struct part *part)
{
	struct vol_job *job = part->job;

	if (part->out || (part->next < job->chunk_count && !job->ret))
		return;
	list_del(&part->node);
	part_leave(part);
	part->is_parked = false;
	job_part_done(job);
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

static enum issue part_park(struct part *part, struct vol *vol,
			    uint64_t until_ns)
{
	struct worker *w = part->worker;

	part_leave(part);
	list_add_tail(&vol->lanes[w->index].parked, &part->wait);
	if (!part->is_parked)
		part->wait_until_ns = MIN(until_ns, part->job->io->deadline_ns);
	part->is_parked = true;
	if (!timer_is_set(&w->timer) ||
	    w->timer.deadline_ns > part->wait_until_ns)
		timer_set_at(w->shard.loop, &w->timer, part->wait_until_ns);
	return ISSUE_PARKED;
}

enum issue part_wait(struct part *part, struct vol *vol)
{
	int ret = -EHOSTUNREACH;

	switch (atomic_load(&vol->state)) {
	case VOL_NEW:
		if (!vol->way_count)
			break;
		poke_send(&vol->control);
		return part_park(part, vol, UINT64_MAX);
	case VOL_CHANGING:
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
		ret = chunk_verify(part->job, at, part->cur);
	}
	if (ret)
		job_fail(part->job, ret, part->ext);
	atomic_store(&part->job->was_local, true);
	part->next += part->job->stride;
	return ISSUE_LOCAL;
}

/* *bytes: what counts for the turn. */
static enum issue part_issue(struct part *part, uint64_t *bytes)
{
	struct vol_job *job = part->job;
	struct split_chunk at;
	struct vol *vol;
	void *mem;

	if (atomic_load(&job->ret) || part->next >= job->chunk_count)
		return ISSUE_OVER;
	part_locate(part, &at);
	*bytes = at.dev_len;
	vol = job->io->extents[part->ext].vol;
	mem = atomic_load(&vol->mem);
	if (mem)
		return issue_local(part, &at, mem, atomic_load(&vol->mem_size));
	if (!atomic_load(&vol->ready))
		return part_wait(part, vol);
	part->is_parked = false;
	return chunk_issue(part, &at, vol);
}

static struct part *next_part(struct worker *w)
{
	struct turn *turn = turns_next(&w->turns);

	return turn ? container_of(turn, struct part, turn) : NULL;
}

/* What the part has just issued counts; it may end. */
static void part_issued(struct part *part, enum issue what, uint64_t bytes)
{
	struct worker *w = part->worker;

	if (what == ISSUE_PARKED)
		return;
	if (what == ISSUE_OVER || part->next >= part->job->chunk_count) {
		turns_leave(&w->turns, &part->turn);
		part_maybe_end(part);
	} else
		turns_charge(&w->turns, &part->turn, bytes);
}

static void worker_pump(struct loop_task *task)
{
	struct worker *w = container_of(task, struct worker, pump);
	uint64_t local = 0, bytes = 0;
	struct part *part;

	while ((part = next_part(w))) {
		/* One more than it has: it must not end inside of the call. */
		part->out++;
		enum issue what = part_issue(part, &bytes);

		part->out--;
		if (what == ISSUE_WAIT)
			return;
		if (what == ISSUE_LOCAL)
			local += bytes;
		part_issued(part, what, bytes);
		if (local >= LOCAL_BYTES) {
			loop_defer(w->shard.loop, &w->pump);
			break;
		}
	}
	budget_leave(&w->set->budget, &w->waiter);
}

/* --- parts --- */

void part_queue(struct part *part)
{
	struct worker *w = part->worker;

	turns_add(&w->turns, &part->turn);
	loop_defer(w->shard.loop, &w->pump);
}

void worker_accept(struct mbox_msg *msg)
{
	struct part *part = container_of(msg, struct part, msg);
	struct worker *w = part->worker;
	const struct vol_io *io = part->job->io;
	uint64_t deadline_ns = io->deadline_ns;

	list_init(&part->wait);
	list_init(&part->sent);
	part->turn.flow = io->flow ? io->flow : (uintptr_t)part->job;
	part->turn.is_write = io->is_write;
	list_add_tail(&w->active, &part->node);
	if (deadline_ns <= loop_now_ns(w->shard.loop))
		job_fail(part->job, -ETIMEDOUT, 0);
	else if (!timer_is_set(&w->timer) || w->timer.deadline_ns > deadline_ns)
		timer_set_at(w->shard.loop, &w->timer, deadline_ns);
	part_queue(part);
}

void worker_unpark(struct worker *w, struct list *parked)
{
	struct part *part;

	while (!list_is_empty(parked)) {
		part = list_first(parked, struct part, wait);
		list_del(&part->wait);
		part_queue(part);
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

/* Not being pinned costs some speed and nothing else. */
static void worker_pin(struct worker *w, const cpu_set_t *cpus)
{
	int ret = pthread_setaffinity_np(w->shard.thread, sizeof(*cpus), cpus);

	if (ret)
		log_warn("worker is not pinned", "worker=%u reason=\"%s\"",
			 w->index, strerror(ret));
}

int worker_start(struct worker *w, struct vol_set *set, unsigned index,
		 struct err *err)
{
	uint64_t bounce = MAX(set->opts.chunk_bytes, (uint64_t)BLOCK_MAX);
	int ret;

	w->set = set;
	w->index = index;
	list_init(&w->active);
	list_init(&w->delayed);
	turns_init(&w->turns, MAX(set->opts.read_weight, 1u));
	list_init(&w->waiter.node);
	list_init(&w->pump.node);
	w->waiter.wake = wake_waiter;
	w->timer.fire = worker_timer;
	w->again.fire = chunks_again;
	w->pump.run = worker_pump;
	pool_init(&w->chunks, sizeof(struct chunk), 0);
	pool_init(&w->bounces, bounce, 0);
	ret = shard_start(&w->shard,
			  &(struct loop_opts){.spin_us = set->opts.spin_us,
					      .name = "mc-vol"},
			  err);
	if (ret)
		return ret;
	poke_init(&w->wake, w->shard.loop, worker_woken);
	if (set->opts.numa_node >= 0)
		worker_pin(w, &set->cpus);
	return 0;
}

void worker_free(struct worker *w)
{
	if (!w->set)
		return;
	pool_fini(&w->chunks);
	pool_fini(&w->bounces);
}
