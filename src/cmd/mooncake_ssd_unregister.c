/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncake_ssd_unregister: takes NVMe-oF namespaces out of the pool.  One
 * thread.
 */
#include <errno.h>

#include "deploy/tool.h"

#define PROGRAM "mooncake_ssd_unregister"

static const struct flag flags[] = {
	TOOL_FLAG_MASTER,
	{.name = "endpoint",
	 .type = FLAG_LIST,
	 .off = offsetof(struct tool_config, endpoints),
	 .arg = "TEXT",
	 .group = "What to unregister",
	 .help = "A namespace: 'traddr:ADDRESS trsvcid:PORT subnqn:NQN "
		 "trtype:TCP adrfam:IPv4 ns:NUMBER'. Without ns: all "
		 "namespaces of the subsystem."},
	{.name = "discover",
	 .type = FLAG_LIST,
	 .off = offsetof(struct tool_config, discover),
	 .arg = "HOST:PORT",
	 .help = "All namespaces of all subsystems that this NVMe-oF "
		 "discovery service names (now); port 8009 when only a host is "
		 "given. Services that it refers to are asked, too."},
	{.name = "spdk_target_info",
	 .type = FLAG_LIST,
	 .off = offsetof(struct tool_config, spdk_info),
	 .arg = "TEXT",
	 .help = "'ip:ADDRESS ns:NUMBER nqn:NQN port:PORT', as upstream's tool "
		 "has it; port 4420 and nqn.2016-06.io.spdk:cnode1 when not "
		 "given. With path: or backend: the node is asked over SSH for "
		 "all it serves."},
	TOOL_FLAG_DEFINE,
	LOGIN_FLAGS(struct tool_config, login),
	TOOL_FLAGS_KEYS,
	{.name = "segment",
	 .type = FLAG_LIST,
	 .off = offsetof(struct tool_config, segments),
	 .arg = "ID",
	 .help = "A segment by its id, as 'mooncakectl segments' prints it."},
	TOOL_FLAGS_HOW,
	{.name = "drain",
	 .type = FLAG_MS,
	 .off = offsetof(struct tool_config, drain_ms),
	 .max = 86400000,
	 .alone = "60s",
	 .arg = "TIME",
	 .help = "First let readers and writers end: nothing new is put there "
		 "from now on, readers are sent elsewhere where they can be, "
		 "and the namespaces go when the last lease has ended. After "
		 "TIME (60s) those that are still in use stay, DRAINING. "
		 "Ctrl-C leaves them so, too; 'mooncake_ssd_register' takes "
		 "them back."},
};

static const struct flag_prog prog = {
	.name = PROGRAM,
	.summary = "takes NVMe-oF namespaces out of the SSD pool",
	.usage = "--master=HOST:PORT --segment=… | --endpoint=… | …",
	.details =
		"Tells the master to forget namespaces: what lies on them can "
		"no longer be read. The targets need not be there, and the "
		"disks are not written. With --drain readers end before. Exit "
		"status: 0 when all are gone, 1 "
		"when something failed or nothing was found, 2 for wrong "
		"options.",
	.examples = "  " PROGRAM " --master=10.0.0.1 --segment=ID --drain=5m\n"
		    "  " PROGRAM " --master=10.0.0.1:50051 \\\n"
		    "    --endpoint='traddr:10.0.0.7 trsvcid:4420 "
		    "subnqn:nqn.2024-01.io.example:ssd1 ns:1'\n",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

static int check(const struct tool_config *config, struct err *err)
{
	if (!config->endpoints.count && !config->discover.count &&
	    !config->spdk_info.count && !config->segments.count)
		return err_set(err, -EINVAL,
			       "nothing to unregister: give --segment=ID, "
			       "--endpoint='traddr:… trsvcid:… subnqn:… ns:1' "
			       "or --discover=HOST:PORT");
	return 0;
}

int main(int argc, char **argv)
{
	return tool_main(&(struct tool_prog){.prog = &prog,
					     .is_removal = true,
					     .check = check},
			 argc, argv);
}
