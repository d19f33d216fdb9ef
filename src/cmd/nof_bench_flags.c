/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of nof_worker_pool_bench.  Several have a second name from fio; both
 * may be given when they say the same.  Main thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "cmd/nof_bench.h"
#include "pool/split.h"

#define DEPTH_MAX 65536
#define JOBS_MAX  256

struct bench_config {
	struct flag_list endpoints;
	char *op, *rw;
	uint64_t io_size, bs, depth, submit_threads, numjobs;
	double duration, runtime, warmup, ramp, status_s;
	uint64_t report_ms, start_lba, range, size, seed;
	uint64_t workers, chunk, inflight;
	int64_t socket_id;
	bool random, fill, verify, yes_overwrite, json;
};

#define OFF(field) offsetof(struct bench_config, field)
static const struct flag flags[] = {
	{.name = "endpoints",
	 .type = FLAG_LIST,
	 .off = OFF(endpoints),
	 .arg = "LIST",
	 .attrs = FLAG_REQUIRED,
	 .group = "What to measure",
	 .help = "Namespaces, parted by commas: 'traddr:ADDRESS trsvcid:PORT "
		 "subnqn:NQN trtype:TCP adrfam:IPv4 ns:NUMBER, traddr:…'. They "
		 "need not be registered with a master."},
	{.name = "op",
	 .type = FLAG_STR,
	 .off = OFF(op),
	 .def = "read",
	 .arg = "OP",
	 .help = "read, write or mixed (half of each)."},
	{.name = "rw",
	 .type = FLAG_STR,
	 .off = OFF(rw),
	 .arg = "OP",
	 .help = "The same in fio's words: read, write, rw or mixed, and "
		 "randread, randwrite, randrw, which mean --random_lba, too."},
	{.name = "io_size",
	 .type = FLAG_SIZE,
	 .off = OFF(io_size),
	 .def = "131072",
	 .min = 512,
	 .max = (double)GiB,
	 .arg = "SIZE",
	 .help = "Bytes per I/O, a multiple of the block size."},
	{.name = "bs",
	 .type = FLAG_SIZE,
	 .off = OFF(bs),
	 .def = "131072",
	 .min = 512,
	 .max = (double)GiB,
	 .arg = "SIZE",
	 .help = "The same as --io_size."},
	{.name = "iodepth",
	 .type = FLAG_UINT,
	 .off = OFF(depth),
	 .def = "64",
	 .min = 1,
	 .max = DEPTH_MAX,
	 .arg = "N",
	 .help = "I/Os under way at each endpoint."},
	{.name = "submit_threads",
	 .type = FLAG_UINT,
	 .off = OFF(submit_threads),
	 .def = "1",
	 .min = 1,
	 .max = JOBS_MAX,
	 .arg = "N",
	 .help = "Threads that submit; the endpoints are dealt out to them."},
	{.name = "numjobs",
	 .type = FLAG_UINT,
	 .off = OFF(numjobs),
	 .def = "1",
	 .min = 1,
	 .max = JOBS_MAX,
	 .arg = "N",
	 .help = "The same as --submit_threads."},
	{.name = "start_lba",
	 .type = FLAG_UINT,
	 .off = OFF(start_lba),
	 .arg = "LBA",
	 .help = "First block of the range that is read or written."},
	{.name = "range_bytes",
	 .type = FLAG_SIZE,
	 .off = OFF(range),
	 .def = "1g",
	 .arg = "SIZE",
	 .help = "Length of that range, at each endpoint. The default is less "
		 "where the namespace is smaller."},
	{.name = "size",
	 .type = FLAG_SIZE,
	 .off = OFF(size),
	 .def = "1g",
	 .arg = "SIZE",
	 .help = "The same as --range_bytes."},
	{.name = "random_lba",
	 .type = FLAG_BOOL,
	 .off = OFF(random),
	 .help = "Any place in the range, not one after the other."},
	{.name = "seed",
	 .type = FLAG_UINT,
	 .off = OFF(seed),
	 .def = "1",
	 .arg = "N",
	 .help = "Of the places and of the pattern."},
	{.name = "fill_on_write",
	 .type = FLAG_BOOL,
	 .off = OFF(fill),
	 .def = "true",
	 .help = "Write a pattern, not zeros. It is made once, before the "
		 "clock runs (with --verify, for each write)."},
	{.name = "verify",
	 .type = FLAG_BOOL,
	 .off = OFF(verify),
	 .help = "Writes carry a pattern of block address and seed and are "
		 "read back and compared; mixed reads are compared where this "
		 "run has written; reads alone expect what a run of writes "
		 "with --verify and the same seed has left."},
	{.name = "yes_overwrite",
	 .type = FLAG_BOOL,
	 .off = OFF(yes_overwrite),
	 .help = "Agree that --op=write and mixed overwrite a namespace that "
		 "holds something: a pool segment, a file system, a partition "
		 "table or other data."},
	{.name = "duration_sec",
	 .type = FLAG_DOUBLE,
	 .off = OFF(duration),
	 .def = "30",
	 .min = 0,
	 .max = 1e6,
	 .arg = "S",
	 .group = "How long",
	 .help = "Seconds that count."},
	{.name = "runtime",
	 .type = FLAG_DOUBLE,
	 .off = OFF(runtime),
	 .def = "30",
	 .min = 0,
	 .max = 1e6,
	 .arg = "S",
	 .help = "The same as --duration_sec."},
	{.name = "warmup_sec",
	 .type = FLAG_DOUBLE,
	 .off = OFF(warmup),
	 .def = "3",
	 .min = 0,
	 .max = 1e6,
	 .arg = "S",
	 .help = "Seconds before them that do not."},
	{.name = "ramp_time",
	 .type = FLAG_DOUBLE,
	 .off = OFF(ramp),
	 .def = "3",
	 .min = 0,
	 .max = 1e6,
	 .arg = "S",
	 .help = "The same as --warmup_sec."},
	{.name = "report_interval_ms",
	 .type = FLAG_UINT,
	 .off = OFF(report_ms),
	 .def = "1000",
	 .min = 0,
	 .max = 1e9,
	 .arg = "MS",
	 .help = "Between two lines on standard error, 0 for none. On a "
		 "terminal one line is written again and again."},
	{.name = "status_interval",
	 .type = FLAG_DOUBLE,
	 .off = OFF(status_s),
	 .def = "1",
	 .min = 0,
	 .max = 1e6,
	 .arg = "S",
	 .help = "The same, in seconds."},
	{.name = "nof_workers",
	 .type = FLAG_UINT,
	 .off = OFF(workers),
	 .min = 0,
	 .max = VOL_WORKERS_MAX,
	 .arg = "N",
	 .group = "The pool (0: what the environment says)",
	 .help = "Threads that do the I/O, as MC_NOF_WORKERS."},
	{.name = "nof_submit_chunk_bytes",
	 .type = FLAG_SIZE,
	 .off = OFF(chunk),
	 .min = 0,
	 .max = CHUNK_MAX,
	 .arg = "SIZE",
	 .help = "As MC_NOF_SUBMIT_CHUNK_BYTES."},
	{.name = "nof_inflight_bytes_limit",
	 .type = FLAG_SIZE,
	 .off = OFF(inflight),
	 .min = 0,
	 .max = (double)((uint64_t)1 << 40),
	 .arg = "SIZE",
	 .help = "As MC_NOF_INFLIGHT_BYTES_LIMIT."},
	{.name = "socket_id",
	 .type = FLAG_INT,
	 .off = OFF(socket_id),
	 .def = "-1",
	 .min = -1,
	 .max = 1023,
	 .arg = "NODE",
	 .help = "NUMA node on which the buffers lie, -1 for any."},
	{.name = "json",
	 .type = FLAG_BOOL,
	 .off = OFF(json),
	 .group = "Output",
	 .help = "The results as JSON."},
};

