/* SPDX-License-Identifier: Apache-2.0 */
#include "io/mbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/def.h"
#include "base/time.h"
#include "io/thread.h"

static struct mbox mbox;
static int runs[8], run_count;

struct note {
	struct mbox_msg msg;
	int id;
};

static void note_run(struct mbox_msg *msg)
{
	runs[run_count++] = container_of(msg, struct note, msg)->id;
}

/* Posts itself again, as an owner may. */
static void again_run(struct mbox_msg *msg)
{
	note_run(msg);
	msg->run = note_run;
	mbox_post(&mbox, msg);
}

static bool is_readable(int timeout_ms)
{
	struct pollfd pfd = {.fd = mbox.event_fd, .events = POLLIN};

	return poll(&pfd, 1, timeout_ms) == 1;
}

static int setup(void **state)
{
	run_count = 0;
	return mbox_init(&mbox);
}

static int teardown(void **state)
{
	mbox_fini(&mbox);
	mbox_fini(&mbox);
	return 0;
}

static void oldest_first(void **state)
{
	struct note notes[5];

	assert_true(mbox_is_empty(&mbox));
	assert_false(is_readable(0));
	for (int i = 0; i < 5; i++) {
		notes[i] = (struct note){.msg.run = note_run, .id = i};
		mbox_post(&mbox, &notes[i].msg);
	}
	assert_true(is_readable(0));
	assert_false(mbox_is_empty(&mbox));
	assert_int_equal(mbox_drain(&mbox), 5);
	assert_false(is_readable(0));
	for (int i = 0; i < 5; i++)
		assert_int_equal(runs[i], i);
	assert_int_equal(mbox_drain(&mbox), 0);
}

static void a_message_may_be_posted_while_it_runs(void **state)
{
	struct note note = {.msg.run = again_run, .id = 1};

	mbox_post(&mbox, &note.msg);
	assert_int_equal(mbox_drain(&mbox), 1);
	assert_true(is_readable(0));
	assert_int_equal(mbox_drain(&mbox), 1);
	assert_int_equal(run_count, 2);
}

#define POSTERS 4
#define POSTS	5000

static struct mbox_msg msgs[POSTERS][POSTS];
static int counted;

static void count_run(struct mbox_msg *msg)
{
	counted++;
}

static void *poster_main(void *arg)
{
	struct mbox_msg *mine = arg;

	for (int i = 0; i < POSTS; i++)
		mbox_post(&mbox, &mine[i]);
	return NULL;
}

/* The owner only sleeps on event_fd: a lost wake-up ends in the time-out. */
static void no_wakeup_is_lost(void **state)
{
	pthread_t threads[POSTERS];

	counted = 0;
	for (int i = 0; i < POSTERS; i++) {
		for (int k = 0; k < POSTS; k++)
			msgs[i][k].run = count_run;
		pthread_create(&threads[i], NULL, poster_main, msgs[i]);
	}
	while (counted < POSTERS * POSTS) {
		assert_true(is_readable(10000));
		mbox_drain(&mbox);
	}
	for (int i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
}

static void zeroed_box_is_fine(void **state)
{
	struct mbox zero = {.head = NULL};

	mbox_fini(&zero);
}

#define box_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* --- a poster that has not written yet when its message has run --- */

static struct gate is_posted, is_gone;
static int late_fd;
static bool is_open_at_write;

/* In place of its write(): as late as it can be. */
static void write_late(int signo)
{
	gate_open(&is_posted);
	gate_wait_for(&is_gone, 20 * NS_PER_MS);
	is_open_at_write = fcntl(late_fd, F_GETFD) >= 0;
}

static void *late_poster(void *arg)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {ARRAY_SIZE(filter), filter};

	/* A filter is of this thread alone. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		gate_open(&is_posted);
	mbox_post(&mbox, arg);
	return NULL;
}

/* Else the eight bytes could go to somebody else's file. */
static void descriptor_outlives_late_posters(void **state)
{
	struct sigaction late = {.sa_handler = write_late}, old;
	struct note note = {.msg.run = note_run, .id = 1};
	pthread_t thread;

	gate_init(&is_posted);
	gate_init(&is_gone);
	late_fd = mbox.event_fd;
	is_open_at_write = true;
	sigaction(SIGSYS, &late, &old);
	pthread_create(&thread, NULL, late_poster, &note);
	gate_wait(&is_posted);
	while (!run_count)
		mbox_drain(&mbox);
	mbox_fini(&mbox);
	gate_open(&is_gone);
	pthread_join(thread, NULL);
	sigaction(SIGSYS, &old, NULL);
	assert_true(is_open_at_write);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		box_test(oldest_first),
		box_test(a_message_may_be_posted_while_it_runs),
		box_test(no_wakeup_is_lost),
		box_test(descriptor_outlives_late_posters),
		cmocka_unit_test(zeroed_box_is_fine),
	};

	return cmocka_run_group_tests_name("mbox", tests, NULL, NULL);
}
