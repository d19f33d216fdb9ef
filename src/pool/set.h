/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a volume set.
 *
 * Worker 0 is also the control thread: the state machines of paths, volumes
 * and visits (probe, label) run there and nowhere else.  I/O runs on every
 * worker and learns of the control thread's decisions by atomics that are set
 * before the worker is poked.  An unused connection is closed; its path and
 * its volumes stay until nobody has used them for long (sweep.c).
 */
#ifndef POOL_SET_H
#define POOL_SET_H

#include <pthread.h>
#include <sched.h>

#include "base/pool.h"
#include "base/rand.h"
#include "io/resolve.h"
#include "io/thread.h"
#include "pool/budget.h"
#include "pool/split.h"
#include "pool/stat.h"
#include "pool/turns.h"
#include "pool/vol.h"

#define VOL_ENDPOINTS_MAX 8		 /* at most 16: see ways_good() */
#define RECHECK_NS	  (2 * NS_PER_S) /* of volumes that are refused */

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
	struct list active;  /* parts here, by arrival */
	struct turns turns;  /* those that may issue chunks */
	struct list delayed; /* chunks that no way takes for the moment */
	struct pool chunks, bounces;
	struct timer timer;
	struct timer again; /* for delayed chunks */
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

/* --- paths: connections to one subsystem at one address, as one owner: a new
 * life of the master has paths of its own (path.c) --- */
enum path_state {
	PATH_IDLE,
	PATH_RESOLVING,
	PATH_CONNECTING, /* controller */
	PATH_LANES,	 /* queue pairs */
	PATH_LIVE,
	PATH_CLOSING,
	PATH_BACKOFF,
	PATH_GONE, /* forgotten, or the set is being destroyed */
};

enum lane_report {
	LANE_LIVE = 1,
	LANE_FAILED = 2
};

/* What a worker has to do with a path.  Written by that worker only. */
struct lane_load {
	_Atomic(uint64_t) inflight; /* bytes */
	struct list held;	    /* parts that wait until there are fewer */
	struct stat_dir dir[2];
	_Atomic(uint64_t) retries; /* chunks that went on elsewhere */
	_Atomic(uint64_t) errors[VOL_PATH_ERRORS];
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
	/* Of the worker's chunks on this path, whichever lane takes them. */
	struct lane_load load;
	/* BLOCK_MAX bytes, as long as qp lives: where the padding of reads
	 * goes. Of one queue pair, because it receives one payload at a time
	 * and computes the digest over what lies here then. */
	uint8_t *trash;
};

struct path {
	struct vol_set *set;
	struct list node;	      /* set->paths */
	struct endpoint ep;	      /* nsid 0 */
	uint64_t key;		      /* as whom it connects; 0 = this host */
	char name[ENDPOINT_TEXT_LEN]; /* ep as text */
	struct list ways;
	unsigned users; /* ways of volumes; under the set's lock */
	_Atomic(enum path_state) state; /* control thread writes */
	uint64_t gen;			/* counts connections; 0 = never */
	struct nvmf_opts opts;
	struct resolve *resolve;
	struct nvmf_ctrl *ctrl;
	struct nvmf_ctrl_info info;
	bool is_ctrl_closing, has_info;
	_Atomic(unsigned) lane_count; /* control thread writes */
	unsigned failures;	      /* in a row */
	uint64_t failed_ns;	      /* when the last one was */
	uint64_t lost_ns;	      /* when the first one was */
	_Atomic(uint64_t) lost_count; /* of connections that were live */
	unsigned losses;	      /* of these, one soon after the other */
	uint64_t lost_last_ns;
	_Atomic(bool) is_degraded; /* control thread writes */
	bool is_ana_reading, ana_again;
	struct poke ana_poke; /* a worker was told of a transition */
	bool was_idle;	      /* nobody wanted it at the last look */
	struct err err;	      /* why it is not LIVE */
	struct timer timer;
	struct lane lanes[];
};
/* With the set's lock held. */
struct path *path_get(struct vol_set *set, const struct endpoint *ep,
		      uint64_t key);
bool path_is_same(const struct endpoint *a, const struct endpoint *b);
void path_free(struct path *path);
/* Control thread. */
void path_want(struct path *path);
/* It has been away for longer than the loss timeout. */
bool path_is_given_up(const struct path *path);
/* A volume failed its check: looked at again in a while. */
void path_recheck(struct path *path);
/* Reads the ANA states and tells the ways. */
void path_ana_read(struct path *path);
void path_shut(struct path *path); /* for good: the set is being destroyed */

/* --- paths that are lost again and again (degraded.c), control thread --- */
void degraded_lost(struct path *path, uint64_t now_ns);
void degraded_look(struct path *path, uint64_t now_ns);

/* --- ways: a namespace behind a path, as one of a volume's (way.c) --- */
enum way_state {
	WAY_NEW,   /* not tried yet */
	WAY_RETRY, /* was good, first new attempt */
	WAY_READY,
	WAY_FENCED, /* not the volume's namespace */
	WAY_DOWN,
};

