/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nof_worker_pool_bench says: a line per interval on standard error, the
 * results on standard output.  Main thread; the jobs have ended when
 * bench_report() is called.
 */
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "base/time.h"
#include "cmd/nof_bench.h"

#define MIB 1048576.0

/* What is told of an endpoint, and of all together. */
struct result {
	struct bench_counts window;
	uint64_t failed, verified, mismatches; /* failed: warm-up included */
	struct hist latency_ns;
	unsigned queue_pairs;
};

static void add(struct result *r, const struct bench_end *end)
{
	r->window.completed += end->window.completed;
	r->window.failed += end->window.failed;
	r->window.bytes += end->window.bytes;
	r->failed += atomic_load(&end->failed);
	r->verified += end->verified;
	r->mismatches += end->mismatches;
	hist_merge(&r->latency_ns, &end->latency_ns);
	r->queue_pairs = MAX(r->queue_pairs, vol_queue_pairs(end->vol));
}

static double run_seconds(const struct bench *b)
{
	uint64_t end_ns =
		b->stopped_ns ? MIN(b->stopped_ns, b->end_ns) : b->end_ns;

	return end_ns > b->count_ns ? (double)(end_ns - b->count_ns) / 1e9 : 0;
}

static double per_second(const struct bench *b, uint64_t n)
{
	double seconds = run_seconds(b);

	return seconds > 0 ? (double)n / seconds : 0;
}

static double mean_us(const struct hist *h)
{
	return h->count ? (double)h->sum / (double)h->count / 1e3 : 0;
}

static double cpu_per_gb(const struct bench *b, const struct result *r)
{
	return r->window.bytes ? (double)b->cpu_ns / (double)r->window.bytes
			       : 0;
}

/* --- intervals --- */

static struct bench_counts now_of(const struct bench_end *end)
{
	return (struct bench_counts){
		.submitted = atomic_load(&end->submitted),
		.completed = atomic_load(&end->completed),
		.failed = atomic_load(&end->failed),
		.bytes = atomic_load(&end->bytes),
	};
}

static void print_interval(const struct bench *b, const char *name,
			   const struct bench_counts *n,
			   const struct bench_counts *d, double seconds)
{
	bool is_terminal = isatty(STDERR_FILENO);
	uint64_t now = time_mono_ns();

	fprintf(stderr,
		"%s%s %s=%.1fs bw=%.1fMiB/s iops=%.0f fail_iops=%.0f "
		"submitted=%llu completed=%llu failed=%llu%s",
		is_terminal ? "\r\033[K" : "", name,
		now < b->count_ns ? "warmup" : "t",
		(double)(now -
			 (now < b->count_ns ? b->start_ns : b->count_ns)) /
			1e9,
		(double)d->bytes / MIB / seconds,
		(double)d->completed / seconds, (double)d->failed / seconds,
		(unsigned long long)n->submitted,
		(unsigned long long)n->completed, (unsigned long long)n->failed,
		is_terminal ? "" : "\n");
	fflush(stderr);
}

static void counts_add(struct bench_counts *to, const struct bench_counts *n)
{
	to->submitted += n->submitted;
	to->completed += n->completed;
	to->failed += n->failed;
	to->bytes += n->bytes;
}

void bench_report_interval(struct bench *b)
{
	uint64_t now_ns = time_mono_ns();
	double seconds = (double)MAX(now_ns - b->reported_ns, NS_PER_MS) / 1e9;
	size_t count = b->plan.endpoints.count;
	struct bench_counts sum = {0}, dsum = {0};
	char name[32];

	for (size_t i = 0; i < count; i++) {
		struct bench_counts n = now_of(&b->ends[i]), d = n;

		d.completed -= b->reported[i].completed;
		d.failed -= b->reported[i].failed;
		d.bytes -= b->reported[i].bytes;
		counts_add(&sum, &n);
		counts_add(&dsum, &d);
		b->reported[i] = n;
		if (count == 1 || isatty(STDERR_FILENO))
			continue;
		snprintf(name, sizeof(name), "endpoint[%zu]", i);
		print_interval(b, name, &n, &d, seconds);
	}
	print_interval(b, "total", &sum, &dsum, seconds);
	b->reported_ns = now_ns;
}

/* --- the end --- */

static const struct {
	const char *name;
	double percent;
} percentiles[] = {
	{"p50", 50}, {"p90", 90},     {"p95", 95},
	{"p99", 99}, {"p99.9", 99.9}, {"max", 100},
};

static void print_result(const struct bench *b, const struct result *r,
			 const char *prefix)
{
	printf("%scompleted_ops=%llu\n%sfailed_ops=%llu\n", prefix,
	       (unsigned long long)r->window.completed, prefix,
	       (unsigned long long)r->failed);
	printf("%sbw=%.2fMiB/s\n%siops=%.1f\n%sfail_iops=%.1f\n", prefix,
	       per_second(b, r->window.bytes) / MIB, prefix,
	       per_second(b, r->window.completed), prefix,
	       per_second(b, r->window.failed));
	printf("%sclat_mean=%.1fus\n", prefix, mean_us(&r->latency_ns));
	for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++)
		printf("%sclat_%s=%.1fus\n", prefix, percentiles[i].name,
		       (double)hist_percentile(&r->latency_ns,
					       percentiles[i].percent) /
			       1e3);
	if (b->plan.is_verified)
		printf("%sverified_bytes=%llu\n%sverify_errors=%llu\n", prefix,
		       (unsigned long long)r->verified, prefix,
		       (unsigned long long)r->mismatches);
}

