/* SPDX-License-Identifier: Apache-2.0 */
/* A real master's service for tests; all of it lives on one shard. */
#include "t_master.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/time.h"
#include "io/thread.h"
#include "master/service.h"

struct t_master {
	struct shard shard;
	struct service *svc;
	struct rpc_server *server;
	struct vol_set *vols;
	struct addr addr;
	struct gate gate;
	struct err err;
};

static void master_open(void *arg)
{
	struct service_opts opts = {
		.cluster_id = "test",
		.probe_interval_ns = 500 * NS_PER_MS,
		.probe_timeout_ms = 10000,
	};
	struct t_master *m = arg;
	struct rpc_server_opts rpc = {
		.loop = m->shard.loop,
		.addr = m->addr,
		.handler = service_handle,
	};

	core_opts_default(&opts.core);
	opts.core.generation = time_wall_ns();
	if (service_open(m->shard.loop, &opts, m->vols, &m->svc, &m->err) < 0)
		return;
	rpc.arg = m->svc;
	rpc_server_open(&rpc, &m->addr, &m->server, &m->err);
}

struct t_master *t_master_start(uint16_t port)
{
	struct t_master *m = calloc(1, sizeof(*m));
	struct vol_opts vopts;

	assert_non_null(m);
	addr_parse("127.0.0.1", port, &m->addr);
	assert_int_equal(vol_opts_init(&vopts, &m->err), 0);
	vopts.workers = 1;
	assert_int_equal(vol_set_create(&vopts, &m->vols, &m->err), 0);
	assert_int_equal(shard_start(&m->shard,
				     &(struct loop_opts){.name = "master"},
				     &m->err),
			 0);
	shard_call(&m->shard, master_open, m);
	if (m->err.code)
		fail_msg("%s", m->err.text);
	return m;
}

uint16_t t_master_port(const struct t_master *m)
{
	return addr_port(&m->addr);
}

struct run {
	struct t_master *m;
	void (*fn)(struct core *core, void *arg);
	void *arg;
};

static void master_run(void *arg)
{
	struct run *run = arg;

	run->fn(service_enter(run->m->svc), run->arg);
}

void t_master_run(struct t_master *m, void (*fn)(struct core *core, void *arg),
		  void *arg)
{
	struct run run = {m, fn, arg};

	shard_call(&m->shard, master_run, &run);
}

static void master_stopped(void *arg)
{
	gate_open(&((struct t_master *)arg)->gate);
}

static void master_close_server(void *arg)
{
	struct t_master *m = arg;

	rpc_server_close(m->server, master_stopped, m);
}

static void master_stop_service(void *arg)
{
	struct t_master *m = arg;

	service_stop(m->svc, master_stopped, m);
}

static void master_destroy_service(void *arg)
{
	service_destroy(((struct t_master *)arg)->svc);
}

void t_master_stop(struct t_master *m)
{
	gate_init(&m->gate);
	shard_call(&m->shard, master_stop_service, m);
	gate_wait(&m->gate);
	gate_init(&m->gate);
	shard_call(&m->shard, master_close_server, m);
	gate_wait(&m->gate);
	shard_call(&m->shard, master_destroy_service, m);
	shard_stop(&m->shard);
	vol_set_destroy(m->vols);
	free(m);
}
