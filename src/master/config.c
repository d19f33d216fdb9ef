/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table of mooncake_master and the checks that go beyond one option.
 * Runs in main() before any thread starts.
 */
#include "master/config.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/log.h"

#define FLAG(t, n, field, default_text, text, ...)                             \
	{                                                                      \
		.name = n, .type = FLAG_##t,                                   \
		.off = offsetof(struct master_config, field),                  \
		.def = default_text, .help = text, __VA_ARGS__                 \
	}
#define IGNORED(n, t)                                                          \
	{.name = n, .type = t, .attrs = FLAG_IGNORED | FLAG_HIDDEN},

static const struct flag flags[] = {
	FLAG(STR, "config_path", config_path, "",
	     "JSON or YAML file with these options, without the dashes.",
	     .group = "Network", .arg = "FILE"),
	FLAG(UINT, "rpc_port", rpc_port, "0",
	     "RPC port; 0 = the value of --port.", .min = 0, .max = 65535,
	     .arg = "PORT"),
	FLAG(UINT, "port", port, "50051",
	     "Old name of --rpc_port; 0 takes a free one and says which.",
	     .min = 0, .max = 65535, .arg = "PORT"),
	FLAG(STR, "rpc_address", rpc_address, "0.0.0.0",
	     "Address to listen on for RPC.", .arg = "ADDRESS"),
	FLAG(STR, "rpc_interface", rpc_interface, "",
	     "Network interface whose IPv4 address replaces --rpc_address.",
	     .arg = "NAME"),
	FLAG(UINT, "rpc_thread_num", rpc_thread_num, "0",
	     "RPC network threads; 0 = --max_threads. Never more than there "
	     "are processors.",
	     .min = 0, .max = 256, .arg = "N"),
	FLAG(UINT, "max_threads", max_threads, "16",
	     "Old name of --rpc_thread_num.", .min = 1, .max = 256, .arg = "N"),
	FLAG(UINT, "rpc_conn_timeout_seconds", rpc_conn_timeout_seconds, "0",
	     "Close RPC connections that are idle so long; 0 = never.",
	     .min = 0, .max = 86400, .arg = "S"),
	FLAG(BOOL, "enable_metric_reporting", enable_metric_reporting, "true",
	     "Log a summary line every 10 s."),
	FLAG(UINT, "metrics_port", metrics_port, "9003",
	     "Port of the admin HTTP server.", .min = 0, .max = 65535,
	     .arg = "PORT"),
	FLAG(STR, "metrics_host", metrics_host, "0.0.0.0",
	     "Address of the admin HTTP server.", .arg = "ADDRESS"),
	FLAG(MS, "default_kv_lease_ttl", default_kv_lease_ttl_ms, "10s",
	     "Lease that a get or an exist grants.", .group = "Objects",
	     .min = 1, .max = 3600000, .arg = "TIME"),
	FLAG(MS, "default_kv_soft_pin_ttl", default_kv_soft_pin_ttl_ms, "30m",
	     "Life of a soft pin when the request gives none.", .min = 1,
	     .max = 31536000000, .arg = "TIME"),
	FLAG(MS, "max_kv_soft_pin_ttl", max_kv_soft_pin_ttl_ms, "24h",
	     "Longest soft pin that a request may ask for.", .min = 1,
	     .max = 31536000000, .arg = "TIME"),
	FLAG(BOOL, "allow_evict_soft_pinned_objects",
	     allow_evict_soft_pinned_objects, "true",
	     "Evict soft-pinned objects when nothing else is left."),
	FLAG(DOUBLE, "eviction_ratio", eviction_ratio, "0.05",
	     "How far below the watermark a round of eviction goes.", .min = 0,
	     .max = 1, .arg = "RATIO"),
	FLAG(DOUBLE, "eviction_high_watermark_ratio",
	     eviction_high_watermark_ratio, "0.90",
	     "Share of memory in use that starts eviction; 1 = only when space "
	     "is short.",
	     .min = 0.01, .max = 1, .arg = "RATIO"),
	FLAG(DOUBLE, "nof_eviction_ratio", nof_eviction_ratio, "0.05",
	     "As --eviction_ratio, for the NVMe-oF pool.", .min = 0, .max = 1,
	     .arg = "RATIO"),
	FLAG(DOUBLE, "nof_eviction_high_watermark_ratio",
	     nof_eviction_high_watermark_ratio, "0.90",
	     "As --eviction_high_watermark_ratio, for the NVMe-oF pool.",
	     .min = 0.01, .max = 1, .arg = "RATIO"),
	FLAG(UINT, "client_ttl", client_ttl, "10",
	     "A client that does not ping for so long is gone, and its memory "
	     "with it.",
	     .alias = "client_live_ttl_sec", .min = 1, .max = 86400,
	     .arg = "S"),
	FLAG(UINT, "put_start_discard_timeout_sec",
	     put_start_discard_timeout_sec, "30",
	     "Age at which an unfinished put gives way to another; writers get "
	     "two thirds of it.",
	     .min = 3, .max = 86400, .arg = "S"),
	FLAG(UINT, "put_start_release_timeout_sec",
	     put_start_release_timeout_sec, "600",
	     "Age at which an unfinished put is dropped.", .min = 4,
	     .max = 604800, .arg = "S"),
	FLAG(MS, "quarantine_margin_ms", quarantine_margin_ms, "500ms",
	     "How long freed space rests beyond the last lease or writer's "
	     "deadline.",
	     .min = 0, .max = 10000, .arg = "TIME"),
	FLAG(INT, "default_replica_num", default_replica_num, "-1",
	     "Memory replicas when a put does not say; -1 = 1 if any memory is "
	     "mounted, else 0.",
	     .min = -1, .max = 8, .arg = "N"),
	FLAG(INT, "default_nof_replica_num", default_nof_replica_num, "-1",
	     "NVMe-oF replicas when a put does not say; -1 = 1 if there are no "
	     "memory replicas, else 0.",
	     .min = -1, .max = 8, .arg = "N"),
	FLAG(STR, "allocation_strategy", allocation_strategy, "random",
	     "random, free_ratio_first or local_first.", .arg = "NAME"),
	FLAG(STR, "memory_allocator", memory_allocator, "offset",
	     "offset or cachelib; one allocator serves both names.",
	     .arg = "NAME"),
	FLAG(STR, "cluster_id", cluster_id, "mooncake_cluster",
	     "Name in the superblocks of pool namespaces: 1 to 128 of 0-9 A-Z "
	     "a-z _ . -",
	     .arg = "ID"),
	FLAG(UINT, "nof_heartbeat_interval_sec", nof_heartbeat_interval_sec,
	     "10", "How often each namespace is probed.",
	     .group = "NVMe-oF pool", .min = 1, .max = 3600, .arg = "S"),
	FLAG(UINT, "nof_heartbeat_probe_timeout_ms",
	     nof_heartbeat_probe_timeout_ms, "1000", "Deadline of a probe.",
	     .min = 10, .max = 60000, .arg = "MS"),
	FLAG(UINT, "nof_heartbeat_failures_threshold",
	     nof_heartbeat_failures_threshold, "3",
	     "Failed probes in a row that take a segment OFFLINE.", .min = 1,
	     .max = 1000, .arg = "N"),
	FLAG(UINT, "nof_lost_timeout_sec", nof_lost_timeout_sec, "600",
	     "A namespace that is OFFLINE for so long is not waited for: what "
	     "has other replicas is copied again; 0 = never.",
	     .min = 0, .max = 31536000, .arg = "S"),
	FLAG(SIZE, "copy_bytes_per_s", copy_bytes_per_s, "256mb",
	     "How fast clients may copy replicas that were lost or have to "
	     "move, all together; 0 = no limit.",
	     .min = 0, .max = 1024 * GiB, .arg = "SIZE"),
	FLAG(SIZE, "scrub_bytes_per_s", scrub_bytes_per_s, "16mb",
	     "How fast clients may read the pool to check it, all together; "
	     "0 = not at all.",
	     .min = 0, .max = 1024 * GiB, .arg = "SIZE"),
	FLAG(MS, "scrub_interval", scrub_interval_ms, "168h",
	     "Time from the end of one check of the pool to the next; 0 = "
	     "never.",
	     .min = 0, .max = 31536000000, .arg = "TIME"),
	FLAG(SIZE, "nof_stripe_bytes", nof_stripe_bytes, "1mb",
	     "Larger objects of the pool are cut into such pieces, on as many "
	     "namespaces; 0 = never.",
	     .min = 0, .max = 64 * GiB, .arg = "SIZE"),
	FLAG(STR, "nof_reservations", nof_reservations, "auto",
	     "auto: namespaces are reserved for this master and its clients "
	     "where the target can do that (NVMe reservations), so that it "
	     "refuses writes of anybody else; off: the epoch in the superblock "
	     "alone tells who owns them.",
	     .arg = "auto|off"),
	FLAG(STR, "journal_dir", journal_dir, "",
	     "Directory of this master alone in which the metadata outlives "
	     "it; "
	     "empty: when the master ends, the store is empty.",
	     .group = "Journal", .arg = "DIR"),
	FLAG(STR, "journal_sync", journal_sync, "interval",
	     "What outlives a power failure. always: all that was answered; "
	     "interval: all but the last --journal_sync_interval_ms; never: "
	     "what the kernel has written by then. A killed master loses "
	     "nothing with any of them.",
	     .arg = "NAME"),
	FLAG(MS, "journal_sync_interval_ms", journal_sync_interval_ms, "100ms",
	     "How often the journal is brought to disk.", .min = 1,
	     .max = 60000, .arg = "TIME"),
	FLAG(SIZE, "journal_snapshot_bytes", journal_snapshot_bytes, "256MB",
	     "Log that makes a snapshot worth while.", .min = 1048576,
	     .max = 1e15, .arg = "SIZE"),
	FLAG(UINT, "snapshot_interval_seconds", snapshot_interval_seconds,
	     "600", "How often a snapshot is written when anything changed.",
	     .min = 1, .max = 604800, .arg = "S"),
	FLAG(BOOL, "enable_http_metadata_server", enable_http_metadata_server,
	     "false", "Run the HTTP metadata server in this process.",
	     .group = "Embedded metadata server"),
	FLAG(UINT, "http_metadata_server_port", http_metadata_server_port,
	     "8080", "Its port.", .min = 0, .max = 65535, .arg = "PORT"),
	FLAG(STR, "http_metadata_server_host", http_metadata_server_host,
	     "0.0.0.0", "Its address.", .arg = "ADDRESS"),
	FLAG(INT, "v", v, "0", "1 and more: debug messages, too.",
	     .group = "Logging", .min = -1, .max = 10, .arg = "N"),
	FLAG(INT, "minloglevel", minloglevel, "0",
	     "0 info, 1 warnings, 2 and 3 errors only.", .min = 0, .max = 3,
	     .arg = "N"),
	FLAG(BOOL, "enable_ha", enable_ha, "false",
	     "Leader election. The master runs alone and says so.",
	     .group = "Not available yet"),
	FLAG(BOOL, "enable_oplog", enable_oplog, "false", "Replicated log."),
	FLAG(BOOL, "enable_snapshot", enable_snapshot, "false",
	     "Always on with --journal_dir, and not without it."),
	FLAG(BOOL, "enable_snapshot_restore", enable_snapshot_restore, "false",
	     "Always on with --journal_dir, and not without it."),
	FLAG(BOOL, "enable_multi_tenants", enable_multi_tenants, "false",
	     "Tenants and quotas."),
	FLAG(BOOL, "enable_offload", enable_offload, "false",
	     "Local disks of clients as a tier."),
	FLAG(BOOL, "enable_cxl", enable_cxl, "false", "CXL memory."),
	FLAG(STR, "root_fs_dir", root_fs_dir, "",
	     "Shared file system as a tier.", .arg = "DIR"),
#include "master/tbl/ignored.h"
};
#undef IGNORED

