/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A metadata core whose clock the test turns, and the calls that most tests of
 * the master begin with.
 */
#ifndef T_CORE_H
#define T_CORE_H

#include <stdio.h>

#include "master/evict.h"
#include "master/get.h"
#include "master/object.h"
#include "master/put.h"
#include "master/quarantine.h"
#include "master/remove.h"
#include "master/segment.h"

#define T_CLIENT ((struct uuid){{7}})

static inline struct core *t_core(const struct core_opts *opts)
{
	struct core_opts own;
	struct core *core;

	core_opts_default(&own);
	own.seed = 1;
	ASSERT(core_create(opts ? opts : &own, &core) == 0);
	core_enter(core, 1000 * NS_PER_S);
	return core;
}

static inline void t_pass(struct core *core, uint64_t ns)
{
	core_enter(core, core->now_ns + ns);
}

/* A segment "<kind><n>" on a host of its own. */
static inline struct segment *t_segment(struct core *core, enum kind kind,
					unsigned n, uint64_t size)
{
	char name[32], path[160];
	char *paths[] = {path};
	struct segment_desc desc = {
		.kind = kind,
		.id = {{(uint8_t)kind, (uint8_t)n, 1}},
		.name = name,
		.endpoints = paths,
		.endpoint_count = 1,
		.base = kind == KIND_NOF ? MiB : 0,
		.size = size,
		.ns_bytes = size,
		.block_bytes = 4096,
		.epoch = 1,
		.identity = name,
		.client = T_CLIENT,
	};
	struct segment *seg;
	struct err err = {0};

	snprintf(name, sizeof(name), "%s%u", kind == KIND_MEM ? "mem" : "nof",
		 n);
	snprintf(path, sizeof(path),
		 "traddr:10.0.%u.%u trsvcid:4420 subnqn:nqn.2024-01.t:%s "
		 "trtype:TCP adrfam:IPv4 ns:1",
		 (unsigned)kind, n, name);
	ASSERT(segment_add(core, &desc, &seg, &err) == 0);
	return seg;
}

/* mem, nof: replicas asked for, -1 = not asked. */
static inline struct put_ask t_ask(struct core *core, int mem, int nof)
{
	struct put_ask ask = {
		.client = T_CLIENT, .count = {mem, nof}, .budget = 1u << 20};

	ASSERT(put_resolve(core, &ask) == MOONCAKE_OK);
	return ask;
}

static inline int t_start(struct core *core, const char *key, uint64_t size,
			  int mem, int nof)
{
	struct put_ask ask = t_ask(core, mem, nof);
	struct object *obj;

	return put_start(core, &ask, str_of(key), size, &obj);
}

static inline enum mooncake_status t_end(struct core *core, const char *key)
{
	static uint8_t crcs[1 << 16];
	struct object *obj = obj_find(core, str_of(key));
	struct put_end end = {.client = T_CLIENT, .key = str_of(key)};

	if (!obj)
		return MOONCAKE_OBJECT_NOT_FOUND;
	if (obj_successor(obj))
		obj = obj_successor(obj);
	end.generation = obj->generation;
	end.crcs = (struct str){(char *)crcs,
				obj_crc_count(obj->size) * sizeof(uint32_t)};
	ASSERT(end.crcs.n <= sizeof(crcs));
	return put_end(core, &end);
}

static inline int t_put(struct core *core, const char *key, uint64_t size,
			int mem, int nof)
{
	int st = t_start(core, key, size, mem, nof);

	return st == MOONCAKE_OK ? (int)t_end(core, key) : st;
}

static inline enum mooncake_status t_get(struct core *core, const char *key)
{
	return get_object(core, obj_find(core, str_of(key)), false);
}

static inline bool t_exist(struct core *core, const char *key)
{
	return exist_object(core, obj_find(core, str_of(key)));
}

/* With a budget for all there is, and no segment left alone. */
static inline uint64_t t_evict(struct core *core, enum kind kind)
{
	core->mark++;
	return evict_coldest(core, kind, &(struct sweep){.budget = 1u << 20});
}

#endif
