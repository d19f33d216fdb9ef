/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job is one vol_io under way, a part is what one worker does of it: the
 * chunks index, index + stride, index + 2 * stride, … of the object.
 */
#ifndef POOL_JOB_H
#define POOL_JOB_H

#include "pool/set.h"

#define RETRY_NS (2 * NS_PER_S) /* patience with a way that was just lost */

/* A part in the line of a path: lane_load.held. */
struct hold {
	struct list node;
	struct part *part;
};

struct part {
	struct mbox_msg msg;
	struct vol_job *job;
	struct worker *worker;
	/* worker's thread from here on */
	struct list node; /* worker->active */
	struct turn turn; /* in worker->turns */
	struct list wait; /* a volume's parked parts */
	struct list sent; /* chunks on queue pairs */
	struct split_cursor cur;
	uint64_t next;	    /* chunk of the object */
	unsigned ext;	    /* extent in which that one is, or before */
	uint64_t ext_chunk; /* number of the extent's first chunk */
	uint64_t ext_start; /* the extent's first byte in the object */
	unsigned out;	    /* chunks under way */
	bool is_parked;
	uint64_t wait_until_ns; /* parked: end of patience */
	unsigned hold_count;	/* 0: it is not held */
	struct hold holds[VOL_ENDPOINTS_MAX];
};

struct vol_job {
	struct vol_io *io;
	struct vol_set *set;
	uint64_t chunk_count;
	unsigned stride;       /* number of parts */
	bool is_verified_late; /* checksummed blocks are parted by chunks */
	_Atomic(unsigned) parts_left;
	_Atomic(int) ret;		 /* first failure */
	_Atomic(unsigned) failed_extent; /* of whom set ret */
	_Atomic(bool) was_local;
	_Atomic(bool) is_resent;
	struct part parts[];
};

static inline struct split_extent job_extent(const struct vol_io *io,
					     unsigned index, uint64_t start)
{
	const struct vol_extent *ext = &io->extents[index];

	return (struct split_extent){
		.start = start,
		.off = ext->off,
		.len = ext->len,
		.block = ext->vol->block_bytes,
	};
}

static inline struct split_cursor job_cursor(const struct vol_io *io)
{
	return (struct split_cursor){.iov = io->iov, .iovcnt = io->iovcnt};
}

/* The first failure counts.  Any worker. */
void job_fail(struct vol_job *job, int ret, unsigned ext);
/* A part has nothing left to do and nothing under way; the last one of the job
 * calls io->done. */
void job_part_done(struct vol_job *job);
/* Worker's thread: takes the part over. */
void worker_accept(struct mbox_msg *msg);

/* --- of the worker, for its chunks --- */
enum issue {
	ISSUE_GOOD,
	ISSUE_LOCAL,
	ISSUE_WAIT, /* for bytes of the budget */
	ISSUE_PARKED,
	ISSUE_OVER, /* nothing left */
};
/* The volume takes no I/O now: the part waits for it or fails. */
enum issue part_wait(struct part *part, struct vol *vol);
/* Neither in turns nor parked nor held any more. */
void part_leave(struct part *part);
/* Back in turns. */
void part_queue(struct part *part);
void part_maybe_end(struct part *part);

/* --- hold.c --- */
/* Until a chunk has come back by a path of the volume, or its paths change. */
enum issue part_hold(struct part *part, struct vol *vol);
void part_unhold(struct part *part); /* no-op when it is not held */
/* Looks again at all that wait for that path. */
void load_unhold(struct lane_load *load);

#endif
