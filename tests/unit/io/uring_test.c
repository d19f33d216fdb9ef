/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel may refuse of io_uring: a real seccomp filter in a child. */
#include "backends.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
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

int main(void)
{
	const struct CMUnitTest fallback_tests[] = {
		cmocka_unit_test(refused_ring_means_epoll),
	};

	return cmocka_run_group_tests(fallback_tests, NULL, NULL);
}
