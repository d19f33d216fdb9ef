/* SPDX-License-Identifier: Apache-2.0 */
#include "io/signals.h"

#include "backends.h"

#include <signal.h>
#include <unistd.h>

static int last_signal, signal_count;

static void on_signal(struct signals *s, int signo)
{
	last_signal = signo;
	signal_count++;
}

static void hup_mask(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(how, &set, NULL);
}

/* Blocked as it is, it would be the next one's. */
static int pending_signal(void)
{
	struct timespec now = {0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	return sigtimedwait(&set, NULL, &now);
}

static void signals_become_events(void **state)
{
	struct signals s;
	struct err err = {0};

	signal_count = 0;
	assert_int_equal(signals_open(&s, t_loop, on_signal, NULL, &err), 0);
	kill(getpid(), SIGTERM);
	T_UNTIL(signal_count == 1);
	assert_int_equal(last_signal, SIGTERM);
	kill(getpid(), SIGINT);
	T_UNTIL(signal_count == 2);
	assert_int_equal(last_signal, SIGINT);
	kill(getpid(), SIGPIPE); /* ignored: we are still here */
	signals_close(&s);
	signals_close(&s);
	assert_int_equal(signal_count, 2);
}

/* Started by nohup: what ends others does not end us, but what is a command
 * for us is one. */
static void nohup_is_honoured(void **state)
{
	struct signals s;
	struct err err = {0};

	signal_count = 0;
	/* As at a start: neither blocked nor handled. */
	signal(SIGHUP, SIG_IGN);
	hup_mask(SIG_UNBLOCK);
	assert_int_equal(signals_open(&s, t_loop, on_signal, NULL, &err), 0);
	kill(getpid(), SIGHUP);
	kill(getpid(), SIGTERM);
	T_UNTIL(signal_count == 1);
	assert_int_equal(last_signal, SIGTERM);
	assert_int_equal(signals_take_hup(&s, &err), 0);
	kill(getpid(), SIGHUP);
	T_UNTIL(signal_count == 2);
	assert_int_equal(last_signal, SIGHUP);
	signals_close(&s);
	hup_mask(SIG_UNBLOCK);
	signal(SIGHUP, SIG_DFL);
}

static void hup_ends(void **state)
{
	struct signals s;
	struct err err = {0};

	signal_count = 0;
	assert_int_equal(signals_open(&s, t_loop, on_signal, NULL, &err), 0);
	kill(getpid(), SIGHUP);
	T_UNTIL(signal_count == 1);
	assert_int_equal(last_signal, SIGHUP);
	signals_close(&s);
}

/* Whoever closes may have given up what on_signal is about. */
static void close_tells_nobody(void **state)
{
	struct signals s;
	struct err err = {0};

	signal_count = 0;
	/* While the poll is being cancelled, and before it was submitted. */
	for (unsigned turns = 0; turns < 2; turns++) {
		assert_int_equal(
			signals_open(&s, t_loop, on_signal, NULL, &err), 0);
		if (turns)
			loop_turn(t_loop, 0);
		kill(getpid(), SIGTERM);
		signals_close(&s);
		assert_int_equal(signal_count, 0);
		assert_int_equal(pending_signal(), SIGTERM);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		t_test(signals_become_events),
		t_test(nohup_is_honoured),
		t_test(hup_ends),
		t_test(close_tells_nobody),
	};
	int failed = 0;

	failed += T_RUN(IO_BACKEND_URING, "signals/uring", tests);
	failed += T_RUN(IO_BACKEND_EPOLL, "signals/epoll", tests);
	return failed;
}
