/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ties the method tables to a target and to the socket.  The target's control
 * loop.  Invariant: the tables are constant, so lookups need no lock.
 */
#include "control/control.h"

#include "control/methods.h"

static const struct jrpc_table *const tables[] = {
	&control_framework,
	&control_faults,
	NULL,
};

void control_init(struct control *ctl, struct loop *loop, struct tgt *tgt)
{
	*ctl = (struct control){
		.loop = loop,
		.tgt = tgt,
		.rpc = {.tables = tables, .ctx = ctl},
	};
}

int control_listen(struct control *ctl, const char *path, struct err *err)
{
	return server_open(&ctl->server, ctl->loop, &ctl->rpc, path, NULL, err);
}

void control_close(struct control *ctl, void (*done)(void *arg), void *arg)
{
	server_close(&ctl->server, done, arg);
}
