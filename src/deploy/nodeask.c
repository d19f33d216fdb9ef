/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SPDK and our target are asked by JSON-RPC, the kernel's by what stands in
 * configfs.  A thread per node.  Invariant: nothing is changed there.
 */
#include "deploy/nodeask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "deploy/fleet.h"
#include "deploy/rpcplan.h"
#include "deploy/secret.h"
#include "deploy/spdkfind.h"

/* "ns=NQN NSID" and "at=NQN TRADDR TRSVCID" lines; NQNs have no blanks. */
static const char nvmet_script[] =
	"cd /sys/kernel/config/nvmet 2>/dev/null || exit 44\n"
	"for n in subsystems/*/namespaces/*; do\n"
	"  [ \"$(cat \"$n/enable\" 2>/dev/null)\" = 1 ] || continue\n"
	"  s=${n#subsystems/}; echo \"ns=${s%%/*} ${n##*/}\"; done\n"
	"for l in ports/*/subsystems/*; do\n"
	"  [ -e \"$l\" ] || continue; p=${l%%/subsystems/*}\n"
	"  t=$(cat $p/addr_trtype); k=at\n"
	"  [ $t = tcp ] || k=\"not=$t\"\n"
	"  echo \"$k=${l##*/} $(cat $p/addr_traddr) "
	"$(cat $p/addr_trsvcid)\"; done\n";

/* "not=rdma=NQN TRADDR TRSVCID" */
static void leave_out(struct str text, const struct node *node,
		      struct nslist *out)
{
	while (text.n) {
		struct str line = str_cut(text, '\n', &text), rest, nqn, port;
		char type[16], name[NVME_NQN_LEN], where[300];

		if (!str_has_prefix(line, STR("not=")))
			continue;
		line = (struct str){line.p + 4, line.n - 4};
		snprintf(type, sizeof(type), STR_FMT,
			 STR_ARG(str_cut(line, '=', &rest)));
		nqn = str_cut(rest, ' ', &rest);
		if (node->nqn[0] && !str_eq(nqn, str_of(node->nqn)))
			continue;
		snprintf(name, sizeof(name), STR_FMT, STR_ARG(nqn));
		nqn = str_cut(rest, ' ', &port);
		snprintf(where, sizeof(where), STR_FMT " port " STR_FMT,
			 STR_ARG(nqn), STR_ARG(port));
		for (char *c = type; *c; c++)
			*c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
		nslist_leave_out(out, type, where, name);
	}
}

/* Every address of subsystem nqn that the text names. */
static int add_nvmet_paths(struct str text, struct endpoint ep,
			   const struct node *node, struct nslist *out,
			   struct err *err)
{
	struct endpoint asked = {.is_ipv6 = strchr(node->host, ':') != NULL};
	int ret = 0;

	snprintf(asked.traddr, sizeof(asked.traddr), "%s", node->host);
	while (ret == 0 && text.n) {
		struct str line = str_cut(text, '\n', &text), rest, addr;
		uint64_t port;

		if (!str_has_prefix(line, STR("at=")))
			continue;
		line = (struct str){line.p + 3, line.n - 3};
		if (!str_eq(str_cut(line, ' ', &rest), str_of(ep.subnqn)))
			continue;
		addr = str_cut(rest, ' ', &rest);
		if (addr.n >= sizeof(ep.traddr) || str_to_u64(rest, &port) ||
		    port > UINT16_MAX)
			continue;
		snprintf(ep.traddr, sizeof(ep.traddr), STR_FMT, STR_ARG(addr));
		ep.trsvcid = (uint16_t)port;
		ep.is_ipv6 = memchr(addr.p, ':', addr.n) != NULL;
		endpoint_fix_wildcard(&ep, &asked);
		ret = nslist_add(out, &ep, NULL, err);
	}
	return ret;
}

static int parse_nvmet(struct str text, const struct node *node,
		       struct nslist *out, struct err *err)
{
	struct str rest = text;
	int ret = 0;

