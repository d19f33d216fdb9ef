/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments to JSON, on the metadata shard.  Invariant: what upstream's page has
 * keeps upstream's key, type and unit; ours stands beside it.
 */
#include "master/seg_json.h"

#include <stdio.h>

#include "master/seg_stats.h"
#include "master/segment.h"

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *age(const struct core *core, uint64_t since_ns)
{
	return since_ns ? number(seg_age_ms(core, since_ns)) : json_null();
}

static json_t *paths_json(const struct core *core, const struct segment *seg)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < seg->endpoint_count; i++) {
		const struct seg_path *p = &seg->paths[i];

		json_array_append_new(
			list, json_pack("{s:s,s:b,s:o,s:o,s:o}", "endpoint",
					seg->endpoints[i], "answered_last",
					i == seg->last_path, "good_age_ms",
					age(core, p->ok_ns), "failed_age_ms",
					age(core, p->failed_ns), "latency_us",
					number(p->latency_ns / NS_PER_US)));
	}
	return list;
}

static json_t *smart_json(const struct core *core, const struct segment *seg)
{
	json_t *root;

	if (!seg->smart_ns)
		return json_null();
	root = json_object();
	json_object_set_new(root, "age_ms", age(core, seg->smart_ns));
#define SMART(field, message, name, type, help)                                \
	json_object_set_new(root, #message, number(seg->smart.field));
#include "master/tbl/smart.h"
#undef SMART
	return root;
}

static json_t *health_json(const struct core *core, const struct segment *seg)
{
	json_t *errors = json_object();

	for (unsigned i = 0; i < SEG_ERROR_COUNT; i++)
		json_object_set_new(errors, seg_error_name(i),
				    number(seg->errors[i]));
	return json_pack(
		"{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "last_success_age_ms",
		age(core, seg->ok_ns), "probe_latency_us",
		number(seg->latency_ns / NS_PER_US), "probe_failures",
		number(seg->failures), "hits", number(seg->hits), "hit_bytes",
		number(seg->hit_bytes), "errors", errors, "paths",
		paths_json(core, seg), "smart", smart_json(core, seg));
}

json_t *seg_json(const struct core *core, const struct segment *seg)
{
	double gib = (double)seg->size / (double)GiB;
	uint64_t used = ext_used(seg->space);
	char id[UUID_TEXT_LEN], client[UUID_TEXT_LEN], base[32], human[32];
	char owner[OWNER_TEXT_LEN];
	json_t *paths = json_array(), *root;

	for (unsigned i = 0; i < seg->endpoint_count; i++)
		json_array_append_new(paths, json_string(seg->endpoints[i]));
	uuid_format_dec(&seg->id, id);
	uuid_format_dec(&seg->client, client);
	snprintf(base, sizeof(base), "0x%llx", (unsigned long long)seg->base);
	snprintf(human, sizeof(human), "%.2f GiB", gib);
	root = json_pack(
		"{s:s,s:s,s:s,s:s,s:s,s:I,s:s,s:s,s:s,s:s,s:I,s:I,s:f,s:I,s:I,"
		"s:i,s:I,s:s,s:s,s:s,s:o}",
		"segment_name", seg->name, "segment_id", id, "client_id",
		client, "kind", segment_kind_name(seg), "base_address", base,
		"size_bytes", (json_int_t)seg->size, "size_human", human,
		"te_endpoint", seg->endpoints[0], "protocol",
		seg->kind == KIND_MEM ? "tcp" : "nvmeof", "status",
		segment_state_name(seg), "allocator_used_bytes",
		(json_int_t)used, "allocator_capacity_bytes",
		(json_int_t)seg->size, "allocator_usage_percent",
		100.0 * (double)used / (double)seg->size, "quarantined_bytes",
		(json_int_t)seg->quarantined, "replicas",
		(json_int_t)seg->replicas, "block_size", (int)seg->block_bytes,
		"epoch", (json_int_t)seg->epoch, "identity", seg->identity,
		"host_id", seg->host_id, "message", seg->message, "endpoints",
		paths);
	if (seg->kind != KIND_NOF)
		return root;
	owner_text(&seg->owner, owner);
	json_object_set_new(root, "reservation", json_string(owner));
	json_object_set_new(root, "health", health_json(core, seg));
	return root;
}
