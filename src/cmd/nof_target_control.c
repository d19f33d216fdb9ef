/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the options of mooncake_nof_target say about JSON-RPC.  Main thread,
 * before the loop runs; it is turned here while a configuration is loaded.
 */
#include "cmd/nof_target.h"

#include <errno.h>
#include <string.h>

#include "control/config.h"

#define SPDK_SOCKET "/var/tmp/spdk.sock" /* where its rpc.py looks */

bool nof_has_namespaces(const struct nof_program *p)
{
	return p->config->namespaces.count || p->config->subsystems.count;
}

/* A target that was told what to serve needs no control; one that was not is
 * nothing without. */
static const char *socket_path(const struct nof_program *p)
{
	const char *path = p->config->rpc_socket;

	if (strcmp(path, "none") == 0)
		return NULL;
	if (path[0])
		return path;
	return nof_has_namespaces(p) ? NULL : SPDK_SOCKET;
}

int nof_control_open(struct nof_program *p, struct err *err)
{
	const struct nof_config *c = p->config;
	int ret = 0;

	p->rpc_path = socket_path(p);
	if (!p->rpc_path && !nof_has_namespaces(p) && !c->json_config[0] &&
	    !c->state[0])
		return err_set(err, -EINVAL,
			       "nothing to serve: give --namespace /path/"
			       "disk.img:10g, /dev/… or ram:1g, or allow "
			       "--rpc_socket");
	if (c->json_config[0])
		ret = config_load_file(&p->control, c->json_config, true, err);
	if (!ret && c->state[0])
		ret = control_remember(&p->control, c->state, err);
	if (!ret && p->rpc_path)
		ret = control_listen(&p->control, p->rpc_path, err);
	return ret;
}
