/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mooncake_ssd_register and mooncake_ssd_unregister share: their options,
 * finding namespaces, talking to the master.
 */
#ifndef DEPLOY_TOOL_H
#define DEPLOY_TOOL_H

#include "base/flag.h"
#include "deploy/login.h"
#include "deploy/nslist.h"
#include "deploy/report.h"
#include "rpc/client.h"

struct tool_config {
	char *master;
	struct flag_list endpoints, discover, spdk_info, segments, defines;
	struct login_config login;
	char *dhchap_key_file, *dhchap_ctrl_key_file, *tls_key_file;
	uint64_t timeout_ms;
	uint64_t drain_ms; /* 0 = unregister at once */
	bool force, json;
};

struct tool {
	const char *name;
	const struct tool_config *config;
	struct nslist list;
	size_t named; /* endpoints that the command line names itself */
	struct report report;
	struct rpc_sync *master;
	uint64_t drain_until_ns;
};

/* clang-format off */
#define TOOL_FLAG_MASTER						\
	{.name = "master_server_address",				\
	 .alias = "master",						\
	 .type = FLAG_STR,						\
	 .off = offsetof(struct tool_config, master),			\
	 .env = "MOONCAKE_MASTER",					\
	 .arg = "HOST:PORT",						\
	 .attrs = FLAG_REQUIRED,					\
	 .help = "The master; port 50051 when only a host is given."}
/* Hosts have them from the environment; here they may be said. */
#define TOOL_FLAGS_KEYS							\
	{.name = "dhchap_key_file",					\
	 .type = FLAG_STR,						\
	 .off = offsetof(struct tool_config, dhchap_key_file),		\
	 .arg = "FILE",							\
	 .env = "MC_NVME_DHCHAP_KEY_FILE",				\
	 .group = "Targets that want to know who asks",			\
	 .help = "Key by which this host proves itself to targets "	\
		 "(DH-HMAC-CHAP); nobody else may read it."},		\
	{.name = "dhchap_ctrl_key_file",				\
	 .type = FLAG_STR,						\
	 .off = offsetof(struct tool_config, dhchap_ctrl_key_file),	\
	 .arg = "FILE",							\
	 .env = "MC_NVME_DHCHAP_CTRL_KEY_FILE",				\
	 .help = "Key by which targets prove themselves to this host."}, \
	{.name = "tls_key_file",					\
	 .type = FLAG_STR,						\
	 .off = offsetof(struct tool_config, tls_key_file),		\
	 .arg = "FILE",							\
	 .env = "MC_NVME_TLS_KEY_FILE",					\
	 .help = "Pre-shared key of NVMe/TCP over TLS."}
#define TOOL_FLAGS_HOW							\
	{.name = "timeout",						\
	 .type = FLAG_MS,						\
	 .off = offsetof(struct tool_config, timeout_ms),		\
	 .group = "How",						\
	 .def = "15s",							\
	 .min = 100,							\
	 .max = 3600000,						\
	 .arg = "TIME",							\
	 .help = "Patience per target and per namespace."},		\
	{.name = "json",						\
	 .type = FLAG_BOOL,						\
	 .off = offsetof(struct tool_config, json),			\
	 .help = "Print the results as JSON."}
#define TOOL_FLAG_DEFINE						\
	{.name = "define",						\
	 .alias = "D",							\
	 .type = FLAG_LIST,						\
	 .off = offsetof(struct tool_config, defines),			\
	 .arg = "KEY=VALUE",						\
	 .help = "Overrides what was found: nqn, nsid, traddr, "	\
		 "trsvcid, master_server_address. base and size are "	\
		 "checked against what is there."}
/* clang-format on */

/* In what the two programs differ. */
struct tool_prog {
	const struct flag_prog *prog; /* its config is a struct tool_config */
	bool is_removal;
	/* Do the options name something to work on?  0 or -errno. */
	int (*check)(const struct tool_config *config, struct err *err);
};

/* All of main(): options, the work, the report; returns the exit status. */
int tool_main(const struct tool_prog *prog, int argc, char **argv);

int tool_fail_row(struct tool *tool, const char *what, uint64_t bytes,
		  const char *why);
/*
 * Fills tool->list from --endpoint, --discover and --spdk_target_info.
 * is_listing: subsystems without ns are asked for their namespaces; else they
 * stay as ns 0.
 */
int tool_collect(struct tool *tool, bool is_listing, struct err *err);
/* Calls MOUNT for each entry of the list. */
int tool_register(struct tool *tool, struct err *err);
/* Calls UNMOUNT for each entry and each --segment. */
int tool_unregister(struct tool *tool, struct err *err);

#endif
