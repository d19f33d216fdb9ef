/* SPDX-License-Identifier: Apache-2.0 */
#include "io/stream.h"

#include "ends.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/rand.h"

/* --- transfers --- */

struct pump {
	struct end *e;
	unsigned char *buf;
	size_t pos, len;
	struct rng rng;
	struct iovec iov[4];
	bool is_failed;
};

static struct pump in, out;

static void pump_recv(void);

static void on_pump_recv(struct stream *s, int res)
{
	if (res <= 0) {
		in.is_failed = true;
		return;
	}
	in.pos += (size_t)res;
	pump_recv();
}

static void pump_recv(void)
{
	size_t left = in.len - in.pos, n;

	if (left == 0)
		return;
	/* two pieces of random size */
	n = 1 + rng_below(&in.rng, left);
	in.iov[0] = (struct iovec){in.buf + in.pos, n / 2};
	in.iov[1] = (struct iovec){in.buf + in.pos + n / 2, n - n / 2};
	stream_recv(&in.e->s, in.iov, 2, on_pump_recv);
}

static void pump_send(void);

static void on_pump_send(struct stream *s, int res)
{
	if (res < 0) {
		out.is_failed = true;
		return;
	}
	pump_send();
}

static void pump_send(void)
{
	size_t left = out.len - out.pos, n;

	if (left == 0)
		return;
	n = 1 + rng_below(&out.rng, MIN(left, (size_t)(512 * KiB)));
	out.iov[0] = (struct iovec){out.buf + out.pos, n / 3};
	out.iov[1] = (struct iovec){NULL, 0};
	out.iov[2] = (struct iovec){out.buf + out.pos + n / 3, n - n / 3};
	out.pos += n;
	stream_send(&out.e->s, out.iov, 3, on_pump_send);
}

static void pumps_start(size_t len)
{
	memset(&in, 0, sizeof(in));
	memset(&out, 0, sizeof(out));
	rng_seed(&in.rng, t_seed);
	rng_seed(&out.rng, t_seed + 1);
	in.len = out.len = len;
	in.buf = calloc(1, len);
	out.buf = malloc(len);
	for (size_t i = 0; i < len; i++)
		out.buf[i] = (unsigned char)rng_u64(&out.rng);
	in.e = &server;
	out.e = &client;
	pump_recv();
	pump_send();
}

static void pumps_free(void)
{
	free(in.buf);
	free(out.buf);
}

static void random_sizes_arrive_unharmed(void **state)
{
	struct io_sockopts so = {.sndbuf = 16384, .rcvbuf = 16384};

	connect_pair(&so);
	pumps_start(5 * MiB + 12345);
	T_UNTIL(in.pos == in.len || in.is_failed || out.is_failed);
	assert_int_equal(in.pos, in.len);
	assert_memory_equal(in.buf, out.buf, in.len);
	close_all();
	pumps_free();
}

static void thousands_of_pieces_are_sent_whole(void **state)
{
	static struct iovec iov[3000];
	static unsigned char data[3000][7], got[3000 * 7];
	struct iovec to;
	size_t pos = 0;

	connect_pair(NULL);
	for (unsigned i = 0; i < 3000; i++) {
		memset(data[i], (int)(i * 31 & 0xff), 7);
		iov[i] = (struct iovec){data[i], 7};
	}
	stream_send(&client.s, iov, 3000, on_send);
	memset(iov, 0, sizeof(iov)); /* the array was copied */
	while (pos < sizeof(got)) {
		to = (struct iovec){got + pos, sizeof(got) - pos};
		server.recvs = 0;
		stream_recv(&server.s, &to, 1, on_recv);
		T_UNTIL(server.recvs);
		assert_true(server.recv_res > 0);
		pos += (size_t)server.recv_res;
	}
	T_UNTIL(client.sends);
	assert_int_equal(client.send_res, 0);
	assert_memory_equal(got, data, sizeof(got));
	close_all();
}

