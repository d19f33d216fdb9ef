/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_opts from the environment, by one table.
 *
 * Any thread, but before others change the environment.  Invariant: what
 * vol_opts_init() accepts is in the range the rest of the module relies on.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "pool/identity.h"
#include "pool/split.h"
#include "pool/vol.h"

#define WORKERS_DEFAULT 4
#define DEPTH_DEFAULT	128
#define NUMA_NODES_MAX	1024

enum kind {
	KIND_UINT,
	KIND_SIZE,
	KIND_BOOL,
	KIND_CHOICE, /* value = its place in the list */
};

enum { /* what a variable sets */
	SET_WORKERS,
	SET_CHUNK,
	SET_INFLIGHT,
	SET_SPIN,
	SET_IO_QUEUES,
	SET_IO_DEPTH,
	SET_ADMIN_DEPTH,
	SET_CONNECT_US,
	SET_COMMAND_MS,
	SET_KATO_MS,
	SET_HDGST,
	SET_DDGST,
	SET_ZEROCOPY,
	SET_REQUESTS,
	SET_ACK,
	SET_LOSS_S,
	SET_MULTIPATH,
	SET_READ_WEIGHT,
	SET_NUMA,
	SET_DEBUG,
	SET_DEBUG_MS,
	SET_TRTYPE,
	SET_COUNT,
};

static const char *const multipaths[] = {
	[MULTIPATH_ROUND_ROBIN] = "round-robin",
	[MULTIPATH_QUEUE_DEPTH] = "queue-depth",
	[MULTIPATH_FAILOVER] = "failover",
};
static const char *const trtypes[] = {"TCP"};

static const struct var {
	const char *name;
	enum kind kind;
	unsigned set;
	uint64_t min, max;
	const char *const *choices; /* max + 1 of them */
} vars[] = {
	{"MC_NOF_WORKERS", KIND_UINT, SET_WORKERS, 1, VOL_WORKERS_MAX},
	{"MC_NOF_SUBMIT_CHUNK_BYTES", KIND_SIZE, SET_CHUNK, CHUNK_MIN,
	 CHUNK_MAX},
	{"MC_NOF_INFLIGHT_BYTES_LIMIT", KIND_SIZE, SET_INFLIGHT, CHUNK_MIN,
	 (uint64_t)1 << 40},
	{"MC_NOF_SPIN_US", KIND_UINT, SET_SPIN, 0, 100000},
	{"MC_NVME_NUM_IO_QUEUES", KIND_UINT, SET_IO_QUEUES, 1, UINT16_MAX},
	{"MC_NVME_IO_QUEUE_SIZE", KIND_UINT, SET_IO_DEPTH, 2, UINT16_MAX},
	{"MC_NVME_IO_QUEUE_REQUESTS", KIND_UINT, SET_REQUESTS, 1, UINT32_MAX},
	{"MC_NVME_TRANSPORT_ACK_TIMEOUT", KIND_UINT, SET_ACK, 0, 31},
	{"MC_NVME_CTRL_LOSS_TMO", KIND_UINT, SET_LOSS_S, 0, 366 * 86400},
	{"MC_NVME_ADMIN_QUEUE_SIZE", KIND_UINT, SET_ADMIN_DEPTH, 2, 4096},
	{"MC_NVME_FABRICS_CONNECT_TIMEOUT_US", KIND_UINT, SET_CONNECT_US, 1000,
	 600 * 1000 * 1000},
	{"MC_NVME_COMMAND_TIMEOUT_MS", KIND_UINT, SET_COMMAND_MS, 10, 600000},
	{"MC_NVME_KEEP_ALIVE_MS", KIND_UINT, SET_KATO_MS, 0, 600000},
	{"MC_NVME_HEADER_DIGEST", KIND_BOOL, SET_HDGST, 0, 1},
	{"MC_NVME_DATA_DIGEST", KIND_BOOL, SET_DDGST, 0, 1},
	{"MC_NVME_ZEROCOPY_BYTES", KIND_SIZE, SET_ZEROCOPY, 0, GiB},
	{"MC_NOF_MULTIPATH", KIND_CHOICE, SET_MULTIPATH, 0,
	 ARRAY_SIZE(multipaths) - 1, multipaths},
	{"MC_NOF_READ_WEIGHT", KIND_UINT, SET_READ_WEIGHT, 1, 64},
	{"MC_NOF_TRTYPE", KIND_CHOICE, SET_TRTYPE, 0, ARRAY_SIZE(trtypes) - 1,
	 trtypes},
	{"MC_NOF_DEBUG", KIND_BOOL, SET_DEBUG, 0, 1},
	{"MC_NOF_DEBUG_INTERVAL_MS", KIND_UINT, SET_DEBUG_MS, 10, 3600000},
	{"MC_STORE_NUMA_SOCKET_ID", KIND_UINT, SET_NUMA, 0, NUMA_NODES_MAX - 1},
};

static int parse_choice(const struct var *var, struct str text, uint64_t *out)
{
	for (*out = 0; *out <= var->max; (*out)++)
		if (str_eq_nocase(text, str_of(var->choices[*out])))
			return 0;
	return -EINVAL;
}

static int parse_var(const struct var *var, struct str text, uint64_t *out)
{
	bool b = false;
	int ret;

	switch (var->kind) {
	case KIND_UINT:
		return str_to_u64(text, out);
	case KIND_SIZE:
		return str_to_size(text, out);
	case KIND_BOOL:
		ret = str_to_bool(text, &b);
		*out = b;
		return ret;
	case KIND_CHOICE:
		return parse_choice(var, text, out);
	}
	UNREACHABLE();
}

