/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nof_worker_pool_bench: measures namespaces through src/pool.  The main
 * thread waits, reports and hears signals.  Invariant: the pool is closed only
 * when all jobs have ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "cmd/nof_bench.h"

static uint64_t own_cpu_ns(void)
{
	struct timespec ts = {0};

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void on_signal(struct signals *s, int signo)
{
	struct bench *b = s->arg;

	if (b->is_interrupted)
		_exit(130); /* whoever asks twice does not want to wait */
	b->is_interrupted = true;
	b->stopped_ns = time_mono_ns();
	atomic_store(&b->is_stopped, true);
}

static void on_count(struct timer *timer)
{
	struct bench *b = container_of(timer, struct bench, count_timer);

	b->cpu_ns = own_cpu_ns();
	b->is_counting = true;
}

static void on_interval(struct timer *timer)
{
	struct bench *b = container_of(timer, struct bench, interval_timer);

	bench_report_interval(b);
	timer_set(b->loop, timer, b->plan.interval_ns);
}

void bench_job_ended(struct bench *b)
{
	if (--b->jobs_left)
		return;
	b->cpu_ns = b->is_counting ? own_cpu_ns() - b->cpu_ns : 0;
	loop_stop(b->loop);
}

static int measure(struct bench *b, struct err *err)
{
	int ret = bench_jobs_start(b, err);

	if (ret)
		return ret;
	b->count_timer.fire = on_count;
	b->interval_timer.fire = on_interval;
	timer_set_at(b->loop, &b->count_timer, b->count_ns);
	b->reported_ns = b->start_ns;
	if (b->plan.interval_ns)
		timer_set(b->loop, &b->interval_timer, b->plan.interval_ns);
	loop_run(b->loop);
	timer_cancel(b->loop, &b->count_timer);
	timer_cancel(b->loop, &b->interval_timer);
	return 0;
}

/* 0 with *status, or -errno with a sentence. */
static int bench(struct bench *b, int *status, struct err *err)
{
	int ret =
		loop_create(&(struct loop_opts){.name = "main"}, &b->loop, err);

	if (!ret)
		ret = bench_open(b, err);
	/* Until here a signal simply ends the program. */
	if (!ret) {
		ret = signals_open(&b->signals, b->loop, on_signal, b, err);
		b->has_signals = !ret;
	}
	if (!ret)
		ret = measure(b, err);
	bench_jobs_stop(b);
	if (!ret)
		*status = bench_report(b);
	bench_close(b);
	if (b->has_signals)
		signals_close(&b->signals);
	loop_destroy(b->loop);
	return ret;
}

int main(int argc, char **argv)
{
	static struct bench b;
	struct bench_config *config = calloc(1, bench_config_size());
	struct err err = {0};
	struct flag_set fs;
	int status = 1, ret;

	log_set_name(NOF_BENCH);
	if (!config || flag_main(&fs, &bench_prog, config, argc, argv, &status))
		goto out;
	ret = bench_plan(&fs, &b.plan, &err);
	if (!ret)
		ret = bench(&b, &status, &err);
	if (ret) {
		fprintf(stderr, NOF_BENCH ": %s\n", err.text);
		status = 1;
	}
	bench_plan_fini(&b.plan);
	flag_fini(&fs);
out:
	free(config);
	return status;
}