const struct flag_prog bench_prog = {
	.name = NOF_BENCH,
	.summary = "measures NVMe-oF namespaces through the store's worker "
		   "pool",
	.usage = "--endpoints='traddr:… trsvcid:… subnqn:… ns:1' [options]",
	.details =
		"Keeps --iodepth I/Os under way at each namespace, through the "
		"same workers, queue pairs and limits as the store's client, "
		"and prints bandwidth, IOPS, latencies and CPU time per GB. "
		"SIGINT ends it early, with the results so far. Writing "
		"destroys what the namespace holds. Exit status: 0; 1 when "
		"something failed, an I/O or a comparison included; 2 for "
		"wrong options; 130 after SIGINT or SIGTERM.",
	.examples = "  " NOF_BENCH " --op=read --io_size=1m --iodepth=8 \\\n"
		    "    --endpoints='traddr:10.0.0.7 trsvcid:4420 "
		    "subnqn:nqn.2024-01.io.example:ssd1 ns:1'\n"
		    "  " NOF_BENCH
		    " --rw=randwrite --bs=4k --verify --endpoints=…\n",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

size_t bench_config_size(void)
{
	return sizeof(struct bench_config);
}

/* --- two names for one thing --- */

static bool is_given(const struct flag_set *fs, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (strcmp(flags[i].name, name) == 0)
			return fs->source[i] != FLAG_SRC_DEFAULT;
	ASSERT(false);
	return false;
}

/* Takes the one that was given. */
static int merge(const struct flag_set *fs, const char *const names[2],
		 const double values[2], double *out, struct err *err)
{
	bool has_first = is_given(fs, names[0]);
	bool has_second = is_given(fs, names[1]);

	if (has_first && has_second && values[0] != values[1])
		return err_set(err, -EINVAL,
			       "--%s and --%s are one option and were given "
			       "different values: give one of them",
			       names[0], names[1]);
	*out = values[has_second ? 1 : 0];
	return 0;
}

#define NAMES(a, b)                                                            \
	(const char *const[2])                                                 \
	{                                                                      \
		a, b                                                           \
	}
#define VALUES(a, b)                                                           \
	(const double[2])                                                      \
	{                                                                      \
		(double)(a), (double)(b)                                       \
	}

static int merge_numbers(const struct flag_set *fs, struct bench_plan *plan,
			 struct err *err)
{
	const struct bench_config *c = fs->config;
	double bytes, jobs, run, warm, ms, range;

	if (merge(fs, NAMES("io_size", "bs"), VALUES(c->io_size, c->bs), &bytes,
		  err) ||
	    merge(fs, NAMES("submit_threads", "numjobs"),
		  VALUES(c->submit_threads, c->numjobs), &jobs, err) ||
	    merge(fs, NAMES("duration_sec", "runtime"),
		  VALUES(c->duration, c->runtime), &run, err) ||
	    merge(fs, NAMES("warmup_sec", "ramp_time"),
		  VALUES(c->warmup, c->ramp), &warm, err) ||
	    merge(fs, NAMES("report_interval_ms", "status_interval"),
		  VALUES(c->report_ms, c->status_s * 1e3), &ms, err) ||
	    merge(fs, NAMES("range_bytes", "size"), VALUES(c->range, c->size),
		  &range, err))
		return err->code;
	if (run <= 0)
		return err_set(err, -EINVAL,
			       "--duration_sec: must be more than 0");
	plan->io_bytes = (uint64_t)bytes;
	plan->jobs = (uint64_t)jobs;
	plan->run_ns = (uint64_t)(run * 1e9);
	plan->warm_ns = (uint64_t)(warm * 1e9);
	plan->interval_ns = (uint64_t)(ms * 1e6);
	plan->range_bytes = (uint64_t)range;
	plan->is_range_given =
		is_given(fs, "range_bytes") || is_given(fs, "size");
	return 0;
}

static const struct word {
	const char *text;
	enum bench_op op;
	bool is_random, is_rw_only;
} words[] = {
	{"read", BENCH_READ, false, false},
	{"write", BENCH_WRITE, false, false},
	{"mixed", BENCH_MIXED, false, false},
	{"rw", BENCH_MIXED, false, true},
	{"randread", BENCH_READ, true, true},
	{"randwrite", BENCH_WRITE, true, true},
	{"randrw", BENCH_MIXED, true, true},
};

static int find_word(const char *name, const char *text,
		     const struct word **out, struct err *err)
{
	bool is_rw = strcmp(name, "rw") == 0;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		*out = &words[i];
		if (strcmp(words[i].text, text) == 0 &&
		    (is_rw || !words[i].is_rw_only))
			return 0;
	}
	return err_set(err, -EINVAL,
		       "--%s: '%.40s' is not possible; expected read, write%s",
		       name, text,
		       is_rw ? ", mixed, rw, randread, randwrite or randrw"
			     : " or mixed");
}

