/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one run moved, how long each operation took, and what it cost in CPU
 * time here and in the process at the other end.
 */
#ifndef BENCH_METER_H
#define BENCH_METER_H

#include "base/hist.h"

struct meter {
	int peer;	   /* process id of the other end, 0 = none */
	const char *phase; /* printed when there is one */
	uint64_t start_ns, own_ns, peer_ns;
	uint64_t peer_main_ns; /* of the peer's main thread */
	uint64_t bytes, errors;
	struct hist latency_ns;
};

/* All threads of the process (0 = this one); 0 when it can't be told. */
uint64_t meter_cpu_ns(int pid);
/* From now on it counts; peer stays. */
void meter_start(struct meter *m);
/* Prints one line of JSON. */
void meter_print(const struct meter *m);

#endif
