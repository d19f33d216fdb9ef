/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host that connects to whatever it is told, reads and writes until something
 * happens, and comes again; or that tries one thing and says what became of it.
 * All calls on its loop, unless it is idle: then anybody may look at it.
 */
#ifndef TESTS_PROP_CHURN_HOST_H
#define TESTS_PROP_CHURN_HOST_H

#include <stdatomic.h>

#include "base/rand.h"
#include "nvmf/nvmf.h"

#define CHURN_NSIDS 4
/* Below it namespaces are memory, which hosts only read: two that write the
 * same blocks are a race that is theirs, and TSan sees it. */
#define CHURN_NULL  3
#define CHURN_BLOCK 4096

/* What there is to connect to, for all hosts; constant while they live. */
struct churn_place {
	unsigned subsys_count, addr_count;
	char (*subnqns)[NVME_NQN_LEN];
	struct addr *addrs;
};

struct churn_host {
	struct loop *loop;
	const struct churn_place *place;
	struct rng rng;
	struct nvmf_opts opts;
	struct nvmf_ctrl *ctrl;
	struct nvmf_qp *qp;
	struct timer retry;
	struct nvmf_io io;
	struct iovec iov;
	uint8_t buf[4 * CHURN_BLOCK];
	bool is_leaving, is_living, is_busy;
	/* when idle */
	_Atomic bool is_idle;
	_Atomic unsigned steps; /* connections and I/O that ended */
	bool was_live;		/* of a try: it got in */
	unsigned nsids;		/* and could read these (bit nsid) */
	uint64_t lives, reads; /* of all its lives: that got in, that were OK */
};

/* nqn: the host's. */
void churn_host_init(struct churn_host *h, struct loop *loop,
		     const struct churn_place *place, const char *nqn,
		     uint64_t seed);
/* From idle: goes on until churn_host_rest(). */
void churn_host_live(struct churn_host *h);
void churn_host_rest(struct churn_host *h);
/* From idle to idle. */
void churn_host_try(struct churn_host *h, unsigned subsys, unsigned addr);

#endif
