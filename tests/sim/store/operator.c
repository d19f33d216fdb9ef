/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator: sees to it that what is there is in the pool, and now and then
 * empties a namespace, takes it out and puts it back.  Invariant: nothing is
 * taken out that the master has not called empty.
 */
#include <errno.h>

#include "client/nof.h"
#include "rpc/client.h"
#include "world.h"

#define MASTER	  "10.0.0.1:50051"
#define CALL_MS	  15000
#define DRAIN_NS  (10 * NS_PER_S)
#define DRAIN_ONE 0.1 /* chance per look */

void endpoint_of(unsigned target, struct endpoint *ep)
{
	*ep = (struct endpoint){
		.trsvcid = TARGET_PORT,
		.trtype = NVME_TRTYPE_TCP,
		.nsid = 1,
	};
	snprintf(ep->traddr, sizeof(ep->traddr), "10.0.0.%u",
		 NODE_TARGET + target);
	nqn_of(target, ep->subnqn);
}

/* 1: it is empty and at rest, 0: not yet, or -errno. */
static int ask_drained(const struct endpoint *ep, struct err *err)
{
	Mc__DrainReq req = MC__DRAIN_REQ__INIT;
	char text[ENDPOINT_TEXT_LEN];
	const ProtobufCMessage *msg;
	struct rpc_sync *rs = NULL;
	int ret = rpc_sync_dial(MASTER, CALL_MS, &rs, err);

	endpoint_format(ep, text);
	req.endpoint = text;
	req.count = true;
	if (ret == 0)
		ret = rpc_sync_call(rs, METHOD_DRAIN, &req.base, &msg, err);
	if (ret == 0) {
		const Mc__DrainRsp *rsp = (const void *)msg;

		if (rsp->status != 0 || rsp->n_segments != 1)
			ret = err_set(err, -EREMOTEIO, "%s", rsp->error);
		else
			ret = !rsp->segments[0]->only_objects &&
			      !rsp->segments[0]->unfinished &&
			      !rsp->segments[0]->busy_ms;
	}
	rpc_sync_close(rs);
	return ret;
}

static void drain(unsigned target, const struct endpoint *ep)
{
	uint64_t until_ns = now_ns() + DRAIN_NS;
	struct err err = {0};
	int ret = 0;

	note("target %u is drained", target);
	while (ret == 0 && now_ns() < until_ns && !w.is_quiet) {
		ret = ask_drained(ep, &err);
		if (ret == 0)
			io_sim_sleep(300 * NS_PER_MS);
	}
	if (ret > 0) {
		ret = nof_unregister(MASTER, ep, &err);
		w.drained += ret == 0;
		note("target %u is %s", target,
		     ret == 0 ? "empty and out" : err.text);
	}
}

/* What another master had is ours again, without what was on it. */
static void take_back(void)
{
	struct endpoint ep;
	struct err err;

	for (unsigned i = 0; i < TARGETS; i++) {
		err = (struct err){0};
		endpoint_of(i, &ep);
		note("target %u is taken back: %s", i,
		     nof_unregister(MASTER, &ep, &err) < 0 ? err.text : "out");
	}
}

void operator_main(void *arg)
{
	bool must_take_back = has_successor();
	struct endpoint ep;
	struct err err;

	for (unsigned i = 0;; i = (i + 1) % TARGETS) {
		if (must_take_back && w.is_quiet) {
			must_take_back = false;
			take_back();
		}
		endpoint_of(i, &ep);
		err = (struct err){0};
		if (nof_register(MASTER, &ep, 0, &err) < 0)
			note("operator, target %u: %s", i, err.text);
		else if (w.plan.has_drains && !w.is_quiet && chance(DRAIN_ONE))
			drain(i, &ep);
		io_sim_sleep(NS_PER_S);
	}
}
