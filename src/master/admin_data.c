/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the admin HTTP server tells, put together on the metadata shard.
 * Looking at something never grants a lease or makes it younger.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/admin.h"
#include "master/get.h"
#include "master/object.h"
#include "master/seg_json.h"
#include "master/segment.h"
#include "web/metrics.h"

#define KEYS_SLICE 2048

/* Takes the reference over. */
static void answer_json(struct admin_call *call, json_t *root)
{
	char *text = root ? json_dumps(root, JSON_COMPACT | JSON_ENSURE_ASCII)
			  : NULL;

	call->content_type = "application/json";
	if (text)
		strbuf_adds(&call->body, text);
	else
		call->body.failed = true;
	free(text);
	json_decref(root);
	admin_answer(call);
}

static void answer_error(struct admin_call *call, enum mooncake_status st)
{
	call->status = st == MOONCAKE_OBJECT_NOT_FOUND ||
				       st == MOONCAKE_SEGMENT_NOT_FOUND
			       ? 404
			       : 500;
	answer_json(call, json_pack("{s:b,s:i,s:s}", "success", 0, "error_code",
				    (int)st, "error_message", status_text(st)));
}

static void journal_metrics(const struct service *svc, struct strbuf *out)
{
	uint64_t age_ns =
		svc->snapshot_ns ? svc->core->now_ns - svc->snapshot_ns : 0;
	struct keeper_stats st;

	keeper_stats(svc->keeper, &st);
	const struct {
		const char *name, *help;
		enum metric_type type;
		uint64_t value;
	} all[] = {
		{"master_journal_failed",
		 "1: the journal can't be written, changes are refused",
		 METRIC_GAUGE, st.is_broken},
		{"master_journal_records_total", "Records written",
		 METRIC_COUNTER, st.records},
		{"master_journal_bytes_total", "Bytes written to the journal",
		 METRIC_COUNTER, st.bytes},
		{"master_journal_log_bytes",
		 "Log behind the last snapshot, which a start has to read",
		 METRIC_GAUGE, st.log_bytes},
		{"master_snapshot_bytes", "Size of the last snapshot",
		 METRIC_GAUGE, st.snapshot_bytes},
		{"master_snapshot_age_seconds",
		 "Age of the last snapshot of this life, 0 = none",
		 METRIC_GAUGE, age_ns / NS_PER_S},
		{"master_recovery_ms", "What reading the journal took",
		 METRIC_GAUGE, svc->recovery_ns / NS_PER_MS},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		metric_head(out, all[i].name, all[i].type, all[i].help);
		metric_u64(out, all[i].name, NULL, NULL, all[i].value);
	}
}

void admin_metrics(struct service *svc, struct admin_call *call)
{
	stats_metrics(svc->core, &call->body);
	journal_metrics(svc, &call->body);
	call->content_type = "text/plain; version=0.0.4";
	admin_answer(call);
}

void admin_summary(struct service *svc, struct admin_call *call)
{
	double seconds = (double)(svc->core->now_ns - svc->summary_ns) /
			 (double)NS_PER_S;

	stats_summary(svc->core, &svc->summary_stats, seconds, &call->body);
	strbuf_addc(&call->body, '\n');
	admin_answer(call);
}

void admin_segments(struct service *svc, struct admin_call *call)
{
	struct segment *seg;

	list_for_each (seg, &svc->core->segments, node)
		strbuf_addf(&call->body, "%s\n", seg->name);
	admin_answer(call);
}

void admin_segments_detail(struct service *svc, struct admin_call *call)
{
	json_t *list = json_array();
	struct segment *seg;

	list_for_each (seg, &svc->core->segments, node)
		json_array_append_new(list, seg_json(svc->core, seg));
	answer_json(call,
		    json_pack("{s:i,s:o}", "total_segments",
			      (int)json_array_size(list), "segments", list));
}

/* By name, by id or, a pool segment, by any of its endpoints. */
static struct segment *find_segment(struct service *svc, const char *text)
{
	struct segment *seg;
	struct uuid id;
	bool is_id = uuid_parse(str_of(text), &id) == 0;

	list_for_each (seg, &svc->core->segments, node)
		if (strcmp(seg->name, text) == 0)
			return seg;
	seg = is_id ? segment_find(svc->core, &id)
		    : segment_find_path(svc->core, text);
	return seg && (is_id || seg->kind == KIND_NOF) ? seg : NULL;
}

