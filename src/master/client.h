/* SPDX-License-Identifier: Apache-2.0 */
/* Clients: who pings, who has memory mounted, who is gone. */
#ifndef MASTER_CLIENT_H
#define MASTER_CLIENT_H

#include "master/core.h"

struct client {
	struct hnode hnode;
	struct list node; /* core.client_list, the one that expires first */
	struct uuid id;
	uint64_t deadline_ns;
};

/* A sign of life; a client not known is entered.  NULL when the table is full
 * or memory is out. */
struct client *client_seen(struct core *core, const struct uuid *id);
/* Unmounts the segments of those that missed their TTL.  Returns when the next
 * one is due, 0 = none. */
uint64_t clients_expire(struct core *core);
void clients_fini(struct core *core);
struct str client_key(const struct hnode *node);

#endif
