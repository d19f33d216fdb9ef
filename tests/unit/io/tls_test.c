/* SPDX-License-Identifier: Apache-2.0 */
/* TLS on streams: two of ours, and bytes that are no TLS. */
#include "io/tls.h"

#include "backends.h"

#include <errno.h>
#include <stdlib.h>

#include "base/rand.h"
#include "io/listener.h"

#define HOST "nqn.2014-08.org.nvmexpress:uuid:h"
#define SUB  "nqn.2026-11.io.mooncake:s"

struct end {
	struct stream s;
	int connects, shakes, recvs, sends, closes;
	int shake_res, recv_res, send_res;
};

/* What one end sends and the other gets. */
struct flow {
	struct end *from, *to;
	unsigned char *sent, *got;
	size_t len, sent_pos, got_pos;
	struct rng rng;
	struct iovec tx[5], rx[3];
	int error;
};

static struct listener lst;
static struct end client, server;
static struct flow up, down;
static bool is_listener_closed;
static struct tls_key host_key;	     /* the client's */
static struct tls_key known_keys[2]; /* the server's */
static unsigned known_count, asked;
static enum tls_form form;

static int find(void *arg, struct str identity, unsigned attempt,
		struct tls_psk *out)
{
	unsigned seen = 0;

	asked++;
	for (unsigned i = 0; i < known_count; i++) {
		for (unsigned f = 0; f < TLS_FORM_COUNT; f++) {
			tls_psk_derive(&known_keys[i], f, HOST, SUB, out);
			if (str_eq(identity, str_of(out->identity)) &&
			    seen++ == attempt)
				return 0;
		}
	}
	return -ENOENT;
}

static void on_lst_closed(struct listener *l)
{
	is_listener_closed = true;
}

static void on_accept(struct listener *l, int fd, const struct addr *peer)
{
	stream_attach(&server.s, fd);
}

static void on_connect(struct stream *s, int res)
{
	assert_int_equal(res, 0);
	container_of(s, struct end, s)->connects++;
}

static void on_shake(struct stream *s, int res)
{
	struct end *e = container_of(s, struct end, s);

	e->shakes++;
	e->shake_res = res;
}

static void on_recv(struct stream *s, int res)
{
	struct end *e = container_of(s, struct end, s);

	e->recvs++;
	e->recv_res = res;
}

static void on_send(struct stream *s, int res)
{
	struct end *e = container_of(s, struct end, s);

	e->sends++;
	e->send_res = res;
}

static void on_closed(struct stream *s)
{
	container_of(s, struct end, s)->closes++;
}

static void end_init(struct end *e)
{
	memset(e, 0, sizeof(*e));
	stream_init(&e->s, t_loop, e);
}

static void pair(void)
{
	struct io_sockopts so = {.sndbuf = 16384, .rcvbuf = 16384};
	struct err err = {0};
	struct addr addr;

	end_init(&client);
	end_init(&server);
	t_addr(&addr, 0);
	assert_int_equal(
		listener_open(&lst, t_loop, &addr, on_accept, NULL, &err), 0);
	stream_connect(&client.s, &lst.local, 5000, &so, on_connect);
	T_UNTIL(client.connects && server.s.fd >= 0);
	form = TLS_FORM_V1;
	known_count = 1;
	asked = 0;
	assert_int_equal(tls_key_make(TLS_SHA256, &host_key), 0);
	known_keys[0] = host_key;
}

static void start_server(uint32_t timeout_ms)
{
	struct stream_tls_opts opts = {.timeout_ms = timeout_ms, .find = find};

	assert_int_equal(stream_tls_start(&server.s, &opts, on_shake), 0);
	assert_int_equal(server.shakes, 0);
}

static void start_client(uint32_t timeout_ms)
{
	struct tls_psk psk;
	struct stream_tls_opts opts = {.timeout_ms = timeout_ms, .psk = &psk};

	assert_int_equal(tls_psk_derive(&host_key, form, HOST, SUB, &psk), 0);
	assert_int_equal(stream_tls_start(&client.s, &opts, on_shake), 0);
	assert_int_equal(client.shakes, 0);
}

/* Handshake; both ends have an answer. */
static void shake(void)
{
	start_server(5000);
	start_client(5000);
	T_UNTIL(client.shakes && server.shakes);
}

