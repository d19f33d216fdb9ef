/* SPDX-License-Identifier: Apache-2.0 */
/* Sends that are not copied, on every back end. */
#include "ends.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct holding {
	struct stream_hold hold;
	int releases;
	bool was_copied;
};

static void on_released(struct stream_hold *hold, bool was_copied)
{
	struct holding *h = container_of(hold, struct holding, hold);

	h->releases++;
	h->was_copied = was_copied;
}

static bool send_held(struct holding *h, const void *p, size_t n)
{
	struct iovec iov[2] = {{(void *)(uintptr_t)p, n / 2},
			       {(char *)(uintptr_t)p + n / 2, n - n / 2}};

	*h = (struct holding){.hold.released = on_released};
	client.sends = 0;
	return stream_send_held(&client.s, iov, 2, &h->hold, on_send);
}

static void let_hold(uint64_t max_ns)
{
	struct io_sim_faults f = {.hold_max_ns = max_ns};

	if (t_sim)
		io_sim_set_faults(t_sim, &f);
}

static void read_all(unsigned char *p, size_t n)
{
	struct iovec iov;

	for (size_t pos = 0; pos < n; pos += (size_t)server.recv_res) {
		iov = (struct iovec){p + pos, n - pos};
		server.recvs = 0;
		stream_recv(&server.s, &iov, 1, on_recv);
		T_UNTIL(server.recvs);
		assert_true(server.recv_res > 0);
	}
}

static void held_bytes_arrive_and_are_released(void **state)
{
	static unsigned char data[MiB], got[sizeof(data)];
	struct holding h[3];

	connect_pair(NULL);
	let_hold(50 * NS_PER_MS);
	for (unsigned i = 0; i < ARRAY_SIZE(h); i++) {
		memset(data, (int)i + 1, sizeof(data));
		if (!send_held(&h[i], data, sizeof(data))) {
			print_message("SKIP: not here\n");
			close_all();
			return;
		}
		assert_int_equal(client.sends + h[i].releases, 0);
		read_all(got, sizeof(got));
		T_UNTIL(client.sends && h[i].releases);
		assert_int_equal(client.send_res, 0);
		assert_memory_equal(got, data, sizeof(got));
		/* Over loopback the kernel copies, and says so. */
		assert_int_equal(h[i].was_copied, !t_sim);
	}
	close_all();
	for (unsigned i = 0; i < ARRAY_SIZE(h); i++)
		assert_int_equal(h[i].releases, 1);
}

/* Only its memory is held up, not what comes behind it. */
static void a_hold_delays_no_send(void **state)
{
	struct holding h[20];
	unsigned released = 0;
	unsigned char got[20];

	connect_pair(NULL);
	let_hold(NS_PER_S);
	for (unsigned i = 0; i < ARRAY_SIZE(h); i++) {
		assert_true(send_held(&h[i], "x", 1));
		T_UNTIL(client.sends);
		released += (unsigned)h[i].releases;
	}
	assert_true(released < ARRAY_SIZE(h) / 2);
	read_all(got, sizeof(got));
	close_all();
	for (unsigned i = 0; i < ARRAY_SIZE(h); i++)
		assert_int_equal(h[i].releases, 1);
}

/* Nobody reads; closing waits for the kernel to let go, also when a process
 * that was forked has the socket as well. */
static void close_ends_holds(void **state)
{
	static unsigned char big[32 * MiB];
	struct holding h[2];

	for (int turns = 0; turns < 4; turns++) {
		int other;

		connect_pair(NULL);
		other = t_sim ? -1 : dup(client.s.fd);
		let_hold(50 * NS_PER_MS);
		if (send_held(&h[0], "x", 1))
			T_UNTIL(client.sends);
		else
			h[0].releases = 1;
		if (!send_held(&h[1], big, sizeof(big)))
			h[1].releases = client.sends = 1;
		for (int i = 0; i < turns; i++)
			t_turn();
		stream_close(&client.s, on_closed);
		T_UNTIL(client.closes == 1);
		assert_int_equal(client.sends, 1);
		assert_int_equal(h[0].releases + h[1].releases, 2);
		client.closes = 0;
		if (other >= 0)
			close(other);
		close_all();
		assert_int_equal(h[0].releases + h[1].releases, 2);
	}
}

/* A kind of socket that can't, as a kernel that can't. */
static void what_cannot_be_held_is_sent_all_the_same(void **state)
{
	struct holding h;
	char got[4] = "";
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	end_init(&client);
	end_init(&server);
	stream_attach(&client.s, fds[0]);
	stream_attach(&server.s, fds[1]);
	if (send_held(&h, "abc", 3)) {
		T_UNTIL(client.sends && h.releases);
		assert_int_equal(client.send_res, 0);
		assert_int_equal(read(fds[1], got, sizeof(got)), 3);
		assert_string_equal(got, "abc");
		assert_false(send_held(&h, "abc", 3)); /* not again */
	}
	stream_close(&server.s, on_closed);
	stream_close(&client.s, on_closed);
	T_UNTIL(server.closes && client.closes);
}

#define CANT 77

static int send_with_little_memory(void)
{
	static unsigned char data[4 * MiB], got[sizeof(data)];
	struct rlimit limit = {512 * KiB, 512 * KiB};
	struct holding h;

	/* In a namespace that has no such user, and where io_uring is off. */
	if (setrlimit(RLIMIT_MEMLOCK, &limit) ||
	    (geteuid() == 0 && setresuid(65534, 65534, 65534)) || t_setup(NULL))
		return CANT;
	connect_pair(NULL);
	memset(data, 7, sizeof(data));
	if (send_held(&h, data, sizeof(data))) {
		read_all(got, sizeof(got));
		T_UNTIL(client.sends && h.releases);
	}
	close_all();
	if (client.send_res || (client.sends && memcmp(got, data, sizeof(got))))
		return 3;
	t_teardown(NULL);
	return 0;
}

/* Without the right to lock memory the kernel refuses part of the way. */
static void without_lockable_memory_it_is_sent_all_the_same(void **state)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(send_with_little_memory());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CANT)
		skip();
	assert_int_equal(status, 0);
}

#define COMMON_TESTS                                                           \
	t_test(held_bytes_arrive_and_are_released), t_test(close_ends_holds)

int main(void)
{
	const struct CMUnitTest kernel_tests[] = {
		COMMON_TESTS,
		t_test(what_cannot_be_held_is_sent_all_the_same),
	};
	const struct CMUnitTest sim_tests[] = {
		COMMON_TESTS,
		t_test(a_hold_delays_no_send),
	};
	const struct CMUnitTest uring_tests[] = {
		cmocka_unit_test(
			without_lockable_memory_it_is_sent_all_the_same),
	};
	int failed = 0;

	failed += T_RUN(IO_BACKEND_URING, "hold/uring", kernel_tests);
	failed += T_RUN(IO_BACKEND_URING, "hold/limit", uring_tests);
	failed += T_RUN(IO_BACKEND_EPOLL, "hold/epoll", kernel_tests);
	failed += T_RUN(IO_BACKEND_SIM, "hold/sim", sim_tests);
	return failed;
}
