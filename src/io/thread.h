/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shard = loop + thread.  shard_call() is how synchronous code (main(), the
 * client's API) runs a function on the shard and waits for it.
 */
#ifndef IO_THREAD_H
#define IO_THREAD_H

#include <pthread.h>

#include "io/loop.h"

struct shard {
	struct loop *loop;
	pthread_t thread;
	bool is_running;
};

/* Signals are blocked in the new thread.  0 or -errno with err. */
int shard_start(struct shard *shard, const struct loop_opts *opts,
		struct err *err);
/* Stops the loop, joins, destroys it; what was posted meanwhile runs in the
 * caller's thread, later posts are a bug.  Half-built and zeroed are fine. */
void shard_stop(struct shard *shard);
/* Runs fn(arg) on the shard's thread and returns when it has returned.  Not
 * from the shard itself (asserted). */
void shard_call(struct shard *shard, void (*fn)(void *arg), void *arg);

/* One-shot gate between threads, without a descriptor. */
struct gate {
	_Atomic(uint32_t) word; /* futex */
};
void gate_init(struct gate *gate);
void gate_open(struct gate *gate); /* any thread, once */
void gate_wait(struct gate *gate);
/* false when timeout_ns passed first. */
bool gate_wait_for(struct gate *gate, uint64_t timeout_ns);

/*
 * Set by a simulated world, in which the whole process lives: shards are loops
 * of that world without a thread, and who waits at a gate lets it go on.
 */
struct thread_world {
	struct io_sim *sim;
	/* Returns when word is not what was seen, or the time is over. */
	void (*wait)(const _Atomic(uint32_t) *word, uint32_t seen,
		     uint64_t timeout_ns);
	/* Of the node whose code runs. */
	void (*spawn)(void (*fn)(void *arg), void *arg);
};
extern const struct thread_world *thread_world;

/* A thread without a loop; signals are the application's. */
struct thread {
	pthread_t id;
	void (*fn)(void *arg);
	void *arg;
	struct gate over;
	bool is_running;
};
/* 0 or -errno. */
int thread_start(struct thread *thread, void (*fn)(void *arg), void *arg);
void thread_join(struct thread *thread); /* zeroed is fine */

/* Rings any number of times; who waits has seen how often it rang before. */
struct bell {
	_Atomic(uint32_t) word; /* futex */
};
void bell_init(struct bell *bell);
void bell_ring(struct bell *bell); /* any thread */
static inline uint32_t bell_seen(const struct bell *bell)
{
	return atomic_load(&bell->word);
}
/* Returns when it rings, has rung since seen, or timeout_ns have passed. */
void bell_wait(struct bell *bell, uint32_t seen, uint64_t timeout_ns);

#endif
