/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master's metadata alone, as objects come: resident bytes per object, CPU
 * time per put and per get, and the longest that one batch of puts held
 * everybody up.  Objects of 1 MiB with keys of 64 bytes and 8 checksums, one
 *replica in one extent; a line for each tenth of them.
 *
 *	objects_bench [OBJECTS, default 2000000]
 *
 * Exit status 1 when an object takes more than its goal.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "master/get.h"
#include "master/object.h"
#include "master/put.h"
#include "segments.h"

#define KEY_BYTES  64
#define BATCH	   HTAB_WARM_MAX
#define GETS	   200000 /* per line */
#define LINES	   10
#define GOAL_BYTES 350.0

static const struct uuid client = {{1}};

struct keys {
	char text[BATCH][KEY_BYTES + 1];
	struct str names[BATCH];
};

static void name_key(struct keys *keys, unsigned i, uint64_t number)
{
	snprintf(keys->text[i], sizeof(keys->text[i]), "%064" PRIu64, number);
	keys->names[i] = (struct str){keys->text[i], KEY_BYTES};
}

static uint64_t resident_bytes(void)
{
	unsigned long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%*u %llu", &pages) != 1)
		exit(2);
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Of this thread, so that nothing else on the machine counts. */
static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* As one request that puts many keys, and one that ends them. */
static void put_batch(struct core *core, const struct keys *keys, unsigned n)
{
	static const uint8_t crcs[64];
	struct put_ask ask = {
		.client = client, .count = {0, 1}, .budget = BATCH};
	struct put_end end = {.client = client};
	uint64_t generations[BATCH];
	struct object *obj;

	end.crcs = (struct str){(const char *)crcs,
				obj_crc_count(OBJECT_BYTES) * sizeof(uint32_t)};
	obj_warm(core, keys->names, n);
	for (unsigned i = 0; i < n; i++) {
		int st = put_start(core, &ask, keys->names[i], OBJECT_BYTES,
				   &obj);

		ASSERT(st == MOONCAKE_OK);
		generations[i] = obj->generation;
	}
	obj_warm(core, keys->names, n);
	for (unsigned i = 0; i < n; i++) {
		enum mooncake_status st;

		end.key = keys->names[i];
		end.generation = generations[i];
		st = put_end(core, &end);
		ASSERT(st == MOONCAKE_OK);
	}
}

/* Time in ns that the puts took; *worst of one batch. */
static uint64_t fill(struct core *core, uint64_t from, uint64_t to,
		     uint64_t *worst)
{
	uint64_t sum = 0;
	struct keys keys;

	*worst = 0;
	while (from < to) {
		unsigned n = (unsigned)MIN(to - from, (uint64_t)BATCH);
		uint64_t took;

		for (unsigned i = 0; i < n; i++)
			name_key(&keys, i, from + i);
		core_enter(core, time_mono_ns());
		took = cpu_ns();
		put_batch(core, &keys, n);
		took = cpu_ns() - took;
		sum += took;
		*worst = MAX(*worst, took);
		from += n;
	}
	return sum;
}

static uint64_t read_some(struct core *core, struct rng *rng, uint64_t objects)
{
	struct object *found[BATCH];
	struct keys keys;
	uint64_t sum = 0;

	for (unsigned done = 0; done < GETS; done += BATCH) {
		uint64_t start;

		for (unsigned i = 0; i < BATCH; i++)
			name_key(&keys, i, rng_below(rng, objects));
		core_enter(core, time_mono_ns());
		start = cpu_ns();
		get_lookup(core, keys.names, BATCH, found);
		for (unsigned i = 0; i < BATCH; i++) {
			enum mooncake_status st =
				get_object(core, found[i], false);

			ASSERT(st == MOONCAKE_OK);
		}
		sum += cpu_ns() - start;
	}
	return sum;
}

/* One line; false when an object is larger than it should be. */
static bool step(struct core *core, struct rng *rng, uint64_t from, uint64_t to,
		 uint64_t empty)
{
	uint64_t worst, put_ns = fill(core, from, to, &worst), get_ns;
	double each = (double)(resident_bytes() - empty) / (double)to;

	get_ns = read_some(core, rng, to);
	printf("%10" PRIu64 " %10.1f %10.0f %10.0f %14.0f%s\n", to, each,
	       (double)put_ns / (double)(to - from), (double)get_ns / GETS,
	       (double)worst / NS_PER_US, each > GOAL_BYTES ? "  MISSED" : "");
	fflush(stdout);
	return each <= GOAL_BYTES;
}

int main(int argc, char **argv)
{
	uint64_t objects = 2000 * 1000, from = 0, empty;
	struct core_opts opts;
	bool is_good = true;
	struct core *core;
	struct rng rng;

	if (argc > 2 || (argc > 1 && (str_to_u64(str_of(argv[1]), &objects) ||
				      objects < LINES))) {
		fprintf(stderr, "usage: %s [OBJECTS]\n", argv[0]);
		return 2;
	}
	log_level_max = LOG_WARN;
	core_opts_default(&opts);
	opts.stripe_bytes = 0;
	if (core_create(&opts, &core) < 0)
		return 2;
	rng_seed(&rng, 1);
	core_enter(core, time_mono_ns());
	segments_add(core, objects);
	empty = resident_bytes();
	printf("%10s %10s %10s %10s %14s\n", "objects", "bytes each",
	       "ns per put", "ns per get", "worst batch us");
	for (unsigned i = 1; i <= LINES; i++) {
		uint64_t to = objects / LINES * i;

		is_good &= step(core, &rng, from, to, empty);
		from = to;
	}
	core_destroy(core);
	return !is_good;
}