static void print_text(const struct bench *b, const struct result *all)
{
	const struct bench_plan *p = &b->plan;
	char prefix[32];

	printf(NOF_BENCH " results\n");
	printf("endpoints=%zu\nunique_handles=%u\n", p->endpoints.count,
	       b->unique);
	printf("configured_nof_workers=%u\neffective_worker_bindings=%u\n",
	       b->opts.workers, all->queue_pairs);
	printf("numjobs=%llu\nbs=%llu\niodepth=%llu\ntotal_iodepth=%llu\n"
	       "runtime=%.3fs\n",
	       (unsigned long long)p->jobs, (unsigned long long)p->io_bytes,
	       (unsigned long long)p->depth,
	       (unsigned long long)(p->depth * p->endpoints.count),
	       run_seconds(b));
	print_result(b, all, "");
	printf("cpu_s_per_gb=%.3f\n", cpu_per_gb(b, all));
	for (size_t i = 0; i < p->endpoints.count; i++) {
		struct result r = {0};

		add(&r, &b->ends[i]);
		printf("endpoint[%zu]=%s\n", i, b->ends[i].text);
		snprintf(prefix, sizeof(prefix), "endpoint[%zu].", i);
		print_result(b, &r, prefix);
	}
}

static json_t *result_json(const struct bench *b, const struct result *r)
{
	json_t *j = json_pack("{s:I,s:I,s:f,s:f,s:f,s:f}", "completed_ops",
			      (json_int_t)r->window.completed, "failed_ops",
			      (json_int_t)r->failed, "bytes_per_s",
			      per_second(b, r->window.bytes), "iops",
			      per_second(b, r->window.completed), "fail_iops",
			      per_second(b, r->window.failed), "clat_mean_us",
			      mean_us(&r->latency_ns));
	char name[32];

	for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++) {
		uint64_t ns =
			hist_percentile(&r->latency_ns, percentiles[i].percent);

		snprintf(name, sizeof(name), "clat_%s_us", percentiles[i].name);
		json_object_set_new(j, name, json_real((double)ns / 1e3));
	}
	if (b->plan.is_verified) {
		json_object_set_new(j, "verified_bytes",
				    json_integer((json_int_t)r->verified));
		json_object_set_new(j, "verify_errors",
				    json_integer((json_int_t)r->mismatches));
	}
	return j;
}

static void print_json(const struct bench *b, const struct result *all)
{
	const struct bench_plan *p = &b->plan;
	json_t *root = result_json(b, all), *list = json_array();

	for (size_t i = 0; i < p->endpoints.count; i++) {
		struct result r = {0};
		json_t *one;

		add(&r, &b->ends[i]);
		one = result_json(b, &r);
		json_object_set_new(one, "endpoint",
				    json_string(b->ends[i].text));
		json_array_append_new(list, one);
	}
	json_object_set_new(root, "cpu_s_per_gb",
			    json_real(cpu_per_gb(b, all)));
	json_object_update_new(
		root,
		json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:b,s:o}",
			  "endpoints", (json_int_t)p->endpoints.count,
			  "unique_handles", (json_int_t)b->unique,
			  "configured_nof_workers", (json_int_t)b->opts.workers,
			  "effective_worker_bindings",
			  (json_int_t)all->queue_pairs, "numjobs",
			  (json_int_t)p->jobs, "bs", (json_int_t)p->io_bytes,
			  "iodepth", (json_int_t)p->depth, "runtime_s",
			  run_seconds(b), "interrupted", b->is_interrupted,
			  "per_endpoint", list));
	json_dumpf(root, stdout, JSON_INDENT(1));
	putchar('\n');
	json_decref(root);
}

int bench_report(const struct bench *b)
{
	struct result all = {0};

	for (size_t i = 0; i < b->plan.endpoints.count; i++)
		add(&all, &b->ends[i]);
	if (isatty(STDERR_FILENO) && b->plan.interval_ns)
		fputs("\r\033[K", stderr);
	if (b->plan.is_json)
		print_json(b, &all);
	else
		print_text(b, &all);
	fflush(stdout);
	if (all.failed)
		fprintf(stderr, NOF_BENCH ": %llu I/Os failed\n",
			(unsigned long long)all.failed);
	if (all.mismatches)
		fprintf(stderr,
			NOF_BENCH ": %llu I/Os did not read what was written\n",
			(unsigned long long)all.mismatches);
	return all.failed || all.mismatches ? 1 : b->is_interrupted ? 130 : 0;
}