static int merge_op(const struct flag_set *fs, struct bench_plan *plan,
		    struct err *err)
{
	const struct bench_config *c = fs->config;
	const struct word *op = NULL, *rw = NULL;
	bool has_rw = is_given(fs, "rw") && c->rw[0];

	if (find_word("op", c->op, &op, err) ||
	    (has_rw && find_word("rw", c->rw, &rw, err)))
		return err->code;
	if (has_rw && is_given(fs, "op") && op->op != rw->op)
		return err_set(err, -EINVAL,
			       "--op=%s and --rw=%s are one option and were "
			       "given different values: give one of them",
			       c->op, c->rw);
	if (has_rw && rw->is_random && is_given(fs, "random_lba") && !c->random)
		return err_set(err, -EINVAL,
			       "--rw=%s and --norandom_lba contradict each "
			       "other",
			       c->rw);
	plan->op = has_rw ? rw->op : op->op;
	plan->is_random = c->random || (has_rw && rw->is_random);
	return 0;
}

/* --- the list --- */

static int add_endpoint(struct flag_list *list, struct str text)
{
	char **items = reallocarray(list->items, list->count + 1,
				    sizeof(*list->items));

	if (!items)
		return -ENOMEM;
	list->items = items;
	items[list->count] = str_dup(text);
	if (!items[list->count])
		return -ENOMEM;
	list->count++;
	return 0;
}

