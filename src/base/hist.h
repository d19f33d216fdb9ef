/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log-linear histogram of unsigned values: 16 linear steps per power of two,
 * so a percentile is off by at most 1/16.  Adding is a few instructions and
 * never allocates.
 */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include "base/def.h"

#define HIST_SUB_BITS 4
#define HIST_BUCKETS  ((64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t bucket[HIST_BUCKETS];
};

void hist_init(struct hist *h);
void hist_add(struct hist *h, uint64_t value);
void hist_merge(struct hist *to, const struct hist *from);
/* Largest value that falls into the bucket. */
uint64_t hist_edge(size_t bucket);
/* At most so much have been percent of the values (0 to 100), up to the
 * histogram's precision; 100 is exact.  0 when there are none. */
uint64_t hist_percentile(const struct hist *h, double percent);

#endif
