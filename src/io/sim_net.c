/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of the simulator; one thread.  Invariant: bytes and ends of a
 * connection arrive in the order in which they were sent, and an operation is
 * parked in its socket's rx_op/tx_op or completed.
 */
#include "io/sim_net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/backend.h"

#define WINDOW	   ((size_t)256 * KiB) /* unread bytes per direction */
#define BACKLOG	   1024
#define SHORT_SEND 4 /* one send in so many is cut short */

/* --- sockets --- */

struct sim_sock *sim_sock_get(const struct io_sim *sim, int fd)
{
	if (fd < SIM_FD_BASE || (size_t)(fd - SIM_FD_BASE) >= sim->sock_count)
		return NULL;
	return sim->socks[fd - SIM_FD_BASE];
}

static struct sim_sock *sim_sock_new(struct io_sim *sim, unsigned node)
{
	size_t cap = MAX(sim->sock_cap * 2, (size_t)64);
	struct sim_sock *sock, **socks;

	if (sim->sock_count == sim->sock_cap) {
		socks = reallocarray(sim->socks, cap, sizeof(*socks));
		if (!socks)
			return NULL;
		sim->socks = socks;
		sim->sock_cap = cap;
	}
	sock = calloc(1, sizeof(*sock));
	if (!sock)
		return NULL;
	list_init(&sock->rx);
	list_init(&sock->queue);
	list_init(&sock->queue_node);
	sock->peer = -1;
	sock->node = node;
	sock->fd = SIM_FD_BASE + (int)sim->sock_count;
	sim->socks[sim->sock_count++] = sock;
	return sock;
}

static void sim_sock_drop_rx(struct sim_sock *sock)
{
	while (!list_is_empty(&sock->rx)) {
		struct sim_event *ev;

		ev = list_first(&sock->rx, struct sim_event, node);
		list_del(&ev->node);
		free(ev);
	}
}

void sim_sock_free(struct io_sim *sim, struct sim_sock *sock)
{
	if (!sock)
		return;
	sim_sock_drop_rx(sock);
	list_del(&sock->queue_node);
	sim->socks[sock->fd - SIM_FD_BASE] = NULL;
	free(sock);
}

static void sock_complete(struct sim_sock *sock, struct io_op **slot, int res)
{
	struct io_op *op = TAKE(*slot);

	if (!op)
		return;
	if (op->kind == IO_SEND && op->hold)
		sim_hold_begin(loop_sim(sock->loop), sock, op);
	loop_complete(sock->loop, op, res);
}

void sim_sock_reset(struct sim_sock *sock)
{
	sock->is_reset = true;
	sim_sock_drop_rx(sock);
	sock_complete(sock, &sock->rx_op, -ECONNRESET);
	sock_complete(sock, &sock->tx_op, -ECONNRESET);
}

/* Sends what stands behind everything sent before. */
static void sock_schedule(struct io_sim *sim, struct sim_sock *sock,
			  struct sim_event *ev)
{
	uint64_t at_ns = sim->now_ns + sim_latency_ns(sim);

	if (ev->kind == SIM_DATA && sim_chance(sim, sim->faults.stall_rate))
		at_ns += sim->faults.stall_ns;
	sock->last_at_ns = MAX(at_ns, sock->last_at_ns);
	ev->from = sock->fd;
	ev->from_node = sock->node;
	ev->to_node = sock->peer_node;
	sim_event_add(sim, ev, sock->last_at_ns);
}

static void sock_tell(struct io_sim *sim, struct sim_sock *sock,
		      enum sim_event_kind kind)
{
	if (sock->peer >= 0)
		sock_schedule(sim, sock, sim_event_new(kind, sock->peer, 0));
}

/* --- sending --- */

static size_t iov_total(const struct io_op *op)
{
	size_t total = 0;

	for (unsigned i = 0; i < op->iovcnt; i++)
		total += op->iov[i].iov_len;
	return total;
}

/* Copies between p and the n bytes at pos of the operation's buffers. */
static void iov_copy(const struct io_op *op, size_t pos, unsigned char *p,
		     size_t n)
{
	for (unsigned i = 0; i < op->iovcnt && n > 0; i++) {
		size_t len = op->iov[i].iov_len, part;
		char *base = op->iov[i].iov_base;

		if (pos >= len) {
			pos -= len;
			continue;
		}
		part = MIN(n, len - pos);
		if (op->kind == IO_SEND)
			memcpy(p, base + pos, part);
		else
			memcpy(base + pos, p, part);
		p += part;
		n -= part;
		pos = 0;
	}
	ASSERT(n == 0);
}

