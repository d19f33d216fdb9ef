/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same work on many hosts at once: a thread per host, a line of progress
 * each.  One bad host costs the others nothing.
 */
#ifndef DEPLOY_FLEET_H
#define DEPLOY_FLEET_H

#include "base/err.h"

#define FLEET_PARALLEL 32 /* hosts worked on at a time */
#define FLEET_MAX      1024

struct fleet;

struct fleet_host {
	char name[256]; /* for people */
	void *arg;	/* the work's */
	/* result */
	int ret;
	struct err err;
	/* private */
	struct fleet *fleet;
	char step[120];
	int state;
	uint64_t begin_ns, end_ns;
};

/*
 * Calls work(host) for each, at most FLEET_PARALLEL at a time, and returns how
 * many of them ended with an error.  A SIGINT or SIGTERM during that is
 * remembered (fleet_is_stopping); the work ends by itself, cleanly.
 */
size_t fleet_run(struct fleet_host *hosts, size_t count,
		 int (*work)(struct fleet_host *host, struct err *err));
/* From work(): what it does now, "copying the program". */
void fleet_step(struct fleet_host *host, const char *fmt, ...)
	PRINTF_LIKE(2, 3);
/* The operator has asked to stop: begin nothing new. */
bool fleet_is_stopping(void);

#endif
