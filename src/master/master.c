/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start and end of the master.  The thread that calls master_run() becomes the
 * metadata shard.  Invariant: what others post to is closed after they are, so
 * the order of the end is: stop serving, drain, join, free.
 */
#include "master/master.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "io/signals.h"
#include "io/thread.h"
#include "master/admin.h"
#include "master/service.h"
#include "web/metadata.h"

#define RPC_SHARDS_MAX 256
#define SETTLE_NS      (2 * NS_PER_S)
#define SETTLE_TURN_NS (50 * NS_PER_MS)

struct master {
	const struct master_config *config;
	struct loop *loop; /* metadata shard */
	struct signals signals;
	struct vol_set *vols;
	struct service *svc;
	struct shard rpc_shards[RPC_SHARDS_MAX];
	struct loop *rpc_loops[RPC_SHARDS_MAX];
	unsigned rpc_count;
	struct shard web;
	struct rpc_server *rpc;		  /* on rpc_shards[0] */
	struct admin *admin;		  /* on web */
	struct metadata_server *metadata; /* on web */
	struct addr rpc_addr, admin_addr, metadata_addr;

	/* opening, which runs on the shards */
	struct err *err;
	int ret;

	/* the end */
	bool is_ending;
	unsigned open_parts;
	struct mbox_msg rpc_msg, web_msg;
	struct mbox_msg rpc_gone, admin_gone, metadata_gone;
};

/* --- the end, part by part --- */

static void part_gone(struct master *m)
{
	ASSERT(m->open_parts > 0);
	if (--m->open_parts == 0)
		loop_stop(m->loop);
}

static void rpc_gone(struct mbox_msg *msg)
{
	part_gone(container_of(msg, struct master, rpc_gone));
}

static void admin_gone(struct mbox_msg *msg)
{
	part_gone(container_of(msg, struct master, admin_gone));
}

static void metadata_gone(struct mbox_msg *msg)
{
	part_gone(container_of(msg, struct master, metadata_gone));
}

/* These run on the shards that own the parts. */
static void on_rpc_closed(void *arg)
{
	struct master *m = arg;

	m->rpc_gone.run = rpc_gone;
	loop_post(m->loop, &m->rpc_gone);
}

static void on_admin_closed(void *arg)
{
	struct master *m = arg;

	m->admin_gone.run = admin_gone;
	loop_post(m->loop, &m->admin_gone);
}

static void on_metadata_closed(void *arg)
{
	struct master *m = arg;

	m->metadata_gone.run = metadata_gone;
	loop_post(m->loop, &m->metadata_gone);
}

static void close_rpc(struct mbox_msg *msg)
{
	struct master *m = container_of(msg, struct master, rpc_msg);

	rpc_server_close(TAKE(m->rpc), on_rpc_closed, m);
}

static void close_web(struct mbox_msg *msg)
{
	struct master *m = container_of(msg, struct master, web_msg);

	if (m->admin)
		admin_close(TAKE(m->admin), on_admin_closed, m);
	if (m->metadata)
		metadata_server_close_async(TAKE(m->metadata),
					    on_metadata_closed, m);
}

static void on_service_stopped(void *arg)
{
	part_gone(arg);
}

/* Metadata shard. */
static void end(struct master *m)
{
	if (m->is_ending)
		return;
	m->is_ending = true;
	m->open_parts = 1 + !!m->rpc + !!m->admin + !!m->metadata;
	if (m->rpc) {
		m->rpc_msg.run = close_rpc;
		loop_post(m->rpc_loops[0], &m->rpc_msg);
	}
	if (m->admin || m->metadata) {
		m->web_msg.run = close_web;
		loop_post(m->web.loop, &m->web_msg);
	}
	service_stop(m->svc, on_service_stopped, m);
}

static void on_signal(struct signals *s, int signo)
{
	log_info("stopping", "signal=%d", signo);
	end(s->arg);
}

/* --- the start --- */

static void open_rpc(void *arg)
{
	struct master *m = arg;
	const struct rpc_server_opts opts = {
		.loop = m->rpc_loops[0],
		.shards = m->rpc_loops,
		.shard_count = m->rpc_count,
		.addr = m->rpc_addr,
		.handler = service_handle,
		.arg = m->svc,
		.idle_timeout_ms =
			(uint32_t)m->config->rpc_conn_timeout_seconds * 1000,
	};

	m->ret = rpc_server_open(&opts, &m->rpc_addr, &m->rpc, m->err);
}

static void open_web(void *arg)
{
	struct master *m = arg;
	const struct admin_opts opts = {
		.loop = m->web.loop,
		.svc = m->svc,
		.addr = m->admin_addr,
		.rpc = m->rpc_addr,
	};

	m->ret = admin_open(&opts, &m->admin_addr, &m->admin, m->err);
	if (m->ret == 0 && m->config->enable_http_metadata_server)
		m->ret = metadata_server_open(m->web.loop, &m->metadata_addr,
					      &m->metadata_addr, &m->metadata,
					      m->err);
}

static int resolve(struct master *m)
{
	const struct master_config *c = m->config;
	int ret = config_rpc_addr(c, &m->rpc_addr, m->err);

	if (ret == 0)
		ret = addr_resolve(c->metrics_host, (uint16_t)c->metrics_port,
				   &m->admin_addr, m->err);
	if (ret == 0 && c->enable_http_metadata_server)
		ret = addr_resolve(c->http_metadata_server_host,
				   (uint16_t)c->http_metadata_server_port,
				   &m->metadata_addr, m->err);
	return ret;
}

