/* SPDX-License-Identifier: Apache-2.0 */
/* Options of mooncake_master: upstream's names and defaults, and ours. */
#ifndef MASTER_CONFIG_H
#define MASTER_CONFIG_H

#include "base/flag.h"
#include "io/addr.h"
#include "master/core.h"
#include "master/keeper.h"

struct master_config {
	char *config_path;
	uint64_t rpc_port, port, rpc_thread_num, max_threads;
	char *rpc_address, *rpc_interface;
	uint64_t rpc_conn_timeout_seconds;
	bool enable_metric_reporting;
	uint64_t metrics_port;
	char *metrics_host;

	uint64_t default_kv_lease_ttl_ms;
	uint64_t default_kv_soft_pin_ttl_ms, max_kv_soft_pin_ttl_ms;
	bool allow_evict_soft_pinned_objects;
	double eviction_ratio, eviction_high_watermark_ratio;
	double nof_eviction_ratio, nof_eviction_high_watermark_ratio;
	uint64_t client_ttl;
	uint64_t put_start_discard_timeout_sec, put_start_release_timeout_sec;
	uint64_t quarantine_margin_ms;
	char *memory_allocator, *allocation_strategy, *cluster_id;
	int64_t default_replica_num, default_nof_replica_num;

	uint64_t nof_heartbeat_interval_sec, nof_heartbeat_probe_timeout_ms;
	uint64_t nof_heartbeat_failures_threshold;
	uint64_t nof_lost_timeout_sec, nof_stripe_bytes;
	char *nof_reservations;
	uint64_t copy_bytes_per_s, scrub_bytes_per_s, scrub_interval_ms;

	char *journal_dir, *journal_sync;
	uint64_t journal_sync_interval_ms, journal_snapshot_bytes;
	uint64_t snapshot_interval_seconds;

	bool enable_http_metadata_server;
	uint64_t http_metadata_server_port;
	char *http_metadata_server_host;

	/* Not there; asked for, the master says so loudly. */
	bool enable_ha, enable_oplog, enable_snapshot, enable_snapshot_restore;
	bool enable_multi_tenants, enable_offload, enable_cxl;
	char *root_fs_dir;

	int64_t v, minloglevel;
};

extern const struct flag_prog master_prog;

/* After flags and file: checks what goes beyond one option, sets the log
 * level, warns.  -EINVAL with a sentence. */
int config_check(const struct master_config *config, struct err *err);
/* A new one for this life; 0: no reservations. */
uint64_t config_owner_key(const struct master_config *config);
void config_core(const struct master_config *config, struct core_opts *out);
/* false: no journal is asked for. */
bool config_journal(const struct master_config *config,
		    struct keeper_opts *out);
/* May resolve names; not on a loop. */
int config_rpc_addr(const struct master_config *config, struct addr *out,
		    struct err *err);
unsigned config_threads(const struct master_config *config);
uint16_t config_rpc_port(const struct master_config *config);

#endif
