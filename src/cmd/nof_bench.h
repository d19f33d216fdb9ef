/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of nof_worker_pool_bench share.
 *
 * The main thread has the signals, the reports and a loop of its own; each job
 * is a shard that keeps the I/Os of its endpoints going; the workers of the
 * volume set do the I/O.  An endpoint's counters are written by its job alone.
 */
#ifndef CMD_NOF_BENCH_H
#define CMD_NOF_BENCH_H

#include "base/flag.h"
#include "base/hist.h"
#include "base/rand.h"
#include "io/signals.h"
#include "io/thread.h"
#include "pool/vol.h"

#define NOF_BENCH "nof_worker_pool_bench"

enum bench_op {
	BENCH_READ,
	BENCH_WRITE,
	BENCH_MIXED,
};

/* The options, with aliases resolved. */
struct bench_plan {
	struct flag_list endpoints;
	enum bench_op op;
	uint64_t io_bytes, depth, jobs;
	uint64_t run_ns, warm_ns, interval_ns;
	uint64_t start_lba, range_bytes, seed;
	bool is_range_given, is_random, is_filled, is_verified;
	bool is_overwrite_agreed, is_json;
	int64_t socket_id;
	uint64_t workers, chunk_bytes, inflight_bytes; /* 0: as the others do */
};

struct bench_counts {
	uint64_t submitted, completed, failed, bytes;
};

struct bench;
struct bench_job;

/* One endpoint; the same namespace may be given twice. */
struct bench_end {
	struct bench *b;
	struct bench_job *job;
	const char *text;
	struct vol *vol;
	uint64_t base;	 /* first byte of the range */
	uint64_t places; /* of one I/O each */
	/* the job's */
	struct rng rng;
	uint64_t next;
	uint8_t *written; /* a bit per place, to be verified when read */
	struct hist latency_ns;
	struct bench_counts window; /* what ended while the clock ran */
	uint64_t verified, mismatches;
	/* the job writes, the main thread reads: since the start */
	_Atomic(uint64_t) submitted, completed, failed, bytes;
};

struct bench_slot {
	struct vol_io io;
	struct vol_extent ext;
	struct iovec iov;
	struct mbox_msg msg;
	struct timer timer; /* a failed one waits a little */
	struct bench_end *end;
	uint64_t place, begun_ns, done_ns;
	bool is_read_back;
	bool is_comparable; /* a mixed read: its place was written before */
};

struct bench_job {
	struct shard shard;
	struct bench *b;
	struct mbox_msg start, ended;
	unsigned index, busy;
};

struct bench {
	struct bench_plan plan;
	struct vol_opts opts;
	struct vol_set *set;
	struct bench_end *ends;
	struct bench_slot *slots;
	struct bench_job *bench_jobs;
	uint8_t *bufs;
	unsigned unique;
	uint64_t start_ns, count_ns, end_ns; /* constant once jobs run */
	atomic_bool is_stopped;		     /* by a signal */
	/* main thread */
	struct loop *loop;
	struct signals signals;
	struct timer count_timer, interval_timer;
	unsigned jobs_left;
	bool is_counting, has_signals, is_interrupted;
	uint64_t stopped_ns;
	uint64_t cpu_ns; /* when counting began, then what it took */
	uint64_t reported_ns;
	struct bench_counts *reported; /* per endpoint, at the last report */
};

/* nof_bench_flags.c: fills plan from the options.  -EINVAL with a sentence. */
extern const struct flag_prog bench_prog;
struct bench_config;
size_t bench_config_size(void);
int bench_plan(const struct flag_set *fs, struct bench_plan *plan,
	       struct err *err);
void bench_plan_fini(struct bench_plan *plan);

/* nof_bench_open.c: connects, looks at the namespaces, takes the buffers.
 * -errno with a sentence; close takes what is half open. */
int bench_open(struct bench *b, struct err *err);
void bench_close(struct bench *b);

/* nof_bench_job.c */
int bench_jobs_start(struct bench *b, struct err *err);
void bench_jobs_stop(struct bench *b);
/* Main thread, when a job has nothing under way any more. */
void bench_job_ended(struct bench *b);

/* nof_bench_report.c */
void bench_report_interval(struct bench *b);
int bench_report(const struct bench *b);

#endif