static int open_service(struct master *m)
{
	const struct master_config *c = m->config;
	struct service_opts opts = {
		.cluster_id = c->cluster_id,
		.owner_key = config_owner_key(c),
		.probe_interval_ns = c->nof_heartbeat_interval_sec * NS_PER_S,
		.probe_timeout_ms = (uint32_t)c->nof_heartbeat_probe_timeout_ms,
		.has_summary = c->enable_metric_reporting,
	};
	struct keeper_opts journal;
	struct vol_opts vol_opts;
	int ret = vol_opts_init(&vol_opts, m->err);

	if (ret < 0)
		return ret;
	/* Only looks at namespaces; never moves objects. */
	vol_opts.workers = 1;
	ret = vol_set_create(&vol_opts, &m->vols, m->err);
	secret_clear(&vol_opts, sizeof(vol_opts));
	if (ret < 0)
		return ret;
	config_core(c, &opts.core);
	if (config_journal(c, &journal))
		opts.journal = &journal;
	return service_open(m->loop, &opts, m->vols, &m->svc, m->err);
}

static int open_network(struct master *m)
{
	int ret = 0;

	m->rpc_count = MIN(config_threads(m->config), RPC_SHARDS_MAX + 0u);
	for (unsigned i = 0; i < m->rpc_count && ret == 0; i++) {
		ret = shard_start(&m->rpc_shards[i],
				  &(struct loop_opts){.name = "rpc"}, m->err);
		m->rpc_loops[i] = m->rpc_shards[i].loop;
	}
	if (ret == 0)
		ret = shard_start(&m->web, &(struct loop_opts){.name = "http"},
				  m->err);
	if (ret < 0)
		return ret;
	shard_call(&m->rpc_shards[0], open_rpc, m);
	if (m->ret == 0)
		shard_call(&m->web, open_web, m);
	return m->ret;
}

static void announce(const struct master *m)
{
	const struct master_config *c = m->config;
	char rpc[ADDR_TEXT_LEN], admin[ADDR_TEXT_LEN];
	char line[64];

	addr_format(&m->rpc_addr, rpc);
	addr_format(&m->admin_addr, admin);
	snprintf(line, sizeof(line), "Master service started on port %u",
		 addr_port(&m->rpc_addr));
	log_info(line,
		 "rpc=%s metrics=http://%s version=%s cluster_id=%s "
		 "rpc_threads=%u io=%s default_kv_lease_ttl=%llums "
		 "client_ttl=%llus allocation_strategy=%s eviction=%.2f/%.2f "
		 "nof_eviction=%.2f/%.2f quarantine_margin=%llums",
		 rpc, admin, mooncake_version, c->cluster_id, m->rpc_count,
		 loop_backend_name(m->loop),
		 (unsigned long long)c->default_kv_lease_ttl_ms,
		 (unsigned long long)c->client_ttl, c->allocation_strategy,
		 c->eviction_high_watermark_ratio, c->eviction_ratio,
		 c->nof_eviction_high_watermark_ratio, c->nof_eviction_ratio,
		 (unsigned long long)c->quarantine_margin_ms);
	log_info("limits",
		 "object_bytes=%llu key_bytes=%d batch_items=%d replicas=%d "
		 "extents_per_replica=%d segments=%d clients=%d",
		 (unsigned long long)OBJECT_BYTES_MAX, KEY_LEN_MAX,
		 FRAME_ITEMS_MAX, REPLICAS_MAX, EXTENTS_MAX, SEGMENTS_MAX,
		 CLIENTS_MAX);
	if (m->metadata) {
		addr_format(&m->metadata_addr, rpc);
		log_info("HTTP metadata server started",
			 "url=http://%s/metadata", rpc);
	}
}

/* Who asks at once after a restart should not hear that everything is away:
 * what the journal knows is looked at first, if that is quick. */
static void settle(struct master *m)
{
	uint64_t until_ns = time_mono_ns() + SETTLE_NS;

	while (m->svc->keeper && !m->is_ending && time_mono_ns() < until_ns &&
	       !keeper_is_settled(m->svc->keeper))
		loop_turn(m->loop, SETTLE_TURN_NS);
}

static int serve(struct master *m)
{
	int ret = resolve(m);

	if (ret == 0)
		ret = open_service(m);
	if (ret == 0)
		settle(m);
	if (ret == 0 && !m->is_ending)
		ret = open_network(m);
	if (ret == 0 && !m->is_ending)
		announce(m);
	/* What was opened is closed the same way, whatever came of it. */
	if (ret < 0 && m->svc)
		end(m);
	if (m->svc)
		loop_run(m->loop);
	shard_stop(&m->web);
	for (unsigned i = 0; i < m->rpc_count; i++)
		shard_stop(&m->rpc_shards[i]);
	service_destroy(m->svc);
	vol_set_destroy(m->vols);
	return ret;
}

int master_run(const struct master_config *config, struct err *err)
{
	struct master *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return err_set(err, -ENOMEM, "out of memory");
	m->config = config;
	m->err = err;
	ret = loop_create(&(struct loop_opts){.name = "metadata"}, &m->loop,
			  err);
	if (ret == 0)
		ret = signals_open(&m->signals, m->loop, on_signal, m, err);
	if (ret == 0) {
		ret = serve(m);
		signals_close(&m->signals);
	}
	loop_destroy(m->loop);
	free(m);
	return ret;
}