static size_t sock_send_size(struct io_sim *sim, size_t total, size_t space)
{
	size_t n = MIN(total, space);

	if (n > 1 && sim->faults.max_segment &&
	    rng_below(&sim->rng, SHORT_SEND) == 0)
		n = 1 + rng_below(&sim->rng, n);
	return n;
}

static size_t sock_send_segment(struct io_sim *sim, struct sim_sock *sock,
				const struct io_op *op, size_t pos, size_t left)
{
	struct sim_event *ev;
	size_t len = left;

	if (sim->faults.max_segment)
		len = MIN(left,
			  1 + rng_below(&sim->rng, sim->faults.max_segment));
	if (sim_chance(sim, sim->faults.reset_rate)) {
		sock_tell(sim, sock, SIM_RESET);
		ev = sim_event_new(SIM_RESET, sock->fd, 0);
		sim_event_add(sim, ev, sock->last_at_ns);
	}
	ev = sim_event_new(SIM_DATA, sock->peer, len);
	iov_copy(op, pos, ev->data, len);
	sock_schedule(sim, sock, ev);
	return len;
}

static void sock_send(struct io_sim *sim, struct sim_sock *sock)
{
	struct io_op *op = sock->tx_op;
	size_t n, total, pos = 0;

	total = iov_total(op);
	if (sock->is_reset || !sock->is_connected) {
		sock_complete(sock, &sock->tx_op,
			      sock->is_reset ? -ECONNRESET : -EPIPE);
		return;
	}
	if (total > 0 && sock->unread >= WINDOW)
		return; /* parked until the peer takes some */
	n = sock_send_size(sim, total, WINDOW - MIN(sock->unread, WINDOW));
	while (pos < n)
		pos += sock_send_segment(sim, sock, op, pos, n - pos);
	sock->unread += n;
	sock_complete(sock, &sock->tx_op, (int)n);
}

/* --- receiving --- */

static size_t sock_take(struct sim_sock *sock, size_t room)
{
	struct io_op *op = sock->rx_op;
	size_t n = 0, part;

	while (n < room && !list_is_empty(&sock->rx)) {
		struct sim_event *ev;

		ev = list_first(&sock->rx, struct sim_event, node);
		part = MIN(room - n, ev->len - ev->pos);
		iov_copy(op, n, ev->data + ev->pos, part);
		n += part;
		ev->pos += part;
		if (ev->pos == ev->len) {
			list_del(&ev->node);
			free(ev);
		}
	}
	return n;
}

static void sock_recv(struct io_sim *sim, struct sim_sock *sock)
{
	struct sim_sock *peer = sim_sock_get(sim, sock->peer);
	size_t n;

	if (sock->is_reset || !sock->is_connected) {
		sock_complete(sock, &sock->rx_op,
			      sock->is_reset ? -ECONNRESET : -ENOTCONN);
		return;
	}
	n = sock_take(sock, iov_total(sock->rx_op));
	if (n == 0 && !sock->is_eof)
		return; /* parked */
	sock_complete(sock, &sock->rx_op, (int)n);
	if (peer) {
		peer->unread -= n;
		if (n > 0 && peer->tx_op)
			sock_send(sim, peer);
	}
}

/* --- connecting --- */

static struct sim_sock *sim_find_listener(const struct io_sim *sim,
					  const struct addr *addr)
{
	for (size_t i = 0; i < sim->sock_count; i++) {
		struct sim_sock *sock = sim->socks[i];

		if (!sock || !sock->is_listening)
			continue;
		if (addr_eq(&sock->local, addr) ||
		    (addr_is_any(&sock->local) &&
		     addr_port(&sock->local) == addr_port(addr)))
			return sock;
	}
	return NULL;
}

/* Returns when the answer arrives. */
static uint64_t sim_answer_connect(struct io_sim *sim,
				   const struct sim_sock *client, int res)
{
	struct sim_event *ev = sim_event_new(SIM_CONNECTED, client->fd, 0);
	uint64_t at_ns = sim->now_ns + sim_latency_ns(sim);

	ev->res = res;
	ev->from_node = sim_node_of(&client->server);
	ev->to_node = client->node;
	sim_event_add(sim, ev, at_ns);
	return at_ns;
}

