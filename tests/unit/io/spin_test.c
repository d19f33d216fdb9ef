/* SPDX-License-Identifier: Apache-2.0 */
/* What a loop costs while nothing happens, and what spinning changes. */
#include "io/loop.h"

#include "backends.h"

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int done_count;

static uint64_t cpu_us(void)
{
	struct rusage ru;

	getrusage(RUSAGE_THREAD, &ru);
	return (uint64_t)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
}

static void idle_loop_uses_no_cpu(void **state)
{
	struct rusage before, after;
	uint64_t start_us, start_ns;
	int turns;

	loop_turn(t_loop, 0);
	getrusage(RUSAGE_THREAD, &before);
	start_us = cpu_us();
	start_ns = time_mono_ns();
	/* The kernel may end a sleep early, but not again and again. */
	for (turns = 0; time_mono_ns() < start_ns + 200 * NS_PER_MS; turns++)
		loop_turn(t_loop, 200 * NS_PER_MS);
	getrusage(RUSAGE_THREAD, &after);
	assert_in_range(turns, 1, 5);
	assert_true(cpu_us() - start_us < 5000);
	/* one sleep and some noise of the kernel: no periodic tick */
	assert_in_range(after.ru_nvcsw - before.ru_nvcsw, 0, 20);
}

static struct loop *spinning_loop(void)
{
	struct loop_opts opts = {.backend = t_kind, .spin_us = 20000};
	struct err err = {0};
	struct loop *loop;

	assert_int_equal(loop_create(&opts, &loop, &err), 0);
	loop_turn(loop, 0);
	return loop;
}

static void count_op(struct io_op *op)
{
	done_count++;
}

/* A loop spins after something has happened, not while a peer is silent. */
static void spins_only_after_completions(void **state)
{
	struct io_op op = {.done = count_op, .kind = IO_POLL};
	struct loop *loop = spinning_loop();
	uint64_t start_us;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	op.fd = fds[0];
	op.poll_mask = POLLIN;
	done_count = 0;
	io_submit(loop, &op);
	start_us = cpu_us();
	for (int i = 0; i < 50; i++)
		loop_turn(loop, 2 * NS_PER_MS);
	assert_true(cpu_us() - start_us < 50000);

	assert_int_equal(write(fds[1], "x", 1), 1);
	while (done_count == 0)
		loop_turn(loop, NS_PER_S);
	assert_int_equal(read(fds[0], &(char){0}, 1), 1);
	io_submit(loop, &op);
	start_us = cpu_us();
	loop_turn(loop, 10 * NS_PER_MS);
	assert_true(cpu_us() - start_us > 500);

	io_cancel(loop, &op);
	while (done_count == 1)
		loop_turn(loop, NS_PER_S);
	loop_destroy(loop);
	close(fds[0]);
	close(fds[1]);
}

/* Receives of a loop that spins: few, more than it asks itself, taken back,
 * and answered only after it went to sleep. */
static void spinning_loop_receives(void **state)
{
	int nonblock = t_kind == IO_BACKEND_EPOLL ? SOCK_NONBLOCK : 0;
	struct loop *loop = spinning_loop();
	struct io_op ops[9];
	struct iovec iov[9];
	char bytes[9];
	int fds[9][2];

	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(
			socketpair(AF_UNIX, SOCK_STREAM | nonblock, 0, fds[i]),
			0);
		iov[i] = (struct iovec){&bytes[i], 1};
		ops[i] = (struct io_op){.done = count_op,
					.kind = IO_RECV,
					.fd = fds[i][0],
					.iov = &iov[i],
					.iovcnt = 1};
	}
	for (int round = 0; round < 40; round++) {
		int count = 1 + round % 9;

		done_count = 0;
		for (int i = 0; i < count; i++)
			io_submit(loop, &ops[i]);
		loop_turn(loop, 0);
		if (round % 8 == 7) /* longer than it spins */
			loop_turn(loop, 25 * NS_PER_MS);
		assert_int_equal(done_count, 0);
		for (int i = 0; i + 1 < count; i++)
			assert_int_equal(write(fds[i][1], &(char){'a' + i}, 1),
					 1);
		while (done_count < count - 1)
			loop_turn(loop, NS_PER_S);
		io_cancel(loop, &ops[count - 1]);
		while (done_count < count)
			loop_turn(loop, NS_PER_S);
		assert_int_equal(ops[count - 1].res, -ECANCELED);
		for (int i = 0; i + 1 < count; i++) {
			assert_int_equal(ops[i].res, 1);
			assert_int_equal(bytes[i], 'a' + i);
		}
	}
	/* An end of stream is an answer, too. */
	done_count = 0;
	io_submit(loop, &ops[0]);
	loop_turn(loop, 0);
	close(fds[0][1]);
	while (done_count == 0)
		loop_turn(loop, NS_PER_S);
	assert_int_equal(ops[0].res, 0);
	loop_destroy(loop);
	close(fds[0][0]);
	for (int i = 1; i < 9; i++) {
		close(fds[i][0]);
		close(fds[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(idle_loop_uses_no_cpu),
		t_test(spins_only_after_completions),
		t_test(spinning_loop_receives),
	};
	int failed = 0;

	failed += T_RUN(IO_BACKEND_URING, "spin/uring", tests);
	failed += T_RUN(IO_BACKEND_EPOLL, "spin/epoll", tests);
	return failed;
}
