/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the simulator: the world (sim.c) and its sockets (sim_net.c).
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
};

#define SIM_FIRST_PORT 20000

struct sim_event {
	struct list node; /* io_sim.events, then sim_sock.rx for data */
	uint64_t at_ns;
	enum sim_event_kind kind;
	int fd;	  /* for whom; -1 for a SYN */
	int from; /* the other end, -1 = none */
	int res;
	struct addr addr;
	size_t pos, len;
	unsigned char data[];
};

struct sim_sock {
	int fd;
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
};

struct io_sim {
	struct rng rng;
	uint64_t now_ns;
	struct io_sim_faults faults;
	struct list loops;
	struct list events;	 /* by at_ns, then by age */
	struct sim_sock **socks; /* [fd - SIM_FD_BASE], NULL when closed */
	size_t sock_count, sock_cap;
	uint16_t port_next;
	struct addr *cut; /* partitioned addresses */
	size_t cut_count;
};

struct io_sim *loop_sim(struct loop *loop);
bool sim_chance(struct io_sim *sim, double rate);
uint64_t sim_latency_ns(struct io_sim *sim);
/* A zeroed event with room for len bytes; aborts when out of memory. */
struct sim_event *sim_event_new(enum sim_event_kind kind, int fd, size_t len);
void sim_event_add(struct io_sim *sim, struct sim_event *ev, uint64_t at_ns);
bool sim_is_cut(const struct io_sim *sim, const struct addr *addr);

struct sim_sock *sim_sock_get(const struct io_sim *sim, int fd);
void sim_sock_free(struct io_sim *sim, struct sim_sock *sock);
void sim_sock_reset(struct sim_sock *sock);
/* Takes ev over. */
void sim_net_event(struct io_sim *sim, struct sim_event *ev);

void sim_net_submit(struct loop *loop, struct io_op *op);
void sim_net_cancel(struct loop *loop, struct io_op *op);
int sim_net_socket(struct loop *loop, int family);
int sim_net_listen(struct loop *loop, const struct addr *addr, int backlog);
int sim_net_local_addr(struct loop *loop, int fd, struct addr *out);
void sim_net_close_fd(struct loop *loop, int fd);

#endif
