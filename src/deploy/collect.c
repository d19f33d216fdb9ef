/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From options to a list of namespaces: endpoints as they stand, discovery
 * services and subsystems asked by our initiator, nodes asked over SSH.  The
 * main thread, which turns its own loop.  Invariant: what can't be reached or
 * understood becomes a failed row of the report; nothing is dropped silently.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "deploy/ask.h"
#include "deploy/define.h"
#include "deploy/nodeask.h"
#include "deploy/table.h"
#include "deploy/tool.h"
#include "pool/vol.h"

static void print_note(const char *text)
{
	term_status(NULL);
	fprintf(stderr, "note: %s\n", text);
}

/* Lines, each with the node they are about. */
static void print_notes(const char *host, const struct strbuf *notes)
{
	struct str rest = strbuf_str(notes);

	while (rest.n) {
		struct str line = str_cut(rest, '\n', &rest);

		term_status(NULL);
		fprintf(stderr, "note: %s: " STR_FMT "\n", host, STR_ARG(line));
	}
}

struct lost {
	struct tool *tool;
	int ret; /* of the rows */
};

static void on_lost(void *arg, const char *service, const char *why)
{
	struct lost *lost = arg;

	if (lost->ret == 0)
		lost->ret = tool_fail_row(lost->tool, service, 0, why);
}

/* Namespaces of entry (ns 0) go to the tool's list. */
static int list_subsystem(struct tool *tool, struct ask *ask,
			  const struct ns_entry *entry)
{
	size_t before = tool->list.count;
	char name[ENDPOINT_TEXT_LEN];
	struct err cause = {0};
	int ret;

	term_status("asking %s for its namespaces …", entry->subnqn);
	ret = ask_subsystem(ask, entry->paths, entry->path_count, &tool->list,
			    &cause);
	if (ret == 0 && tool->list.count > before)
		return 0;
	endpoint_format(&entry->paths[0], name);
	return tool_fail_row(tool, name, 0,
			     ret ? cause.text
				 : "the subsystem has no namespace that is not "
				   "listed already");
}

static int take_entries(struct tool *tool, struct ask *ask,
			const struct nslist *found)
{
	int ret = 0;

	for (size_t i = 0; i < found->count && ret == 0; i++) {
		const struct ns_entry *entry = &found->items[i];
		struct err err = {0};

		if (ask && entry->nsid == 0) {
			ret = list_subsystem(tool, ask, entry);
			continue;
		}
		for (size_t k = 0; k < entry->path_count && ret == 0; k++)
			ret = nslist_add(&tool->list, &entry->paths[k], NULL,
					 &err);
	}
	return ret;
}

typedef int (*parse_fn)(struct tool *tool, const char *text,
			struct endpoint *ep, struct err *err);

static int parse_endpoint(struct tool *tool, const char *text,
			  struct endpoint *ep, struct err *err)
{
	return endpoint_parse(str_of(text), ep, err);
}

static int take_endpoints(struct tool *tool, const struct flag_list *texts,
			  parse_fn parse, struct nslist *found)
{
	int ret = 0;

	for (size_t i = 0; i < texts->count && ret == 0; i++) {
		const char *text = texts->items[i];
		struct err cause = {0};
		struct endpoint ep;
		int bad = parse(tool, text, &ep, &cause);

		tool->named++;
		if (!bad)
			bad = endpoint_resolve(&ep, &cause);
		if (!bad)
			bad = nslist_add(found, &ep, NULL, &cause);
		if (bad)
			ret = tool_fail_row(tool, text, 0, cause.text);
	}
	return ret;
}

static int take_discovery(struct tool *tool, struct ask *ask,
			  struct nslist *found)
{
	const struct tool_config *config = tool->config;
	int ret = 0;

	for (size_t i = 0; i < config->discover.count && ret == 0; i++) {
		const char *text = config->discover.items[i];
		size_t before = found->count;
		struct err cause = {0};
		struct endpoint ep;
		int bad = discovery_parse(str_of(text), &ep, &cause);

		if (!bad)
			bad = endpoint_resolve(&ep, &cause);
		if (!bad) {
			term_status("asking the discovery service %s …", text);
			bad = ask_discovery(ask, &ep, found, &cause);
		}
		if (!bad && found->count == before)
			bad = err_set(&cause, -ENOENT,
				      "the discovery service names no NVMe/TCP "
				      "subsystem that is not listed already");
		if (bad)
			ret = tool_fail_row(tool, text, 0, cause.text);
	}
	return ret;
}

/* --- nodes: "ip:… path:…" --- */