static void sending_nothing_is_answered(void **state)
{
	connect_pair(NULL);
	stream_send(&client.s, NULL, 0, on_send);
	assert_int_equal(client.sends, 0);
	T_UNTIL(client.sends);
	assert_int_equal(client.send_res, 0);
	close_all();
}

static void end_of_stream_is_zero(void **state)
{
	char buf[16];
	struct iovec iov = {buf, sizeof(buf)};

	connect_pair(NULL);
	stream_recv(&server.s, &iov, 1, on_recv);
	stream_close(&client.s, on_closed);
	T_UNTIL(server.recvs);
	assert_int_equal(server.recv_res, 0);
	assert_true(stream_is_open(&server.s));
	T_UNTIL(client.closes == 1);
	client.closes = 0;
	close_all();
}

/* --- closing --- */

static void close_during_transfer_answers_once(void **state)
{
	static unsigned char big[32 * MiB];
	char buf[16];
	struct iovec tx = {big, sizeof(big)}, rx = {buf, sizeof(buf)};

	for (int turns = 0; turns < 4; turns++) {
		connect_pair(NULL);
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
		client.closes = 0;
		close_all();
		assert_int_equal(client.sends + client.recvs, 2);
	}
}

static void on_recv_close(struct stream *s, int res)
{
	on_recv(s, res);
	stream_close(s, NULL);
	stream_close(s, on_closed); /* replaces done */
}

static void close_inside_a_callback(void **state)
{
	char buf[16];
	struct iovec iov = {buf, sizeof(buf)}, tx = {(char[]){"x"}, 1};

	connect_pair(NULL);
	stream_recv(&server.s, &iov, 1, on_recv_close);
	stream_send(&client.s, &tx, 1, on_send);
	T_UNTIL(server.closes);
	assert_int_equal(server.recvs, 1);
	server.closes = 0;
	close_all();
}

static void close_before_and_after_everything(void **state)
{
	struct stream zero = {0};

	stream_close(&zero, NULL);
	listen_any();
	stream_close(&client.s, on_closed);
	assert_int_equal(client.closes, 0);
	T_UNTIL(client.closes);
	client.closes = 0;
	close_all();
}

static void close_while_connecting(void **state)
{
	listen_any();
	stream_connect(&client.s, &lst.local, 5000, NULL, on_connect);
	stream_close(&client.s, on_closed);
	T_UNTIL(client.closes);
	assert_int_equal(client.connects, 1);
	client.closes = 0;
	close_all();
	/* the server may have got the connection or not */
}

/* --- connecting --- */

static void refused_connection_can_be_tried_again(void **state)
{
	struct addr addr;

	connect_pair(NULL);
	addr = lst.local;
	close_all();
	end_init(&client);
	for (int i = 0; i < 2; i++) {
		client.connects = 0;
		stream_connect(&client.s, &addr, 5000, NULL, on_connect);
		T_UNTIL(client.connects);
		assert_int_equal(client.connect_res, -ECONNREFUSED);
		assert_false(stream_is_open(&client.s));
	}
	stream_close(&client.s, on_closed);
	T_UNTIL(client.closes);
}

static void impossible_family_is_told_from_the_loop(void **state)
{
	struct addr addr;

	end_init(&client);
	t_addr(&addr, 1);
	addr.ss.ss_family = 0xfff;
	stream_connect(&client.s, &addr, 5000, NULL, on_connect);
	assert_int_equal(client.connects, 0);
	T_UNTIL(client.connects);
	assert_int_equal(client.connect_res, -EAFNOSUPPORT);
	stream_close(&client.s, on_closed);
	T_UNTIL(client.closes);
}

