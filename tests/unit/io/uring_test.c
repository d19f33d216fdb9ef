/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel may refuse of io_uring, by a real seccomp filter in a child,
 * and the odd cases of single requests, on either back end.
 */
#include "backends.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* How a child ends. */
enum {
	CHILD_EPOLL,
	CHILD_URING,
	CHILD_NO_LOOP,
	CHILD_NO_WAKE,
	CHILD_NO_FILTER,
};

struct alarm {
	struct timer timer;
	bool is_fired;
};

static void set_true(struct timer *timer)
{
	container_of(timer, struct alarm, timer)->is_fired = true;
}

/* From here on nr fails with code; false where filters can't be had. */
static bool deny(unsigned nr, unsigned code)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {ARRAY_SIZE(filter), filter};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0;
}

static int child_main(unsigned nr, unsigned code)
{
	struct loop_opts opts = {.backend = IO_BACKEND_AUTO};
	struct alarm a = {.timer.fire = set_true};
	struct err err = {0};
	struct loop *loop;
	int ret;

	if (nr && !deny(nr, code))
		return CHILD_NO_FILTER;
	if (loop_create(&opts, &loop, &err) < 0)
		return CHILD_NO_LOOP;
	ret = strcmp(loop_backend_name(loop), "epoll") ? CHILD_URING
						       : CHILD_EPOLL;
	timer_set(loop, &a.timer, NS_PER_MS);
	for (int i = 0; i < 10 && !a.is_fired; i++)
		loop_turn(loop, NS_PER_S);
	loop_destroy(loop);
	return a.is_fired ? ret : CHILD_NO_WAKE;
}

/* Its exit status, or -1 when it was killed. */
static int run_child(unsigned nr, unsigned code)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(child_main(nr, code));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* As profiles of containers do it: all three calls, but one is enough. */
static void refused_ring_means_epoll(void **state)
{
	static const unsigned calls[] = {SYS_io_uring_setup, SYS_io_uring_enter,
					 SYS_io_uring_register};
	static const unsigned codes[] = {EPERM, ENOSYS, EACCES};

	unsetenv("MC_IO_BACKEND");
	if (run_child(0, 0) != CHILD_URING)
		skip(); /* refused already */
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(codes); k++) {
			int ret = run_child(calls[i], codes[k]);

			if (ret == CHILD_NO_FILTER)
				skip();
			if (ret != CHILD_EPOLL)
				fail_msg("call %u, errno %u: child %d",
					 calls[i], codes[k], ret);
		}
	}
}

/* One loop on the ring, one for which there is no memory; what is said. */
static void second_loop_without_memory(int fd)
{
	struct loop_opts opts = {.backend = IO_BACKEND_AUTO};
	struct loop *loops[3];
	struct err err = {0};

	dup2(fd, STDERR_FILENO);
	if (loop_create(&opts, &loops[0], &err) < 0 ||
	    !deny(SYS_io_uring_setup, ENOMEM))
		_exit(CHILD_NO_FILTER);
	for (int i = 1; i < 3; i++)
		if (loop_create(&opts, &loops[i], &err) < 0)
			_exit(CHILD_NO_LOOP);
	for (int i = 0; i < 3; i++)
		loop_destroy(loops[i]);
	_exit(CHILD_EPOLL);
}

static void each_back_end_is_told_once(void **state)
{
	char said[4096];
	const char *line;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		second_loop_without_memory(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	n = read(fds[0], said, sizeof(said) - 1);
	close(fds[0]);
	close(fds[1]);
	assert_true(WIFEXITED(status) && n > 0);
	said[n] = '\0';
	if (WEXITSTATUS(status) == CHILD_NO_FILTER ||
	    !strstr(said, "backend=uring"))
		skip();
	assert_int_equal(WEXITSTATUS(status), CHILD_EPOLL);
	line = strstr(said, "backend=epoll");
	assert_non_null(line);
	assert_non_null(strstr(line, "lockable memory"));
	assert_null(strstr(line + 1, "backend=epoll"));
}

/* --- a connection for which there is no room --- */

static int connect_res;

static void connect_done(struct io_op *op)
{
	connect_res = op->res;
}

/* TCP says so when the ports are used up; a local queue fills more easily. */
static void connect_does_not_wait_for_room(void **state)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct io_op op = {.done = connect_done, .kind = IO_CONNECT};
	int listening = socket(AF_UNIX, SOCK_STREAM, 0), fds[3];
	socklen_t len = sizeof(un.sun_family);

	/* The kernel chooses an abstract name. */
	assert_int_equal(bind(listening, (struct sockaddr *)&un, len), 0);
	assert_int_equal(listen(listening, 0), 0);
	len = sizeof(un);
	getsockname(listening, (struct sockaddr *)&un, &len);
	memcpy(&op.addr.ss, &un, len);
	op.addr.len = len;
	for (int i = 0; i < 3; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect_res = 1;
		op.fd = fds[i];
		io_submit(t_loop, &op);
		T_UNTIL(connect_res <= 0);
	}
	assert_int_equal(connect_res, -EADDRNOTAVAIL);
	for (int i = 0; i < 3; i++)
		io_close(t_loop, fds[i]);
	close(listening);
}

/* --- lengths --- */

static int received;

static void recv_done(struct io_op *op)
{
	received = op->res;
}

/* 32 bits of 4 GiB are 0, which would read as the end of the stream. */
static void long_pieces_are_not_cut_to_nothing(void **state)
{
	size_t n = (size_t)4 * GiB;
	struct iovec iov = {.iov_len = n};
	struct io_op op = {
		.done = recv_done, .kind = IO_RECV, .iov = &iov, .iovcnt = 1};
	int fds[2];

	iov.iov_base = mmap(NULL, n, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (iov.iov_base == MAP_FAILED)
		skip();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(write(fds[1], "hello", 5), 5);
	op.fd = fds[0];
	received = -1;
	io_submit(t_loop, &op);
	T_UNTIL(received >= 0);
	assert_int_equal(received, 5);
	assert_memory_equal(iov.iov_base, "hello", 5);
	io_close(t_loop, fds[0]);
	close(fds[1]);
	munmap(iov.iov_base, n);
}

int main(void)
{
	const struct CMUnitTest fallback_tests[] = {
		cmocka_unit_test(refused_ring_means_epoll),
		cmocka_unit_test(each_back_end_is_told_once),
	};
	const struct CMUnitTest tests[] = {
		t_test(connect_does_not_wait_for_room),
		t_test(long_pieces_are_not_cut_to_nothing),
	};
	int failed;

	failed = cmocka_run_group_tests_name("fallback", fallback_tests, NULL,
					     NULL);
	failed += T_RUN(IO_BACKEND_URING, "requests/uring", tests);
	failed += T_RUN(IO_BACKEND_EPOLL, "requests/epoll", tests);
	return failed;
}
