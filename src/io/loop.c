/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loop: what all back ends have in common.  Runs in its owner's thread, which
 * is the first one to turn it; only loop_post() may be called from others.
 *
 * Invariant: an operation is counted in in_flight from io_submit() until just
 * before its done(), and callbacks run only inside loop_turn().
 */
#include "io/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "io/backend.h"

/* Its address names the calling thread; cheaper than asking the kernel. */
static _Thread_local char thread_mark;

static uintptr_t thread_self(void)
{
	return (uintptr_t)&thread_mark;
}

/* --- create and destroy --- */

static int loop_open(struct loop *loop, const struct io_backend *be,
		     const struct loop_opts *opts, struct err *err)
{
	int ret;

	loop->be = be;
	ret = be->open(loop, opts, err);
	if (ret < 0) {
		be->close(loop);
		loop->be = NULL;
	}
	return ret;
}

static void loop_log_choice(const struct loop *loop, const char *why)
{
	static atomic_uint logged;
	unsigned bit = loop->be == &io_backend_uring ? 1 : 2;

	/* Once per process and back end: every shard would say the same, but
	 * the ones that the kernel had no memory left for. */
	if (!(atomic_fetch_or(&logged, bit) & bit))
		log_info("io back end chosen", "backend=%s reason=\"%s\"",
			 loop->be->name, why);
}

static int loop_open_auto(struct loop *loop, const struct loop_opts *opts,
			  struct err *err)
{
	const char *env = getenv("MC_IO_BACKEND");
	struct err uring_err = {0};
	int ret;

	if (env && strcmp(env, "uring") == 0)
		return loop_open(loop, &io_backend_uring, opts, err);
	if (env && strcmp(env, "epoll") == 0)
		return loop_open(loop, &io_backend_epoll, opts, err);
	if (env && *env)
		return err_set(
			err, -EINVAL,
			"MC_IO_BACKEND is \"%s\": use uring or epoll, or "
			"unset it",
			env);
	if (loop_open(loop, &io_backend_uring, opts, &uring_err) == 0) {
		loop_log_choice(loop, "available");
		return 0;
	}
	ret = loop_open(loop, &io_backend_epoll, opts, err);
	if (ret == 0)
		loop_log_choice(loop, uring_err.text);
	return ret;
}

static int loop_open_kind(struct loop *loop, const struct loop_opts *opts,
			  struct err *err)
{
	switch (opts->backend) {
	case IO_BACKEND_AUTO:
		return loop_open_auto(loop, opts, err);
	case IO_BACKEND_URING:
		return loop_open(loop, &io_backend_uring, opts, err);
	case IO_BACKEND_EPOLL:
		return loop_open(loop, &io_backend_epoll, opts, err);
	case IO_BACKEND_SIM:
		return loop_open(loop, &io_backend_sim, opts, err);
	}
	UNREACHABLE();
}

int loop_create(const struct loop_opts *opts, struct loop **out,
		struct err *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int ret;

	*out = NULL;
	if (!loop)
		return err_set(err, -ENOMEM, "out of memory for a loop");
	list_init(&loop->tasks);
	list_init(&loop->completed);
	loop->name = opts->name ? opts->name : "loop";
	loop->spin_ns = opts->spin_us * NS_PER_US;
	ret = mbox_init(&loop->mbox);
	if (ret < 0) {
		err_set(err, ret, "cannot create an eventfd: %s",
			strerror(-ret));
		goto fail;
	}
	ret = loop_open_kind(loop, opts, err);
	if (ret < 0)
		goto fail;
	loop->now_ns = loop->be->now_ns(loop);
	*out = loop;
	return 0;
fail:
	loop_destroy(loop);
	return ret;
}

void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	ASSERT(!loop->in_turn);
	/* Who posted after the last turn may be waiting for an answer. */
	atomic_store(&loop->owner, thread_self());
	while (!mbox_is_empty(&loop->mbox))
		mbox_drain(&loop->mbox);
	ASSERT(loop->in_flight == 0);
	if (loop->be)
		loop->be->close(loop);
	mbox_fini(&loop->mbox);
	free(loop->heap);
	free(loop);
}

const char *loop_backend_name(const struct loop *loop)
{
	return loop->be->name;
}

/* --- turning --- */

bool loop_is_owner(const struct loop *loop)
{
	uintptr_t owner =
		atomic_load_explicit(&loop->owner, memory_order_relaxed);

	return owner == 0 || owner == thread_self();
}

bool loop_has_work(struct loop *loop)
{
	return !list_is_empty(&loop->completed) ||
	       !list_is_empty(&loop->tasks) || loop->is_woken ||
	       loop->is_stopping || !mbox_is_empty(&loop->mbox);
}

static void loop_run_tasks(struct loop *loop)
{
	struct list batch;

	/* What the tasks queue runs in the next turn. */
	list_init(&batch);
	list_splice_tail(&batch, &loop->tasks);
	while (!list_is_empty(&batch)) {
		struct loop_task *task;

		task = list_first(&batch, struct loop_task, node);
		list_del(&task->node);
		task->is_queued = false;
		task->run(task);
	}
}

