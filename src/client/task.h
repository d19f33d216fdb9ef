/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks of the master that this client does in the background: copying
 * replicas, checking them.  One thread, started when there is something to do
 * for the first time; it sleeps otherwise.
 */
#ifndef CLIENT_TASK_H
#define CLIENT_TASK_H

#include "io/thread.h"

struct client;
struct vol_io;

struct tasks {
	struct bell bell; /* something below has changed */
	struct thread thread;
	pthread_mutex_t mu;
	/* under mu */
	bool is_kicked, is_stopping;
	const struct vol_io *io; /* under way; what it is, only its own thread
				  * looks at */
};

void tasks_init(struct tasks *t);
/* The master has something to do; on the control shard. */
void tasks_kick(struct client *c);
/* Cancels what is under way and waits for it.  Before the session ends; a later
 * kick does nothing. */
void tasks_stop(struct client *c);
void tasks_fini(struct tasks *t);

#endif
