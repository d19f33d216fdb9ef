/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends of the simulator that are not copied; one thread.  Invariant: between
 * a send's result and the end of its hold the buffers can be read and headers
 * are as they were, or the program ends here.  Data may change: a target sends
 * from the memory that the next command writes to.
 */
#include "io/sim_net.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/backend.h"

#define HEADER_MAX 512 /* less than any block */

/* At ev->data; behind it the entries, then the bytes. */
struct held {
	struct loop *loop;
	struct io_op *hold;
	unsigned iovcnt;
	struct iovec iov[];
};

static struct held *held_of(struct sim_event *ev)
{
	return (struct held *)(void *)ev->data;
}

bool sim_net_may_hold(const struct loop *loop)
{
	const struct sim_loop *sl = loop->state;

	return sl->sim->faults.hold_max_ns > 0;
}

void sim_hold_begin(struct io_sim *sim, const struct sim_sock *sock,
		    const struct io_op *send)
{
	size_t head = sizeof(struct held) + send->iovcnt * sizeof(struct iovec);
	size_t bytes = 0, pos = head;
	struct sim_event *ev;
	struct held *held;

	for (unsigned i = 0; i < send->iovcnt; i++)
		bytes += send->iov[i].iov_len;
	ev = sim_event_new(SIM_LET_GO, -1, head + bytes);
	ev->from_node = ev->to_node = sock->node;
	held = held_of(ev);
	held->loop = sock->loop;
	held->hold = send->hold;
	held->iovcnt = send->iovcnt;
	for (unsigned i = 0; i < send->iovcnt; i++) {
		held->iov[i] = send->iov[i];
		memcpy(ev->data + pos, send->iov[i].iov_base,
		       send->iov[i].iov_len);
		pos += send->iov[i].iov_len;
	}
	sim->hold_count++;
	sim_event_add(sim, ev,
		      sim->now_ns +
			      rng_below(&sim->rng, sim->faults.hold_max_ns));
}

void sim_hold_end(struct io_sim *sim, struct sim_event *ev)
{
	struct held *held = held_of(ev);
	const unsigned char *p =
		ev->data + sizeof(*held) + held->iovcnt * sizeof(struct iovec);
	bool is_copied = sim_chance(sim, sim->faults.hold_copy_rate);

	for (unsigned i = 0; i < held->iovcnt; i++) {
		const struct iovec *iov = &held->iov[i];

		if (memcmp(p, iov->iov_base, iov->iov_len) != 0 &&
		    iov->iov_len < HEADER_MAX) {
			log_err("held bytes were changed", "entry=%u bytes=%zu",
				i, iov->iov_len);
			abort();
		}
		p += iov->iov_len;
	}
	loop_complete(held->loop, held->hold,
		      is_copied ? IO_HELD_COPIED : IO_HELD_NOT_COPIED);
}

bool io_sim_is_held(const struct io_sim *sim, const void *p, size_t n)
{
	uintptr_t from = (uintptr_t)p;
	struct sim_event *ev;

	list_for_each (ev, &sim->events, node) {
		const struct held *held;

		if (ev->kind != SIM_LET_GO)
			continue;
		held = held_of(ev);
		for (unsigned i = 0; i < held->iovcnt; i++) {
			uintptr_t at = (uintptr_t)held->iov[i].iov_base;

			if (at < from + n && from < at + held->iov[i].iov_len)
				return true;
		}
	}
	return false;
}

unsigned io_sim_hold_count(const struct io_sim *sim)
{
	return sim->hold_count;
}
