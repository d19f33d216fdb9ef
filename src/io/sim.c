/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Simulated world: clock, events, loops; one thread.  Invariant: nothing but
 * the seed and the order of calls decides what happens, and now_ns changes in
 * io_sim_step() only.
 */
#include "io/sim.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"
#include "io/backend.h"
#include "io/sim_net.h"

/* --- for sim_net.c --- */

struct io_sim *loop_sim(struct loop *loop)
{
	struct sim_loop *sl = loop->state;

	ASSERT(loop->be == &io_backend_sim);
	return sl->sim;
}

unsigned loop_sim_node(const struct loop *loop)
{
	return ((const struct sim_loop *)loop->state)->host;
}

bool sim_chance(struct io_sim *sim, double rate)
{
	if (rate <= 0)
		return false;
	return (double)(rng_u64(&sim->rng) >> 11) * 0x1p-53 < rate;
}

uint64_t sim_latency_ns(struct io_sim *sim)
{
	const struct io_sim_faults *f = &sim->faults;

	if (f->latency_max_ns <= f->latency_min_ns)
		return f->latency_min_ns;
	return f->latency_min_ns +
	       rng_below(&sim->rng, f->latency_max_ns - f->latency_min_ns + 1);
}

struct sim_event *sim_event_new(enum sim_event_kind kind, int fd, size_t len)
{
	struct sim_event *ev = calloc(1, sizeof(*ev) + len);

	if (!ev) {
		log_err("out of memory in the simulator", "bytes=%zu", len);
		abort();
	}
	ev->kind = kind;
	ev->fd = fd;
	ev->from = -1;
	ev->len = len;
	return ev;
}

void sim_event_add(struct io_sim *sim, struct sim_event *ev, uint64_t at_ns)
{
	struct list *after = sim->events.prev;

	ev->at_ns = at_ns;
	/* From the end: most events are later than those before. */
	while (after != &sim->events &&
	       list_entry(after, struct sim_event, node)->at_ns > at_ns)
		after = after->prev;
	list_add_between(&ev->node, after, after->next);
}

bool sim_is_cut(const struct io_sim *sim, const struct addr *addr)
{
	for (size_t i = 0; i < sim->cut_count; i++)
		if (addr_eq(&sim->cut[i], addr))
			return true;
	return false;
}

/* --- the back end's table --- */

static int sim_open(struct loop *loop, const struct loop_opts *opts,
		    struct err *err)
{
	struct sim_loop *sl = calloc(1, sizeof(*sl));

	ASSERT(opts->sim);
	if (!sl)
		return err_set(err, -ENOMEM, "out of memory for a loop");
	sl->sim = opts->sim;
	sl->loop = loop;
	sl->host = sl->sim->node;
	list_add_tail(&sl->sim->loops, &sl->node);
	loop->state = sl;
	loop->spin_ns = 0; /* time does not pass while somebody spins */
	return 0;
}

static void sim_close(struct loop *loop)
{
	struct sim_loop *sl = loop->state;

	if (!sl)
		return;
	sl->sim->loops_gone++;
	list_del(&sl->node);
	free(sl);
	loop->state = NULL;
}

static void sim_wait(struct loop *loop, uint64_t timeout_ns)
{
	/* io_sim_step() brings what is to come. */
}

static uint64_t sim_now_ns(struct loop *loop)
{
	return loop_sim(loop)->now_ns;
}

static void sim_set_sockopts(struct loop *loop, int fd,
			     const struct io_sockopts *so)
{
	struct sim_sock *sock = sim_sock_get(loop_sim(loop), fd);

	ASSERT(sock);
	sock->reset_on_close = so->is_reset;
}

const struct io_backend io_backend_sim = {
	.name = "sim",
	.open = sim_open,
	.close = sim_close,
	.submit = sim_net_submit,
	.cancel = sim_net_cancel,
	.wait = sim_wait,
	.now_ns = sim_now_ns,
	.may_hold = sim_net_may_hold,
	.socket = sim_net_socket,
	.listen = sim_net_listen,
	.local_addr = sim_net_local_addr,
	.close_fd = sim_net_close_fd,
	.set_sockopts = sim_set_sockopts,
};

/* --- public --- */

struct io_sim *io_sim_create(uint64_t seed)
{
	struct io_sim *sim = calloc(1, sizeof(*sim));

	if (!sim)
		return NULL;
	rng_seed(&sim->rng, seed);
	list_init(&sim->loops);
	list_init(&sim->events);
	list_init(&sim->held);
	list_init(&sim->fibers);
	sim->now_ns = NS_PER_S; /* 0 often means "never" */
	return sim;
}

