/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes of the simulator: deaths, and links that are cut one way; one thread.
 * Invariant: nothing of a dead node runs, and what a cut link holds stands in
 * the order in which it was sent.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/backend.h"
#include "io/sim_net.h"

#define NODE_PREFIX "10.0.0."

unsigned sim_node_of(const struct addr *addr)
{
	char host[ADDR_TEXT_LEN];
	unsigned long node;

	addr_format_host(addr, host);
	if (strncmp(host, NODE_PREFIX, strlen(NODE_PREFIX)) != 0)
		return 0;
	node = strtoul(host + strlen(NODE_PREFIX), NULL, 10);
	return node < IO_SIM_NODES ? (unsigned)node : 0;
}

void sim_node_addr(unsigned node, uint16_t port, struct addr *out)
{
	char host[24] = "127.0.0.1";

	if (node)
		snprintf(host, sizeof(host), NODE_PREFIX "%u", node);
	addr_parse(host, port, out);
}

/* --- links --- */

bool sim_link_passes(struct io_sim *sim, struct sim_event *ev)
{
	if (sim->is_down[ev->to_node]) {
		free(ev);
		return false;
	}
	if (!sim->is_cut[ev->from_node][ev->to_node])
		return true;
	list_add_tail(&sim->held, &ev->node);
	return false;
}

void sim_link_forget(struct io_sim *sim, int fd)
{
	struct sim_event *ev, *next;

	list_for_each_safe (ev, next, &sim->held, node) {
		if (ev->from != fd)
			continue;
		list_del(&ev->node);
		free(ev);
	}
}

void io_sim_cut(struct io_sim *sim, unsigned from, unsigned to, bool is_cut)
{
	struct sim_event *ev, *next;

	sim->is_cut[from][to] = is_cut;
	if (is_cut)
		return;
	/* At once: what was sent later must not overtake. */
	list_for_each_safe (ev, next, &sim->held, node) {
		if (ev->from_node != from || ev->to_node != to)
			continue;
		list_del(&ev->node);
		sim_event_add(sim, ev, sim->now_ns);
	}
}

/* --- deaths --- */

static void kill_loops(struct io_sim *sim, unsigned node)
{
	struct sim_loop *sl, *next;

	list_for_each_safe (sl, next, &sim->loops, node) {
		if (sl->host != node)
			continue;
		ASSERT(!sl->loop->in_turn);
		sim->loops_gone++;
		list_del(&sl->node);
		close(sl->loop->mbox.event_fd); /* there are not so many */
	}
}

static void kill_socks(struct io_sim *sim, unsigned node, bool is_silent)
{
	/* Queues first: who waits in one is a socket of the node, too. */
	for (size_t i = 0; i < sim->sock_count; i++) {
		struct sim_sock *sock = sim->socks[i];

		if (!sock || sock->node != node)
			continue;
		sock->rx_op = sock->tx_op = NULL;
		list_del(&sock->queue_node);
	}
	for (size_t i = 0; i < sim->sock_count; i++) {
		struct sim_sock *sock = sim->socks[i];

		if (!sock || sock->node != node)
			continue;
		if (!is_silent) {
			sim_sock_close(sim, sock);
			continue;
		}
		sim_link_forget(sim, sock->fd);
		sim_sock_free(sim, sock);
	}
}

void io_sim_kill(struct io_sim *sim, unsigned node, bool is_silent)
{
	ASSERT(node > 0 && node < IO_SIM_NODES && node != sim->node);
	sim->kill_in[node] = 0;
	sim->is_doomed[node] = false;
	kill_loops(sim, node);
	sim_fibers_kill(sim, node);
	kill_socks(sim, node, is_silent);
	sim->is_down[node] = is_silent;
	sim->is_stopped[node] = false;
}

void io_sim_kill_after(struct io_sim *sim, unsigned node, unsigned turns,
		       bool is_silent)
{
	sim->kill_in[node] = turns;
	sim->kill_silent[node] = is_silent;
}

void io_sim_doom(struct io_sim *sim, unsigned node, bool is_silent)
{
	sim->is_doomed[node] = true;
	io_sim_kill_after(sim, node, 1, is_silent);
}

/* Is one of its turns not over? */
static bool is_turning(const struct io_sim *sim, unsigned node)
{
	const struct sim_loop *sl;

	list_for_each (sl, &sim->loops, node)
		if (sl->host == node && loop_is_turning(sl->loop))
			return true;
	return false;
}

bool sim_node_turned(struct io_sim *sim, unsigned node)
{
	if (!sim->kill_in[node])
		return false;
	if (sim->kill_in[node] > 1 || is_turning(sim, node)) {
		sim->kill_in[node] -= sim->kill_in[node] > 1;
		return false;
	}
	io_sim_kill(sim, node, sim->kill_silent[node]);
	return true;
}

void io_sim_revive(struct io_sim *sim, unsigned node)
{
	sim->is_down[node] = false;
}

void io_sim_stop(struct io_sim *sim, unsigned node, bool is_stopped)
{
	sim->is_stopped[node] = is_stopped;
}

bool io_sim_is_alive(const struct io_sim *sim, unsigned node)
{
	struct sim_loop *sl;

	list_for_each (sl, &sim->loops, node)
		if (sl->host == node)
			return true;
	return sim_fibers_any(sim, node);
}
