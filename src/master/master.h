/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master as a whole: metadata shard (the calling thread), network shards,
 * HTTP shard, volume workers for probing.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include "master/config.h"

/* Serves until SIGINT or SIGTERM; 0 after an orderly end, -errno with a
 * sentence when it could not start. */
int master_run(const struct master_config *config, struct err *err);

#endif
