/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of a client: relaxed atomics, any thread. */
#ifndef CLIENT_STATS_H
#define CLIENT_STATS_H

#include <stdatomic.h>

#include "base/def.h"

enum stat {
#define STAT(name, help) STAT_##name,
#include "client/tbl/stats.h"
#undef STAT
	STAT_COUNT
};

struct stats {
	_Atomic(uint64_t) value[STAT_COUNT];
};

static inline void stats_add(struct stats *s, enum stat which, uint64_t n)
{
	atomic_fetch_add_explicit(&s->value[which], n, memory_order_relaxed);
}

static inline uint64_t stats_get(const struct stats *s, enum stat which)
{
	return atomic_load_explicit(&s->value[which], memory_order_relaxed);
}

#endif
