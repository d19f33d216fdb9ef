/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces that a tool was told of or has found: one entry per subsystem and
 * namespace, with every path to it.
 */
#ifndef DEPLOY_NSLIST_H
#define DEPLOY_NSLIST_H

#include "nvme/endpoint.h"

#define NSLIST_MAX   4096
#define NS_PATHS_MAX 16

struct ns_entry {
	char subnqn[NVME_NQN_LEN];
	uint32_t nsid;	/* 0 = all namespaces of the subsystem */
	uint64_t bytes; /* 0 = not known */
	struct endpoint *paths;
	size_t path_count;
};

struct nslist {
	struct ns_entry *items;
	size_t count;
	struct strbuf notes; /* lines: what was found and is not in the list */
};

void nslist_fini(struct nslist *list);
/* One more path to ep's subsystem and ns; known ones are left out.  *out (may
 * be NULL) is valid until the next call.  -ENOMEM, -E2BIG with a sentence. */
int nslist_add(struct nslist *list, const struct endpoint *ep,
	       struct ns_entry **out, struct err *err);

/* A listener that the pool can't use, whatever its namespaces; told once. */
void nslist_leave_out(struct nslist *list, const char *trtype, const char *addr,
		      const char *nqn);

/* "HOST:PORT", "HOST" or "traddr:… trsvcid:…" of a discovery service. */
int discovery_parse(struct str text, struct endpoint *out, struct err *err);
/* A wildcard address in a discovery entry stands for the one that was asked. */
void endpoint_fix_wildcard(struct endpoint *ep, const struct endpoint *asked);
/* Replaces a name in traddr by its address.  Blocks. */
int endpoint_resolve(struct endpoint *ep, struct err *err);

#endif