const struct flag_prog master_prog = {
	.name = "mooncake_master",
	.summary = "the master of a Mooncake store: who has which object where",
	.usage = "[options]",
	.details = "Clients and tools talk to it on --rpc_port; people and "
		   "Prometheus on --metrics_port (/health, /metrics, "
		   "/get_all_segments). Without --journal_dir the metadata is "
		   "in memory only: when the master ends, the store is empty. "
		   "Times may be given as 10000, 10s, 30m or 1h.",
	.examples = "  mooncake_master --rpc_port=50051 --metrics_port=9003\n"
		    "  mooncake_master --journal_dir=/var/lib/mooncake\n"
		    "  mooncake_master --config_path=master.json\n"
		    "  mooncake_master --enable_http_metadata_server "
		    "--default_nof_replica_num=1\n",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

static int check_cluster_id(const char *id, struct err *err)
{
	size_t n = strlen(id);

	if (n == 0 || n > 128 ||
	    strspn(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		       "abcdefghijklmnopqrstuvwxyz_.-") != n)
		return err_set(err, -EINVAL,
			       "--cluster_id='%.140s': expected 1 to 128 of "
			       "0-9 A-Z a-z _ . -",
			       id);
	return 0;
}

static void warn_absent(const struct master_config *c)
{
	const struct {
		bool is_set;
		const char *text;
	} absent[] = {
		{c->enable_ha, "--enable_ha: this master runs ALONE, nothing "
			       "takes over when it fails"},
		{c->enable_oplog, "--enable_oplog: nothing is replicated"},
		{c->enable_snapshot && !c->journal_dir[0],
		 "--enable_snapshot without --journal_dir: metadata is NOT "
		 "saved"},
		{c->enable_snapshot_restore && !c->journal_dir[0],
		 "--enable_snapshot_restore without --journal_dir: the store "
		 "starts EMPTY"},
		{c->enable_multi_tenants,
		 "--enable_multi_tenants: all clients share one name space, "
		 "without quotas"},
		{c->enable_offload, "--enable_offload: evicted objects are "
				    "gone; use an NVMe-oF pool"},
		{c->enable_cxl, "--enable_cxl: CXL memory is not used"},
		{c->root_fs_dir[0], "--root_fs_dir: the file system is not "
				    "used"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		if (absent[i].is_set)
			log_warn("not available in this version", "%s",
				 absent[i].text);
}

static bool strategy_of(const char *name, enum strategy *out)
{
	static const struct {
		const char *name;
		enum strategy strategy;
	} names[] = {
		{"random", STRATEGY_RANDOM},
		{"free_ratio_first", STRATEGY_FREE_RATIO_FIRST},
		{"ssd_free_ratio_first", STRATEGY_FREE_RATIO_FIRST},
		{"local_first", STRATEGY_LOCAL_FIRST},
	};

	*out = STRATEGY_RANDOM;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i].name) != 0)
			continue;
		*out = names[i].strategy;
		return true;
	}
	return false;
}

