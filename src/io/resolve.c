/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resolver: one short-lived detached thread per name.
 *
 * Two sides share a struct resolve: the loop and the helper thread.  Invariant:
 * under its lock it is either not settled, is_posted (the loop frees it), or
 * is_dropped (the thread frees it).  Nothing of the loop is touched by the
 * thread once is_dropped is set.
 */
#include "io/resolve.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"

struct resolve {
	struct loop *loop;
	resolve_fn done;
	void *arg;
	struct mbox_msg msg;
	struct timer timer;
	char host[HOST_TEXT_LEN];
	uint16_t port;
	/* written by the thread before is_posted */
	int ret;
	struct addr addr;
	struct err err;
	pthread_mutex_t mu;
	bool is_posted, is_dropped;
};

static void resolve_free(struct resolve *r)
{
	pthread_mutex_destroy(&r->mu);
	free(r);
}

static void *resolve_thread(void *arg)
{
	struct resolve *r = arg;
	bool is_dropped;

	r->ret = addr_resolve(r->host, r->port, &r->addr, &r->err);
	pthread_mutex_lock(&r->mu);
	is_dropped = r->is_dropped;
	r->is_posted = !is_dropped;
	/* Under the lock: a canceller must not end the loop in between. */
	if (!is_dropped)
		loop_post(r->loop, &r->msg);
	pthread_mutex_unlock(&r->mu);
	if (is_dropped)
		resolve_free(r);
	return NULL;
}

static void resolve_answer(struct mbox_msg *msg)
{
	struct resolve *r = container_of(msg, struct resolve, msg);

	timer_cancel(r->loop, &r->timer);
	/* The thread may still be leaving its critical section. */
	pthread_mutex_lock(&r->mu);
	pthread_mutex_unlock(&r->mu);
	r->done(r->ret, r->ret ? NULL : &r->addr, &r->err, r->arg);
	resolve_free(r);
}

bool resolve_cancel(struct resolve *r)
{
	bool is_posted;

	pthread_mutex_lock(&r->mu);
	is_posted = r->is_posted;
	r->is_dropped = !is_posted;
	if (!is_posted)
		timer_cancel(r->loop, &r->timer);
	pthread_mutex_unlock(&r->mu);
	return !is_posted;
}

static void resolve_late(struct timer *timer)
{
	struct resolve *r = container_of(timer, struct resolve, timer);
	resolve_fn done = r->done;
	void *arg = r->arg;
	struct err err = {0};

	err_set(&err, -ETIMEDOUT,
		"the name '%.120s' was not resolved in time: check the name "
		"server or give a numeric address",
		r->host);
	if (resolve_cancel(r))
		done(-ETIMEDOUT, NULL, &err, arg);
}

static int start_thread(struct resolve *r)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int ret;

	ret = -pthread_attr_init(&attr);
	if (ret)
		return ret;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&thread, &attr, resolve_thread, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return ret;
}

struct resolve *resolve_start(struct loop *loop, const struct resolve_req *req)
{
	struct resolve *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->loop = loop;
	r->done = req->done;
	r->arg = req->arg;
	r->msg.run = resolve_answer;
	r->timer.fire = resolve_late;
	r->port = req->port;
	snprintf(r->host, sizeof(r->host), "%s", req->host);
	pthread_mutex_init(&r->mu, NULL);
	if (addr_parse(r->host, r->port, &r->addr) == 0) {
		r->is_posted = true;
		loop_post(loop, &r->msg);
		return r;
	}
	timer_set(loop, &r->timer, req->timeout_ms * NS_PER_MS);
	if (start_thread(r)) {
		timer_cancel(loop, &r->timer);
		resolve_free(r);
		return NULL;
	}
	return r;
}
