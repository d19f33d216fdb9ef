/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeds, each in a process of its own.
 *
 *	sim_store [--seed S] [--seeds N] [--steps M] [--jobs J] [-v]
 *
 * --steps: simulated seconds of trouble, 0 = as the seed says.  A seed that
 * fails is named with what happened before; -v shows that of a good one, too.
 */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "world.h"

#define SHOWN_LINES 150
#define JOBS_MAX    64
#define CPU_S	    600 /* for a seed; most take less than one */
#define ALL_SEEDS   200

struct world w;

static struct {
	uint64_t seed, seeds, steps, jobs;
	unsigned verbose;
} args = {.seed = 1, .seeds = 1, .jobs = 1};

/* --- helpers of all files here --- */

uint64_t now_ns(void)
{
	return io_sim_now_ns(w.sim);
}

uint64_t below(uint64_t bound)
{
	return rng_below(&w.rng, bound);
}

bool chance(double rate)
{
	return rate > 0 && (double)(rng_u64(&w.rng) >> 11) * 0x1p-53 < rate;
}

void note(const char *fmt, ...)
{
	va_list ap;

	fprintf(w.journal, "%10.6f  ", (double)now_ns() / NS_PER_S);
	va_start(ap, fmt);
	vfprintf(w.journal, fmt, ap);
	va_end(ap);
	fputc('\n', w.journal);
}

static void show_journal(void)
{
	char line[512];
	long lines = 0, skip;

	rewind(w.journal);
	while (fgets(line, sizeof(line), w.journal))
		lines++;
	rewind(w.journal);
	skip = args.verbose ? 0 : lines - SHOWN_LINES;
	while (fgets(line, sizeof(line), w.journal))
		if (skip-- <= 0)
			fputs(line, stderr);
}

static void show_plan(FILE *out)
{
	static const char *const keeps[] = {
		[KEEP_NOTHING] = "forgets",
		[KEEP_SOME] = "interval",
		[KEEP_ALL] = "always",
		[KEEP_WRITTEN] = "never",
	};
	const struct plan *p = &w.plan;
	const struct {
		bool is_so;
		const char *word;
	} words[] = {
		{p->is_hurried, "hurried"},
		{p->has_owner, "owner"},
		{p->rival == RIVAL_OTHER, "stranger"},
		{p->rival == RIVAL_SAME, "rival"},
		{p->rival == RIVAL_COPY, "copy"},
		{p->has_links, "links"},
		{p->has_crashes, "crashes"},
		{p->has_master_crashes, "master"},
		{p->has_file_errors, "files"},
		{p->has_tasks, "tasks"},
		{p->has_drains, "drains"},
		{p->has_media, "media"},
		{p->has_swaps, "swaps"},
		{p->has_slow, "slow"},
		{p->has_hedges, "hedges"},
		{p->has_exchanges, "exchanges"},
		{p->has_turns, "turns"},
		{p->has_clock, "clock"},
		{p->has_stops, "stops"},
		{p->has_stripes, "stripes"},
	};

	fprintf(out, "%u s %s", p->seconds, keeps[p->keep]);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (words[i].is_so)
			fprintf(out, " %s", words[i].word);
}

_Noreturn void fail(const char *fmt, ...)
{
	va_list ap;

	show_journal();
	fprintf(stderr, "seed %llu (", (unsigned long long)w.plan.seed);
	show_plan(stderr);
	fprintf(stderr, ") at %.6f: ", (double)now_ns() / NS_PER_S);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	_exit(1);
}

/* --- folders of the journals --- */

static char folder[64]; /* of this run */

static void folder_of(uint64_t seed, char out[128])
{
	snprintf(out, 128, "%s/%llu", folder, (unsigned long long)seed);
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *at)
{
	return remove(path);
}

static void folder_make(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(folder, sizeof(folder), "%.40s/sim_store.XXXXXX",
		 tmp ? tmp : "/tmp");
	if (!mkdtemp(folder)) {
		perror(folder);
		exit(2);
	}
}

