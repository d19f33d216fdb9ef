/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Process-wide counters; any thread.  Invariant: they only grow; readers see
 * each of them alone, not a common moment.
 */
#include "nvmf/nt.h"

#include <stdatomic.h>

static _Atomic(uint64_t) counters[NT_STAT_COUNT];

void nt_stat_add(enum nt_stat stat, uint64_t n)
{
	atomic_fetch_add_explicit(&counters[stat], n, memory_order_relaxed);
}

static uint64_t get(enum nt_stat stat)
{
	return atomic_load_explicit(&counters[stat], memory_order_relaxed);
}

void nvmf_stats_get(struct nvmf_stats *out)
{
	*out = (struct nvmf_stats){
		.connects = get(NT_STAT_CONNECTS),
		.connect_failures = get(NT_STAT_CONNECT_FAILURES),
		.disconnects = get(NT_STAT_DISCONNECTS),
		.timeouts = get(NT_STAT_TIMEOUTS),
		.commands = get(NT_STAT_COMMANDS),
		.errors = get(NT_STAT_ERRORS),
		.bytes_read = get(NT_STAT_BYTES_READ),
		.bytes_written = get(NT_STAT_BYTES_WRITTEN),
		.digest_errors = get(NT_STAT_DIGEST_ERRORS),
	};
}