static uint16_t sim_port(struct io_sim *sim)
{
	if (sim->port_next < SIM_FIRST_PORT)
		sim->port_next = SIM_FIRST_PORT;
	return sim->port_next++;
}

static void sock_connect(struct io_sim *sim, struct sim_sock *sock)
{
	struct sim_event *ev;

	if (sock->is_connected || sock->is_listening) {
		sock_complete(sock, &sock->tx_op, -EISCONN);
		return;
	}
	sock->remote = sock->server = sock->tx_op->addr;
	sock->peer_node = sim_node_of(&sock->server);
	sim_node_addr(sock->node, sim_port(sim), &sock->local);
	if (sim_chance(sim, sim->faults.refuse_rate)) {
		sim_answer_connect(sim, sock, -ECONNREFUSED);
		return;
	}
	ev = sim_event_new(SIM_SYN, -1, 0);
	ev->from = sock->fd;
	ev->addr = sock->remote;
	ev->from_node = sock->node;
	ev->to_node = sock->peer_node;
	sim_event_add(sim, ev, sim->now_ns + sim_latency_ns(sim));
}

static void listener_accept(struct sim_sock *listener)
{
	struct sim_sock *sock;

	if (!listener->rx_op || list_is_empty(&listener->queue))
		return;
	sock = list_first(&listener->queue, struct sim_sock, queue_node);
	list_del(&sock->queue_node);
	listener->rx_op->addr = sock->remote;
	sock_complete(listener, &listener->rx_op, sock->fd);
}

static size_t list_length(const struct list *head)
{
	size_t n = 0;

	for (const struct list *p = head->next; p != head; p = p->next)
		n++;
	return n;
}

static void sim_on_syn(struct io_sim *sim, const struct sim_event *ev)
{
	struct sim_sock *client = sim_sock_get(sim, ev->from), *sock = NULL;
	struct sim_sock *listener = sim_find_listener(sim, &ev->addr);

	if (!client || !client->tx_op)
		return; /* given up meanwhile */
	if (listener && !sim_is_cut(sim, &ev->addr) &&
	    list_length(&listener->queue) < BACKLOG)
		sock = sim_sock_new(sim, listener->node);
	if (!sock) {
		sim_answer_connect(sim, client, -ECONNREFUSED);
		return;
	}
	sock->is_connected = true;
	sock->peer = client->fd;
	sock->peer_node = client->node;
	sock->local = sock->server = ev->addr;
	sock->remote = client->local;
	client->peer = sock->fd;
	list_add_tail(&listener->queue, &sock->queue_node);
	listener_accept(listener);
	/* What the server sends from now on comes after this. */
	sock->last_at_ns = sim_answer_connect(sim, client, 0);
}

/* --- events --- */

static void sock_on_event(struct io_sim *sim, struct sim_sock *sock,
			  const struct sim_event *ev)
{
	switch (ev->kind) {
	case SIM_CONNECTED:
		if (!sock->tx_op || sock->tx_op->kind != IO_CONNECT)
			return;
		sock->is_connected = ev->res == 0;
		/* A partition may have reset the other end on the way. */
		if (sim_is_cut(sim, &sock->server))
			sock->is_reset = true;
		sock_complete(sock, &sock->tx_op, ev->res);
		return;
	case SIM_FIN:
		sock->is_eof = true;
		if (sock->rx_op)
			sock_recv(sim, sock);
		return;
	case SIM_RESET:
		sim_sock_reset(sock);
		return;
	default:
		UNREACHABLE();
	}
}

static void sim_on_data(struct io_sim *sim, struct sim_sock *sock,
			struct sim_event *ev)
{
	struct sim_sock *from = sim_sock_get(sim, ev->from);
	struct sim_event *reset;

	if (sock && !sock->is_reset) {
		list_add_tail(&sock->rx, &ev->node);
		if (sock->rx_op)
			sock_recv(sim, sock);
		return;
	}
	/* Nobody is there: the sender learns it. */
	if (from && !from->is_reset) {
		reset = sim_event_new(SIM_RESET, from->fd, 0);
		reset->from_node = ev->to_node;
		reset->to_node = from->node;
		sim_event_add(sim, reset, sim->now_ns + sim_latency_ns(sim));
	}
	free(ev);
}

