/* SPDX-License-Identifier: Apache-2.0 */
/* A chunk under way to or from a namespace, and its way there. */
#ifndef POOL_CHUNK_H
#define POOL_CHUNK_H

#include "pool/job.h"

#define CHUNK_PIECES 34 /* more pieces than that go through a bounce */
#define CHUNK_SUMS   8	/* blocks whose sums are shared with data digests */

struct chunk {
	struct nvmf_io io;
	struct part *part;
	struct split_chunk at;
	struct split_cursor cur; /* where the chunk begins */
	unsigned ext;
	struct vol_way *way;
	struct lane *lane; /* who has the queue pair */
	uint64_t gen;
	uint64_t start_ns; /* when it was sent this way */
	uint32_t tried;	   /* ways that failed it, by bit */
	unsigned tries;
	uint64_t until_ns; /* delayed: end of patience */
	void *bounce;
	struct mbox_msg msg;
	struct list node; /* worker->delayed or part->sent */
	/* On another worker's queue pair: */
	struct mbox_msg cancel_msg;
	bool is_submitted;  /* its thread's */
	bool is_cancelling; /* cancel_msg is there, or on its way */
	bool has_come;	    /* meanwhile */
	struct iovec iov[CHUNK_PIECES];
	uint32_t sums[CHUNK_SUMS]; /* of a read */
};

/* What the worker has under way there, and what waits for it. */
static inline struct lane_load *way_load(const struct vol_way *way,
					 const struct worker *w)
{
	return &way->path->lanes[w->index].load;
}

/* --- pick.c --- */
/* NULL when no way is left that was not tried, by bit. */
struct vol_way *pick_way(struct vol *vol, const struct worker *w,
			 uint32_t tried);
/* That way, or by turns another one if it is full; by load the others would be
 * full as well.  NULL: not now. */
struct vol_way *pick_free(struct vol *vol, const struct worker *w,
			  struct vol_way *way);

/* --- chunk.c --- */
/* All on the worker's thread.  Sends the part's next chunk; the volume is
 * READY or just was. */
enum issue chunk_issue(struct part *part, const struct split_chunk *at,
		       struct vol *vol);
/* Those that are on the wire come back soon; the job has failed. */
void chunks_cancel(struct part *part);
/* The timer of delayed chunks. */
void chunks_again(struct timer *timer);

/* Of the blocks that begin in the chunk: computes the checksums (write) or
 * compares them (read; they end in it, too): 0 or -EILSEQ. */
int chunk_crcs(const struct vol_io *io, const struct split_chunk *at,
	       struct split_cursor cur);
/* Compares unless it is a write or blocks are parted by chunks. */
int chunk_verify(const struct vol_job *job, const struct split_chunk *at,
		 struct split_cursor cur);

#endif