static void loop_run_completed(struct loop *loop)
{
	struct list batch;

	list_init(&batch);
	if (!list_is_empty(&loop->completed))
		loop->spin_end_ns = loop->now_ns + loop->spin_ns;
	list_splice_tail(&batch, &loop->completed);
	while (!list_is_empty(&batch)) {
		struct io_op *op = list_first(&batch, struct io_op, node);

		list_del(&op->node);
		ASSERT(op->state == OP_COMPLETED);
		op->state = OP_IDLE;
		op->flags = 0;
		loop->in_flight--;
		op->done(op);
	}
}

static uint64_t loop_sleep_ns(struct loop *loop, uint64_t timeout_ns)
{
	uint64_t deadline_ns = loop_next_deadline(loop);

	if (loop_has_work(loop) || deadline_ns <= loop->now_ns)
		return 0;
	if (deadline_ns == UINT64_MAX)
		return timeout_ns;
	return MIN(timeout_ns, deadline_ns - loop->now_ns);
}

static void loop_wait(struct loop *loop, uint64_t timeout_ns)
{
	uint64_t start_ns = loop->now_ns, spin_ns, spent_ns;

	if (loop->spin_end_ns > start_ns && loop->in_flight > 0) {
		spin_ns = MIN(loop->spin_end_ns - start_ns, timeout_ns);
		do {
			loop->be->wait(loop, 0);
			if (loop_has_work(loop))
				return;
			spent_ns = loop->be->now_ns(loop) - start_ns;
		} while (spent_ns < spin_ns);
		if (spent_ns >= timeout_ns)
			return;
		if (timeout_ns != UINT64_MAX)
			timeout_ns -= spent_ns;
	}
	loop->be->wait(loop, timeout_ns);
}

void loop_turn(struct loop *loop, uint64_t timeout_ns)
{
	uintptr_t owner = 0;

	if (!atomic_compare_exchange_strong(&loop->owner, &owner,
					    thread_self()))
		ASSERT(owner == thread_self());
	ASSERT(!loop->in_turn);
	loop->in_turn = true;
	loop->now_ns = loop->be->now_ns(loop);
	loop_run_tasks(loop);
	loop_wait(loop, loop_sleep_ns(loop, timeout_ns));
	loop->now_ns = loop->be->now_ns(loop);
	if (loop->is_woken || !mbox_is_empty(&loop->mbox)) {
		loop->is_woken = false;
		mbox_drain(&loop->mbox);
	}
	loop_run_completed(loop);
	timers_fire(loop);
	loop->in_turn = false;
}

bool loop_is_turning(const struct loop *loop)
{
	return loop->in_turn;
}

void loop_run(struct loop *loop)
{
	while (!loop->is_stopping)
		loop_turn(loop, UINT64_MAX);
	loop->is_stopping = false;
}

void loop_stop(struct loop *loop)
{
	ASSERT(loop_is_owner(loop));
	loop->is_stopping = true;
}

uint64_t loop_now_ns(const struct loop *loop)
{
	return loop->now_ns;
}

void loop_post(struct loop *loop, struct mbox_msg *msg)
{
	mbox_post(&loop->mbox, msg);
}

/* --- deferred tasks --- */

void loop_defer(struct loop *loop, struct loop_task *task)
{
	ASSERT(loop_is_owner(loop));
	ASSERT(task->run);
	if (task->is_queued)
		return;
	task->is_queued = true;
	list_add_tail(&loop->tasks, &task->node);
}

void loop_undefer(struct loop *loop, struct loop_task *task)
{
	ASSERT(loop_is_owner(loop));
	if (!task->is_queued)
		return;
	task->is_queued = false;
	list_del(&task->node);
}

/* --- operations --- */

void io_submit(struct loop *loop, struct io_op *op)
{
	ASSERT(loop_is_owner(loop));
	ASSERT(op->state == OP_IDLE);
	ASSERT(op->done);
	ASSERT(op->iovcnt <= IO_IOV_MAX);
	op->state = OP_IN_FLIGHT;
	op->flags = 0;
	op->res = 0;
	list_init(&op->node);
	loop->in_flight++;
	loop->be->submit(loop, op);
}

bool io_may_hold(const struct loop *loop)
{
	return loop->be->may_hold && loop->be->may_hold(loop);
}

void io_cancel(struct loop *loop, struct io_op *op)
{
	ASSERT(loop_is_owner(loop));
	if (op->state != OP_IN_FLIGHT || (op->flags & OP_CANCELLED))
		return;
	op->flags |= OP_CANCELLED;
	loop->be->cancel(loop, op);
}

void loop_complete(struct loop *loop, struct io_op *op, int res)
{
	ASSERT(op->state == OP_IN_FLIGHT);
	op->state = OP_COMPLETED;
	op->res = res;
	list_del(&op->node);
	list_add_tail(&loop->completed, &op->node);
}

/* --- descriptors --- */

int io_socket(struct loop *loop, int family)
{
	return loop->be->socket(loop, family);
}

int io_listen(struct loop *loop, const struct addr *addr, int backlog)
{
	return loop->be->listen(loop, addr, backlog);
}

int io_local_addr(struct loop *loop, int fd, struct addr *out)
{
	return loop->be->local_addr(loop, fd, out);
}

void io_close(struct loop *loop, int fd)
{
	ASSERT(loop_is_owner(loop));
	loop->be->close_fd(loop, fd);
}

void io_set_sockopts(struct loop *loop, int fd, const struct io_sockopts *so)
{
	loop->be->set_sockopts(loop, fd, so);
}