static void close_all(void)
{
	is_listener_closed = false;
	client.closes = server.closes = 0;
	listener_close(&lst, on_lst_closed);
	stream_close(&client.s, on_closed);
	stream_close(&server.s, on_closed);
	T_UNTIL(is_listener_closed && client.closes && server.closes);
	for (int i = 0; i < 5; i++)
		t_turn();
	assert_int_equal(client.closes, 1);
	assert_int_equal(server.closes, 1);
	assert_null(client.s.tls);
	assert_int_equal(client.shakes, client.shakes != 0);
	assert_int_equal(server.shakes, server.shakes != 0);
}

static void check_open(void)
{
	assert_int_equal(client.shake_res, 0);
	assert_int_equal(server.shake_res, 0);
	assert_non_null(stream_tls_identity(&server.s));
	assert_string_equal(stream_tls_identity(&server.s),
			    stream_tls_identity(&client.s));
}

/* --- transfers --- */

static void flow_recv(struct flow *f);

static struct flow *flow_to(struct stream *s)
{
	return s == &up.to->s ? &up : &down;
}

static void on_flow_recv(struct stream *s, int res)
{
	struct flow *f = flow_to(s);

	if (res <= 0) {
		f->error = res ? res : -EPIPE;
		return;
	}
	f->got_pos += (size_t)res;
	flow_recv(f);
}

static void flow_recv(struct flow *f)
{
	size_t left = f->len - f->got_pos, n;

	if (!left)
		return;
	n = 1 + rng_below(&f->rng, MIN(left, (size_t)300000));
	f->rx[0] = (struct iovec){f->got + f->got_pos, n / 2};
	f->rx[1] = (struct iovec){NULL, 0};
	f->rx[2] = (struct iovec){f->got + f->got_pos + n / 2, n - n / 2};
	stream_recv(&f->to->s, f->rx, 3, on_flow_recv);
}

static void flow_send(struct flow *f);

static void on_flow_send(struct stream *s, int res)
{
	struct flow *f = s == &up.from->s ? &up : &down;

	if (res < 0)
		f->error = res;
	else
		flow_send(f);
}

/* Small pieces in front of large ones, as headers before payload. */
static void flow_send(struct flow *f)
{
	size_t left = f->len - f->sent_pos, n, small;
	unsigned char *p = f->sent + f->sent_pos;

	if (!left)
		return;
	n = 1 + rng_below(&f->rng, MIN(left, (size_t)400000));
	small = MIN(n, (size_t)24);
	f->tx[0] = (struct iovec){NULL, 0};
	f->tx[1] = (struct iovec){p, small / 2};
	f->tx[2] = (struct iovec){p + small / 2, small - small / 2};
	f->tx[3] = (struct iovec){p + small, n - small};
	f->tx[4] = (struct iovec){NULL, 0};
	f->sent_pos += n;
	stream_send(&f->from->s, f->tx, 5, on_flow_send);
	memset(f->tx, 0, sizeof(f->tx)); /* the array was copied */
}

static void flow_start(struct flow *f, struct end *from, struct end *to,
		       size_t len)
{
	memset(f, 0, sizeof(*f));
	f->from = from;
	f->to = to;
	f->len = len;
	f->sent = malloc(len);
	f->got = calloc(1, len);
	rng_seed(&f->rng, t_seed + len);
	for (size_t i = 0; i < len; i++)
		f->sent[i] = (unsigned char)rng_u64(&f->rng);
}

static void flow_end(struct flow *f)
{
	assert_int_equal(f->error, 0);
	assert_memory_equal(f->sent, f->got, f->len);
	free(f->sent);
	free(f->got);
}

static void transfer(size_t len)
{
	flow_start(&up, &client, &server, len);
	flow_start(&down, &server, &client, len + 777);
	flow_recv(&up);
	flow_recv(&down);
	flow_send(&up);
	flow_send(&down);
	T_UNTIL((up.got_pos == up.len && down.got_pos == down.len) ||
		up.error || down.error);
	flow_end(&up);
	flow_end(&down);
}

static void bytes_arrive_unharmed_both_ways(void **state)
{
	pair();
	shake();
	check_open();
	transfer(3 * MiB + 12345);
	close_all();
}

