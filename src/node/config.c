/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration of the store service.  Runs once while the program starts.
 * Invariant: a file replaces the environment as a whole, as it always did.
 */
#include "node/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "web/conf.h"

#define FIELD(member) offsetof(struct node_config, member)

static const struct flag flags[] = {
	{.name = "local_hostname",
	 .type = FLAG_STR,
	 .off = FIELD(local_hostname),
	 .def = "localhost",
	 .env = "MOONCAKE_LOCAL_HOSTNAME"},
	{.name = "metadata_server",
	 .type = FLAG_STR,
	 .off = FIELD(metadata_server),
	 .def = "P2PHANDSHAKE",
	 .env = "MOONCAKE_TE_META_DATA_SERVER"},
	{.name = "master_server_address",
	 .alias = "master_server_addr",
	 .type = FLAG_STR,
	 .off = FIELD(master),
	 .env = "MOONCAKE_MASTER"},
	{.name = "global_segment_size",
	 .type = FLAG_SIZE,
	 .off = FIELD(segment_bytes),
	 .def = "3355443200",
	 .env = "MOONCAKE_GLOBAL_SEGMENT_SIZE"},
	{.name = "local_buffer_size",
	 .type = FLAG_SIZE,
	 .off = FIELD(buffer_bytes),
	 .def = "1073741824",
	 .env = "MOONCAKE_LOCAL_BUFFER_SIZE"},
	{.name = "protocol",
	 .type = FLAG_STR,
	 .off = FIELD(protocol),
	 .def = "tcp",
	 .env = "MOONCAKE_PROTOCOL"},
	{.name = "device_name",
	 .alias = "rdma_devices",
	 .type = FLAG_STR,
	 .off = FIELD(device_name),
	 .env = "MOONCAKE_DEVICE"},
	{.name = "tenant_id",
	 .type = FLAG_STR,
	 .off = FIELD(tenant_id),
	 .def = "default",
	 .env = "MOONCAKE_TENANT_ID"},
	{.name = "replica_num", .type = FLAG_STR, .off = FIELD(replica_num)},
	{.name = "nof_replica_num",
	 .type = FLAG_STR,
	 .off = FIELD(nof_replica_num)},
	{.name = "enable_mooncake_nof_pool",
	 .type = FLAG_STR,
	 .off = FIELD(nof_pool)},
	{.name = "enable_ssd_offload",
	 .alias = "ssd_offload_path,enable_client_http_server,"
		  "client_http_port",
	 .type = FLAG_STR,
	 .attrs = FLAG_IGNORED},
};

static const struct flag_prog prog = {
	.name = "mooncake_store_service",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

static const char *const required[] = {"local_hostname", "metadata_server",
				       "master_server_address"};

static const struct flag *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (strcmp(flags[i].name, name) == 0)
			return &flags[i];
	}
	UNREACHABLE();
}

/* Of a file, everything required must be said; of the environment only what
 * has no default. */
static int check_required(const struct node_config *config, const char *path,
			  struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
		const struct flag *flag = find(required[i]);
		enum flag_source source = config->fs.source[flag - flags];
		const char *text =
			*(char *const *)((const char *)config + flag->off);

		if ((*path && source == FLAG_SRC_DEFAULT) || !*text) {
			if (*path)
				return err_set(err, -EINVAL,
					       "%.120s: the key \"%s\" is "
					       "required",
					       path, required[i]);
			return err_set(err, -EINVAL,
				       "the environment variable %s is not "
				       "set; set it, or give a configuration "
				       "file with --config",
				       flag->env);
		}
	}
	return 0;
}

static int define(struct node_config *config, const char *text, struct err *err)
{
	struct str value, name = str_cut(str_of(text), '=', &value);
	char *key;
	int ret;

	if (!value.p || name.n == 0)
		return err_set(err, -EINVAL,
			       "-D %.80s: expected key=value, for example "
			       "-D global_segment_size=4gb",
			       text);
	key = str_dup(str_trim(name));
	if (!key)
		return err_set(err, -ENOMEM, "out of memory");
	ret = flag_set_text(&config->fs, key, str_trim(value), FLAG_SRC_CMDLINE,
			    "-D", err);
	free(key);
	return ret;
}

static void fix_protocol(struct node_config *config)
{
	for (char *p = config->protocol; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (strcmp(config->protocol, "tcp") != 0 &&
	    strcmp(config->protocol, "rdma") != 0)
		log_warn("unknown protocol",
			 "protocol=%.40s (known: tcp, rdma)", config->protocol);
}

int node_config_load(struct node_config *config, const char *path,
		     const struct flag_list *defines, struct err *err)
{
	int ret;

	*config = (struct node_config){0};
	ret = flag_init(&config->fs, &prog, config, err);
	if (ret == 0)
		ret = *path ? conf_load(&config->fs, path, CONF_IGNORE_UNKNOWN,
					err)
			    : flag_parse_env(&config->fs, err);
	for (size_t i = 0; i < defines->count && ret == 0; i++)
		ret = define(config, defines->items[i], err);
	if (ret == 0)
		ret = check_required(config, path, err);
	if (ret == 0)
		ret = flag_check(&config->fs, err);
	if (ret == 0)
		fix_protocol(config);
	return ret;
}

void node_config_fini(struct node_config *config)
{
	flag_fini(&config->fs);
}

static void add_pair(struct node_pairs *out, const char *name,
		     const char *value)
{
	if (!*value)
		return;
	ASSERT(out->count < NODE_PAIRS_MAX);
	out->names[out->count] = name;
	out->values[out->count++] = value;
}

void node_config_pairs(const struct node_config *config, struct node_pairs *out)
{
	out->count = 0;
	snprintf(out->segment, sizeof(out->segment), "%" PRIu64,
		 config->segment_bytes);
	snprintf(out->buffer, sizeof(out->buffer), "%" PRIu64,
		 config->buffer_bytes);
	add_pair(out, "local_hostname", config->local_hostname);
	add_pair(out, "metadata_server", config->metadata_server);
	add_pair(out, "master_server_address", config->master);
	add_pair(out, "global_segment_size", out->segment);
	add_pair(out, "local_buffer_size", out->buffer);
	add_pair(out, "protocol", config->protocol);
	add_pair(out, "rdma_devices", config->device_name);
	add_pair(out, "tenant_id", config->tenant_id);
	add_pair(out, "replica_num", config->replica_num);
	add_pair(out, "nof_replica_num", config->nof_replica_num);
	add_pair(out, "enable_mooncake_nof_pool", config->nof_pool);
}
