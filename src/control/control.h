/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control of a target that runs, by JSON-RPC 2.0 with SPDK's methods: what
 * drives SPDK's nvmf_tgt drives this.  On the target's control loop.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "control/server.h"
#include "target/target.h"

struct control {
	struct loop *loop;
	struct tgt *tgt;
	struct jrpc rpc;
	struct server server;
};

/* tgt is the caller's.  Nothing can fail; no file is touched. */
void control_init(struct control *ctl, struct loop *loop, struct tgt *tgt);
/* The socket; 0 or -errno with a sentence. */
int control_listen(struct control *ctl, const char *path, struct err *err);
/* Calls that are under way end; then done runs. */
void control_close(struct control *ctl, void (*done)(void *arg), void *arg);

#endif
