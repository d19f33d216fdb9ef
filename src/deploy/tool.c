/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frame of the registration tools.  Single thread, which turns its own loop
 * while it asks targets.  Invariant: every endpoint, discovery service and
 * segment on the command line ends up in the list or as a failed row.
 */
#include "deploy/tool.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "deploy/ask.h"
#include "deploy/table.h"
#include "pool/vol.h"

#define MASTER_PORT		50051
#define MASTER_HELLO_TIMEOUT_MS 3000

int master_open(const char *address, uint32_t timeout_ms, struct rpc_sync **out,
		struct err *err)
{
	struct err cause = {0};
	struct hostport hp;
	struct addr addr;
	int ret = hostport_parse(str_of(address), MASTER_PORT, &hp, err);

	*out = NULL;
	if (ret == 0)
		ret = addr_resolve(hp.host, hp.port, &addr, err);
	if (ret < 0)
		return ret;
	/* Once with little patience, to tell "not there" from "slow". */
	ret = rpc_sync_open(&addr,
			    MIN(timeout_ms, (uint32_t)MASTER_HELLO_TIMEOUT_MS),
			    out, &cause);
	if (ret == 0) {
		rpc_sync_close(TAKE(*out));
		ret = rpc_sync_open(&addr, timeout_ms, out, &cause);
	}
	if (ret < 0)
		return err_set(err, ret,
			       "%s; is mooncake_master running there, and is "
			       "that the right address?",
			       cause.text);
	return 0;
}

int tool_fail_row(struct tool *tool, const char *what, uint64_t bytes,
		  const char *why)
{
	struct report_row row = {.outcome = OUTCOME_FAILED, .bytes = bytes};

	snprintf(row.endpoint, sizeof(row.endpoint), "%s", what);
	snprintf(row.text, sizeof(row.text), "%s", why);
	return report_add(&tool->report, &row);
}

static void print_note(const char *text)
{
	term_status(NULL);
	fprintf(stderr, "note: %s\n", text);
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

static int parse_spdk_info(struct tool *tool, const char *text,
			   struct endpoint *ep, struct err *err)
{
	bool has_ns = true;
	int ret = spdk_info_parse(str_of(text), ep, &has_ns, err);

	if (!ret && !has_ns)
		fprintf(stderr, "%s: '%s' has no ns: key; taking namespace 1\n",
			tool->name, text);
	return ret;
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

/*
 * Fills tool->list from --endpoint and --discover.  What can't be reached or
 * understood becomes a failed row of the report.  is_listing: subsystems
 * without ns are asked for their namespaces; else they stay as ns 0.
 */
static int collect(struct tool *tool, bool is_listing, struct err *err)
{
	struct ask ask = {
		.timeout_ms = (uint32_t)tool->config->timeout_ms,
		.note = print_note,
	};
	struct nslist found = {0};
	struct vol_opts vol;
	int ret = vol_opts_init(&vol, err);

	if (ret < 0)
		return ret;
	ask.nvmf = vol.nvmf;
	ret = loop_create(&(struct loop_opts){.name = "ask"}, &ask.loop, err);
	if (ret < 0)
		return ret;
	ret = take_endpoints(tool, &tool->config->endpoints, parse_endpoint,
			     &found);
	if (ret == 0)
		ret = take_endpoints(tool, &tool->config->spdk_info,
				     parse_spdk_info, &found);
	if (ret == 0)
		ret = take_discovery(tool, &ask, &found);
	if (ret == 0)
		ret = take_entries(tool, is_listing ? &ask : NULL, &found);
	if (ret < 0)
		err_set(err, ret, "out of memory");
	term_status(NULL);
	nslist_fini(&found);
	loop_destroy(ask.loop);
	return ret;
}

static int run(struct tool *tool, const struct tool_prog *prog, struct err *err)
{
	const struct tool_config *config = tool->config;
	int ret = prog->check(config, err);

	/* The master first: without it, asking targets is in vain. */
	if (ret == 0)
		ret = master_open(config->master, (uint32_t)config->timeout_ms,
				  &tool->master, err);
	if (ret == 0)
		ret = collect(tool, !prog->is_removal, err);
	if (ret == 0)
		ret = prog->is_removal ? tool_unregister(tool, err)
				       : tool_register(tool, err);
	return ret;
}

/* Prints the report, frees everything; returns the exit status. */
static int end(struct tool *tool, bool is_removal, const struct err *err)
{
	int status = report_exit_status(&tool->report);
	struct strbuf out = {0};

	term_status(NULL);
	if (err->code) {
		fprintf(stderr, "%s: %s\n", tool->name, err->text);
		status = 1;
	} else {
		if (tool->config->json)
			report_format_json(&tool->report, &out);
		else
			report_format(&tool->report, is_removal, &out);
		fputs(out.p ? out.p : "", stdout);
	}
	strbuf_fini(&out);
	rpc_sync_close(tool->master);
	nslist_fini(&tool->list);
	report_fini(&tool->report);
	return status;
}

int tool_main(const struct tool_prog *prog, int argc, char **argv)
{
	struct tool_config config = {0};
	struct tool tool = {.name = prog->prog->name, .config = &config};
	struct flag_set fs;
	struct err err = {0};
	int status;

	log_set_name(tool.name);
	log_level_max = LOG_ERROR; /* answers are sentences of ours */
	if (flag_main(&fs, prog->prog, &config, argc, argv, &status))
		return status;
	run(&tool, prog, &err);
	status = end(&tool, prog->is_removal, &err);
	flag_fini(&fs);
	return status;
}
