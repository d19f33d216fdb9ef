/* SPDX-License-Identifier: Apache-2.0 */
#include "io/thread.h"

#include "backends.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/stream.h"
#include "t_death.h"

/* --- gate --- */

static void *open_main(void *arg)
{
	gate_open(arg);
	return NULL;
}

static void gate_lets_through_once_open(void **state)
{
	struct gate gate;
	pthread_t thread;

	gate_init(&gate);
	assert_false(gate_wait_for(&gate, 0));
	assert_false(gate_wait_for(&gate, NS_PER_MS));
	pthread_create(&thread, NULL, open_main, &gate);
	gate_wait(&gate);
	assert_true(gate_wait_for(&gate, 0));
	pthread_join(thread, NULL);
}

/* --- shard --- */

static struct shard shard;

struct question {
	uint64_t count;
	bool is_owner;
	char name[32];
	sigset_t mask;
};

static void answer(void *arg)
{
	struct question *q = arg;

	q->count++;
	q->is_owner = loop_is_owner(shard.loop);
	pthread_getname_np(pthread_self(), q->name, sizeof(q->name));
	pthread_sigmask(SIG_SETMASK, NULL, &q->mask);
}

static int start_shard(void **state)
{
	struct loop_opts opts = {.backend = t_kind,
				 .name = "a-rather-long-shard-name"};
	struct err err = {0};

	return shard_start(&shard, &opts, &err);
}

static int stop_shard(void **state)
{
	shard_stop(&shard);
	shard_stop(&shard);
	return 0;
}

static void call_runs_on_the_shard(void **state)
{
	struct question q = {0};

	assert_false(loop_is_owner(shard.loop));
	for (int i = 0; i < 500; i++)
		shard_call(&shard, answer, &q);
	assert_int_equal(q.count, 500);
	assert_true(q.is_owner);
	assert_string_equal(q.name, "a-rather-long-s");
	assert_int_equal(sigismember(&q.mask, SIGTERM), 1);
	assert_int_equal(sigismember(&q.mask, SIGINT), 1);
}

#define CALLERS 4
#define CALLS	300

static uint64_t calls_run; /* the shard's */

static void count_call(void *arg)
{
	calls_run++;
	(*(uint64_t *)arg)++;
}

static void *caller_main(void *arg)
{
	uint64_t mine = 0;

	for (int i = 0; i < CALLS; i++)
		shard_call(&shard, count_call, &mine);
	*(uint64_t *)arg = mine;
	return NULL;
}

static void calls_from_many_threads(void **state)
{
	pthread_t threads[CALLERS];
	uint64_t counts[CALLERS];

	calls_run = 0;
	for (int i = 0; i < CALLERS; i++)
		pthread_create(&threads[i], NULL, caller_main, &counts[i]);
	for (int i = 0; i < CALLERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(counts[i], CALLS);
	}
	assert_int_equal(calls_run, CALLERS * CALLS);
}

/* --- posts that need the loop to go on after they ran --- */

struct sleeper {
	struct mbox_msg msg;
	struct timer timer;
	struct gate gate;
};

static void sleeper_fire(struct timer *timer)
{
	gate_open(&container_of(timer, struct sleeper, timer)->gate);
}

static void sleeper_run(struct mbox_msg *msg)
{
	struct sleeper *s = container_of(msg, struct sleeper, msg);

	timer_set(shard.loop, &s->timer, NS_PER_MS);
}

static void posted_work_may_take_its_time(void **state)
{
	struct sleeper ss[20];

	for (int i = 0; i < 20; i++) {
		ss[i] = (struct sleeper){.msg.run = sleeper_run,
					 .timer.fire = sleeper_fire};
		gate_init(&ss[i].gate);
		loop_post(shard.loop, &ss[i].msg);
	}
	for (int i = 0; i < 20; i++)
		assert_true(gate_wait_for(&ss[i].gate, T_DEADLINE_NS));
}

/* --- file operations: the pool's threads and the shard's --- */

struct file_work {
	struct io_op op;
	struct iovec iov;
	char buf[256];
	struct gate gate;
};

static void file_done(struct io_op *op)
{
	gate_open(&container_of(op, struct file_work, op)->gate);
}

static void file_start(void *arg)
{
	struct file_work *w = arg;

	io_submit(shard.loop, &w->op);
}

static void files_from_a_shard(void **state)
{
	char path[] = "/tmp/io_thread_test.XXXXXX";
	struct file_work w = {.op = {.done = file_done}};
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	w.iov = (struct iovec){w.buf, sizeof(w.buf)};
	w.op.fd = fd;
	w.op.iov = &w.iov;
	w.op.iovcnt = 1;
	for (int i = 0; i < 50; i++) {
		w.op.kind = i % 2 ? IO_READ : IO_WRITE;
		gate_init(&w.gate);
		shard_call(&shard, file_start, &w);
		assert_true(gate_wait_for(&w.gate, T_DEADLINE_NS));
	}
	/* done() may not have returned yet; the next call comes after it */
	shard_call(&shard, answer, &(struct question){0});
	assert_int_equal(w.op.res, sizeof(w.buf));
	close(fd);
}

/* --- the end --- */

struct late {
	struct mbox_msg msg;
	bool is_run;
};

static void late_run(struct mbox_msg *msg)
{
	struct late *late = container_of(msg, struct late, msg);

	assert_true(loop_is_owner(shard.loop));
	late->is_run = true;
}

static void stop_then_post(void *arg)
{
	loop_stop(shard.loop);
	loop_post(shard.loop, &((struct late *)arg)->msg);
}

/* The loop does not turn again: who waits for an answer gets it all the same.
 */
static void posts_after_the_stop_run(void **state)
{
	struct late late = {.msg.run = late_run};

	shard_call(&shard, stop_then_post, &late);
	pthread_join(shard.thread, NULL);
	assert_false(late.is_run);
	shard.is_running = false;
	shard_stop(&shard);
	assert_true(late.is_run);
}

static void call_itself(void *arg)
{
	shard_call(&shard, answer, arg);
}

static void call_from_the_shard(void *arg)
{
	start_shard(NULL);
	shard_call(&shard, call_itself, arg);
}

static void shard_must_not_call_itself(void **state)
{
	struct question q = {0};

	assert_non_null(strstr(t_death(call_from_the_shard, &q), "is_owner"));
}

static void zeroed_shard_can_be_stopped(void **state)
{
	struct shard zero = {0};

	shard_stop(&zero);
}

#define shard_test(f)                                                          \
	cmocka_unit_test_setup_teardown(f, start_shard, stop_shard)

int main(void)
{
	const struct CMUnitTest gate_tests[] = {
		cmocka_unit_test(gate_lets_through_once_open),
		cmocka_unit_test(zeroed_shard_can_be_stopped),
	};
	const struct CMUnitTest tests[] = {
		shard_test(call_runs_on_the_shard),
		shard_test(calls_from_many_threads),
		shard_test(posted_work_may_take_its_time),
		shard_test(files_from_a_shard),
		shard_test(posts_after_the_stop_run),
		cmocka_unit_test(shard_must_not_call_itself),
	};
	int failed;

	failed = cmocka_run_group_tests_name("gate", gate_tests, NULL, NULL);
	failed += T_RUN(IO_BACKEND_URING, "shard/uring", tests);
	failed += T_RUN(IO_BACKEND_EPOLL, "shard/epoll", tests);
	return failed;
}
