/* SPDX-License-Identifier: Apache-2.0 */
#include "io/listener.h"

#include "backends.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/stream.h"

static struct listener lst;
static int fds[16], accepted;
static struct addr last_peer;
static bool is_closed;

static void on_accept(struct listener *l, int fd, const struct addr *peer)
{
	fds[accepted++] = fd;
	last_peer = *peer;
}

static void on_closed(struct listener *l)
{
	assert_int_equal(l->fd, -1);
	is_closed = true;
}

static void open_any(void)
{
	struct err err = {0};
	struct addr addr;

	accepted = 0;
	t_addr(&addr, 0);
	assert_int_equal(
		listener_open(&lst, t_loop, &addr, on_accept, NULL, &err), 0);
}

static void close_listener(void)
{
	is_closed = false;
	listener_close(&lst, on_closed);
	listener_close(&lst, on_closed);
	assert_false(is_closed);
	T_UNTIL(is_closed);
	for (int i = 0; i < accepted; i++)
		io_close(t_loop, fds[i]);
}

static void on_connect(struct stream *s, int res)
{
	assert_int_equal(res, 0);
}

static void accepts_many(void **state)
{
	struct stream s[10];
	struct addr local;

	open_any();
	for (int i = 0; i < 10; i++) {
		stream_init(&s[i], t_loop, NULL);
		stream_connect(&s[i], &lst.local, 5000, NULL, on_connect);
	}
	T_UNTIL(accepted == 10);
	assert_int_equal(io_local_addr(t_loop, fds[3], &local), 0);
	assert_true(addr_eq(&local, &lst.local));
	assert_int_not_equal(addr_port(&last_peer), 0);
	for (int i = 0; i < 10; i++)
		stream_close(&s[i], NULL);
	for (int i = 0; i < 10; i++)
		T_UNTIL(s[i].fd < 0);
	close_listener();
}

static _Atomic int held_fd;

static void *let_go(void *arg)
{
	usleep(50000);
	close(atomic_exchange(&held_fd, -1));
	return NULL;
}

/* As a program that was killed a moment ago leaves it. */
static void a_port_that_is_about_to_be_free(void **state)
{
	struct err err = {0};
	struct addr addr;
	pthread_t thread;
	int one = 1;

	t_addr(&addr, 0);
	held_fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(held_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(held_fd, (struct sockaddr *)&addr.ss, addr.len),
			 0);
	assert_int_equal(listen(held_fd, 1), 0);
	assert_int_equal(
		getsockname(held_fd, (struct sockaddr *)&addr.ss, &addr.len),
		0);
	assert_int_equal(pthread_create(&thread, NULL, let_go, NULL), 0);
	accepted = 0;
	assert_int_equal(
		listener_open(&lst, t_loop, &addr, on_accept, NULL, &err), 0);
	assert_int_equal(held_fd, -1);
	pthread_join(thread, NULL);
	close_listener();
}

static void port_in_use_is_a_sentence(void **state)
{
	struct listener other;
	struct err err = {0};
	char port[64];
	int ret;

	open_any();
	ret = listener_open(&other, t_loop, &lst.local, on_accept, NULL, &err);
	assert_int_equal(ret, -EADDRINUSE);
	assert_int_equal(other.fd, -1);
	snprintf(port, sizeof(port), "port %u on 127.0.0.1 is in use",
		 addr_port(&lst.local));
	assert_non_null(strstr(err.text, port));
	close_listener();
	is_closed = false;
	listener_close(&other, on_closed);
	T_UNTIL(is_closed);
	memset(&other, 0, sizeof(other));
	listener_close(&other, NULL);
}

static void address_of_another_host_is_a_sentence(void **state)
{
	struct err err = {0};
	struct addr addr;

	assert_int_equal(addr_parse("192.0.2.1", 0, &addr), 0);
	assert_int_equal(
		listener_open(&lst, t_loop, &addr, on_accept, NULL, &err),
		-EADDRNOTAVAIL);
	assert_non_null(strstr(err.text, "192.0.2.1"));
}

static int option_of(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int v = 0;

	assert_int_equal(getsockopt(fd, level, name, &v, &len), 0);
	return v;
}

static void sockets_have_their_options(void **state)
{
	struct io_sockopts so = {.user_timeout_ms = 1234, .keepalive_s = 30};
	struct stream s;

	open_any();
	stream_init(&s, t_loop, NULL);
	stream_connect(&s, &lst.local, 5000, &so, on_connect);
	T_UNTIL(accepted == 1 && !s.is_connecting);
	assert_true(option_of(s.fd, IPPROTO_TCP, TCP_NODELAY));
	assert_true(option_of(fds[0], IPPROTO_TCP, TCP_NODELAY));
	assert_int_equal(option_of(s.fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 1234);
	assert_int_equal(option_of(s.fd, IPPROTO_TCP, TCP_KEEPIDLE), 30);
	assert_int_equal(option_of(s.fd, IPPROTO_TCP, TCP_KEEPINTVL), 10);
	assert_true(option_of(s.fd, SOL_SOCKET, SO_KEEPALIVE));
	assert_false(option_of(fds[0], SOL_SOCKET, SO_KEEPALIVE));
	stream_close(&s, NULL);
	T_UNTIL(s.fd < 0);
	close_listener();
}

static void assert_not_paced(int fd)
{
	char name[16] = "";
	socklen_t len = sizeof(name);

	assert_int_equal(
		getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
	assert_string_equal(name, "reno");
}

/* Whatever the system's default is: both ends here are on loopback. */
static void loopback_is_not_paced(void **state)
{
	struct stream s;

	open_any();
	stream_init(&s, t_loop, NULL);
	stream_connect(&s, &lst.local, 5000, NULL, on_connect);
	T_UNTIL(accepted == 1 && !s.is_connecting);
	assert_not_paced(s.fd);
	assert_not_paced(fds[0]);
	stream_close(&s, NULL);
	T_UNTIL(s.fd < 0);
	close_listener();
}

/* Out of descriptors: pauses and goes on when there are some. */
static void survives_lack_of_descriptors(void **state)
{
	struct rlimit old, few;
	struct stream s;

	open_any();
	stream_init(&s, t_loop, NULL);
	stream_connect(&s, &lst.local, 5000, NULL, on_connect);
	getrlimit(RLIMIT_NOFILE, &old);
	few = (struct rlimit){(rlim_t)s.fd + 1, old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	T_UNTIL(timer_is_set(&lst.retry));
	assert_int_equal(accepted, 0);
	setrlimit(RLIMIT_NOFILE, &old);
	T_UNTIL(accepted == 1);
	stream_close(&s, NULL);
	T_UNTIL(s.fd < 0);
	close_listener();
}

int main(void)
{
	const struct CMUnitTest kernel_tests[] = {
		t_test(accepts_many),
		t_test(port_in_use_is_a_sentence),
		t_test(a_port_that_is_about_to_be_free),
		t_test(address_of_another_host_is_a_sentence),
		t_test(sockets_have_their_options),
		t_test(loopback_is_not_paced),
		t_test(survives_lack_of_descriptors),
	};
	const struct CMUnitTest sim_tests[] = {
		t_test(accepts_many),
		t_test(port_in_use_is_a_sentence),
	};
	int failed = 0;

	failed += T_RUN(IO_BACKEND_URING, "listener/uring", kernel_tests);
	failed += T_RUN(IO_BACKEND_EPOLL, "listener/epoll", kernel_tests);
	failed += T_RUN(IO_BACKEND_SIM, "listener/sim", sim_tests);
	return failed;
}