static int split_endpoints(const struct flag_list *in, struct flag_list *out,
			   struct err *err)
{
	for (size_t i = 0; i < in->count; i++) {
		struct str rest = str_of(in->items[i]);

		while (rest.n) {
			struct str one = str_trim(str_cut(rest, ',', &rest));

			if (one.n && add_endpoint(out, one))
				return err_set(err, -ENOMEM, "out of memory");
		}
	}
	if (!out->count)
		return err_set(err, -EINVAL,
			       "--endpoints is empty: give 'traddr:… trsvcid:… "
			       "subnqn:… ns:1'");
	return 0;
}

int bench_plan(const struct flag_set *fs, struct bench_plan *plan,
	       struct err *err)
{
	const struct bench_config *c = fs->config;

	if (merge_numbers(fs, plan, err) || merge_op(fs, plan, err) ||
	    split_endpoints(&c->endpoints, &plan->endpoints, err))
		return err->code;
	if (c->chunk && c->chunk < CHUNK_MIN)
		return err_set(err, -EINVAL,
			       "--nof_submit_chunk_bytes: give 0 or at least "
			       "%d",
			       CHUNK_MIN);
	if (c->inflight && c->inflight < CHUNK_MIN)
		return err_set(err, -EINVAL,
			       "--nof_inflight_bytes_limit: give 0 or at least "
			       "%d",
			       CHUNK_MIN);
	plan->depth = c->depth;
	plan->start_lba = c->start_lba;
	plan->seed = c->seed;
	plan->is_filled = c->fill;
	plan->is_verified = c->verify;
	plan->is_overwrite_agreed = c->yes_overwrite;
	plan->is_json = c->json;
	plan->socket_id = c->socket_id;
	plan->workers = c->workers;
	plan->chunk_bytes = c->chunk;
	plan->inflight_bytes = c->inflight;
	return 0;
}

void bench_plan_fini(struct bench_plan *plan)
{
	for (size_t i = 0; i < plan->endpoints.count; i++)
		free(plan->endpoints.items[i]);
	free(plan->endpoints.items);
}
