/* SPDX-License-Identifier: Apache-2.0 */
/*
 * F19: five hundred hosts come back at once, in one simulated world.  Who is
 * connected already is served meanwhile; who can't be admitted is told so; when
 * all have gone, nothing of them is left.
 *
 *	sim_storm [seed]
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "io/sim.h"
#include "nvmf/nvmf.h"
#include "target/target.h"

#define NQN   "nqn.2024-01.org.example:storm"
#define HOSTS 500

static struct {
	uint64_t seed;
	struct io_sim *sim;
	struct loop *hosts, *target;
	struct tgt *tgt;
	struct nvmf_opts opts;
	struct nvmf_ctrl *ctrls[HOSTS + 1]; /* the last one looks on */
	unsigned live, failed, closed;
	struct nvmf_admin ask;
	uint8_t page[4096];
	unsigned asked, answered;
	bool is_stopped;
} w;

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond)) {                                                 \
			fprintf(stderr, "seed %llu: line %d: %s\n",            \
				(unsigned long long)w.seed, __LINE__, #cond);  \
			exit(1);                                               \
		}                                                              \
	} while (0)

static void step(void)
{
	io_sim_step(w.sim, io_sim_now_ns(w.sim) + NS_PER_MS);
}

/* Until *counter is at least want, within a simulated minute. */
static void until(const unsigned *counter, unsigned want)
{
	uint64_t limit = io_sim_now_ns(w.sim) + 60 * NS_PER_S;

	while (*counter < want && io_sim_now_ns(w.sim) < limit)
		step();
	CHECK(*counter >= want);
}

static void on_state(struct nvmf_ctrl *ctrl, enum nvmf_state state,
		     const struct err *err, void *arg)
{
	if (state == NVMF_LIVE) {
		w.live++;
	} else {
		CHECK(err->code < 0 && err->text[0]);
		w.failed++;
	}
}

static void on_closed(void *arg)
{
	w.closed++;
}

static void open_one(unsigned i)
{
	char text[32];

	snprintf(text, sizeof(text), "host %u", i);
	host_id_derive(str_of(text), &w.opts.host);
	CHECK(!nvmf_ctrl_open(w.hosts, &w.opts, on_state, NULL, &w.ctrls[i]));
}

static void close_all(void)
{
	unsigned open = 0;

	w.closed = 0;
	for (unsigned i = 0; i <= HOSTS; i++) {
		if (!w.ctrls[i])
			continue;
		open++;
		nvmf_ctrl_close(TAKE(w.ctrls[i]), on_closed, NULL);
	}
	until(&w.closed, open);
	w.live = w.failed = 0;
}

/* --- the one that looks on asks for something all the time --- */

static void on_answer(struct nvmf_admin *req)
{
	CHECK(req->sc == NVME_SC_OK);
	w.answered++;
}

static void ask(void)
{
	w.ask = (struct nvmf_admin){
		.done = on_answer, .data = w.page, .data_len = sizeof(w.page)};
	nvme_cmd_identify(&w.ask.sqe, 0x01, 0);
	w.asked++;
	nvmf_admin_submit(w.ctrls[HOSTS], &w.ask);
}

/* All at once; the questions of the onlooker are answered in between. */
static void storm(unsigned expect_live)
{
	uint64_t limit = io_sim_now_ns(w.sim) + 60 * NS_PER_S;

	open_one(HOSTS);
	until(&w.live, 1);
	w.asked = w.answered = 0;
	for (unsigned i = 0; i < HOSTS; i++)
		open_one(i);
	while (w.live + w.failed < HOSTS + 1 && io_sim_now_ns(w.sim) < limit) {
		if (w.asked == w.answered)
			ask();
		step();
	}
	CHECK(w.live == expect_live + 1);
	CHECK(w.failed == HOSTS - expect_live);
	until(&w.answered, w.asked);
	CHECK(w.answered > 5);
	printf("%u live, %u refused, %u questions answered meanwhile\n",
	       w.live - 1, w.failed, w.answered);
}

/* --- the world --- */

static struct loop *new_loop(const char *name)
{
	struct loop_opts lo = {
		.backend = IO_BACKEND_SIM, .sim = w.sim, .name = name};
	struct err err = {0};
	struct loop *loop;

	CHECK(!loop_create(&lo, &loop, &err));
	return loop;
}

static void start_target(uint32_t max_connections)
{
	struct tgt_opts to = {.loop = w.target,
			      .max_connections = max_connections};
	struct tgt_subsys *ss;
	struct bdev *bdev;
	struct err err = {0};

	CHECK(!tgt_create(&to, &w.tgt, &err));
	CHECK(!tgt_subsys_add(w.tgt, &(struct tgt_subsys_opts){.nqn = NQN}, &ss,
			      &err));
	CHECK(!bdev_ram_create(NULL, 1 << 20, &bdev, &err));
	CHECK(tgt_ns_add(ss, bdev, NULL, &err) == 1);
	CHECK(!addr_parse("127.0.0.1", 4420, &w.opts.addr));
	CHECK(!tgt_listen(w.tgt, &w.opts.addr, &err));
}

static void on_stopped(void *arg)
{
	w.is_stopped = true;
}

static void stop_target(void)
{
	w.is_stopped = false;
	tgt_stop(w.tgt, on_stopped, NULL);
	for (int i = 0; i < 60000 && !w.is_stopped; i++)
		step();
	CHECK(w.is_stopped);
}

static void expect_nobody(void)
{
	struct tgt_stats st;
	uint64_t limit = io_sim_now_ns(w.sim) + 30 * NS_PER_S;

	do {
		step();
		tgt_stats_get(w.tgt, &st);
	} while (st.connections && io_sim_now_ns(w.sim) < limit);
	CHECK(st.connections == 0 && st.controllers == 0);
}

static void test_f19_storm(void)
{
	start_target(0);
	storm(HOSTS);
	stop_target(); /* all lose it at the same moment, and come again */
	until(&w.failed, HOSTS + 1);
	close_all();
	start_target(0);
	storm(HOSTS);
	close_all();
	expect_nobody();
	stop_target();
	/* room for the onlooker and 199 more */
	start_target(200);
	storm(199);
	close_all();
	expect_nobody();
	storm(199); /* places are free again */
	close_all();
	stop_target();
}

int main(int argc, char **argv)
{
	w.seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 19;
	printf("seed %llu\n", (unsigned long long)w.seed);
	log_level_max = LOG_ERROR;
	w.sim = io_sim_create(w.seed);
	w.hosts = new_loop("hosts");
	w.target = new_loop("target");
	snprintf(w.opts.subnqn, sizeof(w.opts.subnqn), "%s", NQN);
	io_sim_set_faults(
		w.sim, &(struct io_sim_faults){.latency_min_ns = 20 * NS_PER_US,
					       .latency_max_ns = NS_PER_MS,
					       .max_segment = 1448});
	test_f19_storm();
	loop_destroy(w.hosts);
	loop_destroy(w.target);
	io_sim_destroy(w.sim);
	return 0;
}
