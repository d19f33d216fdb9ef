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
#define NVMF_STAT(NAME, name, help) .name = get(NT_STAT_##NAME),
#include "nvmf/tbl/stats.h"
#undef NVMF_STAT
	};
}
