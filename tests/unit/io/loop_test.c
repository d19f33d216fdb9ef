/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"

#include "backends.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* --- timers --- */

struct tick {
	struct timer timer;
	int id;
	int left; /* times to re-arm */
};

static int fired[64], fired_count;

static void tick_fire(struct timer *timer)
{
	struct tick *tick = container_of(timer, struct tick, timer);

	assert_false(timer_is_set(timer));
	assert_true(loop_now_ns(t_loop) >= timer->deadline_ns);
	fired[fired_count++ % 64] = tick->id;
	if (tick->left-- > 0)
		timer_set(t_loop, timer, NS_PER_MS);
}

static void ticks_init(struct tick *ticks, int count)
{
	fired_count = 0;
	for (int i = 0; i < count; i++)
		ticks[i] = (struct tick){.timer.fire = tick_fire, .id = i};
}

static void timers_fire_in_order(void **state)
{
	struct tick ticks[40];

	ticks_init(ticks, 40);
	/* 7 is prime to 40: all positions, in a scrambled order */
	for (int i = 0; i < 40; i++)
		timer_set_at(t_loop, &ticks[i * 7 % 40].timer,
			     loop_now_ns(t_loop) + NS_PER_MS +
				     (uint64_t)(i * 7 % 40) * 1000);
	T_UNTIL(fired_count == 40);
	for (int i = 0; i < 40; i++)
		assert_int_equal(fired[i], i);
}

static void equal_deadlines_keep_order(void **state)
{
	struct tick ticks[20];

	ticks_init(ticks, 20);
	for (int i = 0; i < 20; i++)
		timer_set_at(t_loop, &ticks[i].timer,
			     loop_now_ns(t_loop) + NS_PER_MS);
	T_UNTIL(fired_count == 20);
	for (int i = 0; i < 20; i++)
		assert_int_equal(fired[i], i);
}

static void cancelled_timers_stay_silent(void **state)
{
	struct tick ticks[33];

	ticks_init(ticks, 33);
	for (int i = 0; i < 33; i++)
		timer_set(t_loop, &ticks[i].timer,
			  NS_PER_MS + (uint64_t)(i * 5 % 33) * 1000);
	for (int i = 0; i < 32; i++) {
		timer_cancel(t_loop, &ticks[i].timer);
		timer_cancel(t_loop, &ticks[i].timer);
		assert_false(timer_is_set(&ticks[i].timer));
	}
	T_UNTIL(fired_count > 0);
	assert_int_equal(fired_count, 1);
	assert_int_equal(fired[0], 32);
}

static void timer_rearms_inside_fire(void **state)
{
	struct tick tick;

	ticks_init(&tick, 1);
	tick.left = 3;
	timer_set(t_loop, &tick.timer, 0);
	T_UNTIL(fired_count == 4);
	assert_false(timer_is_set(&tick.timer));
}

static void timer_set_again_moves(void **state)
{
	struct tick ticks[2];

	ticks_init(ticks, 2);
	timer_set(t_loop, &ticks[0].timer, NS_PER_MS);
	timer_set(t_loop, &ticks[1].timer, 2 * NS_PER_MS);
	timer_set(t_loop, &ticks[0].timer, 3 * NS_PER_MS);
	T_UNTIL(fired_count == 2);
	assert_int_equal(fired[0], 1);
	assert_int_equal(fired[1], 0);
}

/* --- tasks --- */

struct job {
	struct loop_task task;
	int runs;
	bool is_again;
	struct job *victim;
};

static void job_run(struct loop_task *task)
{
	struct job *job = container_of(task, struct job, task);

	job->runs++;
	if (job->is_again) {
		job->is_again = false;
		loop_defer(t_loop, task);
	}
	if (job->victim)
		loop_undefer(t_loop, &job->victim->task);
}

static void tasks_run_once_in_the_next_turn(void **state)
{
	struct job job = {.task.run = job_run};

	loop_defer(t_loop, &job.task);
	loop_defer(t_loop, &job.task);
	assert_int_equal(job.runs, 0);
	t_turn();
	assert_int_equal(job.runs, 1);
	loop_defer(t_loop, &job.task);
	loop_undefer(t_loop, &job.task);
	loop_undefer(t_loop, &job.task);
	t_turn();
	assert_int_equal(job.runs, 1);
}

static void task_may_defer_itself_and_undefer_others(void **state)
{
	struct job b = {.task.run = job_run};
	struct job a = {.task.run = job_run, .is_again = true, .victim = &b};

	loop_defer(t_loop, &a.task);
	loop_defer(t_loop, &b.task);
	T_UNTIL(a.runs == 2);
	assert_int_equal(b.runs, 0);
	assert_false(b.task.is_queued);
}

/* --- posting from other threads --- */

#define POSTERS 4
#define POSTS	2000

