/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics of paths; in the caller's thread.  Invariant: samples of one name
 * stand together, as the text format wants it.
 */
#include "client/path_metrics.h"

#include <stdlib.h>
#include <string.h>

#define PATH_STAT(name, type, help, value)                                     \
	{                                                                      \
		name, type, help, offsetof(struct vol_path_stats, value)       \
	}

static const struct path_stat {
	const char *name, *type, *help;
	size_t off; /* of a uint64_t */
} path_stats[] = {
	PATH_STAT("path_inflight_bytes", "gauge", "Bytes under way by the path",
		  inflight),
	PATH_STAT("path_reads_total", "counter", "Chunks read by the path",
		  ops[0]),
	PATH_STAT("path_writes_total", "counter", "Chunks written by the path",
		  ops[1]),
	PATH_STAT("path_read_bytes_total", "counter", "Bytes read by the path",
		  bytes[0]),
	PATH_STAT("path_write_bytes_total", "counter",
		  "Bytes written by the path", bytes[1]),
	PATH_STAT("path_read_p50_us", "gauge",
		  "Half of the reads took at most so long", p50_us[0]),
	PATH_STAT("path_read_p99_us", "gauge",
		  "99 % of the reads took at most so long", p99_us[0]),
	PATH_STAT("path_write_p50_us", "gauge",
		  "Half of the writes took at most so long", p50_us[1]),
	PATH_STAT("path_write_p99_us", "gauge",
		  "99 % of the writes took at most so long", p99_us[1]),
	PATH_STAT("path_lost_errors_total", "counter",
		  "Chunks that ended with their connection",
		  errors[VOL_PATH_LOST]),
	PATH_STAT("path_timeout_errors_total", "counter",
		  "Chunks that missed a command's deadline",
		  errors[VOL_PATH_TIMEOUT]),
	PATH_STAT("path_ana_errors_total", "counter",
		  "Chunks refused because of the path's ANA state",
		  errors[VOL_PATH_ANA]),
	PATH_STAT("path_refused_errors_total", "counter",
		  "Chunks refused because another owner has the namespace "
		  "reserved",
		  errors[VOL_PATH_REFUSED]),
	PATH_STAT("path_other_errors_total", "counter",
		  "Chunks that failed with another status",
		  errors[VOL_PATH_OTHER]),
	PATH_STAT("path_retries_total", "counter",
		  "Chunks of the path that were sent again", retries),
	PATH_STAT("path_losses_total", "counter",
		  "Live connections of the path that were lost", lost),
};

static void add_head(struct strbuf *sb, const char *name, const char *type,
		     const char *help)
{
	strbuf_addf(sb,
		    "# HELP mooncake_client_%s %s\n"
		    "# TYPE mooncake_client_%s %s\n",
		    name, help, name, type);
}

static void add_sample(struct strbuf *sb, const char *name,
		       const struct vol_path_stats *path, uint64_t value)
{
	strbuf_addf(sb, "mooncake_client_%s{path=\"", name);
	for (const char *p = path->name; *p; p++) {
		if (*p == '"' || *p == '\\')
			strbuf_addc(sb, '\\');
		strbuf_addc(sb, *p);
	}
	strbuf_addf(sb, "\"} %llu\n", (unsigned long long)value);
}

static void add_stat(struct strbuf *sb, const struct path_stat *stat,
		     const struct vol_path_stats *paths, size_t count)
{
	uint64_t value;

	add_head(sb, stat->name, stat->type, stat->help);
	for (size_t i = 0; i < count; i++) {
		memcpy(&value, (const char *)&paths[i] + stat->off,
		       sizeof(value));
		add_sample(sb, stat->name, &paths[i], value);
	}
}

void path_metrics_add(struct strbuf *sb, struct vol_set *set)
{
	size_t room = vol_paths_get(set, NULL, 0), count;
	struct vol_path_stats *paths = calloc(room, sizeof(*paths));

	if (!room || !paths) {
		free(paths);
		return;
	}
	count = MIN(vol_paths_get(set, paths, room), room);
	add_head(sb, "path_live", "gauge", "1 = connected");
	for (size_t i = 0; i < count; i++)
		add_sample(sb, "path_live", &paths[i],
			   strcmp(paths[i].state, "live") == 0);
	add_head(sb, "path_degraded", "gauge",
		 "1 = lost again and again: others are preferred");
	for (size_t i = 0; i < count; i++)
		add_sample(sb, "path_degraded", &paths[i],
			   paths[i].is_degraded);
	add_head(sb, "path_queues", "gauge", "I/O queues of the connection");
	for (size_t i = 0; i < count; i++)
		add_sample(sb, "path_queues", &paths[i], paths[i].queues);
	for (size_t i = 0; i < ARRAY_SIZE(path_stats); i++)
		add_stat(sb, &path_stats[i], paths, count);
	free(paths);
}
