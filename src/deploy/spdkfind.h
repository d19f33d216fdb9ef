/* SPDX-License-Identifier: Apache-2.0 */
/* Which nvmf_tgt of a node is meant: there may be several. */
#ifndef DEPLOY_SPDKFIND_H
#define DEPLOY_SPDKFIND_H

#include "deploy/node.h"
#include "deploy/remote.h"

#define SPDK_SOCKET "/var/tmp/spdk.sock" /* where it listens untold */

/* A shell function: targets prints "PID SOCKET" for each nvmf_tgt. */
extern const char spdk_targets[];

/*
 * The socket of node->rpc_socket, or else of the only nvmf_tgt that runs there.
 * -ENOENT: there is none; -ENOTUNIQ: there are several, which err names.
 */
int spdk_socket(struct remote *remote, const struct node *node, char out[108],
		struct err *err);

#endif
