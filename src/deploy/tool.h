/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mooncake_ssd_register and mooncake_ssd_unregister share: their options,
 * finding namespaces, talking to the master.
 */
#ifndef DEPLOY_TOOL_H
#define DEPLOY_TOOL_H

#include "base/flag.h"
#include "deploy/nslist.h"
#include "deploy/report.h"
#include "rpc/client.h"

struct tool_config {
	char *master;
	struct flag_list endpoints, discover, spdk_info, segments;
	uint64_t timeout_ms;
	bool force, json;
};

struct tool {
	const char *name;
	const struct tool_config *config;
	struct nslist list;
	struct report report;
	struct rpc_sync *master;
};

/*
 * Opens a connection to the master: HOST:PORT, port 50051 when absent.  An
 * absent master is told after a few seconds whatever timeout_ms is.
 */
int master_open(const char *address, uint32_t timeout_ms, struct rpc_sync **out,
		struct err *err);

/*
 * Fills tool->list from --endpoint and --discover.  What can't be reached or
 * understood becomes a failed row of the report.  is_listing: subsystems
 * without ns are asked for their namespaces; else they stay as ns 0.
 */
int tool_collect(struct tool *tool, bool is_listing, struct err *err);
int tool_fail_row(struct tool *tool, const char *what, uint64_t bytes,
		  const char *why);
/* Calls MOUNT for each entry of the list. */
int tool_register(struct tool *tool, struct err *err);
/* Calls UNMOUNT for each entry and each --segment. */
int tool_unregister(struct tool *tool, struct err *err);
/* Prints the report, frees everything; returns the exit status. */
int tool_end(struct tool *tool, bool is_removal, const struct err *err);

#endif
