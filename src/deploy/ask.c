/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to targets.  The caller's thread owns and turns the loop.
 * Invariant: when a question returns, its controller is gone.
 */
#include "deploy/ask.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"

/* Discovery services in the order in which they were found. */
struct services {
	struct endpoint eps[REFERRALS_MAX];
	unsigned depth[REFERRALS_MAX];
	size_t count, at; /* at is being asked */
};

struct question {
	struct ask *ask;
	const struct endpoint *paths; /* [0] is where it is asked */
	size_t path_count;
	struct nslist *out;
	struct err *err;
	struct services *services; /* asked for its discovery log, or NULL */
	/* progress */
	struct nvmf_ctrl *ctrl;
	struct timer timer;
	int ret;
	bool is_closing;
};

static void on_closed(void *arg)
{
	struct question *q = arg;

	loop_stop(q->ask->loop);
}

static void question_end(struct question *q, int ret)
{
	if (q->is_closing)
		return;
	q->is_closing = true;
	q->ret = ret;
	timer_cancel(q->ask->loop, &q->timer);
	nvmf_ctrl_close(q->ctrl, on_closed, q);
}

static void on_timeout(struct timer *timer)
{
	struct question *q = container_of(timer, struct question, timer);

	err_set(q->err, -ETIMEDOUT, "%s:%u did not answer within %u ms",
		q->paths[0].traddr, q->paths[0].trsvcid, q->ask->timeout_ms);
	question_end(q, -ETIMEDOUT);
}

static int explain(struct question *q, int ret, const char *what)
{
	if (ret < 0)
		err_set(q->err, ret, "%s of %s:%u (%s) failed: %s", what,
			q->paths[0].traddr, q->paths[0].trsvcid,
			q->paths[0].subnqn, strerror(-ret));
	return ret;
}

static int add_namespace(struct question *q, const struct nvmf_ns_info *ns)
{
	struct ns_entry *entry;
	uint64_t bytes;

	if (mul_overflows(ns->size_lba, (uint64_t)ns->lba_bytes, &bytes))
		bytes = 0; /* the master looks itself and says what it thinks */
	for (size_t i = 0; i < q->path_count; i++) {
		struct endpoint ep = q->paths[i];
		int ret;

		ep.nsid = ns->nsid;
		ret = nslist_add(q->out, &ep, &entry, q->err);
		if (ret < 0)
			return ret;
		entry->bytes = bytes;
	}
	return 0;
}

static void on_namespaces(int ret, const struct nvmf_ns_info *ns, size_t count,
			  void *arg)
{
	struct question *q = arg;

	ret = explain(q, ret, "listing the namespaces");
	for (size_t i = 0; i < count && ret == 0; i++)
		ret = add_namespace(q, &ns[i]);
	question_end(q, ret);
}

static void note(struct question *q, const char *why, const struct endpoint *ep)
{
	char text[ENDPOINT_TEXT_LEN + 160];

	snprintf(text, sizeof(text), "%s: %s at %s:%u", why, ep->subnqn,
		 ep->traddr, ep->trsvcid);
	q->ask->note(text);
}

/* Services may refer to each other: one address is asked once. */
static void add_referral(struct question *q, const struct endpoint *ep)
{
	struct services *s = q->services;

	for (size_t i = 0; i < s->count; i++)
		if (s->eps[i].trsvcid == ep->trsvcid &&
		    strcmp(s->eps[i].traddr, ep->traddr) == 0)
			return;
	if (s->count == REFERRALS_MAX || s->depth[s->at] == REFERRAL_DEPTH) {
		note(q, "not followed, too many referrals; --discover asks it",
		     ep);
		return;
	}
	s->eps[s->count] = *ep;
	s->depth[s->count++] = s->depth[s->at] + 1;
}

static int add_entry(struct question *q, const struct nvmf_disc_entry *entry)
{
	struct endpoint ep = entry->ep;

	if (entry->subtype == 3)
		return 0; /* the service itself */
	if (entry->subtype > 2 || ep.trtype != NVME_TRTYPE_TCP) {
		note(q, "left out, as it is not NVMe/TCP", &ep);
		return 0;
	}
	endpoint_fix_wildcard(&ep, &q->paths[0]);
	ep.nsid = 0;
	if (entry->subtype == 1) {
		add_referral(q, &ep);
		return 0;
	}
	return nslist_add(q->out, &ep, NULL, q->err);
}

