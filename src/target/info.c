/* SPDX-License-Identifier: Apache-2.0 */
/* What the target tells about its objects.  Control loop; changes nothing. */
#include <string.h>

#include "crypt/dhchap.h"
#include "target/conn.h"

void tgt_subsys_info_get(const struct tgt_subsys *ss,
			 struct tgt_subsys_info *out)
{
	uint32_t nsid = 0;

	*out = (struct tgt_subsys_info){
		.opts = {.nqn = ss->nqn,
			 .serial = ss->serial,
			 .model = ss->model,
			 .max_namespaces = ss->max_ns,
			 .min_cntlid = ss->min_cntlid,
			 .max_cntlid = ss->max_cntlid,
			 .is_host_list = ss->is_host_list,
			 .is_listener_list = ss->is_listener_list,
			 .ana_reporting = ss->ana != NULL},
		.is_discovery = ss->is_discovery,
		.ctrl_count = ss->ctrl_count,
	};
	while ((nsid = tgt_ns_after(ss, nsid)))
		out->ns_count++;
}

static void stats_of(const struct tgt_counters *c, struct tgt_stats *out)
{
	*out = (struct tgt_stats){
		.commands = c->commands,
		.errors = c->errors,
		.reads = c->reads,
		.writes = c->writes,
		.bytes_read = c->bytes_read,
		.bytes_written = c->bytes_written,
	};
}

void tgt_stats_get(const struct tgt *tgt, struct tgt_stats *out)
{
	struct tgt_counters sum;

	tgt_counters_sum(tgt, &sum);
	stats_of(&sum, out);
	out->connections = tgt->stat_conns;
	out->controllers = tgt->stat_ctrls;
}

bool tgt_ns_info_get(const struct tgt_subsys *ss, uint32_t nsid,
		     struct tgt_ns_info *out)
{
	const struct tgt_ns *ns = tgt_ns_find(ss, nsid);
	struct tgt_counters sum;

	memset(out, 0, sizeof(*out));
	if (!ns)
		return false;
	out->opts.nsid = nsid;
	out->opts.uuid = ns->uuid;
	out->opts.nguid = ns->nguid;
	memcpy(out->opts.eui64, ns->eui64, sizeof(ns->eui64));
	out->opts.anagrpid = ns->anagrpid;
	out->opts.release = ns->release;
	out->opts.release_arg = ns->release_arg;
	out->bdev = ns->bdev;
	tgt_ns_counters_sum(ns, &sum);
	stats_of(&sum, &out->stats);
	return true;
}

struct tgt_host *tgt_host_next(const struct tgt_subsys *ss,
			       const struct tgt_host *prev)
{
	const struct list *at = prev ? &prev->node : &ss->hosts;

	if (at->next == &ss->hosts)
		return NULL;
	return container_of(at->next, struct tgt_host, node);
}

const char *tgt_host_nqn(const struct tgt_host *host)
{
	return host->nqn;
}

struct tgt_ctrl *tgt_ctrl_next(const struct tgt_subsys *ss,
			       const struct tgt_ctrl *prev)
{
	const struct list *at = prev ? &prev->node : &ss->ctrls;

	if (at->next == &ss->ctrls)
		return NULL;
	return container_of(at->next, struct tgt_ctrl, node);
}

void tgt_ctrl_info_get(const struct tgt_ctrl *ctrl, struct tgt_ctrl_info *out)
{
	const struct tgt_conn *conn = NULL;

	*out = (struct tgt_ctrl_info){
		.cntlid = ctrl->cntlid,
		.hostnqn = ctrl->hostnqn,
		.kato_ms = atomic_load(&ctrl->kato_ms),
	};
	memcpy(out->hostid, ctrl->hostid, sizeof(out->hostid));
	while ((conn = tgt_qpair_next(ctrl, conn)))
		out->io_queues += conn->qid != 0;
}

struct tgt_conn *tgt_qpair_next(const struct tgt_ctrl *ctrl,
				const struct tgt_conn *prev)
{
	const struct list *at = prev ? &prev->ctrl_node : &ctrl->conns;

	if (at->next == &ctrl->conns)
		return NULL;
	return container_of(at->next, struct tgt_conn, ctrl_node);
}

void tgt_qpair_info_get(const struct tgt_conn *conn, struct tgt_qpair_info *out)
{
	uint32_t told = atomic_load(&conn->auth_told);

	*out = (struct tgt_qpair_info){
		.qid = conn->qid,
		.cntlid = conn->ctrl->cntlid,
		.depth = conn->depth,
		.peer = conn->peer,
		.local = conn->local,
		.listen = conn->tl->l.local,
		.hostnqn = conn->ctrl->hostnqn,
		.auth = (enum tgt_auth_state)(told & 0xff),
		.hash = dhchap_hash_name(told >> 8 & 0xff),
	};
	if (out->hash)
		out->group = dhchap_group_name(told >> 16 & 0xff);
}
