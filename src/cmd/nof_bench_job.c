/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/Os of nof_worker_pool_bench.  A job's thread submits and accounts;
 * slot_io_done() alone runs on a worker's thread and only takes the time.
 *
 * Invariant: a slot is with the pool, in its job's mailbox or waits for its
 * timer; busy counts all of them, and the job has ended when it is 0.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "cmd/nof_bench.h"

#define IO_NS	      (30 * NS_PER_S)
#define FAILED_NS     (10 * NS_PER_MS) /* before a failed slot goes on */
#define MISMATCH_LOGS 8

/* --- the pattern --- */

/* Word at a byte of the namespace (splitmix64). */
static uint64_t pattern_word(uint64_t off, uint64_t seed)
{
	uint64_t x = off / 8 + seed * 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static void pattern_fill(const struct bench_slot *slot, uint64_t seed)
{
	uint64_t *p = slot->iov.iov_base;

	for (uint64_t i = 0; i < slot->iov.iov_len / 8; i++)
		p[i] = pattern_word(slot->ext.off + i * 8, seed);
}

static void pattern_check(struct bench_slot *slot, uint64_t seed)
{
	const uint64_t *p = slot->iov.iov_base;
	struct bench_end *end = slot->end;
	uint64_t i = 0, n = slot->iov.iov_len / 8;

	while (i < n && p[i] == pattern_word(slot->ext.off + i * 8, seed))
		i++;
	end->verified += slot->iov.iov_len;
	if (i == n)
		return;
	if (end->mismatches++ < MISMATCH_LOGS)
		log_err("comparison failed",
			"endpoint=\"%s\" byte=%llu expected=%016llx "
			"found=%016llx",
			end->text, (unsigned long long)(slot->ext.off + i * 8),
			(unsigned long long)pattern_word(slot->ext.off + i * 8,
							 seed),
			(unsigned long long)p[i]);
}

static bool is_written(const struct bench_end *end, uint64_t place)
{
	return end->written && end->written[place / 8] & 1u << place % 8;
}

/* --- submitting --- */

static void count_one(_Atomic(uint64_t) *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void slot_send(struct bench_slot *slot)
{
	slot->begun_ns = time_mono_ns();
	slot->io.deadline_ns = slot->begun_ns + IO_NS;
	if (vol_submit(slot->end->b->set, &slot->io) == 0)
		return;
	slot->io.ret = -ENOMEM;
	slot->io.done(&slot->io);
}

static void slot_next(struct bench_slot *slot)
{
	struct bench_end *end = slot->end;
	const struct bench_plan *plan = &end->b->plan;
	struct vol_io *io = &slot->io;

	slot->is_read_back = false;
	slot->place = plan->is_random ? rng_below(&end->rng, end->places)
				      : end->next++ % end->places;
	slot->ext.off = end->base + slot->place * plan->io_bytes;
	io->is_write = plan->op == BENCH_WRITE ||
		       (plan->op == BENCH_MIXED && rng_u64(&end->rng) & 1);
	/* Known before the read is sent: a write may end while it is under
	 * way. */
	slot->is_comparable = !io->is_write && is_written(end, slot->place);
	if (plan->is_verified && io->is_write)
		pattern_fill(slot, plan->seed);
	count_one(&end->submitted, 1);
	slot_send(slot);
}

static void slot_read_back(struct bench_slot *slot)
{
	/* What does not arrive must not look like what was sent. */
	memset(slot->iov.iov_base, 0, slot->iov.iov_len);
	slot->is_read_back = true;
	slot->io.is_write = false;
	slot_send(slot);
}

/* --- accounting, on the job's thread --- */

static void job_maybe_end(struct bench_job *job)
{
	if (job->busy == 0)
		loop_post(job->b->loop, &job->ended);
}

static void slot_end(struct bench_slot *slot)
{
	struct bench_job *job = slot->end->job;

	job->busy--;
	job_maybe_end(job);
}

static bool is_over(const struct bench *b)
{
	return atomic_load(&b->is_stopped) || time_mono_ns() >= b->end_ns;
}

static void slot_wakes(struct timer *timer)
{
	struct bench_slot *slot = container_of(timer, struct bench_slot, timer);

	if (is_over(slot->end->b))
		slot_end(slot);
	else
		slot_next(slot);
}

static void account(struct bench_slot *slot)
{
	struct bench_end *end = slot->end;
	struct bench *b = end->b;
	bool is_counted = slot->done_ns >= b->count_ns &&
			  slot->done_ns < b->end_ns &&
			  !atomic_load(&b->is_stopped);

	if (slot->io.ret) {
		count_one(&end->failed, 1);
		end->window.failed += is_counted;
		return;
	}
	count_one(&end->completed, 1);
	count_one(&end->bytes, b->plan.io_bytes);
	if (!is_counted)
		return;
	end->window.completed++;
	end->window.bytes += b->plan.io_bytes;
	hist_add(&end->latency_ns, slot->done_ns - slot->begun_ns);
}

/* Compares, and marks what later reads can be compared with. */
static void verify(struct bench_slot *slot)
{
	struct bench_end *end = slot->end;
	const struct bench_plan *plan = &end->b->plan;

	if (slot->io.is_write && end->written)
		end->written[slot->place / 8] |=
			(uint8_t)(1u << slot->place % 8);
	else if (!slot->io.is_write &&
		 (plan->op == BENCH_READ || slot->is_read_back ||
		  slot->is_comparable))
		pattern_check(slot, plan->seed);
}

static void slot_done(struct mbox_msg *msg)
{
	struct bench_slot *slot = container_of(msg, struct bench_slot, msg);
	struct bench *b = slot->end->b;
	bool is_read_back = slot->is_read_back;

	if (!is_read_back)
		account(slot);
	else if (slot->io.ret)
		count_one(&slot->end->failed, 1);
	if (slot->io.ret) {
		slot->timer.fire = slot_wakes;
		timer_set(slot->end->job->shard.loop, &slot->timer, FAILED_NS);
		return;
	}
	if (b->plan.is_verified)
		verify(slot);
	/* A write is compared also after the end: it was made. */
	if (b->plan.is_verified && b->plan.op == BENCH_WRITE && !is_read_back)
		slot_read_back(slot);
	else if (is_over(b))
		slot_end(slot);
	else
		slot_next(slot);
}

static void slot_io_done(struct vol_io *io)
{
	struct bench_slot *slot = container_of(io, struct bench_slot, io);

	slot->done_ns = time_mono_ns();
	slot->msg.run = slot_done;
	loop_post(slot->end->job->shard.loop, &slot->msg);
}

/* --- life --- */

static void slot_init(struct bench_slot *slot, struct bench_end *end,
		      uint8_t *buf)
{
	uint64_t bytes = end->b->plan.io_bytes;

	*slot = (struct bench_slot){
		.end = end,
		.ext = {.vol = end->vol, .len = bytes},
		.iov = {buf, bytes},
	};
	slot->io = (struct vol_io){
		.done = slot_io_done,
		.extents = &slot->ext,
		.extent_count = 1,
		.iov = &slot->iov,
		.iovcnt = 1,
		.bytes = bytes,
	};
	memset(buf, 0, bytes); /* page faults are not the subject */
	if (end->b->plan.is_filled && end->b->plan.op != BENCH_READ)
		pattern_fill(slot, end->b->plan.seed);
}

static void job_start(struct mbox_msg *msg)
{
	struct bench_job *job = container_of(msg, struct bench_job, start);
	struct bench *b = job->b;
	uint64_t depth = b->plan.depth;

	job->busy = 1; /* until all are under way */
	for (size_t e = 0; e < b->plan.endpoints.count; e++) {
		if (b->ends[e].job != job)
			continue;
		for (uint64_t i = 0; i < depth; i++) {
			job->busy++;
			slot_next(&b->slots[e * depth + i]);
		}
	}
	job->busy--;
	job_maybe_end(job);
}

static void job_ended(struct mbox_msg *msg)
{
	bench_job_ended(container_of(msg, struct bench_job, ended)->b);
}

int bench_jobs_start(struct bench *b, struct err *err)
{
	uint64_t depth = b->plan.depth, n = b->plan.endpoints.count * depth;
	struct loop_opts lo = {.name = "mc-job", .spin_us = b->opts.spin_us};
	int ret;

	for (uint64_t i = 0; i < n; i++)
		slot_init(&b->slots[i], &b->ends[i / depth],
			  b->bufs + i * ALIGN_UP(b->plan.io_bytes, 4096));
	for (unsigned i = 0; i < b->plan.jobs; i++) {
		struct bench_job *job = &b->bench_jobs[i];

		ret = shard_start(&job->shard, &lo, err);
		if (ret)
			return ret;
	}
	b->start_ns = time_mono_ns();
	b->count_ns = b->start_ns + b->plan.warm_ns;
	b->end_ns = b->count_ns + b->plan.run_ns;
	for (unsigned i = 0; i < b->plan.jobs; i++) {
		struct bench_job *job = &b->bench_jobs[i];

		job->start.run = job_start;
		job->ended.run = job_ended;
		b->jobs_left++;
		loop_post(job->shard.loop, &job->start);
	}
	return 0;
}

void bench_jobs_stop(struct bench *b)
{
	for (unsigned i = 0; b->bench_jobs && i < b->plan.jobs; i++)
		shard_stop(&b->bench_jobs[i].shard);
}
