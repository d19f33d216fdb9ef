/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a journal costs a put, how large it is, and how long the master takes to
 * read it: objects of 1 MiB with keys of 64 bytes on 8 pool segments, from the
 * log alone and from a snapshot.
 *
 *	recovery_bench [OBJECTS, default 1000000 [DIR, default made in /tmp]]
 *
 * Exit status 1 when one of the two reads takes longer than its goal, or the
 * snapshot more memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "journal/files.h"
#include "master/note.h"
#include "master/object.h"
#include "master/put.h"
#include "master/recover.h"
#include "master/scan.h"
#include "segments.h"

#define BATCH	 128
#define GOAL_S	 3.0 /* for a million */
#define GOAL_MIB 16  /* of a snapshot, however many there are */

static const struct uuid client = {{1}};

struct life {
	struct loop *loop;
	struct journal *j;
	struct core *core;
};

static void ignore(int ret, void *arg)
{
	if (ret < 0)
		fprintf(stderr, "journal: %s\n", strerror(-ret));
}

static void settle(struct life *life)
{
	while (life->j->busy)
		loop_turn(life->loop, NS_PER_S);
}

/* Returns the seconds that reading took. */
static double begin(struct life *life, const char *dir)
{
	struct files_opts files = {
		.path = dir,
		.cluster_id = "bench",
		.events = {ignore, ignore, ignore, NULL},
	};
	struct core_opts opts;
	struct recovery *rec;
	struct jr_report report;
	struct err err = {0};
	uint64_t start;
	int ret = loop_create(&(struct loop_opts){0}, &life->loop, &err);

	core_opts_default(&opts);
	opts.stripe_bytes = 0;
	files.loop = life->loop;
	if (ret == 0)
		ret = core_create(&opts, &life->core);
	if (ret == 0)
		ret = files_open(&files, &life->j, &err);
	start = time_mono_ns();
	if (ret == 0) {
		core_enter(life->core, start);
		ret = recovery_create(life->core, &rec);
	}
	if (ret == 0)
		ret = life->j->ops->recover(life->j, recovery_apply, rec,
					    &report, &err);
	if (ret == 0)
		ret = recovery_finish(rec, &err);
	if (ret == 0)
		ret = notes_init(life->core, life->j);
	if (ret < 0) {
		fprintf(stderr, "recovery_bench: %s\n",
			err.text[0] ? err.text : strerror(-ret));
		exit(2);
	}
	return (double)(time_mono_ns() - start) / (double)NS_PER_S;
}

static void end(struct life *life)
{
	settle(life);
	notes_fini(life->core);
	life->j->ops->close(life->j);
	core_destroy(life->core);
	loop_destroy(life->loop);
}

static void put(struct core *core, uint64_t i)
{
	static const uint8_t crcs[64];
	struct put_ask ask = {
		.client = client, .count = {0, 1}, .budget = BATCH};
	struct put_end done = {.client = client};
	struct object *obj;
	char key[65];
	int st;

	snprintf(key, sizeof(key), "%064" PRIu64, i);
	st = put_start(core, &ask, str_of(key), OBJECT_BYTES, &obj);
	ASSERT(st == MOONCAKE_OK);
	done.key = str_of(key);
	done.generation = obj->generation;
	done.crcs =
		(struct str){(const char *)crcs,
			     obj_crc_count(OBJECT_BYTES) * sizeof(uint32_t)};
	ASSERT(done.crcs.n <= sizeof(crcs));
	st = (int)put_end(core, &done);
	ASSERT(st == MOONCAKE_OK);
}

static void fill(struct life *life, uint64_t objects)
{
	uint64_t start = time_mono_ns();
	double seconds;

	segments_add(life->core, objects);
	for (uint64_t i = 0; i < objects; i++) {
		put(life->core, i);
		if (i % BATCH == BATCH - 1)
			life->j->ops->commit(life->j);
	}
	life->j->ops->commit(life->j);
	seconds = (double)(time_mono_ns() - start) / (double)NS_PER_S;
	printf("puts, journaled   %8.0f keys/s, %" PRIu64
	       " bytes of log each\n",
	       (double)objects / seconds, life->j->bytes / objects);
}

/* From now on: the life before took more. */
static void forget_most(void)
{
	FILE *f = fopen("/proc/self/clear_refs", "w");

	if (!f || fputs("5", f) < 0 || fclose(f))
		exit(2);
}

static long most_kib(void)
{
	struct rusage use = {0};

	getrusage(RUSAGE_SELF, &use);
	return use.ru_maxrss;
}

static bool save(struct life *life)
{
	long before, grown;
	uint64_t start = time_mono_ns();
	struct scan scan;
	unsigned n = 0;
	struct object *obj;

	forget_most();
	before = most_kib();
	list_init(&scan.node);
	if (life->j->ops->snap_begin(life->j) < 0)
		exit(2);
	save_rest(life->core);
	scan_start(life->core, &scan);
	while ((obj = scan_next(life->core, &scan))) {
		save_object(life->core, obj);
		if (++n % 1024)
			continue;
		life->j->ops->snap_push(life->j);
		settle(life);
	}
	scan_stop(&scan);
	life->j->ops->snap_end(life->j);
	settle(life);
	grown = (most_kib() - before) / 1024;
	printf("snapshot          %8.3f s, %" PRIu64
	       " bytes, %ld MiB of memory, goal %d MiB%s\n",
	       (double)(time_mono_ns() - start) / (double)NS_PER_S,
	       life->j->snapshot_bytes, grown, GOAL_MIB,
	       grown <= GOAL_MIB ? "" : "  MISSED");
	return grown <= GOAL_MIB;
}

static bool tell(const char *what, double seconds, const struct life *life,
		 uint64_t objects)
{
	double goal = GOAL_S * (double)objects / 1e6;
	bool is_good = seconds <= goal && life->core->objects.count == objects;

	printf("%s %8.3f s, %zu objects, goal %.3f s%s\n", what, seconds,
	       life->core->objects.count, goal, is_good ? "" : "  MISSED");
	return is_good;
}

int main(int argc, char **argv)
{
	char made[] = "/tmp/recovery-bench-XXXXXX";
	const char *dir = argc > 2 ? argv[2] : mkdtemp(made);
	uint64_t objects = 1000 * 1000;
	struct life life;
	bool is_good;
	double seconds;

	if (!dir ||
	    (argc > 1 && (str_to_u64(str_of(argv[1]), &objects) || !objects))) {
		fprintf(stderr, "usage: %s [OBJECTS [DIR]]\n", argv[0]);
		return 2;
	}
	log_level_max = LOG_WARN;
	begin(&life, dir);
	fill(&life, objects);
	end(&life);
	seconds = begin(&life, dir);
	is_good = tell("read from the log ", seconds, &life, objects);
	is_good &= save(&life);
	end(&life);
	seconds = begin(&life, dir);
	is_good &= tell("read from snapshot", seconds, &life, objects);
	end(&life);
	if (argc <= 2)
		printf("left in %s\n", dir);
	return !is_good;
}