static void folder_remove(const char *path)
{
	nftw(path, remove_one, 4, FTW_DEPTH | FTW_PHYS);
}

/* --- what was seen --- */

static const struct {
	const char *word;
	const uint64_t *n;
} counts[] = {
	{"puts", &w.puts},
	{"stored", &w.put_ok},
	{"gets", &w.gets},
	{"held", &w.held},
	{"hits", &w.hits},
	{"misses", &w.misses},
	{"errors", &w.errors},
	{"removes", &w.removes},
	{"crashes", &w.crashes},
	{"cuts", &w.cuts},
	{"stops", &w.stops},
	{"swaps", &w.swaps},
	{"exchanges", &w.exchanges},
	{"masters", &w.master_lives},
	{"recoveries", &w.recoveries},
	{"lossy", &w.lossy},
	{"drained", &w.drained},
	{"copies", &w.copies},
	{"checks", &w.checks},
	{"striped", &w.striped},
	{"rival-puts", &w.rival_puts},
	{"rival-gets", &w.rival_gets},
	{"rival-known", &w.rival_known},
	{"hedges", &w.hedged},
	{"hedges-won", &w.hedges_won},
};
#define COUNTS ARRAY_SIZE(counts)

struct sum {
	uint64_t n, worlds; /* that have any */
};
static struct sum *sums; /* of all seeds; shared with their processes */

static void sums_make(void)
{
	sums = mmap(NULL, COUNTS * sizeof(*sums), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sums == MAP_FAILED) {
		perror("memory for the sums");
		exit(2);
	}
}

/* So many worlds have something of everything, or it is not done any more. */
static unsigned judge_sums(void)
{
	unsigned failed = 0;

	for (size_t i = 0; i < COUNTS; i++) {
		if (sums[i].n || args.seeds < ALL_SEEDS || args.steps)
			continue;
		failed++;
		printf("FAILED: %s: none in %llu seeds\n", counts[i].word,
		       (unsigned long long)args.seeds);
	}
	return failed;
}

static void show_sums(void)
{
	printf("all worlds:");
	for (size_t i = 0; i < COUNTS; i++)
		printf(" %s %llu (%llu)", counts[i].word,
		       (unsigned long long)sums[i].n,
		       (unsigned long long)sums[i].worlds);
	putchar('\n');
}

/* --- one seed --- */

/* One seed in eight has no faults at all: nothing may be missing then. */
static void plan_make(uint64_t seed)
{
	static const enum keep keeps[] = {
		KEEP_SOME, KEEP_SOME, KEEP_SOME,    KEEP_SOME,
		KEEP_ALL,  KEEP_ALL,  KEEP_WRITTEN, KEEP_NOTHING,
	};
	struct plan *p = &w.plan;

	rng_seed(&w.rng, seed);
	*p = (struct plan){.seed = seed};
	p->seconds = 10 + (unsigned)below(20);
	p->pause_ns = 150 * NS_PER_MS;
	p->keys = KEYS;
	if (chance(0.3) ||
	    seed % 16 == 8) { /* in a hurry: what is freed is taken at once */
		p->is_hurried = true;
		p->keys = 4;
		p->pause_ns = 3 * NS_PER_MS;
		p->seconds = 2 + p->seconds / 10;
	}
	if (args.steps)
		p->seconds = (unsigned)args.steps;
	p->keep = keeps[below(ARRAY_SIZE(keeps))];
	p->has_owner = chance(0.6);
	p->is_calm = seed % 8 == 0;
	if (p->is_calm)
		return;
	if (chance(0.12)) {
		p->rival = chance(0.7) ? RIVAL_SAME : RIVAL_OTHER;
		p->seconds = 25 + (unsigned)below(10);
		p->has_clock = chance(0.4);
		p->has_tasks = chance(0.6);
		return;
	}
	p->has_links = chance(0.6);
	p->has_crashes = chance(0.6);
	p->has_master_crashes = p->has_crashes && chance(0.6);
	p->has_file_errors = p->keep && chance(0.2);
	p->has_swaps = p->has_crashes && chance(0.7);
	p->has_tasks = chance(0.6);
	p->has_drains = p->has_tasks && chance(0.4);
	p->has_media = chance(0.3);
	p->has_slow = chance(0.4);
	p->has_clock = chance(0.4);
}

