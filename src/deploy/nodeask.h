/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes serve, asked over SSH: for registering it. */
#ifndef DEPLOY_NODEASK_H
#define DEPLOY_NODEASK_H

#include "deploy/login.h"
#include "deploy/node.h"
#include "deploy/nslist.h"

/* One node, in an open session: adds its TCP namespaces with all their
 * paths (only node->nqn and node->nsid when given).  -ENOENT: no target of
 * that kind runs there. */
int node_namespaces(struct remote *remote, const struct node *node,
		    struct nslist *out, struct err *err);

struct node_answer {
	const struct node *node;
	struct nslist list;
	int ret;
	struct err err;
};
/* All of them at once, with progress.  Fills list or ret and err of each. */
int nodes_ask(struct node_answer *answers, size_t count,
	      const struct login_config *login, struct err *err);

#endif
