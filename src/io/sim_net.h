/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the simulator: the world (sim.c), its sockets (sim_net.c), nodes
 * and the links between them (sim_node.c), threads (sim_fiber.c).
 */
#ifndef IO_SIM_NET_H
#define IO_SIM_NET_H

#include "base/rand.h"
#include "io/sim.h"

/* Far from real descriptors, so that a mix-up fails with EBADF. */
#define SIM_FD_BASE (1 << 24)

enum sim_event_kind {
	SIM_SYN,       /* to the listener at addr, from = the client */
	SIM_CONNECTED, /* res for the client */
	SIM_DATA,      /* becomes part of the socket's receive queue */
	SIM_FIN,
	SIM_RESET,
	SIM_LET_GO, /* of what the hold's send has sent */
};

#define SIM_FIRST_PORT 20000

struct sim_event {
	struct list node; /* io_sim.events, then sim_sock.rx for data */
	uint64_t at_ns;
	enum sim_event_kind kind;
	int fd;	  /* for whom; -1 for a SYN */
	int from; /* the other end, -1 = none */
	unsigned from_node, to_node;
	int res;
	struct addr addr;
	size_t pos, len;
	unsigned char data[];
};

struct sim_sock {
	int fd;
	unsigned node, peer_node;
	int peer; /* fd of the other end, -1 = none */
	struct addr local, remote;
	struct addr server; /* the listener's side, for partitions */
	struct loop *loop;  /* of the operations below */
	struct io_op *rx_op, *tx_op;
	struct list rx;	     /* struct sim_event, arrived */
	uint64_t last_at_ns; /* what we sent arrives in order */
	size_t unread;	     /* sent by us, not yet taken by the peer */
	struct list queue;   /* of a listener: not yet accepted */
	struct list queue_node;
	bool is_listening, is_connected;
	bool is_eof, is_reset;
	bool reset_on_close;
};

/* loop.state */
struct sim_loop {
	struct list node;
	struct io_sim *sim;
	struct loop *loop;
	unsigned host; /* the node that it belongs to */
	bool is_frozen;
};

/* One thread of a node that waits at gates: a coroutine, sim_fiber.c. */
struct sim_fiber;

struct io_sim {
	struct rng rng;
	uint64_t now_ns;
	struct io_sim_faults faults;
	struct list loops;
	uint64_t loops_gone;
	struct list events;	 /* by at_ns, then by age */
	struct sim_sock **socks; /* [fd - SIM_FD_BASE], NULL when closed */
	size_t sock_count, sock_cap;
	uint16_t port_next;
	unsigned hold_count;
	struct addr *cut; /* partitioned addresses */
	size_t cut_count;

	/* nodes, sim_node.c */
	unsigned node; /* whose code runs now */
	bool is_down[IO_SIM_NODES], is_stopped[IO_SIM_NODES];
	bool is_cut[IO_SIM_NODES][IO_SIM_NODES]; /* [from][to] */
	uint64_t kill_in[IO_SIM_NODES]; /* turns to live, 0 = not to die */
	bool kill_silent[IO_SIM_NODES];
	bool is_doomed[IO_SIM_NODES]; /* in its last turn */
	struct list held; /* struct sim_event that a cut link keeps */

	/* fibers, sim_fiber.c */
	struct list fibers;
	struct sim_fiber *fiber; /* that runs now, NULL = the driver */
	int64_t wall_ns;	 /* what the wall clock is ahead */
};

struct io_sim *loop_sim(struct loop *loop);
unsigned loop_sim_node(const struct loop *loop);
bool sim_chance(struct io_sim *sim, double rate);
uint64_t sim_latency_ns(struct io_sim *sim);
/* A zeroed event with room for len bytes; aborts when out of memory. */
struct sim_event *sim_event_new(enum sim_event_kind kind, int fd, size_t len);
void sim_event_add(struct io_sim *sim, struct sim_event *ev, uint64_t at_ns);
bool sim_is_cut(const struct io_sim *sim, const struct addr *addr);

/* --- nodes --- */
/* Of an address 10.0.0.N; 0 for others. */
unsigned sim_node_of(const struct addr *addr);
void sim_node_addr(unsigned node, uint16_t port, struct addr *out);
/* True when the event may arrive now; else it was taken over. */
bool sim_link_passes(struct io_sim *sim, struct sim_event *ev);
/* What cut links keep of the socket's is lost. */
void sim_link_forget(struct io_sim *sim, int fd);
/* A turn of the node's is over; true when that was its last.  While another one
 * of its turns waits, that one is to end first. */
bool sim_node_turned(struct io_sim *sim, unsigned node);

/* --- sends that are not copied --- */
bool sim_net_may_hold(const struct loop *loop);
/* The send has its result; its hold ends some time later. */
void sim_hold_begin(struct io_sim *sim, const struct sim_sock *sock,
		    const struct io_op *send);
void sim_hold_end(struct io_sim *sim, struct sim_event *ev);

/* --- fibers --- */
bool sim_turn_fibers(struct io_sim *sim);
uint64_t sim_fibers_next_ns(const struct io_sim *sim);
bool sim_fibers_any(const struct io_sim *sim, unsigned node);
void sim_fibers_kill(struct io_sim *sim, unsigned node);

struct sim_sock *sim_sock_get(const struct io_sim *sim, int fd);
void sim_sock_free(struct io_sim *sim, struct sim_sock *sock);
void sim_sock_reset(struct sim_sock *sock);
/* Tells the peer, frees it; no operation is under way. */
void sim_sock_close(struct io_sim *sim, struct sim_sock *sock);
/* Takes ev over. */
void sim_net_event(struct io_sim *sim, struct sim_event *ev);

void sim_net_submit(struct loop *loop, struct io_op *op);
void sim_net_cancel(struct loop *loop, struct io_op *op);
int sim_net_socket(struct loop *loop, int family);
int sim_net_listen(struct loop *loop, const struct addr *addr, int backlog);
int sim_net_local_addr(struct loop *loop, int fd, struct addr *out);
void sim_net_close_fd(struct loop *loop, int fd);

#endif