void admin_segment(struct service *svc, struct admin_call *call)
{
	struct segment *seg = find_segment(svc, call->arg);

	if (seg) {
		/* The blank before the second colon is upstream's. */
		strbuf_addf(&call->body,
			    "%s\nUsed(bytes): %llu\nCapacity(bytes) : %llu\n",
			    seg->name, (unsigned long long)ext_used(seg->space),
			    (unsigned long long)seg->size);
	} else {
		call->status = 500;
		strbuf_adds(&call->body, "Failed to query segment\n");
	}
	admin_answer(call);
}

void admin_segment_status(struct service *svc, struct admin_call *call)
{
	struct segment *seg = find_segment(svc, call->arg);

	if (!seg) {
		answer_error(call, MOONCAKE_SEGMENT_NOT_FOUND);
		return;
	}
	answer_json(call,
		    json_pack("{s:b,s:s,s:i,s:s,s:i,s:s,s:s}", "success", 1,
			      "segment", seg->name, "status",
			      seg->state == SEG_ONLINE, "status_name",
			      seg->state == SEG_ONLINE
				      ? "OK"
				      : segment_state_name(seg),
			      "error_code", 0, "error_message", seg->message,
			      "kind", segment_kind_name(seg)));
}

/* --- keys --- */

static bool keys_step(struct service *svc, struct slice *slice)
{
	struct admin_call *call = container_of(slice, struct admin_call, slice);

	for (unsigned i = 0; i < KEYS_SLICE; i++) {
		struct object *obj = scan_next(svc->core, &call->scan);
		struct str key;

		if (!obj || call->body.failed) {
			scan_stop(&call->scan);
			admin_answer(call);
			return false;
		}
		if (!obj->is_complete)
			continue;
		key = obj_key(obj);
		strbuf_add(&call->body, key.p, key.n);
		strbuf_addc(&call->body, '\n');
	}
	return true;
}

void admin_all_keys(struct service *svc, struct admin_call *call)
{
	call->slice.step = keys_step;
	scan_start(svc->core, &call->scan);
	service_slice(svc, &call->slice);
}

static json_t *replicas_json(const struct object *obj, enum kind kind)
{
	json_t *list = json_array();
	const struct replica *rep;

	obj_for_each_replica (rep, obj) {
		for (unsigned i = 0; i < rep->extent_count; i++) {
			const struct extent *ext = &rep->extents[i];

			if (rep->kind != kind)
				continue;
			json_array_append_new(
				list,
				json_pack("{s:I,s:I,s:s,s:s}", "size_",
					  (json_int_t)ext->bytes,
					  "buffer_address_",
					  (json_int_t)ext->off, "protocol_",
					  "tcp", "transport_endpoint_",
					  ext->seg->endpoints[0]));
		}
	}
	return list;
}

void admin_key(struct service *svc, struct admin_call *call)
{
	struct object *obj = obj_find(svc->core, str_of(call->arg));
	enum mooncake_status st = get_object(svc->core, obj, true);
	json_t *list, *nof;

	if (st != MOONCAKE_OK) {
		answer_error(call, st);
		return;
	}
	list = replicas_json(obj, KIND_MEM);
	nof = replicas_json(obj, KIND_NOF);
	json_array_extend(list, nof);
	json_decref(nof);
	answer_json(call, json_pack("{s:b,s:o}", "success", 1, "data", list));
}

static json_t *key_json(struct service *svc, struct str key)
{
	struct object *obj = obj_find(svc->core, key);
	enum mooncake_status st = get_object(svc->core, obj, true);

	if (st != MOONCAKE_OK)
		return json_pack("{s:b,s:s}", "ok", 0, "error",
				 status_text(st));
	return json_pack("{s:b,s:I,s:o,s:o}", "ok", 1, "size",
			 (json_int_t)obj->size, "values",
			 replicas_json(obj, KIND_MEM), "nof_values",
			 replicas_json(obj, KIND_NOF));
}

void admin_keys(struct service *svc, struct admin_call *call)
{
	struct str rest = str_of(call->arg);
	json_t *data = json_object();

	while (rest.p && rest.n) {
		struct str key = str_cut(rest, ',', &rest);
		char *name = str_dup(key);

		/* A key that is not UTF-8 has no place in JSON. */
		if (name && key.n)
			json_object_set_new(data, name, key_json(svc, key));
		free(name);
	}
	answer_json(call, json_pack("{s:b,s:o}", "success", 1, "data", data));
}
