/* SPDX-License-Identifier: Apache-2.0 */
/* Workers: every job comes back once, limits hold, stopping loses nothing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/time.h"
#include "io/thread.h"
#include "node/workers.h"

struct test_job {
	struct job job;
	struct gate *gate; /* waited for, or NULL */
	int runs, dones;
};

static void job_run(struct job *job)
{
	struct test_job *tj = container_of(job, struct test_job, job);

	if (tj->gate)
		gate_wait(tj->gate);
	tj->runs++;
}

static void job_done(struct job *job)
{
	container_of(job, struct test_job, job)->dones++;
}

static struct loop *open_loop(void)
{
	struct err err = {0};
	struct loop *loop;

	assert_int_equal(loop_create(&(struct loop_opts){0}, &loop, &err), 0);
	return loop;
}

static void prepare(struct test_job *jobs, size_t count, struct gate *gate)
{
	for (size_t i = 0; i < count; i++) {
		jobs[i] = (struct test_job){.gate = gate};
		jobs[i].job.run = job_run;
		jobs[i].job.done = job_done;
	}
}

static void test_all_come_back(void **state)
{
	uint64_t end_ns = time_mono_ns() + 10 * NS_PER_S;
	struct loop *loop = open_loop();
	struct test_job jobs[200];
	struct workers w;
	struct err err = {0};
	size_t back = 0;

	assert_int_equal(workers_start(&w, loop, 4, ARRAY_SIZE(jobs), &err), 0);
	prepare(jobs, ARRAY_SIZE(jobs), NULL);
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		assert_int_equal(workers_submit(&w, &jobs[i].job), 0);
	while (back < ARRAY_SIZE(jobs) && time_mono_ns() < end_ns) {
		loop_turn(loop, NS_PER_MS);
		back = 0;
		for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
			back += (size_t)jobs[i].dones;
	}
	assert_int_equal(back, ARRAY_SIZE(jobs));
	workers_stop(&w);
	loop_turn(loop, 0);
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
		assert_int_equal(jobs[i].runs, 1);
		assert_int_equal(jobs[i].dones, 1);
	}
	loop_destroy(loop);
}

static void test_limit_and_stop(void **state)
{
	struct loop *loop = open_loop();
	struct test_job jobs[8];
	struct workers w;
	struct err err = {0};
	struct gate gate;
	size_t taken = 0, ran = 0;

	gate_init(&gate);
	assert_int_equal(workers_start(&w, loop, 1, 3, &err), 0);
	prepare(jobs, ARRAY_SIZE(jobs), &gate);
	/* three wait; one more when the worker has taken the first already */
	while (taken < ARRAY_SIZE(jobs) &&
	       workers_submit(&w, &jobs[taken].job) == 0)
		taken++;
	assert_true(taken == 3 || taken == 4);
	gate_open(&gate);
	workers_stop(&w);
	loop_turn(loop, 0);
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
		assert_int_equal(jobs[i].dones, i < taken);
		assert_int_equal(jobs[i].runs + jobs[i].job.is_cancelled,
				 i < taken);
		ran += (size_t)jobs[i].runs;
	}
	assert_true(ran <= taken);
	workers_stop(&w);
	loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_come_back),
		cmocka_unit_test(test_limit_and_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