/* Nobody accepts: after the backlog is full, SYNs are dropped. */
static void connect_times_out(void **state)
{
	static struct end ends[4];
	struct addr addr, local;
	int fd, timeouts = 0;

	t_addr(&addr, 0);
	fd = io_listen(t_loop, &addr, 0);
	assert_true(fd >= 0);
	assert_int_equal(io_local_addr(t_loop, fd, &local), 0);
	for (int i = 0; i < 4; i++) {
		end_init(&ends[i]);
		stream_connect(&ends[i].s, &local, 30, NULL, on_connect);
	}
	for (int i = 0; i < 4; i++) {
		T_UNTIL(ends[i].connects);
		timeouts += ends[i].connect_res == -ETIMEDOUT;
		stream_close(&ends[i].s, on_closed);
		T_UNTIL(ends[i].closes);
		assert_int_equal(ends[i].connects, 1);
	}
	assert_true(timeouts > 0);
	io_close(t_loop, fd);
}

/* In the simulator the latency is what is too long. */
static void slow_connect_times_out(void **state)
{
	struct io_sim_faults f = {.latency_min_ns = 60 * NS_PER_MS,
				  .latency_max_ns = 60 * NS_PER_MS};
	uint64_t start_ns;

	listen_any();
	io_sim_set_faults(t_sim, &f);
	start_ns = io_sim_now_ns(t_sim);
	stream_connect(&client.s, &lst.local, 100, NULL, on_connect);
	T_UNTIL(client.connects);
	assert_int_equal(client.connect_res, -ETIMEDOUT);
	/* the step that tells has jumped on to the late answer */
	assert_in_range(io_sim_now_ns(t_sim) - start_ns, 100 * NS_PER_MS,
			120 * NS_PER_MS);
	close_all();
}

/* A descriptor of another back end may be non-blocking already. */
static void foreign_nonblocking_descriptors_work(void **state)
{
	char buf[16];
	struct iovec iov = {buf, sizeof(buf)}, tx = {(char[]){"xyz"}, 3};
	int fds[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	end_init(&client);
	end_init(&server);
	stream_attach(&client.s, fds[0]);
	stream_attach(&server.s, fds[1]);
	stream_recv(&server.s, &iov, 1, on_recv);
	t_turn();
	assert_int_equal(server.recvs, 0);
	stream_send(&client.s, &tx, 1, on_send);
	T_UNTIL(server.recvs && client.sends);
	assert_int_equal(server.recv_res, 3);
	assert_memory_equal(buf, "xyz", 3);
	/* and cancelling works in that state too */
	stream_recv(&server.s, &iov, 1, on_recv);
	t_turn();
	stream_close(&server.s, on_closed);
	stream_close(&client.s, on_closed);
	T_UNTIL(server.closes && client.closes);
	assert_int_equal(server.recvs, 2);
	assert_int_equal(server.recv_res, -ECANCELED);
}

#define COMMON_TESTS                                                           \
	t_test(random_sizes_arrive_unharmed),                                  \
		t_test(thousands_of_pieces_are_sent_whole),                    \
		t_test(sending_nothing_is_answered),                           \
		t_test(end_of_stream_is_zero),                                 \
		t_test(close_during_transfer_answers_once),                    \
		t_test(close_inside_a_callback),                               \
		t_test(close_before_and_after_everything),                     \
		t_test(close_while_connecting),                                \
		t_test(refused_connection_can_be_tried_again),                 \
		t_test(impossible_family_is_told_from_the_loop)

int main(void)
{
	const struct CMUnitTest kernel_tests[] = {
		COMMON_TESTS,
		t_test(connect_times_out),
		t_test(foreign_nonblocking_descriptors_work),
	};
	const struct CMUnitTest sim_tests[] = {
		COMMON_TESTS,
		t_test(slow_connect_times_out),
	};
	int failed = 0;

	failed += T_RUN(IO_BACKEND_URING, "stream/uring", kernel_tests);
	failed += T_RUN(IO_BACKEND_EPOLL, "stream/epoll", kernel_tests);
	failed += T_RUN(IO_BACKEND_SIM, "stream/sim", sim_tests);
	return failed;
}
