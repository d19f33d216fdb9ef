/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What targets say of themselves: limits, namespaces, health.  All are asked
 * at once through our own initiator, each with the whole deadline.
 */
#ifndef DEPLOY_LOOK_H
#define DEPLOY_LOOK_H

#include "nvmf/nvmf.h"

struct look {
	/* set by the caller */
	struct endpoint ep; /* numeric */
	bool is_discovery;  /* a discovery service: limits only */
	/* result; err.code 0 when it answered */
	struct err err;
	struct nvmf_ctrl_info info;
	struct nvmf_ns_info ns; /* of ep.nsid */
	bool has_ns;
	struct nvmf_smart smart;
	bool has_smart;
	uint64_t connect_ns; /* until it was live */
	/* the segment it belongs to; only the caller looks at it */
	const void *owner;
};

struct look_opts {
	struct nvmf_opts nvmf; /* addr and subnqn are set per question */
	uint32_t timeout_ms;
};
/* Turns the loop until every one has its result. -ENOMEM. */
int look_at_all(struct loop *loop, const struct look_opts *opts,
		struct look *looks, size_t count);

#endif