static int refuse(const struct var *var, struct str text, struct err *err)
{
	static const char *const wanted[] = {
		[KIND_UINT] = "a number",
		[KIND_SIZE] = "a number of bytes",
		[KIND_BOOL] = "0 or 1",
	};
	char list[128] = "";
	size_t n = 0;

	if (var->kind != KIND_CHOICE)
		return err_set(err, -EINVAL,
			       "%s=\"%.60s\" is not %s: correct it or unset it",
			       var->name, text.p, wanted[var->kind]);
	for (uint64_t i = 0; i <= var->max && n < sizeof(list); i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s",
				      i ? ", " : "", var->choices[i]);
	return err_set(err, -EINVAL,
		       "%s=\"%.60s\" is not supported: give one of %s, or "
		       "unset it",
		       var->name, text.p, list);
}

static int read_var(const struct var *var, uint64_t values[SET_COUNT],
		    struct err *err)
{
	struct str text = str_trim(str_of(getenv(var->name)));
	uint64_t value = 0;

	if (!text.n)
		return 0;
	if (parse_var(var, text, &value))
		return refuse(var, text, err);
	if (value < var->min || value > var->max)
		return err_set(
			err, -EINVAL,
			"%s=\"%.60s\" is out of range: give %llu to %llu",
			var->name, text.p, (unsigned long long)var->min,
			(unsigned long long)var->max);
	values[var->set] = value;
	return 0;
}

/* More threads than CPUs only wake each other. */
static uint64_t default_workers(void)
{
	cpu_set_t cpus;
	uint64_t count = WORKERS_DEFAULT;

	/* Fails where there are more CPUs than fit: enough. */
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		count = (uint64_t)CPU_COUNT(&cpus);
	return MIN(count, (uint64_t)WORKERS_DEFAULT);
}

static void fill_nvmf(const uint64_t v[SET_COUNT], struct nvmf_opts *out)
{
	uint64_t depth = v[SET_IO_DEPTH];

	/* One entry of a queue stays empty. */
	if (v[SET_REQUESTS])
		depth = MIN(depth ? depth : DEPTH_DEFAULT, v[SET_REQUESTS] + 1);
	*out = (struct nvmf_opts){
		.kato_ms = (uint32_t)v[SET_KATO_MS],
		.connect_timeout_ms =
			(uint32_t)((v[SET_CONNECT_US] + 999) / 1000),
		.command_timeout_ms = (uint32_t)v[SET_COMMAND_MS],
		/* In powers of two of milliseconds; 0 is off. */
		.ack_timeout_ms = v[SET_ACK] ? 1u << v[SET_ACK] : 0,
		.admin_depth = (uint16_t)v[SET_ADMIN_DEPTH],
		.io_depth = (uint16_t)depth,
		.io_queues = (uint16_t)v[SET_IO_QUEUES],
		.hdgst = v[SET_HDGST] != 0,
		.ddgst = v[SET_DDGST] != 0,
		.zerocopy_bytes = (uint32_t)v[SET_ZEROCOPY],
	};
}

int vol_opts_check_var(const char *name, struct err *err)
{
	uint64_t ignored[SET_COUNT];

	for (size_t i = 0; i < ARRAY_SIZE(vars); i++)
		if (strcmp(vars[i].name, name) == 0)
			return read_var(&vars[i], ignored, err);
	return -ENOENT;
}

int vol_opts_read_env(struct vol_opts *opts, struct err *err)
{
	uint64_t v[SET_COUNT] = {
		[SET_WORKERS] = default_workers(),
		[SET_CHUNK] = 256 * KiB,
		[SET_INFLIGHT] = 32 * MiB,
		[SET_SPIN] = 0,
		[SET_ZEROCOPY] = NVMF_ZEROCOPY_BYTES,
		[SET_LOSS_S] = 600,
		[SET_READ_WEIGHT] = 1,
		[SET_NUMA] = UINT64_MAX,
		[SET_DEBUG_MS] = 1000,
	};
	int ret;

	for (size_t i = 0; i < ARRAY_SIZE(vars); i++) {
		ret = read_var(&vars[i], v, err);
		if (ret)
			return ret;
	}
	*opts = (struct vol_opts){
		.workers = (uint32_t)v[SET_WORKERS],
		.chunk_bytes = split_round_chunk(v[SET_CHUNK]),
		.inflight_bytes = v[SET_INFLIGHT],
		.spin_us = (uint32_t)v[SET_SPIN],
		.multipath = (enum vol_multipath)v[SET_MULTIPATH],
		.loss_timeout_s = (uint32_t)v[SET_LOSS_S],
		.read_weight = (uint32_t)v[SET_READ_WEIGHT],
		.numa_node = (int)v[SET_NUMA], /* -1: any */
		.debug_ms = v[SET_DEBUG] ? (uint32_t)v[SET_DEBUG_MS] : 0,
	};
	fill_nvmf(v, &opts->nvmf);
	return 0;
}

int vol_opts_init(struct vol_opts *opts, struct err *err)
{
	int ret = vol_opts_read_env(opts, err);

	if (ret == 0)
		ret = identity_read("/etc", &opts->nvmf, err);
	if (ret == 0)
		ret = identity_files_read(&opts->key_files, err);
	return ret;
}