static void every_form_and_hash_is_understood(void **state)
{
	for (unsigned i = 0; i < 2 * TLS_FORM_COUNT; i++) {
		pair();
		form = i / 2;
		tls_key_make(i % 2 ? TLS_SHA384 : TLS_SHA256, &host_key);
		known_keys[0] = host_key;
		shake();
		check_open();
		transfer(1000);
		close_all();
	}
}

/* Without a hash the forms of nvme-cli have the same identity as others and
 * another key: the server tries them all. */
static void same_identity_other_key_is_found(void **state)
{
	for (unsigned i = 0; i < TLS_FORM_COUNT; i++) {
		pair();
		form = i;
		host_key.hash = TLS_HASH_NONE;
		known_keys[0] = host_key;
		shake();
		check_open();
		assert_int_equal(asked, i < 2 ? 1 : 2);
		transfer(1000);
		close_all();
	}
}

/* --- what must not succeed --- */

static void wrong_key_is_refused(void **state)
{
	pair();
	host_key.hash = TLS_HASH_NONE;
	known_keys[0] = host_key;
	form = TLS_FORM_V0; /* its identity does not depend on the key */
	known_keys[0].bytes[7] ^= 1;
	shake();
	assert_int_equal(server.shake_res, -EKEYREJECTED);
	assert_int_equal(client.shake_res, -EKEYREJECTED);
	assert_true(stream_is_open(&client.s));
	close_all();
}

static void unknown_identity_is_refused(void **state)
{
	pair();
	known_keys[0].bytes[7] ^= 1;
	shake();
	assert_int_equal(server.shake_res, -ENOKEY);
	assert_int_equal(client.shake_res, -EKEYREJECTED);
	assert_int_equal(asked, 1);
	close_all();
}

static void plain_send(struct end *e, unsigned char *p, size_t n)
{
	struct iovec iov = {p, n};

	stream_send(&e->s, &iov, 1, on_send);
	T_UNTIL(e->sends);
}

/* A host that speaks without TLS: it is told by an alert. */
static void plain_greeting_is_refused(void **state)
{
	static unsigned char icreq[128] = {0, 0, 128, 0, 128};
	unsigned char buf[64];
	struct iovec iov = {buf, sizeof(buf)};

	pair();
	start_server(5000);
	plain_send(&client, icreq, sizeof(icreq));
	T_UNTIL(server.shakes);
	assert_int_equal(server.shake_res, -EPROTO);
	assert_int_equal(asked, 0);
	stream_recv(&client.s, &iov, 1, on_recv);
	T_UNTIL(client.recvs);
	assert_int_equal(client.recv_res, 7);
	assert_int_equal(buf[0], 21);
	close_all();
}

static void garbage_is_refused(void **state)
{
	unsigned char bytes[2000];
	struct rng rng;

	rng_seed(&rng, t_seed);
	for (unsigned i = 0; i < 50; i++) {
		size_t n = 6 + rng_below(&rng, sizeof(bytes) - 6);

		for (size_t k = 0; k < n; k++)
			bytes[k] = (unsigned char)rng_u64(&rng);
		if (i & 1) { /* a record that might be a hello */
			bytes[0] = 22;
			bytes[1] = 3;
			bytes[2] = 1;
			bytes[3] = 0;
			bytes[4] = (unsigned char)MIN(n - 5, (size_t)200);
			bytes[5] = 1;
		}
		pair();
		start_server(5000);
		plain_send(&client, bytes, n);
		stream_close(&client.s, on_closed); /* no more will come */
		T_UNTIL(server.shakes);
		assert_true(server.shake_res < 0);
		close_all();
	}
}

static void silence_ends_at_the_deadline(void **state)
{
	pair();
	start_server(30);
	T_UNTIL(server.shakes);
	assert_int_equal(server.shake_res, -ETIMEDOUT);
	start_client(30);
	T_UNTIL(client.shakes);
	assert_int_equal(client.shake_res, -ETIMEDOUT);
	close_all();
}

static void peer_that_leaves_ends_the_handshake(void **state)
{
	pair();
	start_client(5000);
	stream_close(&server.s, on_closed);
	T_UNTIL(client.shakes);
	assert_true(client.shake_res == -ECONNRESET ||
		    client.shake_res == -EPIPE);
	close_all();
}

