/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a target that speaks SPDK's JSON-RPC lacks of what is wanted: transport,
 * subsystem, namespaces, listeners, hosts.  Asks and adds steps; changes
 * nothing itself.  Used for SPDK and for mooncake_nof_target.
 */
#ifndef DEPLOY_RPCPLAN_H
#define DEPLOY_RPCPLAN_H

#include "deploy/deployment.h"
#include "deploy/nslist.h"

#define RPC_BDEVS_MAX 256

struct rpc_want {
	const char *trtype;	 /* "TCP", "RDMA" */
	const json_t *transport; /* parameters but trtype */
	const char *nqn, *serial;
	const struct node *node;       /* addresses, port, hosts */
	const struct hostkeys *keys;   /* of its hosts */
	char bdevs[RPC_BDEVS_MAX][64]; /* to be namespaces, in this order */
	size_t bdev_count;
};
/* Filled in but for the bdevs; free() it.  NULL when out of memory. */
struct rpc_want *rpc_want_new(const struct deployment *d);

/* Steps for what is missing.  -EEXIST with a sentence when something is there
 * already in a way that excludes what is wanted. */
int rpcplan_transport(struct relay *relay, const struct rpc_want *want,
		      struct plan *plan, struct err *err);
int rpcplan_subsystem(struct relay *relay, const struct rpc_want *want,
		      struct plan *plan, struct err *err);

/* Part of that: hosts and their keys; ss is NULL for a new one. */
int rpcplan_hosts(struct relay *relay, const struct rpc_want *want,
		  const json_t *ss, struct plan *plan, struct err *err);

#define MOONCAKE_TARGET_SOCKET "/run/mooncake-nof-target.sock"

/* The target's whole configuration goes to the file at path there when it holds
 * another one: what the service starts with after a reboot. */
int rpcplan_config(struct deployment *d, const char *path, struct err *err);
/* That configuration, which is the caller's to free(). */
int rpc_config_text(struct deployment *d, char **out, struct err *err);

/* Adds every namespace of every NVM subsystem there, with one path for each
 * TCP listener; a wildcard address becomes the node's own.  Only node->nqn and
 * node->nsid when they are given. */
int rpc_namespaces(struct relay *relay, const struct node *node,
		   struct nslist *out, struct err *err);

#endif
