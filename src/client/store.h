/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the C API: the handle, and who may use its client right now. */
#ifndef CLIENT_STORE_H
#define CLIENT_STORE_H

#include <pthread.h>
#include <sys/types.h>

#include "client/client.h"
#include "mooncake/store.h"

#define STORE_MAGIC 0x4d43535452303031ULL

struct store {
	uint64_t magic;
	pid_t pid; /* a child after fork() has no threads: it gets -600 */
	pthread_mutex_t lock;
	pthread_cond_t idle;
	struct client *client; /* NULL before setup and after close */
	unsigned running;      /* calls that use client */
	bool is_changing;      /* a setup or close is under way */
	struct err setup_err;
};

/* NULL for a handle that is none. */
struct store *store_of(mooncake_store_t handle);
/* The client, which stays until store_leave(); NULL when there is none. */
struct client *store_enter(struct store *store);
void store_leave(struct store *store);

#endif
