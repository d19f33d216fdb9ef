/* SPDX-License-Identifier: Apache-2.0 */
/* Which namespaces a master has registered, as of when it was asked. */
#ifndef DEPLOY_REGISTERED_H
#define DEPLOY_REGISTERED_H

#include "nvme/endpoint.h"

struct registered {
	char master[256];
	struct endpoint *paths; /* of all of them */
	size_t count;
};

/* master: HOST:PORT. */
int registered_load(const char *master, uint32_t timeout_ms,
		    struct registered *out, struct err *err);
void registered_fini(struct registered *reg);

/* A namespace as a target has it. */
struct registered_ns {
	const char *nqn;
	uint32_t nsid;
	/* Where it listens; none, or any (0.0.0.0, ::): everywhere.  A name,
	 * here or registered, may be that of any address. */
	char addrs[32][256];
	size_t addr_count;
};
bool registered_has(const struct registered *reg,
		    const struct registered_ns *ns);

#endif