/* Without path: and backend: nobody is asked: one namespace, as upstream's
 * unregistering tool has it. */
static bool is_endpoint(const struct node *node)
{
	return !node->path[0] && !node->has_backend;
}

static int take_node_endpoint(struct tool *tool, const struct node *node,
			      struct nslist *found)
{
	struct endpoint ep = {.trtype = NVME_TRTYPE_TCP, .nsid = node->nsid};
	struct err cause = {0};
	int ret;

	ep.trsvcid = node->trsvcid;
	snprintf(ep.traddr, sizeof(ep.traddr), "%s", node->host);
	snprintf(ep.subnqn, sizeof(ep.subnqn), "%s",
		 node->nqn[0] ? node->nqn : NODE_SPDK_NQN);
	if (!ep.nsid) {
		fprintf(stderr,
			"%s: 'ip:%s' has no ns: key; taking namespace "
			"1\n",
			tool->name, node->host);
		ep.nsid = 1;
	}
	tool->named++;
	ret = endpoint_resolve(&ep, &cause);
	if (!ret)
		ret = nslist_add(found, &ep, NULL, &cause);
	return ret ? tool_fail_row(tool, node->host, 0, cause.text) : 0;
}

static int merge(struct nslist *to, const struct nslist *from, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < from->count && ret == 0; i++)
		for (size_t k = 0; k < from->items[i].path_count && !ret; k++)
			ret = nslist_add(to, &from->items[i].paths[k], NULL,
					 err);
	return ret;
}

static int ask_nodes(struct tool *tool, struct node_answer *answers,
		     size_t count, struct nslist *found, struct err *err)
{
	int ret = count ? nodes_ask(answers, count, &tool->config->login, err)
			: 0;

	for (size_t i = 0; i < count && ret == 0; i++) {
		print_notes(answers[i].node->host, &answers[i].list.notes);
		if (answers[i].ret)
			ret = tool_fail_row(tool, answers[i].node->host, 0,
					    answers[i].err.text);
		else
			ret = merge(found, &answers[i].list, err);
	}
	return ret;
}

static int take_nodes(struct tool *tool, struct nslist *found, struct err *err)
{
	const struct flag_list *infos = &tool->config->spdk_info;
	struct node *nodes = calloc(infos->count + 1, sizeof(*nodes));
	struct node_answer *answers =
		calloc(infos->count + 1, sizeof(*answers));
	size_t asked = 0;
	int ret = nodes && answers ? 0 : -ENOMEM;

	for (size_t i = 0; i < infos->count && ret == 0; i++) {
		struct err cause = {0};

		if (node_parse(str_of(infos->items[i]), &nodes[i], &cause))
			ret = tool_fail_row(tool, infos->items[i], 0,
					    cause.text);
		else if (is_endpoint(&nodes[i]))
			ret = take_node_endpoint(tool, &nodes[i], found);
		else
			answers[asked++].node = &nodes[i];
	}
	if (ret == 0)
		ret = ask_nodes(tool, answers, asked, found, err);
	for (size_t i = 0; answers && i < asked; i++)
		nslist_fini(&answers[i].list);
	free(answers);
	free(nodes);
	return ret;
}

int tool_collect(struct tool *tool, bool is_listing, struct err *err)
{
	struct lost lost = {.tool = tool};
	struct ask ask = {
		.timeout_ms = (uint32_t)tool->config->timeout_ms,
		.note = print_note,
		.lost = on_lost,
		.arg = &lost,
	};
	struct nslist found = {0};
	struct vol_opts vol;
	int ret = vol_opts_init(&vol, err);

	if (ret < 0)
		return ret;
	ask.nvmf = vol.nvmf;
	secret_clear(&vol, sizeof(vol));
	ret = loop_create(&(struct loop_opts){.name = "ask"}, &ask.loop, err);
	if (ret < 0)
		return ret;
	ret = take_endpoints(tool, &tool->config->endpoints, parse_endpoint,
			     &found);
	if (ret == 0)
		ret = take_nodes(tool, &found, err);
	if (ret == 0)
		ret = take_discovery(tool, &ask, &found);
	if (ret == 0)
		ret = lost.ret;
	if (ret == 0)
		ret = take_entries(tool, is_listing ? &ask : NULL, &found);
	if (ret == 0)
		ret = define_apply(&tool->config->defines, &tool->list, err);
	if (ret < 0)
		err_set(err, ret, "out of memory");
	term_status(NULL);
	nslist_fini(&found);
	loop_destroy(ask.loop);
	secret_clear(&ask.nvmf, sizeof(ask.nvmf));
	return ret;
}