struct vol_way {
	struct vol *vol;
	struct path *path;
	uint32_t nsid;
	unsigned index; /* in vol->ways */
	/* any thread: connection on which it was found good */
	_Atomic(uint64_t) gen;
	_Atomic(unsigned) lane_count;
	/* control thread */
	struct list node; /* path->ways */
	enum way_state state;
	bool was_ready, is_checking, check_again;
	uint64_t check_gen, check_ns;
	struct nvmf_ns_info ns;	 /* of the last check that was good */
	enum nvme_ana_state ana; /* while READY; 0 = not known yet */
	uint64_t ana_ns;	 /* since then */
	struct nvmf_io io;
	struct iovec iov;
	void *check_buf;
};
/* Control thread, called by the path. */
void way_live(struct vol_way *way);
void way_lost(struct vol_way *way);
void way_idle(struct vol_way *way);  /* closed because nobody used it */
void way_rest(struct vol_way *way);  /* given up until somebody wants it */
void way_retry(struct vol_way *way); /* a new attempt begins */
/* groups NULL: the log page could not be read. */
void way_ana(struct vol_way *way, const struct nvmf_ana_group *groups,
	     size_t count);
/* Checks what is to be checked; false: look again soon. */
bool way_look(struct vol_way *way);
/* The volume is wanted: connects or checks it, when it is time for that. */
void way_want(struct vol_way *way);

/* --- volumes (vol.c) --- */
enum vol_state {
	VOL_NEW,   /* not tried yet: I/O waits */
	VOL_RETRY, /* was connected, first new attempt: I/O waits a little */
	VOL_READY,
	VOL_CHANGING, /* its ways are in ANA transition: I/O waits */
	VOL_FENCED,   /* what is there is not ours */
	VOL_DOWN,     /* I/O fails at once */
};

struct vol_lane {
	struct vol *vol;
	struct worker *worker;
	struct list parked; /* parts that wait for the volume */
	unsigned turn;	    /* round robin: way to look at next */
	struct poke poke;
};

struct vol {
	struct vol_set *set;
	struct list node; /* set->vols */
	/* constant */
	struct uuid segment;
	bool is_nof;
	uint64_t epoch;
	uint64_t key; /* of its owner, 0 = none */
	uint32_t block_bytes;
	uint64_t endpoints_hash;
	struct vol_way ways[VOL_ENDPOINTS_MAX];
	unsigned way_count;
	bool is_unused; /* since the last sweep; under the set's lock */
	/* any thread */
	_Atomic(unsigned) refs;
	_Atomic(void *) mem; /* the segment is ours */
	_Atomic(uint64_t) mem_size;
	_Atomic(enum vol_state) state;
	_Atomic(uint32_t) ready;  /* ways_good, ways_poor; 0 unless READY */
	_Atomic(bool) is_partial; /* a way waits for somebody to want it */
	/* control thread */
	struct poke control;
	struct poke refused; /* the target knows of another owner */
	uint64_t refused_ns; /* when that was said last */
	struct vol_lane lanes[];
};
/* Which ways take I/O, by bit: poor ones when no good one is left. */
static inline uint32_t ways_good(uint32_t ready)
{
	return ready & 0xffff;
}
static inline uint32_t ways_poor(uint32_t ready)
{
	return ready >> 16;
}
/* Looks again at parts that wait for one of its paths (hold.c). */
void lane_unhold(struct vol_lane *lane);
bool vol_is_wanted(const struct vol *vol);
/* Control thread: a way has changed. */
void vol_refresh(struct vol *vol);
void vol_free(struct vol *vol); /* with the set's lock held */

struct mem_segment {
	struct list node; /* set->mems */
	struct uuid segment;
	void *mem;
	uint64_t size;
};

/* --- what nobody has used for long is forgotten (sweep.c) --- */
struct sweep {
	struct timer timer;
	struct poke want;
	struct mbox_msg msg;
	unsigned hops; /* of msg, from worker to worker */
	bool is_passing;
	struct list vols, paths; /* in no table any more */
};
void sweep_init(struct vol_set *set);
/* There is a volume, or a path.  Any thread. */
void sweep_want(struct vol_set *set);
/* Control thread. */
void sweep_run(struct vol_set *set);
void sweep_stop(struct vol_set *set);

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
	cpu_set_t cpus;	       /* of the NUMA node, if one is asked for */
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
	struct sweep sweep;
	struct timer debug;
	struct poke debug_start;
};

/* report.c: queue states in the log, every opts.debug_ms. */
void report_init(struct vol_set *set);
void report_stop(struct vol_set *set); /* control thread */

/* numa.c: CPUs on which the workers may run; -EINVAL says what is wrong. */
int numa_cpus(int node, cpu_set_t *out, struct err *err);

static inline struct loop *set_loop(const struct vol_set *set)
{
	return set->workers[0].shard.loop; /* of the control thread */
}
/* Control thread: something that was waited for has ended. */
void set_maybe_closed(struct vol_set *set);
/* We were refused: the key files may have changed meanwhile.  True: they have,
 * and set->opts.nvmf has the new keys. */
bool set_keys_again(struct vol_set *set);

#endif
