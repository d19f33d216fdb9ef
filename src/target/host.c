/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hosts that a subsystem admits.  Control loop.  Invariant: a host that is
 * not admitted any more has no controller left, or one that is being closed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/conn.h"

bool subsys_allows(const struct tgt_subsys *ss, const char *hostnqn)
{
	return !ss->is_host_list || tgt_host_find(ss, hostnqn);
}

struct tgt_host *tgt_host_find(const struct tgt_subsys *ss, const char *hostnqn)
{
	struct tgt_host *host;

	list_for_each (host, &ss->hosts, node) {
		if (!strcmp(host->nqn, hostnqn))
			return host;
	}
	return NULL;
}

int tgt_host_add(struct tgt_subsys *ss, const struct tgt_host_opts *opts,
		 struct err *err)
{
	int ret = nqn_check(str_of(opts->hostnqn), err);
	struct tgt_host *host;

	if (ret)
		return ret;
	if (tgt_host_find(ss, opts->hostnqn))
		return err_set(err, -EEXIST, "host %s is listed in %s already",
			       opts->hostnqn, ss->nqn);
	host = calloc(1, sizeof(*host));
	if (!host)
		return err_set(err, -ENOMEM, "out of memory");
	snprintf(host->nqn, sizeof(host->nqn), "%s", opts->hostnqn);
	list_add_tail(&ss->hosts, &host->node);
	disc_changed(ss->tgt);
	return 0;
}

void host_free(struct tgt_host *host)
{
	list_del(&host->node);
	free(host);
}

int tgt_host_remove(struct tgt_subsys *ss, const char *hostnqn, struct err *err)
{
	struct tgt_host *host = tgt_host_find(ss, hostnqn);
	struct tgt_ctrl *ctrl;

	if (!host)
		return err_set(err, -ENOENT, "host %s is not listed in %s",
			       hostnqn, ss->nqn);
	tgt_keys_set(ss->tgt, ss->nqn, hostnqn, NULL);
	host_free(host);
	list_for_each (ctrl, &ss->ctrls, node) {
		if (!strcmp(ctrl->hostnqn, hostnqn))
			ctrl_kill(ctrl);
	}
	disc_changed(ss->tgt);
	return 0;
}

void tgt_allow_any_host(struct tgt_subsys *ss, bool is_allowed)
{
	struct tgt_ctrl *ctrl;

	ss->is_host_list = !is_allowed;
	list_for_each (ctrl, &ss->ctrls, node) {
		if (!subsys_allows(ss, ctrl->hostnqn))
			ctrl_kill(ctrl);
	}
	disc_changed(ss->tgt);
}
