/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What checksums cost a reader: objects on one volume of the pool's, read by
 * turns without and with their checksums, which the store always has.  One line
 * of JSON per turn.
 *
 * Everything happens on the pool's only worker, which main() waits for.
 * Invariant: busy counts the reads under way, and a turn ends when it is 0.
 */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/flag.h"
#include "base/time.h"
#include "io/memory.h"
#include "meter.h"
#include "pool/vol.h"
#include "proto/frame.h"

#define DISK_BYTES  (128 * MiB)
#define OBJECTS_MAX 1024
#define DEPTH_MAX   64
#define CRCS_MAX    128
#define WARM_UP_NS  (50 * NS_PER_MS)
#define TIMEOUT_NS  (30 * NS_PER_S)

static struct config {
	char *nqn;
	uint64_t port, bytes, depth, ms, peer, turns;
} config;

enum stage {
	STAGE_FILL, /* the objects are written, one by one */
	STAGE_WARM,
	STAGE_COUNT,
	STAGE_DRAIN
};

struct slot {
	struct vol_io io;
	struct vol_extent extent;
	struct iovec iov;
	uint64_t begun_ns;
};

static struct {
	struct vol_set *set;
	struct vol *vol;
	struct slot slots[DEPTH_MAX];
	uint32_t crcs[OBJECTS_MAX][CRCS_MAX];
	uint64_t objects, next, end_ns;
	unsigned busy, turn;
	enum stage stage;
	bool is_verified;
	struct meter meter;
	sem_t ended;
} p;

static _Noreturn void die(const char *text)
{
	fprintf(stderr, "vol_perf: %s\n", text);
	exit(1);
}

static void submit(struct slot *slot)
{
	uint64_t object = p.next++ % p.objects;

	slot->extent.off = object * config.bytes;
	slot->io.is_write = p.stage == STAGE_FILL;
	slot->io.crcs = NULL;
	if (slot->io.is_write || p.is_verified)
		slot->io.crcs = p.crcs[object];
	slot->begun_ns = time_mono_ns();
	slot->io.deadline_ns = slot->begun_ns + TIMEOUT_NS;
	p.busy++;
	if (vol_submit(p.set, &slot->io))
		die("out of memory");
}

static void turn_begin(void)
{
	/* Each goes first as often as the other. */
	p.is_verified = (p.turn + p.turn / 2) % 2;
	p.stage = STAGE_WARM;
	p.end_ns = time_mono_ns() + WARM_UP_NS;
	for (uint64_t i = 0; i < config.depth; i++)
		submit(&p.slots[i]);
}

static void next_stage(void)
{
	if (p.stage == STAGE_WARM) {
		p.meter.phase = p.is_verified ? "verified" : "plain";
		meter_start(&p.meter);
		p.end_ns = p.meter.start_ns + config.ms * NS_PER_MS;
	} else {
		meter_print(&p.meter);
	}
	p.stage++;
}

static void filled(struct slot *slot)
{
	if (p.next < p.objects)
		submit(slot);
	else
		turn_begin();
}

static void io_done(struct vol_io *io)
{
	struct slot *slot = container_of(io, struct slot, io);
	uint64_t now = time_mono_ns();

	p.busy--;
	if (io->ret)
		die(strerror(-io->ret));
	if (p.stage == STAGE_FILL) {
		filled(slot);
		return;
	}
	if (p.stage == STAGE_COUNT) {
		hist_add(&p.meter.latency_ns, now - slot->begun_ns);
		p.meter.bytes += io->bytes;
	}
	if (p.stage < STAGE_DRAIN && now >= p.end_ns)
		next_stage();
	if (p.stage < STAGE_DRAIN)
		submit(slot);
	else if (p.busy)
		return;
	else if (++p.turn < 2 * config.turns)
		turn_begin();
	else
		sem_post(&p.ended);
}

#define OFF(field) offsetof(struct config, field)
static const struct flag flags[] = {
	{.name = "port",
	 .type = FLAG_UINT,
	 .off = OFF(port),
	 .max = 65535,
	 .attrs = FLAG_REQUIRED},
	{.name = "nqn",
	 .type = FLAG_STR,
	 .off = OFF(nqn),
	 .def = "nqn.2024-01.org.example:perf"},
	{.name = "bs",
	 .type = FLAG_SIZE,
	 .off = OFF(bytes),
	 .def = "1m",
	 .min = CRC_BLOCK,
	 .max = CRCS_MAX * (uint64_t)CRC_BLOCK},
	{.name = "depth",
	 .type = FLAG_UINT,
	 .off = OFF(depth),
	 .def = "8",
	 .min = 1,
	 .max = DEPTH_MAX},
	{.name = "turns",
	 .type = FLAG_UINT,
	 .off = OFF(turns),
	 .def = "1",
	 .min = 1,
	 .max = 1000,
	 .help = "Of each kind."},
	{.name = "time",
	 .type = FLAG_MS,
	 .off = OFF(ms),
	 .def = "1s",
	 .help = "Of one turn."},
	{.name = "peer",
	 .type = FLAG_UINT,
	 .off = OFF(peer),
	 .arg = "PID",
	 .help = "Whose CPU time is the target's."},
};

static const struct flag_prog prog = {
	.name = "vol_perf",
	.summary = "reads of the pool with and without checksums",
	.usage = "--port=PORT [options]",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

static void open_volume(void)
{
	static char text[ENDPOINT_TEXT_LEN];
	static const char *const endpoint = text;
	struct vol_desc desc = {.block_bytes = 4096,
				.endpoints = &endpoint,
				.endpoint_count = 1};
	struct err err = {0};
	struct vol_opts opts;

	snprintf(text, sizeof(text),
		 "traddr:127.0.0.1 trsvcid:%u subnqn:%s trtype:TCP ns:1",
		 (unsigned)config.port, config.nqn);
	uuid_make(&desc.segment);
	if (vol_opts_init(&opts, &err))
		die(err.text);
	opts.workers = 1;
	if (vol_set_create(&opts, &p.set, &err) ||
	    vol_get(p.set, &desc, &p.vol, &err))
		die(err.text);
}

static void prepare(void)
{
	uint64_t bytes = config.depth * config.bytes;
	void *bufs;

	if (mem_map(bytes, true, &bufs))
		die("out of memory");
	memset(bufs, 1, bytes); /* page faults are not the subject */
	p.objects = MIN(DISK_BYTES / config.bytes, (uint64_t)OBJECTS_MAX);
	p.meter.peer = (int)config.peer;
	for (uint64_t i = 0; i < config.depth; i++) {
		struct slot *slot = &p.slots[i];

		slot->iov = (struct iovec){(char *)bufs + i * config.bytes,
					   config.bytes};
		slot->extent = (struct vol_extent){p.vol, 0, config.bytes};
		slot->io = (struct vol_io){.done = io_done,
					   .extents = &slot->extent,
					   .extent_count = 1,
					   .iov = &slot->iov,
					   .iovcnt = 1,
					   .bytes = config.bytes};
	}
}

int main(int argc, char **argv)
{
	struct flag_set fs;
	int status;

	if (flag_main(&fs, &prog, &config, argc, argv, &status))
		return status;
	sem_init(&p.ended, 0, 0);
	open_volume();
	prepare();
	submit(&p.slots[0]);
	while (sem_wait(&p.ended))
		;
	vol_put(p.vol);
	vol_set_destroy(p.set);
	flag_fini(&fs);
	return 0;
}
