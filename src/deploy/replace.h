/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --replace: the one target that a deployment is about ends, others stay; what
 * it was configured with is kept beside, and it runs again when a later step
 * fails.
 */
#ifndef DEPLOY_REPLACE_H
#define DEPLOY_REPLACE_H

#include "deploy/deployment.h"

struct replace {
	const char *service; /* of ours: what may run it */
	/* Shell: a function "one" that prints the process that is meant. */
	const char *find;
	const char *saved;   /* what it starts with */
	const char *running; /* what it was told, as JSON, or NULL */
};

/* Steps that end it.  d->socket is its socket. */
void deployment_replace(struct deployment *d, const struct replace *r);

#endif
