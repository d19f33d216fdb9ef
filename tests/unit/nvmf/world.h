/* SPDX-License-Identifier: Apache-2.0 */
/* An initiator and a fake target in one simulated world. */
#ifndef TESTS_UNIT_NVMF_WORLD_H
#define TESTS_UNIT_NVMF_WORLD_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/time.h"
#include "io/sim.h"
#include "nvmf/nvmf.h"
#include "t_fake_target.h"

struct world {
	struct io_sim *sim;
	struct loop *loop;
	struct fake fake;
	struct nvmf_opts opts;
	struct nvmf_ctrl *ctrl;
	struct nvmf_qp *qp;
	int ctrl_live, ctrl_failed, ctrl_closed;
	int qp_live, qp_failed, qp_closed;
	struct err err; /* of the last FAILED */
};

static struct world w;

static inline void world_setup_seed(uint64_t seed)
{
	struct err err = {0};

	memset(&w, 0, sizeof(w));
	w.sim = io_sim_create(seed);
	assert_int_equal(
		loop_create(&(struct loop_opts){.backend = IO_BACKEND_SIM,
						.sim = w.sim,
						.name = "test"},
			    &w.loop, &err),
		0);
	fake_start(&w.fake, w.loop);
	assert_int_equal(addr_parse("127.0.0.1", 4420, &w.opts.addr), 0);
	snprintf(w.opts.subnqn, sizeof(w.opts.subnqn), "%s", FAKE_NQN);
	host_id_derive(STR("test"), &w.opts.host);
}

static inline int world_setup(void **state)
{
	world_setup_seed(1);
	return 0;
}

/*
 * Until *counter is at least 1; fails the test after a minute.  In steps of a
 * millisecond: a step turns the loops and then jumps to the next event, and
 * the caller's next submit would see a clock that is behind.
 */
static inline void world_until(const int *counter)
{
	uint64_t limit = io_sim_now_ns(w.sim) + 60 * NS_PER_S;

	while (!*counter && io_sim_now_ns(w.sim) < limit)
		io_sim_step(w.sim, io_sim_now_ns(w.sim) + NS_PER_MS);
	assert_true(*counter >= 1);
}

static inline void world_run_ms(uint64_t ms)
{
	uint64_t limit = io_sim_now_ns(w.sim) + ms * NS_PER_MS;

	while (io_sim_step(w.sim, limit))
		;
}

static inline void world_counted(void *arg)
{
	++*(int *)arg;
}

static inline void world_ctrl_state(struct nvmf_ctrl *ctrl,
				    enum nvmf_state state,
				    const struct err *err, void *arg)
{
	if (state == NVMF_LIVE) {
		w.ctrl_live++;
	} else {
		assert_int_equal(state, NVMF_FAILED);
		w.ctrl_failed++;
		w.err = *err;
	}
}

static inline void world_qp_state(struct nvmf_qp *qp, enum nvmf_state state,
				  const struct err *err, void *arg)
{
	if (state == NVMF_LIVE) {
		w.qp_live++;
	} else {
		assert_int_equal(state, NVMF_FAILED);
		w.qp_failed++;
		w.err = *err;
	}
}

static inline void world_ctrl_open(void)
{
	assert_int_equal(nvmf_ctrl_open(w.loop, &w.opts, world_ctrl_state, NULL,
					&w.ctrl),
			 0);
}

static inline void world_qp_open(void)
{
	struct nvmf_qp_opts opts = {.qid = 1, .opts = &w.opts};

	opts.info = *nvmf_ctrl_info(w.ctrl);
	assert_int_equal(
		nvmf_qp_open(w.loop, &opts, world_qp_state, NULL, &w.qp), 0);
}

/* Both connections up. */
static inline void world_open(void)
{
	world_ctrl_open();
	world_until(&w.ctrl_live);
	world_qp_open();
	world_until(&w.qp_live);
}

static inline int world_teardown(void **state)
{
	if (w.qp) {
		nvmf_qp_close(w.qp, world_counted, &w.qp_closed);
		world_until(&w.qp_closed);
		assert_int_equal(w.qp_closed, 1);
	}
	if (w.ctrl) {
		nvmf_ctrl_close(w.ctrl, world_counted, &w.ctrl_closed);
		world_until(&w.ctrl_closed);
		assert_int_equal(w.ctrl_closed, 1);
	}
	fake_stop(&w.fake);
	world_run_ms(100);
	fake_free(&w.fake);
	loop_destroy(w.loop);
	io_sim_destroy(w.sim);
	assert_true(w.ctrl_live <= 1 && w.ctrl_failed <= 1);
	assert_true(w.qp_live <= 1 && w.qp_failed <= 1);
	return 0;
}

static inline void world_reset(void)
{
	world_teardown(NULL);
	world_setup(NULL);
}

#endif
