/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks over RPC: what an answer has, and when its results arrive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/client.h"
#include "t_copy.h"
#include "t_master.h"

struct world {
	struct t_master *master;
	struct rpc_sync *rs;
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err err = {0};
	struct addr addr;

	w->master = t_master_start(0);
	addr_parse("127.0.0.1", t_master_port(w->master), &addr);
	assert_int_equal(rpc_sync_open(&addr, 60000, &w->rs, &err), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	rpc_sync_close(w->rs);
	t_master_stop(w->master);
	free(w);
	return 0;
}

/* What was done before, if anything, for what the master has next. */
static const Mc__Task *next_task(struct world *w, const Mc__Task *done)
{
	static const uint8_t client_id[16] = {7};
	Mc__TaskResult result = MC__TASK_RESULT__INIT, *results[] = {&result};
	Mc__TasksReq req = MC__TASKS_REQ__INIT;
	const ProtobufCMessage *msg = NULL;
	const Mc__TasksRsp *rsp;
	struct err err = {0};

	req.client_id =
		(ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)client_id};
	req.want = 16;
	if (done) {
		result.id = done->id;
		result.done = true;
		req.results = results;
		req.n_results = 1;
	}
	if (rpc_sync_call(w->rs, METHOD_TASKS, &req.base, &msg, &err) < 0)
		fail_msg("%s", err.text);
	rsp = (const Mc__TasksRsp *)msg;
	assert_int_equal(rsp->status, 0);
	assert_true(rsp->n_tasks <= 1);
	return rsp->n_tasks ? rsp->tasks[0] : NULL;
}

/* Two copies and three checks are due, as fast as may be. */
static void make_due(struct core *core, void *arg)
{
	static const char *const keys[] = {"a", "b", "c"};

	core->opts.copy_bytes_per_s = 0;
	core->opts.scrub_bytes_per_s = 64 * GiB;
	core->opts.scrub_interval_ns = 1;
	for (unsigned i = 0; i < 3; i++)
		t_segment(core, KIND_NOF, i, 64 * MiB);
	copy_is_waiting(core);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_int_equal(t_put(core, keys[i], MiB, 0, 2), 0);
	t_lose(core, obj_find(core, STR("a")), 0);
	t_lose(core, obj_find(core, STR("b")), 1);
}

/* A copy does not wait, until its time is over, for a check or for another copy
 * that came with it. */
static void test_one_at_a_time(void **state)
{
	struct world *w = *state;
	const Mc__Task *task = NULL;
	unsigned copies = 0, checks = 0;

	t_master_run(w->master, make_due, NULL);
	while (copies + checks < 5) {
		task = next_task(w, task);
		if (!task)
			continue;
		copies += task->kind == MC__TASK_KIND__TASK_COPY;
		checks += task->kind == MC__TASK_KIND__TASK_CHECK;
	}
	assert_int_equal(copies, 2);
	assert_int_equal(checks, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_at_a_time, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
