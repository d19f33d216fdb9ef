/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client was set up with: setup's text pairs, then the environment for
 * what no pair said.
 */
#ifndef CLIENT_CONF_H
#define CLIENT_CONF_H

#include "base/hostport.h"

/* How many replicas; -1 = nobody said. */
struct policy {
	int64_t memory, nof;
};
#define POLICY_NONE	    ((struct policy){-1, -1})
#define POLICY_REPLICAS_MAX 16

struct client_conf {
	struct hostport local; /* without a port one is chosen */
	struct hostport master;
	uint64_t segment_bytes; /* a multiple of 4 KiB; 0 = none */
	uint64_t buffer_bytes;	/* accepted, not needed */
	bool is_rdma_asked;
	bool want_huge;
	struct policy setup, env;
	uint32_t connect_timeout_ms; /* setup's patience with the master */
	uint32_t rpc_timeout_ms;
	uint32_t transfer_timeout_ms;
	uint32_t get_timeout_ms; /* of a get call; 0 = transfer_timeout_ms */
	uint32_t put_wait_ms;	 /* for another put of the same key to end */
	uint32_t hedge;		 /* 1 = slow reads are begun a second time */
	uint32_t tasks;		 /* 1 = copies and checks for the master */
	uint32_t port_min, port_max, port_tries;
};

/* 0, or -EINVAL with a sentence that names the key and the value. */
int conf_parse(const char *const *names, const char *const *values,
	       size_t count, struct client_conf *out, struct err *err);

/*
 * What to ask the master for: the call's wish, else setup's, else the
 * environment's, else nothing.  {1, 0} is what upstream's ReplicateConfig says
 * when nobody touched it, so as a wish it is none.  -EINVAL: 0 of everything.
 */
int policy_resolve(const struct client_conf *conf, struct policy wish,
		   struct policy *out);

#endif
