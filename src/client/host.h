/* SPDX-License-Identifier: Apache-2.0 */
/* The client's name: which host and port it and its segment go by. */
#ifndef CLIENT_HOST_H
#define CLIENT_HOST_H

#include "client/client.h"

/*
 * Chooses the port (when local_hostname has none), lets the segment listen on
 * it, and fills in name, host and the segment's endpoint.  May resolve names,
 * so never on a loop.
 */
int host_settle(struct client *c, struct err *err);

#endif
