/* SPDX-License-Identifier: Apache-2.0 */
/* A put that nobody ends, in a master that nobody asks anything after it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "io/thread.h"
#include "master/object.h"
#include "master/service.h"
#include "t_core.h"

struct world {
	struct shard meta;
	struct service *svc;
	struct gate gate;
	uint64_t released;
};

static void open_service(void *arg)
{
	struct world *w = arg;
	struct service_opts opts = {.cluster_id = "test",
				    .probe_interval_ns = NS_PER_S};
	struct core *core;
	struct err err = {0};

	core_opts_default(&opts.core);
	opts.core.margin_ns = 0;
	opts.core.write_ns = opts.core.discard_ns = 10 * NS_PER_MS;
	opts.core.release_ns = 20 * NS_PER_MS;
	ASSERT(service_open(w->meta.loop, &opts, NULL, &w->svc, &err) == 0);
	core = service_enter(w->svc);
	t_segment(core, KIND_MEM, 0, 16 * MiB);
	assert_int_equal(t_start(core, "a", MiB, 1, 0), 0);
	service_space_taken(w->svc);
}

static void read_released(void *arg)
{
	struct world *w = arg;

	w->released = w->svc->core->stats.released;
}

static void stopped(void *arg)
{
	struct world *w = arg;

	gate_open(&w->gate);
}

static void stop_service(void *arg)
{
	struct world *w = arg;

	service_stop(w->svc, stopped, w);
}

static void destroy_service(void *arg)
{
	service_destroy(((struct world *)arg)->svc);
}

static void test_abandoned_put(void **state)
{
	struct world w = {0};
	struct err err = {0};
	uint64_t until_ns = time_mono_ns() + 20 * NS_PER_S;

	(void)state;
	assert_int_equal(
		shard_start(&w.meta, &(struct loop_opts){.name = "meta"}, &err),
		0);
	shard_call(&w.meta, open_service, &w);
	while (w.released == 0 && time_mono_ns() < until_ns)
		shard_call(&w.meta, read_released, &w);
	assert_int_equal(w.released, 1);
	gate_init(&w.gate);
	shard_call(&w.meta, stop_service, &w);
	gate_wait(&w.gate);
	shard_call(&w.meta, destroy_service, &w);
	shard_stop(&w.meta);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_abandoned_put),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