/* Disks are slow now and then, and everything lies on two of them. */
static void plan_hedges(struct plan *p)
{
	*p = (struct plan){
		.seed = p->seed,
		.keep = p->keep,
		.has_owner = p->has_owner,
		.seconds = 25,
		.keys = KEYS,
		.pause_ns = 20 * NS_PER_MS,
		.has_slow = true,
		.has_hedges = true,
	};
}

/* Many logs, and few of them are begun in peace. */
static void plan_turns(struct plan *p)
{
	*p = (struct plan){
		.seed = p->seed,
		.keep = KEEP_SOME,
		.has_owner = p->has_owner,
		.seconds = 30,
		.keys = KEYS,
		.pause_ns = 20 * NS_PER_MS,
		.has_crashes = true,
		.has_master_crashes = true,
		.has_turns = true,
	};
}

/* From a source of its own: what other seeds bring stays as it was. */
static void plan_more(struct plan *p)
{
	struct rng rng;

	rng_seed(&rng, p->seed ^ 0x5eed3);
	if (p->is_calm)
		return;
	if (p->rival == RIVAL_SAME && p->keep != KEEP_NOTHING &&
	    rng_below(&rng, 2))
		p->rival = RIVAL_COPY;
	if (p->rival != RIVAL_NONE)
		return;
	switch (rng_below(&rng, 20)) {
	case 0:
		plan_hedges(p);
		break;
	case 1:
		plan_turns(p);
		break;
	default:
		p->has_exchanges = rng_below(&rng, 8) == 0;
	}
}

/* From others: seeds that became tests have none of it. */
static void plan_late(struct plan *p)
{
	struct rng rng;

	rng_seed(&rng, p->seed ^ 0x5eef5);
	p->has_stripes = rng_below(&rng, 3) == 0;
	if (p->is_calm || p->has_hedges || p->rival != RIVAL_NONE)
		return;
	rng_seed(&rng, p->seed ^ 0x5ef08);
	p->has_stops = rng_below(&rng, 3) == 0;
}

bool has_successor(void)
{
	return w.plan.rival >= RIVAL_SAME;
}

static void time_is_up(int sig)
{
	fail("not over after %d s of CPU time", CPU_S);
}

/* Where time stands still nothing else would end it. */
static void limit_time(void)
{
	const struct rlimit cpu = {CPU_S, CPU_S + 60};

	signal(SIGXCPU, time_is_up);
	CHECK(setrlimit(RLIMIT_CPU, &cpu) == 0);
}

static void run_seed(uint64_t seed)
{
	char path[128];

	folder_of(seed, path);
	w.journal = tmpfile();
	if (!w.journal || mkdir(path, 0700) < 0)
		_exit(2);
	limit_time();
	files_begin(path);
	w.sim = io_sim_create(seed);
	plan_make(seed);
	plan_more(&w.plan);
	plan_late(&w.plan);
	setenv("MC_STORE_TASKS", w.plan.has_tasks ? "1" : "0", 1);
	io_sim_step_wall(w.sim, 1700000000 * 1000000000LL);
	io_sim_enter(w.sim);
	for (unsigned i = 0; i < TARGETS; i++) {
		medium_init(&w.disks[i], 1 + i, false);
		medium_init(&w.foreign[i], FOREIGN_ID + i, true);
		w.at[i] = w.home[i] = &w.disks[i];
	}
	chaos_run();
	chaos_end();
	if (args.verbose)
		show_journal();
	printf("seed %llu: ", (unsigned long long)seed);
	show_plan(stdout);
	putchar(':');
	for (size_t i = 0; i < COUNTS; i++) {
		printf(" %s %llu", counts[i].word,
		       (unsigned long long)*counts[i].n);
		__atomic_fetch_add(&sums[i].n, *counts[i].n, __ATOMIC_RELAXED);
		__atomic_fetch_add(&sums[i].worlds, *counts[i].n > 0,
				   __ATOMIC_RELAXED);
	}
	putchar('\n');
	fflush(stdout);
	_exit(0);
}

