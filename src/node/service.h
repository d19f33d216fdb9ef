/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Store service: owns a memory segment (through libmooncake_store) and serves
 * REST.  Runs in the calling thread until a signal comes.
 */
#ifndef NODE_SERVICE_H
#define NODE_SERVICE_H

#include "io/addr.h"
#include "node/config.h"

struct service_opts {
	const struct node_config *config;
	struct addr rest;     /* port 0 = a free one, logged */
	uint64_t max_wait_ms; /* for the master to be there */
};

/* 0 after SIGINT or SIGTERM, with the segment unmounted. */
int service_run(const struct service_opts *opts, struct err *err);

#endif
