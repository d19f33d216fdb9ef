/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs: checking a vol_io, spreading it over the workers, ending it.
 *
 * vol_submit: any thread.  The end: on the worker whose part is last.
 * Invariant: io->done is called once, after the last byte of the caller's
 * memory was touched.
 */
#include "pool/job.h"

#include <errno.h>

#include "base/time.h"
#include "proto/frame.h"

static int check_extents(const struct vol_io *io)
{
	uint64_t sum = 0, end;

	for (unsigned i = 0; i < io->extent_count; i++) {
		const struct vol_extent *ext = &io->extents[i];
		uint64_t block = ext->vol->block_bytes;

		if (ext->off % block || add_overflows(sum, ext->len, &sum) ||
		    add_overflows(ext->off, ext->len, &end) ||
		    add_overflows(end, block, &end))
			return -EINVAL;
		if (ext->len % block && i + 1 < io->extent_count)
			return -EINVAL;
	}
	return sum == io->bytes ? 0 : -EINVAL;
}

static int check_iov(const struct vol_io *io)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < io->iovcnt; i++)
		if (add_overflows(sum, io->iov[i].iov_len, &sum))
			return -EINVAL;
	return sum == io->bytes ? 0 : -EINVAL;
}

static void measure(struct vol_job *job)
{
	const struct vol_io *io = job->io;
	uint64_t chunk_bytes = job->set->opts.chunk_bytes, start = 0;

	for (unsigned i = 0; i < io->extent_count; i++) {
		struct split_extent ext = job_extent(io, i, start);

		job->chunk_count += split_count(&ext, chunk_bytes);
		if (!split_keeps_blocks(&ext, chunk_bytes, CRC_BLOCK))
			job->is_verified_late = true;
		start += ext.len;
	}
}

static struct vol_job *job_take(struct vol_set *set)
{
	struct vol_job *job;

	pthread_mutex_lock(&set->jobs_mu);
	job = pool_take(&set->jobs);
	pthread_mutex_unlock(&set->jobs_mu);
	return job;
}

static void job_give(struct vol_job *job)
{
	struct vol_set *set = job->set;

	pthread_mutex_lock(&set->jobs_mu);
	pool_give(&set->jobs, job);
	pthread_mutex_unlock(&set->jobs_mu);
}

static void job_spread(struct vol_job *job)
{
	struct vol_set *set = job->set;
	unsigned first = atomic_fetch_add(&set->next_worker, 1);
	unsigned stride = job->stride;

	for (unsigned i = 0; i < stride; i++) {
		struct part *part = &job->parts[i];

		*part = (struct part){
			.msg.run = worker_accept,
			.job = job,
			.worker =
				&set->workers[(first + i) % set->worker_count],
			.cur = job_cursor(job->io),
			.next = i,
		};
	}
	/* The job may end as soon as the last of its parts is posted. */
	for (unsigned i = 0; i < stride; i++)
		loop_post(job->parts[i].worker->shard.loop, &job->parts[i].msg);
}

int vol_submit(struct vol_set *set, struct vol_io *io)
{
	struct vol_job *job;

	if (check_extents(io) || check_iov(io))
		return -EINVAL;
	job = job_take(set);
	if (!job)
		return -ENOMEM;
	*job = (struct vol_job){.io = io, .set = set};
	measure(job);
	job->stride = (unsigned)MIN((uint64_t)set->worker_count,
				    MAX(job->chunk_count, (uint64_t)1));
	atomic_store(&job->parts_left, job->stride);
	io->job = job;
	io->ret = 0;
	io->failed_extent = 0;
	job_spread(job);
	return 0;
}

void job_fail(struct vol_job *job, int ret, unsigned ext)
{
	int none = 0;

	ASSERT(ret < 0);
	if (atomic_compare_exchange_strong(&job->ret, &none, ret))
		atomic_store(&job->failed_extent, ext);
}

static unsigned extent_at(const struct vol_io *io, uint64_t at)
{
	unsigned i = 0;

	for (; i + 1 < io->extent_count && at >= io->extents[i].len; i++)
		at -= io->extents[i].len;
	return i;
}

/* Blocks that were read in parts can be verified only when all is there. */
static void verify_late(struct vol_job *job)
{
	const struct vol_io *io = job->io;
	struct split_cursor cur = job_cursor(io);
	uint64_t len;

	for (uint64_t i = 0; cur.at < io->bytes; i++) {
		len = MIN((uint64_t)CRC_BLOCK, io->bytes - cur.at);
		if (split_crc(&cur, len) == io->crcs[i])
			continue;
		job_fail(job, -EILSEQ, extent_at(io, i * CRC_BLOCK));
		return;
	}
}

static void count(struct vol_job *job)
{
	struct counters *c = &job->set->counters;
	const struct vol_io *io = job->io;
	unsigned dir = io->is_write;

	if (!io->ret) {
		atomic_fetch_add(&c->ops[dir], 1);
		atomic_fetch_add(&c->bytes[dir], io->bytes);
		if (atomic_load(&job->was_local))
			atomic_fetch_add(&c->local[dir], 1);
		return;
	}
	if (io->ret == -ECANCELED)
		return;
	atomic_fetch_add(&c->errors, 1);
	if (io->ret == -EILSEQ)
		atomic_fetch_add(&c->checksum_errors, 1);
	else if (io->ret == -ETIMEDOUT)
		atomic_fetch_add(&c->timeouts, 1);
	else if (io->ret == -ESTALE)
		atomic_fetch_add(&c->fenced, 1);
}

void job_part_done(struct vol_job *job)
{
	struct vol_io *io = job->io;

	if (atomic_fetch_sub(&job->parts_left, 1) != 1)
		return;
	if (!atomic_load(&job->ret) && job->is_verified_late && io->crcs &&
	    !io->is_write)
		verify_late(job);
	io->ret = atomic_load(&job->ret);
	io->is_resent = atomic_load(&job->is_resent);
	io->failed_extent = atomic_load(&job->failed_extent);
	count(job);
	io->job = NULL;
	job_give(job);
	io->done(io);
}
