/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frame of the registration tools.  Single thread, which turns its own loop
 * while it asks targets.  Invariant: every endpoint, discovery service and
 * segment on the command line ends up in the list or as a failed row.
 */
#include "deploy/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "deploy/define.h"
#include "deploy/table.h"

int tool_fail_row(struct tool *tool, const char *what, uint64_t bytes,
		  const char *why)
{
	struct report_row row = {.outcome = OUTCOME_FAILED, .bytes = bytes};

	snprintf(row.endpoint, sizeof(row.endpoint), "%s", what);
	snprintf(row.text, sizeof(row.text), "%s", why);
	return report_add(&tool->report, &row);
}

static int run(struct tool *tool, const struct tool_prog *prog, struct err *err)
{
	const struct tool_config *config = tool->config;
	const char *master =
		define_find(&config->defines, "master_server_address");
	int ret;

	/* The master first: without it, asking targets is in vain. */
	ret = rpc_sync_dial(master ? master : config->master,
			    (uint32_t)config->timeout_ms, &tool->master, err);
	if (ret == 0)
		ret = tool_collect(tool, !prog->is_removal, err);
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

/* To where the initiator looks for them; no thread has been started yet. */
static void use_keys(const struct tool_config *config)
{
	const char *const keys[][2] = {
		{"MC_NVME_DHCHAP_KEY_FILE", config->dhchap_key_file},
		{"MC_NVME_DHCHAP_CTRL_KEY_FILE", config->dhchap_ctrl_key_file},
		{"MC_NVME_TLS_KEY_FILE", config->tls_key_file},
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i][1] && keys[i][1][0])
			setenv(keys[i][0], keys[i][1], 1);
}

int tool_main(const struct tool_prog *prog, int argc, char **argv)
{
	struct tool_config config = {0};
	struct tool tool = {.name = prog->prog->name, .config = &config};
	char **args;
	struct flag_set fs;
	struct err err = {0};
	int status;

	log_set_name(tool.name);
	log_level_max = LOG_ERROR; /* answers are sentences of ours */
	if (remote_askpass(argc, argv, &status))
		return status;
	args = define_split_args(argc, argv);
	if (!args)
		return 1;
	if (flag_main(&fs, prog->prog, &config, argc, args, &status)) {
		free(args);
		return status;
	}
	use_keys(&config);
	if (prog->check(&config, &err)) {
		fprintf(stderr, "%s: %s\n", tool.name, err.text);
		status = 2;
	} else {
		run(&tool, prog, &err);
		status = end(&tool, prog->is_removal, &err);
	}
	flag_fini(&fs);
	free(args);
	return status;
}
