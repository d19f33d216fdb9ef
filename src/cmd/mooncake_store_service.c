/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncake_store_service: a store node as a program (node/service).
 */
#include "cmd/run.h"
#include "node/service.h"

#define PROGRAM "mooncake_store_service"

struct config {
	char *path, *host, *log_level;
	struct flag_list defines;
	uint64_t port, max_wait_s;
};

static const struct flag flags[] = {
	{.name = "config",
	 .type = FLAG_STR,
	 .off = offsetof(struct config, path),
	 .env = "MOONCAKE_CONFIG_PATH",
	 .arg = "FILE",
	 .help = "JSON (or YAML) with local_hostname, metadata_server, "
		 "master_server_address and more, see above. Without it the "
		 "MOONCAKE_* environment variables are taken."},
	{.name = "define",
	 .alias = "D",
	 .type = FLAG_LIST,
	 .off = offsetof(struct config, defines),
	 .arg = "KEY=VALUE",
	 .help = "Overrides one key of the configuration."},
	{.name = "host",
	 .type = FLAG_STR,
	 .off = offsetof(struct config, host),
	 .def = "0.0.0.0",
	 .arg = "ADDRESS",
	 .help = "Address that REST listens on."},
	{.name = "port",
	 .type = FLAG_UINT,
	 .off = offsetof(struct config, port),
	 .def = "8080",
	 .min = 0,
	 .max = 65535,
	 .arg = "PORT",
	 .help = "Port that REST listens on; 0 takes a free one."},
	{.name = "max_wait_time",
	 .type = FLAG_UINT,
	 .off = offsetof(struct config, max_wait_s),
	 .def = "60",
	 .min = 0,
	 .max = 86400,
	 .arg = "SECONDS",
	 .help = "How long to wait for the master, trying every second."},
	{.name = "log_level",
	 .type = FLAG_STR,
	 .off = offsetof(struct config, log_level),
	 .def = "info",
	 .arg = "LEVEL",
	 .help = "error, warn, info or debug."},
};

static const struct flag_prog prog = {
	.name = PROGRAM,
	.summary = "gives memory of this machine to a Mooncake store",
	.usage = "[--config=FILE] [options]",
	.details = "Mounts a memory segment that other clients read and write, "
		   "and answers REST. SIGTERM unmounts it and ends.\n\n"
		   "REST: PUT /api/put {\"key\": …, \"value\": …}; GET "
		   "/api/get/KEY, /api/exist/KEY, /health, /metrics; DELETE "
		   "/api/remove/KEY, /api/remove_all.\n\n"
		   "Configuration, from a file or else from the environment:\n"
		   "- master_server_address (MOONCAKE_MASTER), required\n"
		   "- local_hostname (MOONCAKE_LOCAL_HOSTNAME)\n"
		   "- metadata_server (MOONCAKE_TE_META_DATA_SERVER)\n"
		   "- global_segment_size (MOONCAKE_GLOBAL_SEGMENT_SIZE), as "
		   "\"4gb\"\n"
		   "- local_buffer_size (MOONCAKE_LOCAL_BUFFER_SIZE)\n"
		   "- protocol (MOONCAKE_PROTOCOL), device_name "
		   "(MOONCAKE_DEVICE)\n"
		   "- replica_num, nof_replica_num, enable_mooncake_nof_pool",
	.examples = "  " PROGRAM " --config=mooncake.json --port=8080\n"
		    "  MOONCAKE_MASTER=10.0.0.1:50051 " PROGRAM
		    " -D global_segment_size=16gb\n"
		    "  curl -X PUT -d '{\"key\":\"a\",\"value\":\"b\"}' "
		    "http://127.0.0.1:8080/api/put\n",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

static int run(struct flag_set *fs, struct err *err)
{
	const struct config *config = fs->config;
	struct service_opts opts = {.max_wait_ms = config->max_wait_s * 1000};
	struct node_config node;
	int ret = run_set_log_level(config->log_level, err);

	if (ret < 0)
		return ret;
	ret = node_config_load(&node, config->path, &config->defines, err);
	if (ret == 0)
		ret = addr_resolve(config->host, (uint16_t)config->port,
				   &opts.rest, err);
	opts.config = &node;
	if (ret == 0)
		ret = service_run(&opts, err);
	node_config_fini(&node);
	return ret;
}

int main(int argc, char **argv)
{
	struct config config = {0};

	return run_main(&prog, &config, run, argc, argv);
}