	while (ret == 0 && rest.n) {
		struct str line = str_cut(rest, '\n', &rest), id, nqn;
		struct endpoint ep = {.trtype = NVME_TRTYPE_TCP};
		uint64_t nsid;

		if (!str_has_prefix(line, STR("ns=")))
			continue;
		nqn = str_cut((struct str){line.p + 3, line.n - 3}, ' ', &id);
		if (nqn.n >= sizeof(ep.subnqn) || str_to_u64(id, &nsid) ||
		    !nsid || nsid >= UINT32_MAX ||
		    (node->nsid && node->nsid != nsid) ||
		    (node->nqn[0] && !str_eq(nqn, str_of(node->nqn))))
			continue;
		memcpy(ep.subnqn, nqn.p, nqn.n);
		ep.nsid = (uint32_t)nsid;
		ret = add_nvmet_paths(text, ep, node, out, err);
	}
	return ret;
}

static int ask_nvmet(struct remote *remote, const struct node *node,
		     struct nslist *out, struct err *err)
{
	struct remote_result res = {0};
	int ret = remote_run(remote,
			     &(struct remote_cmd){
				     .script = nvmet_script,
				     .as_root = true,
			     },
			     &res, err);

	if (ret == 0 && res.status)
		ret = err_set(err, -ENOENT,
			      "%s: its kernel exports nothing (no nvmet in "
			      "configfs)",
			      node->host);
	if (ret == 0)
		ret = parse_nvmet(strbuf_str(&res.out), node, out, err);
	if (ret == 0)
		leave_out(strbuf_str(&res.out), node, out);
	remote_result_fini(&res);
	return ret;
}

int node_namespaces(struct remote *remote, const struct node *node,
		    struct nslist *out, struct err *err)
{
	struct relay relay = {.remote = remote, .tree = node->path};
	size_t before = out->count;
	int ret = 0;

	switch (node->backend) {
	case NODE_NVMET:
		ret = ask_nvmet(remote, node, out, err);
		break;
	case NODE_SPDK:
		ret = spdk_socket(remote, node, relay.socket, err);
		if (ret == 0)
			ret = rpc_namespaces(&relay, node, out, err);
		break;
	case NODE_MOONCAKE:
		snprintf(relay.socket, sizeof(relay.socket), "%s",
			 node->rpc_socket[0] ? node->rpc_socket
					     : MOONCAKE_TARGET_SOCKET);
		ret = rpc_namespaces(&relay, node, out, err);
		break;
	}
	if (ret == 0 && out->count == before)
		ret = err_set(err, -ENOENT,
			      "%s: its target serves no namespace over "
			      "TCP%s%.100s%s",
			      node->host, node->nqn[0] ? " as " : "", node->nqn,
			      out->notes.n ? ", only with other transports"
					   : "");
	return ret;
}

/* --- many --- */

struct asking {
	struct node_answer *answer;
	const struct login_config *login;
	const char *password;
};

static int ask_one(struct fleet_host *host, struct err *err)
{
	struct asking *a = host->arg;
	struct remote_opts opts =
		login_opts(a->login, a->answer->node->host, a->password);
	struct remote *remote;
	int ret;

	fleet_step(host, "connecting");
	ret = remote_open(&opts, &remote, err);
	if (ret)
		return ret;
	fleet_step(host, "asking what it serves");
	ret = remote_check_root(remote, err);
	if (ret == 0)
		ret = node_namespaces(remote, a->answer->node, &a->answer->list,
				      err);
	if (ret == -ETIMEDOUT && remote_is_broken(remote))
		remote_recover(remote, err);
	remote_close(remote);
	if (ret == 0)
		fleet_step(host, "serves %zu namespace%s",
			   a->answer->list.count,
			   a->answer->list.count == 1 ? "" : "s");
	return ret;
}

int nodes_ask(struct node_answer *answers, size_t count,
	      const struct login_config *login, struct err *err)
{
	struct fleet_host *hosts = calloc(count, sizeof(*hosts));
	struct asking *asks = calloc(count, sizeof(*asks));
	char *password = NULL;
	int ret = hosts && asks ? login_password(login, &password, err)
				: err_set(err, -ENOMEM, "out of memory");

	for (size_t i = 0; ret == 0 && i < count; i++) {
		asks[i] = (struct asking){&answers[i], login, password};
		snprintf(hosts[i].name, sizeof(hosts[i].name), "%s",
			 answers[i].node->host);
		hosts[i].arg = &asks[i];
	}
	if (ret == 0)
		fleet_run(hosts, count, ask_one);
	for (size_t i = 0; ret == 0 && i < count; i++) {
		answers[i].ret = hosts[i].ret;
		answers[i].err = hosts[i].err;
	}
	secret_free(password);
	free(hosts);
	free(asks);
	return ret;
}
