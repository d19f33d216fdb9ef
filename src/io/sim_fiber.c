/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads of the simulator: coroutines that run until they wait at a gate.
 * Invariant: sim->fiber is the one whose stack is in use, NULL on the
 * process's own.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/log.h"
#include "base/time.h"
#include "io/sim_net.h"
#include "io/thread.h"

#define STACK_BYTES ((size_t)512 * KiB)

/* AddressSanitizer wants to know which stack is in use. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#define SWITCH_BEGIN(save, stack, size)                                        \
	__sanitizer_start_switch_fiber(save, stack, size)
#define SWITCH_END(fake, stack, size)                                          \
	__sanitizer_finish_switch_fiber(fake, stack, size)
#else
#define SWITCH_BEGIN(save, stack, size) ((void)(save))
#define SWITCH_END(fake, stack, size)	((void)(fake))
#endif

struct sim_fiber {
	struct list node;
	struct io_sim *sim;
	unsigned host;
	void (*fn)(void *arg);
	void *arg;
	/* Waits for a change; NULL: sleeps, or is yet to begin */
	const _Atomic(uint32_t) *word;
	uint32_t seen;
	uint64_t until_ns;
	ucontext_t ctx, back;
	void *stack;
	void *fake, *back_fake;
	const void *back_stack;
	size_t back_size;
	bool is_over;
};

static struct io_sim *world; /* that the process lives in */

/* --- switching --- */

static void fiber_main(void)
{
	struct sim_fiber *f = world->fiber;

	SWITCH_END(NULL, &f->back_stack, &f->back_size);
	f->fn(f->arg);
	f->is_over = true;
	SWITCH_BEGIN(NULL, f->back_stack, f->back_size);
	swapcontext(&f->ctx, &f->back);
	UNREACHABLE();
}

static void fiber_run(struct sim_fiber *f)
{
	struct io_sim *sim = f->sim;
	unsigned node = io_sim_become(sim, f->host);

	sim->fiber = f;
	f->word = NULL;
	SWITCH_BEGIN(&f->back_fake, f->stack, STACK_BYTES);
	swapcontext(&f->back, &f->ctx);
	SWITCH_END(f->back_fake, NULL, NULL);
	sim->fiber = NULL;
	io_sim_become(sim, node);
}

static void fiber_free(struct sim_fiber *f)
{
	list_del(&f->node);
	munmap(f->stack, STACK_BYTES);
	free(f);
}

static void fiber_yield(struct sim_fiber *f)
{
	SWITCH_BEGIN(&f->fake, f->back_stack, f->back_size);
	swapcontext(&f->ctx, &f->back);
	SWITCH_END(f->fake, &f->back_stack, &f->back_size);
}

/* --- waiting --- */

static bool has_changed(const _Atomic(uint32_t) *word, uint32_t seen)
{
	return word && atomic_load(word) != seen;
}

/* For word to change, or (NULL) for the time alone. */
static void sim_wait(const _Atomic(uint32_t) *word, uint32_t seen,
		     uint64_t timeout_ns)
{
	struct sim_fiber *f = world->fiber;
	uint64_t until_ns;

	if (add_overflows(world->now_ns, timeout_ns, &until_ns))
		until_ns = UINT64_MAX;
	while (!has_changed(word, seen) && world->now_ns < until_ns) {
		if (f) {
			f->word = word;
			f->seen = seen;
			f->until_ns = until_ns;
			fiber_yield(f);
		} else if (!io_sim_step(world, until_ns) &&
			   until_ns == UINT64_MAX && !has_changed(word, seen)) {
			log_err("the simulated world waits for nothing",
				"now=%llu", (unsigned long long)world->now_ns);
			abort();
		}
	}
}

static bool fiber_is_ready(const struct sim_fiber *f)
{
	if (f->sim->is_stopped[f->host])
		return false;
	return has_changed(f->word, f->seen) || f->until_ns <= f->sim->now_ns;
}

bool sim_turn_fibers(struct io_sim *sim)
{
	struct sim_fiber *f, *next;
	bool was_ready = false;

	if (sim->fiber)
		return false; /* one of them turns the world: a bug elsewhere */
	list_for_each_safe (f, next, &sim->fibers, node) {
		unsigned host = f->host;

		if (!fiber_is_ready(f))
			continue;
		was_ready = true;
		fiber_run(f);
		if (f->is_over)
			fiber_free(f);
		if (sim_node_turned(sim, host))
			return true; /* the list is another one */
	}
	return was_ready;
}

uint64_t sim_fibers_next_ns(const struct io_sim *sim)
{
	uint64_t next_ns = UINT64_MAX;
	const struct sim_fiber *f;

	list_for_each (f, &sim->fibers, node)
		if (!sim->is_stopped[f->host])
			next_ns = MIN(next_ns, f->until_ns);
	return next_ns;
}

bool sim_fibers_any(const struct io_sim *sim, unsigned node)
{
	const struct sim_fiber *f;

	list_for_each (f, &sim->fibers, node)
		if (f->host == node)
			return true;
	return false;
}

/* What their stacks hold is lost with them. */
void sim_fibers_kill(struct io_sim *sim, unsigned node)
{
	struct sim_fiber *f, *next;

	list_for_each_safe (f, next, &sim->fibers, node)
		if (f->host == node)
			list_del(&f->node);
}

/* --- public --- */

void io_sim_spawn(struct io_sim *sim, unsigned node, void (*fn)(void *arg),
		  void *arg)
{
	struct sim_fiber *f = calloc(1, sizeof(*f));
	void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (!f || stack == MAP_FAILED || getcontext(&f->ctx) < 0) {
		log_err("out of memory in the simulator", "fiber of node=%u",
			node);
		abort();
	}
	f->sim = sim;
	f->host = node;
	f->fn = fn;
	f->arg = arg;
	f->stack = stack;
	f->ctx.uc_stack.ss_sp = stack;
	f->ctx.uc_stack.ss_size = STACK_BYTES;
	makecontext(&f->ctx, fiber_main, 0);
	list_add_tail(&sim->fibers, &f->node);
}

void io_sim_sleep(uint64_t ns)
{
	sim_wait(NULL, 0, ns);
}

unsigned io_sim_become(struct io_sim *sim, unsigned node)
{
	unsigned was = sim->node;

	sim->node = node;
	return was;
}

void io_sim_step_wall(struct io_sim *sim, int64_t ns)
{
	sim->wall_ns += ns;
}

static uint64_t world_clock(bool is_wall)
{
	return world->now_ns + (is_wall ? (uint64_t)world->wall_ns : 0);
}

static void world_entropy(void *p, size_t n)
{
	uint8_t *at = p;

	while (n-- > 0)
		*at++ = (uint8_t)rng_u64(&world->rng);
}

static void world_spawn(void (*fn)(void *arg), void *arg)
{
	io_sim_spawn(world, world->node, fn, arg);
}

void io_sim_enter(struct io_sim *sim)
{
	static struct thread_world threads = {
		.wait = sim_wait,
		.spawn = world_spawn,
	};

	world = threads.sim = sim;
	time_world = sim ? world_clock : NULL;
	rand_world = sim ? world_entropy : NULL;
	thread_world = sim ? &threads : NULL;
}
