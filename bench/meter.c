/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Meter of one run.  One thread.  Invariant: time, CPU time and counts begin at
 * the same moment, so that their ratios hold.
 */
#include "meter.h"

#include <stdio.h>
#include <time.h>

#include "base/time.h"

uint64_t meter_cpu_ns(int pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts))
		return 0;
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Of another process only the kernel's own count of its main thread is to be
 * had; a running thread's is as old as its last tick. */
static uint64_t main_cpu_ns(int pid)
{
	char path[64];
	unsigned long long ns = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	fclose(f);
	return ns;
}

void meter_start(struct meter *m)
{
	m->bytes = m->errors = 0;
	hist_init(&m->latency_ns);
	m->own_ns = meter_cpu_ns(0);
	m->peer_ns = m->peer ? meter_cpu_ns(m->peer) : 0;
	m->peer_main_ns = m->peer ? main_cpu_ns(m->peer) : 0;
	m->start_ns = time_mono_ns();
}

static double us(const struct meter *m, double percent)
{
	return (double)hist_percentile(&m->latency_ns, percent) / 1e3;
}

void meter_print(const struct meter *m)
{
	const struct hist *h = &m->latency_ns;
	double seconds = (double)(time_mono_ns() - m->start_ns) / 1e9;
	double own = (double)(meter_cpu_ns(0) - m->own_ns) / 1e9;
	double peer = 0, peer_main = 0;

	if (m->peer) {
		peer = (double)(meter_cpu_ns(m->peer) - m->peer_ns) / 1e9;
		peer_main =
			(double)(main_cpu_ns(m->peer) - m->peer_main_ns) / 1e9;
	}
	putchar('{');
	if (m->phase)
		printf("\"phase\": \"%s\", ", m->phase);
	printf("\"seconds\": %.4f, \"bytes\": %llu, \"ios\": %llu, "
	       "\"errors\": %llu, \"cpu_s\": %.4f, \"peer_cpu_s\": %.4f, "
	       "\"peer_main_cpu_s\": %.4f, "
	       "\"mean_us\": %.2f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n",
	       seconds, (unsigned long long)m->bytes,
	       (unsigned long long)h->count, (unsigned long long)m->errors, own,
	       peer, peer_main,
	       h->count ? (double)h->sum / (double)h->count / 1e3 : 0.0,
	       us(m, 50), us(m, 99));
	fflush(stdout);
}