void sim_net_event(struct io_sim *sim, struct sim_event *ev)
{
	struct sim_sock *sock = sim_sock_get(sim, ev->fd);

	if (ev->kind == SIM_DATA) {
		sim_on_data(sim, sock, ev);
		return;
	}
	if (ev->kind == SIM_SYN)
		sim_on_syn(sim, ev);
	else if (ev->kind == SIM_LET_GO)
		sim_hold_end(sim, ev);
	else if (sock)
		sock_on_event(sim, sock, ev);
	free(ev);
}

/* --- the back end's table --- */

static struct io_op **sock_side(struct sim_sock *sock, const struct io_op *op)
{
	return op->kind == IO_SEND || op->kind == IO_CONNECT ? &sock->tx_op
							     : &sock->rx_op;
}

void sim_net_submit(struct loop *loop, struct io_op *op)
{
	struct io_sim *sim = loop_sim(loop);
	struct sim_sock *sock = sim_sock_get(sim, op->fd);
	struct io_op **side;

	if (op->kind == IO_HOLD)
		return; /* its send brings it */
	/* Files and foreign descriptors have no place in this world. */
	if (op->kind > IO_SEND || !sock) {
		loop_complete(loop, op, sock ? -ENOTSUP : -EBADF);
		return;
	}
	side = sock_side(sock, op);
	ASSERT(!*side);
	*side = op;
	sock->loop = loop;
	if (sim->is_doomed[sock->node])
		return;
	switch (op->kind) {
	case IO_ACCEPT:
		listener_accept(sock);
		return;
	case IO_CONNECT:
		sock_connect(sim, sock);
		return;
	case IO_RECV:
		sock_recv(sim, sock);
		return;
	default:
		sock_send(sim, sock);
		return;
	}
}

void sim_net_cancel(struct loop *loop, struct io_op *op)
{
	struct sim_sock *sock = sim_sock_get(loop_sim(loop), op->fd);

	ASSERT(sock && *sock_side(sock, op) == op);
	sock_complete(sock, sock_side(sock, op), -ECANCELED);
}

int sim_net_socket(struct loop *loop, int family)
{
	struct sim_sock *sock;

	if (family != AF_INET && family != AF_INET6)
		return -EAFNOSUPPORT;
	sock = sim_sock_new(loop_sim(loop), loop_sim_node(loop));
	return sock ? sock->fd : -ENOMEM;
}

int sim_net_listen(struct loop *loop, const struct addr *addr, int backlog)
{
	struct io_sim *sim = loop_sim(loop);
	struct addr local = *addr;
	struct sim_sock *sock;

	if (addr_port(&local) == 0)
		addr_set_port(&local, sim_port(sim));
	if (sim_find_listener(sim, &local))
		return -EADDRINUSE;
	sock = sim_sock_new(sim, loop_sim_node(loop));
	if (!sock)
		return -ENOMEM;
	sock->local = local;
	sock->is_listening = true;
	return sock->fd;
}

int sim_net_local_addr(struct loop *loop, int fd, struct addr *out)
{
	struct sim_sock *sock = sim_sock_get(loop_sim(loop), fd);

	if (!sock)
		return -EBADF;
	*out = sock->local;
	return 0;
}

void sim_sock_close(struct io_sim *sim, struct sim_sock *sock)
{
	struct sim_sock *waiting, *next;

	list_for_each_safe (waiting, next, &sock->queue, queue_node) {
		sock_tell(sim, waiting, SIM_RESET);
		sim_sock_free(sim, waiting);
	}
	if (sock->reset_on_close)
		sim_link_forget(sim, sock->fd);
	/* As TCP does when data was not read. */
	if (!list_is_empty(&sock->rx) || sock->reset_on_close)
		sock_tell(sim, sock, SIM_RESET);
	else if (!sock->is_reset)
		sock_tell(sim, sock, SIM_FIN);
	sim_sock_free(sim, sock);
}

void sim_net_close_fd(struct loop *loop, int fd)
{
	struct sim_sock *sock = sim_sock_get(loop_sim(loop), fd);

	ASSERT(sock && !sock->rx_op && !sock->tx_op);
	sim_sock_close(loop_sim(loop), sock);
}
