/* SPDX-License-Identifier: Apache-2.0 */
/* COUNTER(field, metric name, help) - no guard: included several times. */
COUNTER(alloc_failures, "master_put_start_alloc_failures_total",
	"Puts refused for lack of space")
COUNTER(partial_allocs, "master_put_start_partial_allocations_total",
	"Puts that got fewer replicas than asked for")
COUNTER(parked, "master_put_start_parked_total",
	"Puts that waited for resting space")
COUNTER(hits_mem, "mem_cache_hit_nums_", "Gets answered from memory")
COUNTER(hits_nof, "nof_cache_hit_nums_", "Gets answered from the NVMe-oF pool")
COUNTER(valid_gets, "valid_get_nums_", "Gets that found the object")
COUNTER(total_gets, "total_get_nums_", "Gets")
COUNTER(hit_bytes_mem, "mem_cache_hit_bytes_total", "Bytes found in memory")
COUNTER(hit_bytes_nof, "nof_cache_hit_bytes_total",
	"Bytes found in the NVMe-oF pool")
COUNTER(evictions_mem, "master_successful_evictions_mem",
	"Memory eviction rounds that freed something")
COUNTER(evict_tries_mem, "master_attempted_evictions_mem",
	"Memory eviction rounds")
COUNTER(evicted_keys_mem, "master_evicted_key_count_mem",
	"Objects evicted from memory")
COUNTER(evicted_bytes_mem, "master_evicted_size_bytes_mem",
	"Bytes evicted from memory")
COUNTER(evictions_nof, "master_successful_evictions_nof",
	"NVMe-oF eviction rounds that freed something")
COUNTER(evict_tries_nof, "master_attempted_evictions_nof",
	"NVMe-oF eviction rounds")
COUNTER(evicted_keys_nof, "master_evicted_key_count_nof",
	"Objects evicted from the NVMe-oF pool")
COUNTER(evicted_bytes_nof, "master_evicted_size_bytes_nof",
	"Bytes evicted from the NVMe-oF pool")
COUNTER(discarded, "master_put_start_discard_cnt",
	"Unfinished puts that gave way to another")
COUNTER(released, "master_put_start_release_cnt",
	"Unfinished puts dropped because of their age")
COUNTER(checksum_mismatches, "master_checksum_mismatch_total",
	"Replicas dropped because a reader found wrong bytes")
COUNTER(media_errors, "master_media_error_total",
	"Replicas dropped because their target could not read them any more")
COUNTER(unreachable_reports, "master_unreachable_reports_total",
	"Clients' reports that a segment could not be reached")
COUNTER(probe_ok, "master_nof_heartbeat_success_total", "Good probes")
COUNTER(probe_failed, "master_nof_heartbeat_failure_total", "Failed probes")
COUNTER(probe_timeout, "master_nof_heartbeat_timeout_total",
	"Probes that missed their deadline")
COUNTER(went_offline, "master_nof_segments_offline_total",
	"Segments that went OFFLINE")
COUNTER(came_back, "master_nof_segments_online_total",
	"Segments that came back ONLINE")
COUNTER(copies, "master_copies_total", "Replicas that were made again")
COUNTER(copied_bytes, "master_copied_bytes_total", "Bytes of them")
COUNTER(copies_failed, "master_copies_failed_total",
	"Copies that did not end well")
COUNTER(checks, "master_scrubbed_objects_total",
	"Objects of the pool that were read to check them")
COUNTER(checked_bytes, "master_scrubbed_bytes_total",
	"Bytes of all their replicas")
COUNTER(checks_failed, "master_scrubs_failed_total",
	"Objects of which not all could be read to check them")
COUNTER(journal_syncs, "master_journal_syncs_total",
	"Times the journal was brought to disk")
COUNTER(journal_failures, "master_journal_failures_total",
	"Times the journal could not be written")
COUNTER(snapshots_ok, "master_snapshot_success",
	"Snapshots of the metadata that are on disk")
COUNTER(snapshots_failed, "master_snapshot_fail",
	"Snapshots of the metadata that came to nothing")
COUNTER(clients_expired, "master_clients_expired_total",
	"Clients that missed their TTL")