void io_sim_destroy(struct io_sim *sim)
{
	if (!sim)
		return;
	ASSERT(list_is_empty(&sim->loops));
	for (size_t i = 0; i < sim->sock_count; i++)
		sim_sock_free(sim, sim->socks[i]);
	list_splice_tail(&sim->events, &sim->held);
	while (!list_is_empty(&sim->events)) {
		struct sim_event *ev;

		ev = list_first(&sim->events, struct sim_event, node);
		list_del(&ev->node);
		free(ev);
	}
	free(sim->socks);
	free(sim->cut);
	free(sim);
}

void io_sim_set_faults(struct io_sim *sim, const struct io_sim_faults *faults)
{
	sim->faults = *faults;
}

void io_sim_partition(struct io_sim *sim, const struct addr *addr)
{
	struct addr *cut;

	if (sim_is_cut(sim, addr))
		return;
	cut = reallocarray(sim->cut, sim->cut_count + 1, sizeof(*cut));
	if (!cut) {
		log_err("out of memory in the simulator", "cuts=%zu",
			sim->cut_count);
		abort();
	}
	cut[sim->cut_count++] = *addr;
	sim->cut = cut;
	for (size_t i = 0; i < sim->sock_count; i++) {
		struct sim_sock *sock = sim->socks[i];

		if (sock && sock->is_connected && addr_eq(&sock->server, addr))
			sim_sock_reset(sock);
	}
}

void io_sim_heal(struct io_sim *sim, const struct addr *addr)
{
	for (size_t i = 0; i < sim->cut_count; i++) {
		if (!addr_eq(&sim->cut[i], addr))
			continue;
		sim->cut[i] = sim->cut[--sim->cut_count];
		return;
	}
}

void io_sim_freeze(struct loop *loop, bool is_frozen)
{
	struct sim_loop *sl = loop->state;

	ASSERT(loop->be == &io_backend_sim);
	sl->is_frozen = is_frozen;
}

/* Not one that waits in its turn: the world goes on around it. */
static bool can_turn(const struct sim_loop *sl)
{
	return !sl->is_frozen && !sl->sim->is_stopped[sl->host] &&
	       !loop_is_turning(sl->loop);
}

static bool sim_turn_loops(struct io_sim *sim)
{
	uint64_t gone = sim->loops_gone;
	struct sim_loop *sl, *next;
	unsigned host, node = sim->node;
	bool was_runnable = false;

	list_for_each_safe (sl, next, &sim->loops, node) {
		if (!can_turn(sl))
			continue;
		if (!loop_has_work(sl->loop) &&
		    loop_next_deadline(sl->loop) > sim->now_ns)
			continue;
		was_runnable = true;
		host = sim->node = sl->host;
		loop_turn(sl->loop, 0);
		sim->node = node;
		sim_node_turned(sim, host);
		if (sim->loops_gone != gone)
			return true; /* the list is another one */
	}
	return sim_turn_fibers(sim) || was_runnable;
}

static uint64_t sim_next_ns(const struct io_sim *sim)
{
	uint64_t next_ns = sim_fibers_next_ns(sim);
	struct sim_loop *sl;

	if (!list_is_empty(&sim->events))
		next_ns = MIN(next_ns,
			      list_first(&sim->events, struct sim_event, node)
				      ->at_ns);
	list_for_each (sl, &sim->loops, node)
		if (can_turn(sl))
			next_ns = MIN(next_ns, loop_next_deadline(sl->loop));
	return next_ns;
}

bool io_sim_step(struct io_sim *sim, uint64_t limit_ns)
{
	uint64_t next_ns;

	while (sim_turn_loops(sim)) {
	}
	next_ns = sim_next_ns(sim);
	if (next_ns == UINT64_MAX || next_ns > limit_ns) {
		if (limit_ns != UINT64_MAX)
			sim->now_ns = MAX(sim->now_ns, limit_ns);
		return false;
	}
	sim->now_ns = MAX(sim->now_ns, next_ns);
	while (!list_is_empty(&sim->events)) {
		struct sim_event *ev;

		ev = list_first(&sim->events, struct sim_event, node);
		if (ev->at_ns > sim->now_ns)
			break;
		list_del(&ev->node);
		if (sim_link_passes(sim, ev))
			sim_net_event(sim, ev);
	}
	return true;
}

uint64_t io_sim_now_ns(const struct io_sim *sim)
{
	return sim->now_ns;
}