static void closing_ends_the_handshake(void **state)
{
	for (int turns = 0; turns < 6; turns++) {
		pair();
		start_server(5000);
		start_client(5000);
		for (int i = 0; i < turns && !client.shakes; i++)
			t_turn();
		stream_close(&client.s, on_closed);
		T_UNTIL(client.closes);
		assert_int_equal(client.shakes, 1);
		assert_true(client.shake_res == 0 ||
			    client.shake_res == -ECANCELED);
		close_all();
	}
}

/* --- ends --- */

static void close_is_the_end_of_the_stream(void **state)
{
	char buf[16];
	struct iovec iov = {buf, sizeof(buf)};

	pair();
	shake();
	check_open();
	stream_recv(&server.s, &iov, 1, on_recv);
	stream_close(&client.s, on_closed);
	T_UNTIL(server.recvs);
	assert_int_equal(server.recv_res, 0);
	/* Again: it stays the end. */
	stream_recv(&server.s, &iov, 1, on_recv);
	T_UNTIL(server.recvs == 2);
	assert_int_equal(server.recv_res, 0);
	close_all();
}

static void close_during_transfer_answers_once(void **state)
{
	static unsigned char big[4 * MiB];
	char buf[16];
	struct iovec tx = {big, sizeof(big)}, rx = {buf, sizeof(buf)};

	for (int turns = 0; turns < 4; turns++) {
		pair();
		shake();
		check_open();
		/* nobody reads: the send can't end */
		stream_send(&client.s, &tx, 1, on_send);
		stream_recv(&client.s, &rx, 1, on_recv);
		for (int i = 0; i < turns; i++)
			t_turn();
		stream_close(&client.s, on_closed);
		T_UNTIL(client.closes == 1);
		assert_int_equal(client.sends, 1);
		assert_int_equal(client.send_res, -ECANCELED);
		assert_int_equal(client.recvs, 1);
		assert_int_equal(client.recv_res, -ECANCELED);
		close_all();
	}
}

static void sending_nothing_is_answered(void **state)
{
	pair();
	shake();
	stream_send(&client.s, NULL, 0, on_send);
	assert_int_equal(client.sends, 0);
	T_UNTIL(client.sends);
	assert_int_equal(client.send_res, 0);
	close_all();
}

/* Records that were changed on the way: the man in the middle is this test,
 * which writes below the TLS. */
static void changed_bytes_are_refused(void **state)
{
	static unsigned char record[] = {23, 3,	 3,  0,	 20, 1,	 2,  3,	 4,
					 5,  6,	 7,  8,	 9,  10, 11, 12, 13,
					 14, 15, 16, 17, 18, 19, 20};
	char buf[16];
	struct iovec iov = {buf, sizeof(buf)};
	struct stream_tls *tls;
	void (*done)(struct io_op * op);

	pair();
	shake();
	check_open();
	tls = TAKE(client.s.tls);
	done = client.s.tx.done;
	plain_send(&client, record, sizeof(record));
	client.s.tls = tls;
	client.s.tx.done = done;
	stream_recv(&server.s, &iov, 1, on_recv);
	T_UNTIL(server.recvs);
	assert_int_equal(server.recv_res, -EBADMSG);
	close_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(bytes_arrive_unharmed_both_ways),
		t_test(every_form_and_hash_is_understood),
		t_test(same_identity_other_key_is_found),
		t_test(wrong_key_is_refused),
		t_test(unknown_identity_is_refused),
		t_test(plain_greeting_is_refused),
		t_test(garbage_is_refused),
		t_test(silence_ends_at_the_deadline),
		t_test(peer_that_leaves_ends_the_handshake),
		t_test(closing_ends_the_handshake),
		t_test(close_is_the_end_of_the_stream),
		t_test(close_during_transfer_answers_once),
		t_test(sending_nothing_is_answered),
		t_test(changed_bytes_are_refused),
	};
	int failed = 0;

	printf("seed %llu\n", (unsigned long long)t_seed);
	failed += T_RUN(IO_BACKEND_URING, "tls uring", tests);
	failed += T_RUN(IO_BACKEND_EPOLL, "tls epoll", tests);
	failed += T_RUN(IO_BACKEND_SIM, "tls sim", tests);
	return failed;
}