static bool sync_of(const char *name, enum keep_sync *out)
{
	static const char *const names[] = {
		[KEEP_INTERVAL] = "interval",
		[KEEP_ALWAYS] = "always",
		[KEEP_NEVER] = "never",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i]) != 0)
			continue;
		*out = (enum keep_sync)i;
		return true;
	}
	return false;
}

bool config_journal(const struct master_config *c, struct keeper_opts *out)
{
	*out = (struct keeper_opts){
		.dir = c->journal_dir,
		.sync_interval_ns = c->journal_sync_interval_ms * NS_PER_MS,
		.snapshot_bytes = c->journal_snapshot_bytes,
		.snapshot_interval_ns = c->snapshot_interval_seconds * NS_PER_S,
	};
	sync_of(c->journal_sync, &out->sync);
	return c->journal_dir[0];
}

int config_check(const struct master_config *c, struct err *err)
{
	enum strategy strategy;
	enum keep_sync sync;

	if (c->v > 0)
		log_level_max = LOG_DEBUG;
	if (c->minloglevel > 0)
		log_level_max = c->minloglevel == 1 ? LOG_WARN : LOG_ERROR;
	if (c->put_start_release_timeout_sec <=
	    c->put_start_discard_timeout_sec)
		return err_set(
			err, -EINVAL,
			"--put_start_release_timeout_sec=%llu must be "
			"above --put_start_discard_timeout_sec=%llu",
			(unsigned long long)c->put_start_release_timeout_sec,
			(unsigned long long)c->put_start_discard_timeout_sec);
	if (c->quarantine_margin_ms * 3 >
	    c->put_start_discard_timeout_sec * 1000)
		return err_set(
			err, -EINVAL,
			"--quarantine_margin_ms=%llu must be at most a "
			"third of --put_start_discard_timeout_sec=%llu",
			(unsigned long long)c->quarantine_margin_ms,
			(unsigned long long)c->put_start_discard_timeout_sec);
	if (c->default_kv_soft_pin_ttl_ms > c->max_kv_soft_pin_ttl_ms)
		return err_set(
			err, -EINVAL,
			"--default_kv_soft_pin_ttl=%llu is above "
			"--max_kv_soft_pin_ttl=%llu",
			(unsigned long long)c->default_kv_soft_pin_ttl_ms,
			(unsigned long long)c->max_kv_soft_pin_ttl_ms);
	if (strcmp(c->memory_allocator, "offset") != 0 &&
	    strcmp(c->memory_allocator, "cachelib") != 0)
		return err_set(err, -EINVAL,
			       "--memory_allocator='%.40s': expected offset or "
			       "cachelib",
			       c->memory_allocator);
	if (!sync_of(c->journal_sync, &sync))
		return err_set(err, -EINVAL,
			       "--journal_sync='%.40s': expected always, "
			       "interval or never",
			       c->journal_sync);
	if (strcmp(c->nof_reservations, "auto") != 0 &&
	    strcmp(c->nof_reservations, "off") != 0)
		return err_set(err, -EINVAL,
			       "--nof_reservations='%.40s': expected auto or "
			       "off",
			       c->nof_reservations);
	if (!strategy_of(c->allocation_strategy, &strategy))
		log_warn("unknown allocation strategy, random is used",
			 "allocation_strategy=%.60s", c->allocation_strategy);
	warn_absent(c);
	return check_cluster_id(c->cluster_id, err);
}

