/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MOUNT, DRAIN and UNMOUNT of namespaces.  Single thread, one call at a time.
 * The master does the looking and the writing; here is only what it is told and
 * what it answers.  Invariant: each call ends as rows of the report.
 */
#include <errno.h>
#include <stdio.h>

#include "base/status.h"
#include "base/time.h"
#include "base/uuid.h"
#include "deploy/drain.h"
#include "deploy/table.h"
#include "deploy/tool.h"

struct path_texts {
	char text[NS_PATHS_MAX][ENDPOINT_TEXT_LEN];
	char *items[NS_PATHS_MAX];
};

static void format_paths(const struct ns_entry *entry, struct path_texts *out)
{
	for (size_t i = 0; i < entry->path_count; i++) {
		endpoint_format(&entry->paths[i], out->text[i]);
		out->items[i] = out->text[i];
	}
}

static void row_set_segment(struct report_row *row, const Mc__Segment *seg)
{
	struct uuid id;

	if (!seg)
		return;
	row->bytes = seg->size;
	if (seg->id.len == sizeof(id.b)) {
		memcpy(id.b, seg->id.data, sizeof(id.b));
		uuid_format_hex(&id, row->segment);
	}
}

/* The master's sentence, or that of its status. */
static void row_set_reason(struct report_row *row, int32_t status,
			   const char *sentence)
{
	row->outcome = OUTCOME_FAILED;
	if (sentence && *sentence)
		snprintf(row->text, sizeof(row->text), "%s", sentence);
	else
		snprintf(row->text, sizeof(row->text), "%s (%d)",
			 status_text((enum mooncake_status)status), status);
}

/* It was mounted before. */
static void row_set_known(struct report_row *row, const Mc__MountRsp *rsp)
{
	const Mc__Segment *seg = rsp->segment;

	if (rsp->taken_over) {
		row->outcome = OUTCOME_TAKEN;
		snprintf(row->text, sizeof(row->text),
			 "it was fenced and is taken over: what the journal "
			 "knows of it is there again");
	} else if (rsp->already) {
		row->outcome = OUTCOME_ALREADY;
		if (seg && seg->state == MC__SEGMENT_STATE__SEGMENT_OFFLINE)
			snprintf(row->text, sizeof(row->text),
				 "it is OFFLINE: %.230s", seg->message);
	}
}

static int mount_one(struct tool *tool, const struct ns_entry *entry)
{
	struct report_row row = {.outcome = OUTCOME_NEW, .bytes = entry->bytes};
	Mc__MountReq req = MC__MOUNT_REQ__INIT;
	Mc__Segment segment = MC__SEGMENT__INIT;
	const ProtobufCMessage *msg;
	const Mc__MountRsp *rsp;
	struct path_texts paths;
	struct err err = {0};
	int ret;

	format_paths(entry, &paths);
	segment.kind = MC__KIND__NOF_SSD;
	segment.n_endpoints = entry->path_count;
	segment.endpoints = paths.items;
	segment.size = entry->bytes;
	req.segment = &segment;
	req.force = tool->config->force;
	memcpy(row.endpoint, paths.text[0], sizeof(row.endpoint));
	ret = rpc_sync_call(tool->master, METHOD_MOUNT, &req.base, &msg, &err);
	if (ret < 0)
		return tool_fail_row(tool, row.endpoint, row.bytes, err.text);
	rsp = (const void *)msg;
	row_set_segment(&row, rsp->segment);
	if (rsp->status != MOONCAKE_OK)
		row_set_reason(&row, rsp->status, rsp->error);
	else
		row_set_known(&row, rsp);
	if (rsp->undrained)
		snprintf(row.text, sizeof(row.text),
			 "it was DRAINING and takes new objects again");
	return report_add(&tool->report, &row);
}

int tool_register(struct tool *tool, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < tool->list.count && ret == 0; i++) {
		const struct ns_entry *entry = &tool->list.items[i];

		term_status("registering %zu of %zu: %s ns:%u …", i + 1,
			    tool->list.count, entry->subnqn, entry->nsid);
		ret = mount_one(tool, entry);
	}
	return ret < 0 ? err_set(err, ret, "out of memory") : 0;
}

static int add_unmounted(struct tool *tool, const Mc__UnmountRsp *rsp)
{
	int ret = 0;

	for (size_t i = 0; i < rsp->n_segments && ret == 0; i++) {
		struct report_row row = {.outcome = OUTCOME_REMOVED};
		const Mc__Segment *seg = rsp->segments[i];

		row_set_segment(&row, seg);
		snprintf(row.endpoint, sizeof(row.endpoint), "%s", seg->name);
		if (i == 0 && rsp->dropped_objects)
			snprintf(row.text, sizeof(row.text),
				 "%llu object%s lost the last replica",
				 (unsigned long long)rsp->dropped_objects,
				 rsp->dropped_objects == 1 ? "" : "s");
		ret = report_add(&tool->report, &row);
	}
	return ret;
}

