/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncake_ssd_register: adds NVMe-oF namespaces to the pool.  One thread.
 */
#include <errno.h>

#include "deploy/tool.h"

#define PROGRAM "mooncake_ssd_register"

static const struct flag flags[] = {
	TOOL_FLAG_MASTER,
	{.name = "endpoint",
	 .type = FLAG_LIST,
	 .off = offsetof(struct tool_config, endpoints),
	 .arg = "TEXT",
	 .group = "What to register",
	 .help = "A namespace: 'traddr:ADDRESS trsvcid:PORT subnqn:NQN "
		 "trtype:TCP adrfam:IPv4 ns:NUMBER'. Without ns: all "
		 "namespaces of the subsystem. Several paths to one namespace "
		 "become one segment."},
	{.name = "discover",
	 .type = FLAG_LIST,
	 .off = offsetof(struct tool_config, discover),
	 .arg = "HOST:PORT",
	 .help = "All namespaces of all subsystems that this NVMe-oF "
		 "discovery service names; port 8009 when only a host is "
		 "given. Services that it refers to are asked, too."},
	{.name = "spdk_target_info",
	 .type = FLAG_LIST,
	 .off = offsetof(struct tool_config, spdk_info),
	 .arg = "TEXT",
	 .help = "A node whose target is asked over SSH: 'ip:ADDRESS "
		 "path:SPDK-FOLDER', or 'ip:ADDRESS backend:nvmet' or "
		 "backend:mooncake; nqn: and ns: choose among what it serves, "
		 "rpc_socket:PATH which of several targets is asked. "
		 "All its namespaces are registered with all their "
		 "addresses."},
	TOOL_FLAG_DEFINE,
	LOGIN_FLAGS(struct tool_config, login),
	TOOL_FLAGS_KEYS,
	{.name = "force",
	 .type = FLAG_BOOL,
	 .off = offsetof(struct tool_config, force),
	 .group = "How",
	 .help = "Take namespaces that hold something else, which is lost: a "
		 "file system, a partition table, another cluster's data."},
	TOOL_FLAGS_HOW,
};

static const struct flag_prog prog = {
	.name = PROGRAM,
	.summary = "adds NVMe-oF namespaces to the SSD pool",
	.usage = "--master=HOST:PORT --discover=… | --endpoint=…",
	.details =
		"Tells the master which namespaces the pool consists of. The "
		"master looks at each one itself, reads its size and identity, "
		"writes a superblock into its first block and refuses a disk "
		"that holds something else. A namespace that is registered "
		"already stays as it is. Exit status: 0 when all are "
		"registered, 1 when something failed or nothing was found, 2 "
		"for wrong options.",
	.examples = "  " PROGRAM " --master=10.0.0.1 --discover=10.0.0.7:8009\n"
		    "  " PROGRAM " --master=10.0.0.1:50051 \\\n"
		    "    --endpoint='traddr:10.0.0.7 trsvcid:4420 "
		    "subnqn:nqn.2024-01.io.example:ssd1 ns:1'\n",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

static int check(const struct tool_config *config, struct err *err)
{
	if (!config->endpoints.count && !config->discover.count &&
	    !config->spdk_info.count)
		return err_set(
			err, -EINVAL,
			"nothing to register: give --discover=HOST:PORT, "
			"--endpoint='traddr:… trsvcid:… subnqn:… ns:1' "
			"or --spdk_target_info='ip:… path:…'");
	return 0;
}

int main(int argc, char **argv)
{
	return tool_main(&(struct tool_prog){.prog = &prog, .check = check},
			 argc, argv);
}
