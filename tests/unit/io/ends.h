/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a connection in one loop. */
#ifndef TESTS_UNIT_IO_ENDS_H
#define TESTS_UNIT_IO_ENDS_H

#include "backends.h"
#include "io/listener.h"
#include "io/stream.h"

/* One end of a connection that counts what its callbacks say. */
struct end {
	struct stream s;
	int connects, recvs, sends, closes;
	int connect_res, recv_res, send_res;
};

static struct listener lst;
static struct end client, server;
static bool is_listener_closed;

static inline void on_lst_closed(struct listener *l)
{
	is_listener_closed = true;
}

static inline void on_accept(struct listener *l, int fd,
			     const struct addr *peer)
{
	/* one connection per test */
	assert_int_equal(server.s.fd, -1);
	stream_attach(&server.s, fd);
}

static inline void on_connect(struct stream *s, int res)
{
	struct end *e = container_of(s, struct end, s);

	e->connects++;
	e->connect_res = res;
}

static inline void on_recv(struct stream *s, int res)
{
	struct end *e = container_of(s, struct end, s);

	e->recvs++;
	e->recv_res = res;
}

static inline void on_send(struct stream *s, int res)
{
	struct end *e = container_of(s, struct end, s);

	e->sends++;
	e->send_res = res;
}

static inline void on_closed(struct stream *s)
{
	container_of(s, struct end, s)->closes++;
	assert_int_equal(s->fd, -1);
}

static inline void end_init(struct end *e)
{
	memset(e, 0, sizeof(*e));
	stream_init(&e->s, t_loop, e);
}

static inline void listen_any(void)
{
	struct err err = {0};
	struct addr addr;

	end_init(&client);
	end_init(&server);
	t_addr(&addr, 0);
	assert_int_equal(
		listener_open(&lst, t_loop, &addr, on_accept, NULL, &err), 0);
	assert_int_not_equal(addr_port(&lst.local), 0);
}

static inline void connect_pair(const struct io_sockopts *so)
{
	listen_any();
	stream_connect(&client.s, &lst.local, 5000, so, on_connect);
	assert_int_equal(client.connects, 0);
	T_UNTIL(client.connects && server.s.fd >= 0);
	assert_int_equal(client.connect_res, 0);
}

static inline void close_all(void)
{
	is_listener_closed = false;
	listener_close(&lst, on_lst_closed);
	stream_close(&client.s, on_closed);
	stream_close(&server.s, on_closed);
	T_UNTIL(is_listener_closed && client.closes && server.closes);
	for (int i = 0; i < 5; i++)
		t_turn();
	assert_int_equal(client.closes, 1);
	assert_int_equal(server.closes, 1);
}

#endif
