/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a volume set.
 *
 * Worker 0 is also the control thread: the state machines of paths, volumes
 * and visits (probe, label) run there and nowhere else.  I/O runs on every
 * worker and learns of the control thread's decisions by atomics that are set
 * before the worker is poked.  Volumes and paths live until the set is
 * destroyed, so a late poke never meets freed memory; an unused connection is
 * closed, its struct stays.
 */
#ifndef POOL_SET_H
#define POOL_SET_H

#include <pthread.h>

#include "base/pool.h"
#include "base/rand.h"
#include "io/thread.h"
#include "pool/budget.h"
#include "pool/resolve.h"
#include "pool/split.h"
#include "pool/vol.h"

#define VOL_ENDPOINTS_MAX 8
#define RECHECK_NS	  (2 * NS_PER_S) /* of volumes that are refused */
#define CHUNK_PIECES	  34 /* more pieces than that go through a bounce */

/* A message that may be sent any number of times; run() is called at least
 * once after each send, on the loop. */
struct poke {
	struct mbox_msg msg;
	_Atomic(bool) is_posted;
	struct loop *loop;
	void (*run)(struct poke *poke);
};
void poke_init(struct poke *poke, struct loop *loop,
	       void (*run)(struct poke *poke));
void poke_send(struct poke *poke);

/* --- workers (worker.c) --- */
struct worker {
	struct shard shard;
	struct vol_set *set;
	unsigned index;
	struct list active;   /* parts here, by arrival */
	struct list queue[2]; /* parts that may issue chunks: reads, writes */
	unsigned turn;	      /* which of the two is next */
	struct pool chunks, bounces;
	struct timer timer;
	struct loop_task pump;
	struct budget_waiter waiter;
	struct poke wake; /* bytes of the budget were given back */
};
/* 0 or -errno; starts the thread. */
int worker_start(struct worker *w, struct vol_set *set, unsigned index,
		 struct err *err);
/* Zeroed and half-started are fine; the threads of all workers are stopped
 * before one is freed. */
void worker_free(struct worker *w);
/* Looks again at parts that wait for a volume. Worker's thread. */
void worker_unpark(struct worker *w, struct list *parked);

/* --- paths: connections to one subsystem at one address (path.c) --- */
enum path_state {
	PATH_IDLE,
	PATH_RESOLVING,
	PATH_CONNECTING, /* controller */
	PATH_LANES,	 /* queue pairs */
	PATH_LIVE,
	PATH_CLOSING,
	PATH_BACKOFF,
	PATH_GONE, /* the set is being destroyed */
};

enum lane_report {
	LANE_LIVE = 1,
	LANE_FAILED = 2
};

/* One queue pair of a path, on one worker. */
struct lane {
	struct path *path;
	struct worker *worker;
	/* worker's thread */
	struct nvmf_qp *qp;
	uint64_t gen; /* of qp */
	bool is_live, is_closing;
	/* control thread to worker */
	_Atomic(uint64_t) want; /* gen * 2 + is to be open */
	struct poke cmd;
	/* worker to control thread */
	_Atomic(uint64_t) report; /* gen * 4 + enum lane_report */
	_Atomic(uint64_t) closed_gen;
	struct err err; /* written before FAILED is reported */
	struct poke answer;
	/* control thread */
	uint64_t opened_gen;
	/* Where the padding of reads goes: of one queue pair, because it
	 * receives one payload at a time and computes the digest over what
	 * lies here then. */
	uint8_t trash[BLOCK_MAX];
};

