/* SPDX-License-Identifier: Apache-2.0 */
/* What benchmarks of the metadata alone put their objects on. */
#ifndef BENCH_SEGMENTS_H
#define BENCH_SEGMENTS_H

#include "master/core.h"

#define OBJECT_BYTES MiB

/* Room for so many of OBJECT_BYTES; ends the program when it can't. */
void segments_add(struct core *core, uint64_t objects);

#endif