struct post {
	struct mbox_msg msg;
	int poster, index;
};

static struct post posts[POSTERS][POSTS];
static int next_index[POSTERS], posts_run;

static void post_run(struct mbox_msg *msg)
{
	struct post *post = container_of(msg, struct post, msg);

	assert_true(loop_is_owner(t_loop));
	assert_int_equal(post->index, next_index[post->poster]++);
	posts_run++;
}

static void *poster_main(void *arg)
{
	struct post *mine = arg;

	assert_false(loop_is_owner(t_loop));
	for (int i = 0; i < POSTS; i++)
		loop_post(t_loop, &mine[i].msg);
	return NULL;
}

static void posts_arrive_in_order(void **state)
{
	pthread_t threads[POSTERS];

	loop_turn(t_loop, 0); /* we own it */
	posts_run = 0;
	memset(next_index, 0, sizeof(next_index));
	for (int i = 0; i < POSTERS; i++) {
		for (int k = 0; k < POSTS; k++)
			posts[i][k] = (struct post){
				.msg.run = post_run, .poster = i, .index = k};
		pthread_create(&threads[i], NULL, poster_main, posts[i]);
	}
	T_UNTIL(posts_run == POSTERS * POSTS);
	for (int i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
}

static void stop_run(struct mbox_msg *msg)
{
	loop_stop(t_loop);
}

static void *stop_main(void *arg)
{
	usleep(2000); /* most likely asleep by then; right either way */
	loop_post(t_loop, arg);
	return NULL;
}

static void post_wakes_a_sleeping_loop(void **state)
{
	struct mbox_msg msg = {.run = stop_run};
	pthread_t thread;

	pthread_create(&thread, NULL, stop_main, &msg);
	loop_run(t_loop);
	pthread_join(thread, NULL);
}

/* --- idle --- */

/* --- files --- */

struct wait {
	struct io_op op;
	int done;
	int res;
};

static void wait_done(struct io_op *op)
{
	struct wait *w = container_of(op, struct wait, op);

	w->done++;
	w->res = op->res;
}

static int do_file(int fd, enum io_kind kind, const struct iovec *iov,
		   uint64_t off)
{
	struct wait w = {.op = {.done = wait_done,
				.kind = kind,
				.fd = fd,
				.iov = iov,
				.iovcnt = iov ? 2 : 0,
				.off = off}};

	io_submit(t_loop, &w.op);
	assert_int_equal(w.done, 0);
	T_UNTIL(w.done);
	return w.res;
}

static void files_are_read_and_written(void **state)
{
	char path[] = "/tmp/io_loop_test.XXXXXX";
	char out[2][5000], in[2][5000];
	struct iovec wr[2] = {{out[0], 5000}, {out[1], 5000}};
	struct iovec rd[2] = {{in[0], 5000}, {in[1], 5000}};
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	memset(out[0], 'a', 5000);
	memset(out[1], 'b', 5000);
	assert_int_equal(do_file(fd, IO_WRITE, wr, 4096), 10000);
	assert_int_equal(do_file(fd, IO_FSYNC, NULL, 0), 0);
	assert_int_equal(do_file(fd, IO_READ, rd, 4096), 10000);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(do_file(fd, IO_READ, rd, 4096 + 9000), 1000);
	assert_int_equal(do_file(fd, IO_READ, rd, 4096 + 10000), 0);
	close(fd);
	assert_int_equal(do_file(fd, IO_READ, rd, 0), -EBADF);
}

static void many_file_operations_at_once(void **state)
{
	static struct wait ws[300];
	static char data[300][512];
	struct iovec iov[300];
	char path[] = "/tmp/io_loop_test.XXXXXX";
	int fd = mkstemp(path), done = 0;

	assert_true(fd >= 0);
	unlink(path);
	for (int i = 0; i < 300; i++) {
		iov[i] = (struct iovec){data[i], 512};
		ws[i] = (struct wait){.op = {.done = wait_done,
					     .kind = IO_WRITE,
					     .fd = fd,
					     .iov = &iov[i],
					     .iovcnt = 1,
					     .off = (uint64_t)i * 512}};
		io_submit(t_loop, &ws[i].op);
	}
	io_cancel(t_loop, &ws[299].op);
	while (done < 300) {
		t_turn();
		done = 0;
		for (int i = 0; i < 300; i++)
			done += ws[i].done;
	}
	for (int i = 0; i < 299; i++)
		assert_int_equal(ws[i].res, 512);
	assert_true(ws[299].res == 512 || ws[299].res == -ECANCELED);
	close(fd);
}

/* --- polling and cancelling --- */

static void poll_tells_readiness(void **state)
{
	struct wait w = {.op = {.done = wait_done,
				.kind = IO_POLL,
				.poll_mask = POLLIN}};
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	for (int round = 0; round < 3; round++) {
		char c = 'x';

		w.done = 0;
		w.op.fd = fds[0];
		io_submit(t_loop, &w.op);
		loop_turn(t_loop, 0);
		loop_turn(t_loop, NS_PER_MS);
		assert_int_equal(w.done, 0);
		assert_int_equal(write(fds[1], &c, 1), 1);
		T_UNTIL(w.done);
		assert_true(w.res & POLLIN);
		/* still readable: tells at once */
		w.done = 0;
		io_submit(t_loop, &w.op);
		T_UNTIL(w.done);
		assert_int_equal(read(fds[0], &c, 1), 1);
	}
	/* the other side, with both directions asked for */
	w.done = 0;
	w.op.fd = fds[1];
	w.op.poll_mask = POLLIN | POLLOUT;
	io_submit(t_loop, &w.op);
	T_UNTIL(w.done);
	assert_true(w.res & POLLOUT);
	close(fds[0]);
	close(fds[1]);
}

static void cancel_ends_an_operation_once(void **state)
{
	struct wait w = {.op = {.done = wait_done,
				.kind = IO_POLL,
				.poll_mask = POLLIN}};
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	w.op.fd = fds[0];
	/* before the back end has seen it, and after */
	for (int turns = 0; turns < 3; turns++) {
		w.done = 0;
		io_submit(t_loop, &w.op);
		for (int i = 0; i < turns; i++)
			loop_turn(t_loop, 0);
		io_cancel(t_loop, &w.op);
		io_cancel(t_loop, &w.op);
		assert_int_equal(w.done, 0);
		T_UNTIL(w.done);
		loop_turn(t_loop, 0);
		assert_int_equal(w.done, 1);
		assert_int_equal(w.res, -ECANCELED);
	}
	close(fds[0]);
	close(fds[1]);
}

/* More operations than the ring has room for. */
static void full_ring_is_no_error(void **state)
{
	struct loop_opts opts = {.backend = t_kind, .depth = 4};
	static struct wait ws[200];
	struct err err = {0};
	int fds[2], done;

	loop_destroy(t_loop);
	t_loop = NULL;
	assert_int_equal(loop_create(&opts, &t_loop, &err), 0);
	for (int i = 0; i < 200; i++) {
		/* epoll takes one operation per descriptor and direction */
		assert_int_equal(pipe(fds), 0);
		close(fds[1]);
		ws[i] = (struct wait){.op = {.done = wait_done,
					     .kind = IO_POLL,
					     .fd = fds[0],
					     .poll_mask = POLLIN}};
		io_submit(t_loop, &ws[i].op);
		if (i % 3 == 0)
			io_cancel(t_loop, &ws[i].op);
	}
	do {
		t_turn();
		done = 0;
		for (int i = 0; i < 200; i++)
			done += ws[i].done;
	} while (done < 200);
	for (int i = 0; i < 200; i++) {
		assert_true(ws[i].res > 0 || ws[i].res == -ECANCELED);
		close(ws[i].op.fd);
	}
}

static void environment_chooses(void **state)
{
	struct loop_opts opts = {.backend = IO_BACKEND_AUTO};
	struct loop *loop;
	struct err err = {0};

	setenv("MC_IO_BACKEND", "epoll", 1);
	assert_int_equal(loop_create(&opts, &loop, &err), 0);
	assert_string_equal(loop_backend_name(loop), "epoll");
	loop_destroy(loop);
	setenv("MC_IO_BACKEND", "iocp", 1);
	assert_int_equal(loop_create(&opts, &loop, &err), -EINVAL);
	assert_non_null(strstr(err.text, "iocp"));
	assert_null(loop);
	unsetenv("MC_IO_BACKEND");
	loop_destroy(NULL);
}

#define COMMON_TESTS                                                           \
	t_test(timers_fire_in_order), t_test(equal_deadlines_keep_order),      \
		t_test(cancelled_timers_stay_silent),                          \
		t_test(timer_rearms_inside_fire),                              \
		t_test(timer_set_again_moves),                                 \
		t_test(tasks_run_once_in_the_next_turn),                       \
		t_test(task_may_defer_itself_and_undefer_others)

int main(void)
{
	const struct CMUnitTest kernel_tests[] = {
		COMMON_TESTS,
		t_test(posts_arrive_in_order),
		t_test(post_wakes_a_sleeping_loop),
		t_test(files_are_read_and_written),
		t_test(many_file_operations_at_once),
		t_test(poll_tells_readiness),
		t_test(cancel_ends_an_operation_once),
		t_test(full_ring_is_no_error),
		t_test(environment_chooses),
	};
	int failed = 0;

	failed += T_RUN(IO_BACKEND_URING, "loop/uring", kernel_tests);
	failed += T_RUN(IO_BACKEND_EPOLL, "loop/epoll", kernel_tests);
	return failed;
}