/* What unmount_one() and drain_begin() have in common: 1 when the master knows
 * no such segment (no row is added then), 0, or -ENOMEM. */
typedef int (*removal_fn)(struct tool *tool, Mc__UnmountReq *req,
			  const char *name);

/* DRAIN_IDLE when there is nothing to wait for. */
static int wait_one(struct tool *tool, Mc__UnmountReq *req, const char *name)
{
	if (!tool->config->drain_ms)
		return DRAIN_IDLE;
	req->only_idle = true;
	return drain_wait(tool, req, name, tool->drain_until_ns);
}

static int unmount_one(struct tool *tool, Mc__UnmountReq *req, const char *name)
{
	const ProtobufCMessage *msg;
	const Mc__UnmountRsp *rsp;
	struct report_row row;
	struct err err = {0};
	int ret = wait_one(tool, req, name);

	if (ret != DRAIN_IDLE)
		return ret == DRAIN_FAILED ? 0 : ret;
	ret = rpc_sync_call(tool->master, METHOD_UNMOUNT, &req->base, &msg,
			    &err);
	if (ret < 0)
		return tool_fail_row(tool, name, 0, err.text);
	rsp = (const void *)msg;
	if (rsp->status == MOONCAKE_SEGMENT_NOT_FOUND ||
	    (rsp->status == MOONCAKE_OK && rsp->n_segments == 0))
		return 1;
	if (rsp->status == MOONCAKE_OK)
		return add_unmounted(tool, rsp);
	/* Somebody has begun to read between the two calls. */
	if (req->only_idle && time_mono_ns() < tool->drain_until_ns &&
	    rsp->status == MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS)
		return unmount_one(tool, req, name);
	row_set_reason(&row, rsp->status, rsp->error);
	return tool_fail_row(tool, name, 0, row.text);
}

/* By any of its paths: the master may know only some of them. */
static int each_path(struct tool *tool, const struct ns_entry *entry,
		     removal_fn fn)
{
	struct path_texts paths;
	int ret = 1;

	format_paths(entry, &paths);
	for (size_t i = 0; i < entry->path_count && ret == 1; i++) {
		Mc__UnmountReq req = MC__UNMOUNT_REQ__INIT;

		req.endpoint = paths.text[i];
		ret = fn(tool, &req, paths.text[i]);
	}
	return ret;
}

static int unmount_entry(struct tool *tool, const struct ns_entry *entry)
{
	int ret = each_path(tool, entry, unmount_one);
	struct report_row row = {
		.outcome = OUTCOME_ALREADY,
		.text = "it is not registered",
	};

	if (ret != 1)
		return ret;
	endpoint_format(&entry->paths[0], row.endpoint);
	/* A target serves more than what was registered of it. */
	if (!tool->named)
		return report_add(&tool->report, &row);
	return tool_fail_row(tool, row.endpoint, 0,
			     "the master knows no such namespace; "
			     "'mooncakectl segments' lists what it has");
}

/* 1 also when text is no id. */
static int by_id(struct tool *tool, const char *text, removal_fn fn)
{
	Mc__UnmountReq req = MC__UNMOUNT_REQ__INIT;
	struct uuid id;

	if (uuid_parse(str_of(text), &id))
		return 1;
	req.id.data = id.b;
	req.id.len = sizeof(id.b);
	return fn(tool, &req, text);
}

static int unmount_segment(struct tool *tool, const char *text)
{
	struct uuid id;
	int ret = by_id(tool, text, unmount_one);

	if (ret != 1)
		return ret;
	return tool_fail_row(tool, text, 0,
			     uuid_parse(str_of(text), &id)
				     ? "that is no segment id; 'mooncakectl "
				       "segments' lists them"
				     : "the master knows no such segment; "
				       "'mooncakectl segments' lists what it "
				       "has");
}

/* All at once: they wait for each other's readers together. */
static void drain_all(struct tool *tool)
{
	const struct flag_list *segments = &tool->config->segments;

	drain_open();
	tool->drain_until_ns =
		time_mono_ns() + tool->config->drain_ms * NS_PER_MS;
	for (size_t i = 0; i < tool->list.count; i++)
		each_path(tool, &tool->list.items[i], drain_begin);
	for (size_t i = 0; i < segments->count; i++)
		by_id(tool, segments->items[i], drain_begin);
}

int tool_unregister(struct tool *tool, struct err *err)
{
	const struct flag_list *segments = &tool->config->segments;
	int ret = 0;

	if (tool->config->drain_ms)
		drain_all(tool);
	for (size_t i = 0; i < tool->list.count && ret == 0; i++) {
		term_status("unregistering %zu of %zu …", i + 1,
			    tool->list.count);
		ret = unmount_entry(tool, &tool->list.items[i]);
	}
	for (size_t i = 0; i < segments->count && ret == 0; i++)
		ret = unmount_segment(tool, segments->items[i]);
	return ret < 0 ? err_set(err, ret, "out of memory") : 0;
}
