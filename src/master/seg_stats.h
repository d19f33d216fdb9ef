/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus text of each segment: use, health, wear. */
#ifndef MASTER_SEG_STATS_H
#define MASTER_SEG_STATS_H

#include "base/str.h"

struct core;
struct segment;

/* Gauges of a kind are absent while there is no segment of it, and wear where
 * the target tells none. */
void seg_metrics(struct core *core, struct strbuf *out);
/* "timeout"; error < SEG_ERROR_COUNT. */
const char *seg_error_name(unsigned error);
/* Milliseconds since then. */
uint64_t seg_age_ms(const struct core *core, uint64_t since_ns);

#endif
