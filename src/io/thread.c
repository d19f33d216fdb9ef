/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shards and gates.  A shard's loop is created by the starter and owned by the
 * new thread until that has ended.  Invariant: a gate's word only goes from 0
 * to 1.
 */
#include "io/thread.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"

const struct thread_world *thread_world;

/* --- gate --- */

void gate_init(struct gate *gate)
{
	atomic_init(&gate->word, 0);
}

void gate_open(struct gate *gate)
{
	atomic_store(&gate->word, 1);
	if (unlikely(thread_world))
		return;
	/* The waiter may be gone already; waking nobody is harmless. */
	syscall(SYS_futex, &gate->word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL,
		0);
}

/* -ETIMEDOUT, or 0 when there may be something to see. */
static int futex_wait(_Atomic(uint32_t) *word, uint32_t seen, uint64_t end_ns)
{
	/* FUTEX_WAIT_BITSET takes an absolute monotonic time. */
	struct timespec ts = {.tv_sec = (time_t)(end_ns / NS_PER_S),
			      .tv_nsec = (long)(end_ns % NS_PER_S)};
	long ret = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen,
			   end_ns == UINT64_MAX ? NULL : &ts, NULL,
			   FUTEX_BITSET_MATCH_ANY);

	return ret < 0 && errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

static uint64_t end_of(uint64_t timeout_ns)
{
	uint64_t end_ns;

	return add_overflows(time_mono_ns(), timeout_ns, &end_ns) ? UINT64_MAX
								  : end_ns;
}

bool gate_wait_for(struct gate *gate, uint64_t timeout_ns)
{
	uint64_t end_ns = end_of(timeout_ns);

	if (unlikely(thread_world)) {
		thread_world->wait(&gate->word, 0, timeout_ns);
		return atomic_load(&gate->word) != 0;
	}
	while (atomic_load(&gate->word) == 0)
		if (futex_wait(&gate->word, 0, end_ns) < 0)
			return atomic_load(&gate->word) != 0;
	return true;
}

void gate_wait(struct gate *gate)
{
	gate_wait_for(gate, UINT64_MAX);
}

/* --- bell --- */

void bell_init(struct bell *bell)
{
	atomic_init(&bell->word, 0);
}

void bell_ring(struct bell *bell)
{
	atomic_fetch_add(&bell->word, 1);
	if (unlikely(thread_world))
		return;
	syscall(SYS_futex, &bell->word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL,
		0);
}

void bell_wait(struct bell *bell, uint32_t seen, uint64_t timeout_ns)
{
	uint64_t end_ns = end_of(timeout_ns);

	if (unlikely(thread_world)) {
		thread_world->wait(&bell->word, seen, timeout_ns);
		return;
	}
	while (atomic_load(&bell->word) == seen)
		if (futex_wait(&bell->word, seen, end_ns) < 0)
			return;
}

/* --- thread --- */

static void thread_run(void *arg)
{
	struct thread *thread = arg;

	thread->fn(thread->arg);
	gate_open(&thread->over); /* thread may be gone from here on */
}

static void *thread_main(void *arg)
{
	struct thread *thread = arg;

	thread->fn(thread->arg);
	return NULL;
}

int thread_start(struct thread *thread, void (*fn)(void *arg), void *arg)
{
	sigset_t all, old;
	int ret;

	*thread = (struct thread){.fn = fn, .arg = arg};
	gate_init(&thread->over);
	if (unlikely(thread_world)) {
		thread_world->spawn(thread_run, thread);
		thread->is_running = true;
		return 0;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&thread->id, NULL, thread_main, thread);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	thread->is_running = ret == 0;
	return -ret;
}

void thread_join(struct thread *thread)
{
	if (!thread->is_running)
		return;
	if (unlikely(thread_world))
		gate_wait(&thread->over);
	else
		pthread_join(thread->id, NULL);
	thread->is_running = false;
}

/* --- shard --- */

struct shard_call {
	struct mbox_msg msg;
	struct gate gate;
	void (*fn)(void *arg);
	void *arg;
};

static void shard_call_run(struct mbox_msg *msg)
{
	struct shard_call *call = container_of(msg, struct shard_call, msg);

	call->fn(call->arg);
	gate_open(&call->gate); /* call is gone from here on */
}

static void shard_post_and_wait(struct shard *shard, void (*fn)(void *arg),
				void *arg)
{
	struct shard_call call = {
		.msg.run = shard_call_run,
		.fn = fn,
		.arg = arg,
	};

	gate_init(&call.gate);
	loop_post(shard->loop, &call.msg);
	gate_wait(&call.gate);
}

void shard_call(struct shard *shard, void (*fn)(void *arg), void *arg)
{
	ASSERT(shard->is_running);
	/* It would wait for itself. */
	ASSERT(thread_world || !loop_is_owner(shard->loop));
	shard_post_and_wait(shard, fn, arg);
}

static void *shard_thread(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void shard_nothing(void *arg)
{
}

static int shard_start_simulated(struct shard *shard,
				 const struct loop_opts *opts, struct err *err)
{
	struct loop_opts sim_opts = *opts;
	int ret;

	sim_opts.backend = IO_BACKEND_SIM;
	sim_opts.sim = thread_world->sim;
	ret = loop_create(&sim_opts, &shard->loop, err);
	shard->is_running = ret == 0;
	return ret;
}

int shard_start(struct shard *shard, const struct loop_opts *opts,
		struct err *err)
{
	char name[16]; /* what the kernel keeps */
	sigset_t all, old;
	int ret;

	memset(shard, 0, sizeof(*shard));
	if (unlikely(thread_world))
		return shard_start_simulated(shard, opts, err);
	ret = loop_create(opts, &shard->loop, err);
	if (ret < 0)
		return ret;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&shard->thread, NULL, shard_thread, shard->loop);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret != 0) {
		err_set(err, -ret, "cannot start a thread: %s", strerror(ret));
		shard_stop(shard);
		return -ret;
	}
	snprintf(name, sizeof(name), "%s", opts->name ? opts->name : "shard");
	pthread_setname_np(shard->thread, name);
	shard->is_running = true;
	/* From here on the loop has its owner, and others are told apart. */
	shard_post_and_wait(shard, shard_nothing, NULL);
	return 0;
}

static void shard_stop_loop(void *arg)
{
	loop_stop(arg);
}

void shard_stop(struct shard *shard)
{
	if (shard->is_running && thread_world) {
		shard_call(shard, shard_nothing, NULL);
		shard->is_running = false;
	}
	if (shard->is_running) {
		shard_call(shard, shard_stop_loop, shard->loop);
		pthread_join(shard->thread, NULL);
		shard->is_running = false;
	}
	loop_destroy(shard->loop);
	shard->loop = NULL;
}
