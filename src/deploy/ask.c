/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to targets.  The caller's thread owns and turns the loop.
 * Invariant: when a question returns, its controller is gone.
 */
#include "deploy/ask.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/time.h"

struct question {
	struct ask *ask;
	const struct endpoint *paths; /* [0] is where it is asked */
	size_t path_count;
	struct nslist *out;
	struct err *err;
	bool is_discovery;
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

static void note_left_out(struct question *q,
			  const struct nvmf_disc_entry *entry)
{
	char text[ENDPOINT_TEXT_LEN + 160];

	if (entry->subtype == 1)
		snprintf(text, sizeof(text),
			 "the discovery service refers to another one at "
			 "%s:%u; ask it with --discover=%s:%u",
			 entry->ep.traddr, entry->ep.trsvcid, entry->ep.traddr,
			 entry->ep.trsvcid);
	else
		snprintf(text, sizeof(text),
			 "left out, as it is not NVMe/TCP: %s at %s:%u",
			 entry->ep.subnqn, entry->ep.traddr, entry->ep.trsvcid);
	q->ask->note(text);
}

static int add_entry(struct question *q, const struct nvmf_disc_entry *entry)
{
	struct endpoint ep = entry->ep;

	if (entry->subtype == 3)
		return 0; /* the service itself */
	if (entry->subtype != 2 || ep.trtype != NVME_TRTYPE_TCP) {
		note_left_out(q, entry);
		return 0;
	}
	endpoint_fix_wildcard(&ep, &q->paths[0]);
	ep.nsid = 0;
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
		ret = q->is_discovery ? nvmf_discover(ctrl, on_discovered, q)
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
	if (q->is_discovery)
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

int ask_discovery(struct ask *ask, const struct endpoint *ep,
		  struct nslist *out, struct err *err)
{
	struct question q = {
		.ask = ask,
		.paths = ep,
		.path_count = 1,
		.out = out,
		.err = err,
		.is_discovery = true,
	};

	return question_run(&q);
}