/* --- many --- */

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'},
		{"seeds", required_argument, NULL, 'n'},
		{"steps", required_argument, NULL, 'm'},
		{"jobs", required_argument, NULL, 'j'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "v", options, NULL)) >= 0) {
		uint64_t n = optarg ? strtoull(optarg, NULL, 10) : 0;

		if (c == 's')
			args.seed = n;
		else if (c == 'n')
			args.seeds = n;
		else if (c == 'm')
			args.steps = n;
		else if (c == 'j')
			args.jobs = n;
		else if (c == 'v')
			args.verbose++;
		else
			exit(2);
	}
	args.jobs = MIN(MAX(args.jobs, (uint64_t)1), (uint64_t)JOBS_MAX);
}

/* Addresses decide nothing here, but they might one day: the same for all. */
static void same_addresses(char **argv)
{
	int old = personality(0xffffffff);

	if (old < 0 || (old & ADDR_NO_RANDOMIZE) ||
	    personality((unsigned long)old | ADDR_NO_RANDOMIZE) < 0)
		return;
	if ((personality(0xffffffff) & ADDR_NO_RANDOMIZE))
		execv("/proc/self/exe", argv);
}

static void settings(void)
{
	static const char *const vars[][2] = {
		{"MC_NOF_WORKERS", "2"},
		{"MC_NVME_COMMAND_TIMEOUT_MS", "2000"},
		{"MC_NVME_KEEP_ALIVE_MS", "2000"},
		{"MC_NVME_FABRICS_CONNECT_TIMEOUT_US", "1000000"},
		{"MC_RPC_TIMEOUT_MS", "5000"},
	};
	struct rlimit files;

	for (size_t i = 0; i < ARRAY_SIZE(vars); i++)
		setenv(vars[i][0], vars[i][1], 1);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	log_set_name("sim");
	log_level_max = args.verbose > 1 ? LOG_DEBUG
			: args.verbose	 ? LOG_INFO
					 : LOG_ERROR;
}

static unsigned run_all(void)
{
	struct {
		pid_t pid;
		uint64_t seed;
	} running[JOBS_MAX];
	uint64_t next = args.seed, end = args.seed + args.seeds;
	unsigned count = 0, failed = 0;
	char path[128];
	int status;
	pid_t pid;

	while (next < end || count) {
		if (next < end && count < args.jobs) {
			fflush(NULL);
			pid = fork();
			if (pid == 0)
				run_seed(next);
			running[count].pid = pid;
			running[count++].seed = next++;
			continue;
		}
		pid = wait(&status);
		for (unsigned i = 0; i < count; i++) {
			if (running[i].pid != pid)
				continue;
			folder_of(running[i].seed, path);
			folder_remove(path);
			if (status) {
				failed++;
				printf("seed %llu FAILED (status %#x)\n",
				       (unsigned long long)running[i].seed,
				       (unsigned)status);
			}
			running[i] = running[--count];
			break;
		}
	}
	return failed;
}

int main(int argc, char **argv)
{
	unsigned failed;

	parse(argc, argv);
	same_addresses(argv);
	settings();
	folder_make();
	sums_make();
	failed = run_all();
	folder_remove(folder);
	show_sums();
	failed += judge_sums();
	printf("%llu seeds, %u failed\n", (unsigned long long)args.seeds,
	       failed);
	return failed ? 1 : 0;
}
