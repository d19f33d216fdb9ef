/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store service is set up with: a JSON (or YAML) file that engines share
 * with us, or else the environment; single values can be defined over both.
 */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include "base/flag.h"

struct node_config {
	char *local_hostname, *metadata_server, *master;
	char *protocol, *device_name, *tenant_id;
	uint64_t segment_bytes, buffer_bytes;
	char *replica_num, *nof_replica_num, *nof_pool; /* "" = not said */
	struct flag_set fs;				/* owns the above */
};

/*
 * path "" = from the environment.  defines: "key=value" texts.  Required keys
 * that are missing are named; unknown keys of the file are warned about.
 * node_config_fini() in any case.
 */
int node_config_load(struct node_config *config, const char *path,
		     const struct flag_list *defines, struct err *err);
void node_config_fini(struct node_config *config);

#define NODE_PAIRS_MAX 12
struct node_pairs {
	const char *names[NODE_PAIRS_MAX], *values[NODE_PAIRS_MAX];
	size_t count;
	char segment[24], buffer[24];
};
/* As mooncake_store_setup_config() takes it; points into config and out. */
void node_config_pairs(const struct node_config *config,
		       struct node_pairs *out);

#endif
