/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log-linear histogram of unsigned values: 16 linear steps per power of two,
 * so a percentile is off by at most 1/16.  Adding is a few instructions and
 * never allocates; histograms of equal type can be merged.
 */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include "base/def.h"

#define HIST_SUB_BITS 4
#define HIST_BUCKETS  ((64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
	uint64_t count;
	uint64_t sum;
	uint64_t min, max;
	uint64_t bucket[HIST_BUCKETS];
};

void hist_init(struct hist *h);
void hist_add(struct hist *h, uint64_t value);
void hist_merge(struct hist *into, const struct hist *from);
/* q in [0, 1]; upper edge of the bucket that holds the quantile, 0 if empty. */
uint64_t hist_quantile(const struct hist *h, double q);
double hist_mean(const struct hist *h);

#endif
