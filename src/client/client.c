/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Birth and death of a client, in the thread that calls setup or close.
 *
 * Invariant: client_close() takes whatever client_open() got done, in reverse,
 * so there is one way down.
 */
#include "client/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "client/host.h"

/* --- down --- */

struct stop_job {
	struct client *client;
	struct gate gate;
};

static void client_session_stopped(void *arg)
{
	gate_open(&((struct stop_job *)arg)->gate);
}

static void client_session_stop(void *arg)
{
	struct stop_job *job = arg;

	session_stop(job->client, client_session_stopped, job);
}

void client_close(struct client *c)
{
	struct stop_job job = {.client = c};

	if (!c)
		return;
	tasks_stop(c);
	hedges_stop(&c->hedges);
	if (c->rpc) {
		gate_init(&job.gate);
		shard_call(&c->ctl, client_session_stop, &job);
		gate_wait(&job.gate);
	}
	if (c->vols && c->segment.mem)
		vol_detach_memory(c->vols, &c->segment.id);
	if (c->vols)
		vol_set_destroy(c->vols);
	segment_close(&c->segment);
	shard_stop(&c->ctl);
	if (c->port_fd >= 0)
		close(c->port_fd);
	memreg_fini(&c->memreg);
	tasks_fini(&c->tasks);
	latency_fini(&c->latency);
	hedges_fini(&c->hedges);
	free(c);
}

/* --- up --- */

static int client_open_volumes(struct client *c, struct err *err)
{
	struct vol_opts opts;
	int ret = vol_opts_init(&opts, err);

	if (ret == 0)
		ret = vol_set_create(&opts, &c->vols, err);
	secret_clear(&opts, sizeof(opts));
	return ret;
}

static int client_open_segment(struct client *c, struct err *err)
{
	int ret = 0;

	if (c->conf.segment_bytes)
		ret = segment_open(&c->segment, &c->conf, err);
	if (ret == 0)
		ret = host_settle(c, err);
	if (ret == 0 && c->segment.mem)
		ret = vol_attach_memory(c->vols, &c->segment.id, c->segment.mem,
					c->segment.bytes);
	if (ret < 0)
		err_set(err, ret, "the memory segment can't be served: %s",
			strerror(-ret));
	return ret;
}

struct start_job {
	struct client *client;
	struct err *err; /* out: why it is not ready yet */
	int ret;
};

static void client_session_start(void *arg)
{
	struct start_job *job = arg;

	job->ret = session_start(job->client);
}

static void client_read_err(void *arg)
{
	struct start_job *job = arg;

	*job->err = job->client->ready_err;
}

/* The master may come up while we wait, so we do until the end. */
static enum mooncake_status client_wait_ready(struct client *c, struct err *err)
{
	struct start_job job = {.client = c, .err = err};
	char addr[ADDR_TEXT_LEN];

	shard_call(&c->ctl, client_session_start, &job);
	if (job.ret < 0) {
		err_set(err, job.ret, "out of memory");
		return MOONCAKE_INTERNAL_ERROR;
	}
	if (gate_wait_for(&c->ready, c->conf.connect_timeout_ms * NS_PER_MS)) {
		if (c->ready_status != MOONCAKE_OK)
			shard_call(&c->ctl, client_read_err, &job);
		return c->ready_status;
	}
	shard_call(&c->ctl, client_read_err, &job);
	addr_format(&c->master, addr);
	err_set(err, -ETIMEDOUT, "the master at %s did not answer within %u ms",
		addr, c->conf.connect_timeout_ms);
	return MOONCAKE_RPC_FAIL;
}

static int client_open_parts(struct client *c, struct err *err)
{
	const struct client_conf *conf = &c->conf;
	int ret = addr_resolve(conf->master.host, conf->master.port, &c->master,
			       err);

	if (ret == 0)
		ret = client_open_volumes(c, err);
	if (ret == 0)
		ret = client_open_segment(c, err);
	if (ret == 0)
		ret = shard_start(
			&c->ctl, &(struct loop_opts){.name = "mc-client"}, err);
	return ret;
}

enum mooncake_status client_open(const struct client_conf *conf,
				 struct client **out, struct err *err)
{
	struct client *c = calloc(1, sizeof(*c));
	enum mooncake_status st;

	*out = NULL;
	if (!c) {
		err_set(err, -ENOMEM, "out of memory");
		return MOONCAKE_INTERNAL_ERROR;
	}
	c->conf = *conf;
	c->port_fd = -1;
	uuid_make(&c->id);
	memreg_init(&c->memreg);
	tasks_init(&c->tasks);
	latency_init(&c->latency);
	hedges_init(&c->hedges);
	gate_init(&c->ready);
	if (conf->is_rdma_asked)
		log_warn("RDMA is not built in, TCP is used", "protocol=rdma");
	if (client_open_parts(c, err) < 0)
		st = MOONCAKE_INVALID_PARAMS;
	else
		st = client_wait_ready(c, err);
	if (st != MOONCAKE_OK) {
		client_close(c);
		return st;
	}
	*out = c;
	return MOONCAKE_OK;
}