uint64_t config_owner_key(const struct master_config *c)
{
	return strcmp(c->nof_reservations, "auto") == 0
		       ? owner_key_make(c->cluster_id)
		       : 0;
}

void config_core(const struct master_config *c, struct core_opts *out)
{
	core_opts_default(out);
	out->lease_ns = c->default_kv_lease_ttl_ms * NS_PER_MS;
	out->soft_pin_ns = c->default_kv_soft_pin_ttl_ms * NS_PER_MS;
	out->soft_pin_max_ns = c->max_kv_soft_pin_ttl_ms * NS_PER_MS;
	out->can_evict_soft_pinned = c->allow_evict_soft_pinned_objects;
	out->high_watermark[KIND_MEM] = c->eviction_high_watermark_ratio;
	out->high_watermark[KIND_NOF] = c->nof_eviction_high_watermark_ratio;
	out->evict_ratio[KIND_MEM] = c->eviction_ratio;
	out->evict_ratio[KIND_NOF] = c->nof_eviction_ratio;
	out->discard_ns = c->put_start_discard_timeout_sec * NS_PER_S;
	out->release_ns = c->put_start_release_timeout_sec * NS_PER_S;
	out->write_ns = out->discard_ns / 3 * 2;
	out->margin_ns = c->quarantine_margin_ms * NS_PER_MS;
	out->stripe_bytes = c->nof_stripe_bytes;
	out->lost_ns = c->nof_lost_timeout_sec * NS_PER_S;
	out->copy_bytes_per_s = c->copy_bytes_per_s;
	out->scrub_bytes_per_s = c->scrub_bytes_per_s;
	out->scrub_interval_ns = c->scrub_interval_ms * NS_PER_MS;
	out->client_ttl_ns = c->client_ttl * NS_PER_S;
	out->replica_num = (int)c->default_replica_num;
	out->nof_replica_num = (int)c->default_nof_replica_num;
	out->offline_failures = (uint32_t)c->nof_heartbeat_failures_threshold;
	strategy_of(c->allocation_strategy, &out->strategy);
	rand_fill_os(&out->seed, sizeof(out->seed));
	/* 4096 generations per microsecond of wall clock: a later life begins
	 * above all those of an earlier one. */
	out->generation = time_wall_ns() / NS_PER_US << 12;
}