static void on_discovered(int ret, const struct nvmf_disc_entry *entries,
			  size_t count, void *arg)
{
	struct question *q = arg;

	ret = explain(q, ret, "reading the discovery log");
	for (size_t i = 0; i < count && ret == 0; i++)
		ret = add_entry(q, &entries[i]);
	question_end(q, ret);
}

static void on_state(struct nvmf_ctrl *ctrl, enum nvmf_state state,
		     const struct err *err, void *arg)
{
	struct question *q = arg;
	int ret = -EIO;

	if (q->is_closing)
		return;
	q->ctrl = ctrl;
	if (state == NVMF_LIVE) {
		ret = q->services ? nvmf_discover(ctrl, on_discovered, q)
				  : nvmf_ns_list(ctrl, on_namespaces, q);
		if (ret < 0)
			question_end(q, explain(q, ret, "a question"));
		return;
	}
	if (err && err->code) {
		ret = err->code;
		err_set(q->err, ret, "%s", err->text);
	}
	question_end(q, explain(q, ret, "connecting"));
}

static int question_run(struct question *q)
{
	const struct endpoint *ep = &q->paths[0];
	struct nvmf_opts opts = q->ask->nvmf;
	int ret;

	if (addr_parse(ep->traddr, ep->trsvcid, &opts.addr) < 0)
		return err_set(q->err, -EINVAL,
			       "'%s' is no address: names are resolved before "
			       "a target is asked",
			       ep->traddr);
	memcpy(opts.subnqn, ep->subnqn, sizeof(opts.subnqn));
	opts.io_queues = 1;
	if (q->services)
		opts.kato_ms = NVMF_KATO_OFF;
	ret = nvmf_ctrl_open(q->ask->loop, &opts, on_state, q, &q->ctrl);
	if (ret < 0)
		return err_set(q->err, ret, "out of memory");
	q->timer.fire = on_timeout;
	timer_set(q->ask->loop, &q->timer, q->ask->timeout_ms * NS_PER_MS);
	loop_run(q->ask->loop); /* until on_closed() */
	return q->ret;
}

int ask_subsystem(struct ask *ask, const struct endpoint *paths, size_t count,
		  struct nslist *out, struct err *err)
{
	struct err first = {0};
	int ret = -EINVAL;

	ASSERT(count > 0 && count <= NS_PATHS_MAX);
	for (size_t i = 0; i < count; i++) {
		struct endpoint turned[NS_PATHS_MAX];
		struct err cause = {0};
		struct question q = {
			.ask = ask,
			.paths = turned,
			.path_count = count,
			.out = out,
			.err = &cause,
		};

		/* The path that works is the preferred one. */
		for (size_t k = 0; k < count; k++)
			turned[k] = paths[(i + k) % count];
		ret = question_run(&q);
		if (ret == 0)
			return 0;
		err_set(&first, ret, "%s", cause.text);
	}
	return err_set(err, first.code, "%s", first.text);
}

static int ask_service(struct ask *ask, struct services *services,
		       struct nslist *out, struct err *err)
{
	struct question q = {
		.ask = ask,
		.paths = &services->eps[services->at],
		.path_count = 1,
		.out = out,
		.err = err,
		.services = services,
	};

	return question_run(&q);
}

int ask_discovery(struct ask *ask, const struct endpoint *ep,
		  struct nslist *out, struct err *err)
{
	struct services *services = calloc(1, sizeof(*services));
	int ret;

	if (!services)
		return err_set(err, -ENOMEM, "out of memory");
	services->eps[services->count++] = *ep;
	ret = ask_service(ask, services, out, err);
	while (ret == 0 && ++services->at < services->count) {
		struct endpoint *next = &services->eps[services->at];
		struct err cause = {0};
		char name[ENDPOINT_TEXT_LEN];

		if (endpoint_resolve(next, &cause) == 0 &&
		    ask_service(ask, services, out, &cause) == 0)
			continue;
		endpoint_format(next, name);
		ask->lost(ask->arg, name, cause.text);
	}
	free(services);
	return ret;
}
