/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C API's registered memory, health and counters.  In the caller's thread.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "client/call.h"
#include "client/path_metrics.h"
#include "client/store.h"
#include "nvmf/nvmf.h"

/* --- registered memory --- */

int mooncake_store_register_buffer(mooncake_store_t handle, void *buffer,
				   size_t size)
{
	struct store *store = store_of(handle);
	struct client *c;
	int ret;

	if (!store || !buffer)
		return -1;
	c = store_enter(store);
	if (!c)
		return MOONCAKE_INVALID_PARAMS;
	ret = memreg_add(&c->memreg, buffer, size);
	store_leave(store);
	if (ret == -ENOMEM)
		return MOONCAKE_INTERNAL_ERROR;
	return ret < 0 ? MOONCAKE_INVALID_PARAMS : 0;
}

int mooncake_store_unregister_buffer(mooncake_store_t handle, void *buffer)
{
	struct store *store = store_of(handle);
	struct client *c;
	int ret;

	if (!store || !buffer)
		return -1;
	c = store_enter(store);
	if (!c)
		return MOONCAKE_INVALID_PARAMS;
	ret = memreg_del(&c->memreg, buffer);
	store_leave(store);
	return ret < 0 ? MOONCAKE_INVALID_PARAMS : 0;
}

/* --- health --- */

enum {
	HEALTH_OK = 0,
	HEALTH_NOT_SET_UP = 1,
	HEALTH_NO_MASTER = 2
};

int mooncake_store_health_check(mooncake_store_t handle)
{
	struct store *store = store_of(handle);
	Mc__PingReq req = MC__PING_REQ__INIT;
	enum mooncake_status st;
	struct client *c;
	struct call call;

	if (!store)
		return -1;
	c = store_enter(store);
	if (!c)
		return HEALTH_NOT_SET_UP;
	req.client_id = client_id_bytes(c);
	st = call_run(c, &call, METHOD_PING, &req.base, CALL_REPEATABLE);
	call_fini(&call);
	store_leave(store);
	return st == MOONCAKE_OK ? HEALTH_OK : HEALTH_NO_MASTER;
}

/* --- counters --- */

static const struct {
	const char *name, *help;
} stat_texts[] = {
#define STAT(name, help) {#name, help},
#include "client/tbl/stats.h"
#undef STAT
};

static void add_counter(struct strbuf *sb, const char *name, const char *help,
			uint64_t value)
{
	strbuf_addf(sb,
		    "# HELP mooncake_client_%s_total %s\n"
		    "# TYPE mooncake_client_%s_total counter\n"
		    "mooncake_client_%s_total %llu\n",
		    name, help, name, name, (unsigned long long)value);
}

static void add_traffic_counters(struct strbuf *sb, struct client *c)
{
	struct vol_stats v;

	vol_stats_get(c->vols, &v);
	add_counter(sb, "connection_failures",
		    "Connections to the master that failed or broke",
		    rpc_client_failures(c->rpc));
	add_counter(sb, "replica_reads", "Replicas read", v.reads);
	add_counter(sb, "replica_writes", "Replicas written", v.writes);
	add_counter(sb, "replica_read_bytes", "Bytes read", v.read_bytes);
	add_counter(sb, "replica_write_bytes", "Bytes written", v.write_bytes);
	add_counter(sb, "local_reads", "Replicas read from own memory",
		    v.local_reads);
	add_counter(sb, "local_writes", "Replicas written to own memory",
		    v.local_writes);
	add_counter(sb, "transfer_errors", "Replica transfers that failed",
		    v.errors);
	add_counter(sb, "transfer_timeouts",
		    "Replica transfers that missed their deadline", v.timeouts);
	add_counter(sb, "checksum_errors", "Replicas whose bytes did not match",
		    v.checksum_errors);
}

/* Of the process: further stores in it share them. */
static void add_nvmf_counters(struct strbuf *sb)
{
	struct nvmf_stats st;

	nvmf_stats_get(&st);
#define NVMF_STAT(NAME, name, help)                                            \
	add_counter(sb, "nvmf_" #name, help, st.name);
#include "nvmf/tbl/stats.h"
#undef NVMF_STAT
}

size_t mooncake_store_metrics(mooncake_store_t handle, char *buf, size_t len)
{
	struct store *store = store_of(handle);
	struct client *c = store ? store_enter(store) : NULL;
	struct strbuf sb = {0};
	size_t n;

	if (c) {
		for (size_t i = 0; i < STAT_COUNT; i++)
			add_counter(&sb, stat_texts[i].name, stat_texts[i].help,
				    stats_get(&c->stats, (enum stat)i));
		add_traffic_counters(&sb, c);
		add_nvmf_counters(&sb);
		path_metrics_add(&sb, c->vols);
		store_leave(store);
	}
	n = sb.failed ? 0 : sb.n;
	if (buf && len > 0) {
		size_t copy = MIN(n, len - 1);

		if (copy)
			memcpy(buf, sb.p, copy);
		buf[copy] = '\0';
	}
	strbuf_fini(&sb);
	return n;
}
