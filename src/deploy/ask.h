/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking targets what they have, through our own initiator.  For programs:
 * each call turns the loop until the answer is there or its time is over.
 */
#ifndef DEPLOY_ASK_H
#define DEPLOY_ASK_H

#include "deploy/nslist.h"
#include "nvmf/nvmf.h"

struct ask {
	struct loop *loop;
	struct nvmf_opts nvmf; /* addr and subnqn are set per call */
	uint32_t timeout_ms;   /* of one connection with all its questions */
	/* Told of what is left out (other transports, referrals too deep). */
	void (*note)(const char *text);
	/* A discovery service, named by another one, could not be asked. */
	void (*lost)(void *arg, const char *service, const char *why);
	void *arg;
};

#define REFERRALS_MAX  64 /* services asked for one */
#define REFERRAL_DEPTH 4  /* of one that names one that names one … */

/* Adds the namespaces of the subsystem at ep (numeric; its nsid 0), reached
 * by the paths given (at least one; tried in order). */
int ask_subsystem(struct ask *ask, const struct endpoint *paths, size_t count,
		  struct nslist *out, struct err *err);
/*
 * Adds one entry per subsystem that the discovery service at ep (numeric)
 * names: nsid 0, all its TCP paths.  A wildcard address in an entry is
 * replaced by ep's.  Services that it refers to are asked as well, each once.
 */
int ask_discovery(struct ask *ask, const struct endpoint *ep,
		  struct nslist *out, struct err *err);

#endif