struct path {
	struct vol_set *set;
	struct list node;   /* set->paths */
	struct endpoint ep; /* nsid 0 */
	struct list vols;
	enum path_state state;
	uint64_t gen; /* counts connections; 0 = never */
	struct nvmf_opts opts;
	struct resolve *resolve;
	struct nvmf_ctrl *ctrl;
	struct nvmf_ctrl_info info;
	bool is_ctrl_closing;
	unsigned lane_count;
	unsigned failures;  /* in a row */
	uint64_t failed_ns; /* when the last one was */
	bool was_idle;	    /* nobody wanted it at the last look */
	struct err err;	    /* why it is not LIVE */
	struct timer timer;
	struct lane lanes[];
};
struct path *path_get(struct vol_set *set, const struct endpoint *ep);
void path_free(struct path *path);
/* Control thread. */
void path_want(struct path *path);
/* A volume failed its check: looked at again in a while. */
void path_recheck(struct path *path);
void path_shut(struct path *path); /* for good: the set is being destroyed */

/* --- volumes (vol.c) --- */
enum vol_state {
	VOL_NEW,   /* not tried yet: I/O waits */
	VOL_RETRY, /* was connected, first new attempt: I/O waits a little */
	VOL_READY,
	VOL_FENCED, /* superblock is not ours */
	VOL_DOWN,   /* I/O fails at once */
};

/* A way to the volume. */
struct vol_way {
	struct path *path;
	uint32_t nsid;
	/* connection on which it was checked */
	_Atomic(uint64_t) gen;
	_Atomic(unsigned) lane_count;
};

struct vol_lane {
	struct vol *vol;
	struct worker *worker;
	struct list parked; /* parts that wait for the volume */
	struct poke poke;
};

struct vol {
	struct vol_set *set;
	struct list node; /* set->vols */
	/* constant */
	struct uuid segment;
	bool is_nof;
	uint64_t epoch;
	uint32_t block_bytes;
	uint64_t endpoints_hash;
	struct vol_way ways[VOL_ENDPOINTS_MAX];
	unsigned way_count;
	/* any thread */
	_Atomic(unsigned) refs;
	_Atomic(void *) mem; /* the segment is ours */
	_Atomic(uint64_t) mem_size;
	_Atomic(enum vol_state) state;
	_Atomic(struct vol_way *) ready; /* not NULL while READY */
	/* control thread */
	struct poke control;
	struct list path_node; /* path->vols of the current way */
	unsigned way;
	unsigned ways_failed; /* since the last success */
	bool is_checking, was_ready;
	struct path *check_path;
	uint64_t check_gen, check_ns;
	struct nvmf_io io;
	struct iovec iov;
	void *check_buf;
	struct vol_lane lanes[];
};
/* Control thread, called by the path the volume is on. */
void vol_path_live(struct vol *vol);
void vol_path_lost(struct vol *vol);
void vol_path_idle(struct vol *vol);  /* closed because nobody used it */
void vol_path_retry(struct vol *vol); /* a new attempt begins */
bool vol_is_wanted(const struct vol *vol);
bool vol_needs_check(const struct vol *vol);
void vol_free(struct vol *vol);

struct mem_segment {
	struct list node; /* set->mems */
	struct uuid segment;
	void *mem;
	uint64_t size;
};

/* --- probe and label (visit.c) --- */
struct visit;

struct counters {
	_Atomic(uint64_t) ops[2], bytes[2], local[2]; /* reads, writes */
	_Atomic(uint64_t) errors, checksum_errors, timeouts, fenced;
	_Atomic(uint64_t) connected;
};

struct vol_set {
	struct vol_opts opts;
	struct worker *workers;
	unsigned worker_count; /* started */
	struct budget budget;
	struct counters counters;
	_Atomic(unsigned) next_worker;
	pthread_mutex_t mu; /* tables */
	struct list vols, paths, mems;
	pthread_mutex_t jobs_mu;
	struct pool jobs;
	/* control thread */
	struct rng rng;
	unsigned visits;
	bool is_closing;
	struct gate *closed;
};
static inline struct loop *set_loop(const struct vol_set *set)
{
	return set->workers[0].shard.loop; /* of the control thread */
}
/* Control thread: something that was waited for has ended. */
void set_maybe_closed(struct vol_set *set);

#endif