static int interface_addr(const char *name, uint16_t port, struct addr *out,
			  struct err *err)
{
	struct ifaddrs *all, *one;
	int ret = -ENODEV;

	if (getifaddrs(&all) < 0)
		return err_set(err, -errno, "cannot list network interfaces");
	for (one = all; one; one = one->ifa_next) {
		if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET ||
		    strcmp(one->ifa_name, name) != 0)
			continue;
		memcpy(&out->ss, one->ifa_addr, sizeof(struct sockaddr_in));
		out->len = sizeof(struct sockaddr_in);
		addr_set_port(out, port);
		ret = 0;
		break;
	}
	freeifaddrs(all);
	if (ret < 0)
		return err_set(err, ret,
			       "--rpc_interface=%.64s: no such interface, or "
			       "it has no IPv4 address",
			       name);
	return 0;
}

uint16_t config_rpc_port(const struct master_config *c)
{
	return (uint16_t)(c->rpc_port ? c->rpc_port : c->port);
}

int config_rpc_addr(const struct master_config *c, struct addr *out,
		    struct err *err)
{
	uint16_t port = config_rpc_port(c);

	if (c->rpc_interface[0])
		return interface_addr(c->rpc_interface, port, out, err);
	return addr_resolve(c->rpc_address, port, out, err);
}

unsigned config_threads(const struct master_config *c)
{
	uint64_t n = c->rpc_thread_num ? c->rpc_thread_num : c->max_threads;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return (unsigned)MIN(n, (uint64_t)MAX(cores, 1L));
}
