/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncakectl journal: looks at a master's journal without it, or asks it for a
 * snapshot.  One thread.  Invariant: only "cut" changes a file.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/ctl.h"
#include "journal/files.h"
#include "journal/record.h"
#include "master/rehearse.h"

#define FLUSH_BYTES ((size_t)64 << 10)

/* What there is, as records say it. */
struct look {
	struct ctl *ctl;
	bool is_dump;
	uint64_t counts[16]; /* by type, of those that were applied */
	struct rehearsal found;
	struct jr_object object;
};

static void add_uuid(struct strbuf *out, const char *name,
		     const struct uuid *id)
{
	char text[UUID_TEXT_LEN];

	uuid_format_hex(id, text);
	strbuf_addf(out, " %s=%s", name, text);
}

/* What is 0 is not said. */
static void add_ms(struct strbuf *out, const char *name, uint64_t ms)
{
	if (ms)
		strbuf_addf(out, " %s=%llu", name, (unsigned long long)ms);
}

static void add_key(struct strbuf *out, struct str key)
{
	strbuf_adds(out, " key=\"");
	ctl_add_key(out, key);
	strbuf_addc(out, '"');
}

static void add_replicas(struct strbuf *out, const struct jr_object *r)
{
	for (uint32_t i = 0; i < r->replica_count; i++) {
		const struct jr_replica *rep = &r->replicas[i];

		strbuf_addf(out, " %s[%u]=", rep->kind ? "nof" : "memory",
			    rep->index);
		for (uint32_t k = 0; k < rep->extent_count; k++)
			strbuf_addf(out, "%s%u:%llu+%llu", k ? "," : "",
				    rep->extents[k].segment,
				    (unsigned long long)rep->extents[k].off,
				    (unsigned long long)rep->extents[k].len);
	}
}

static bool add_segment(struct strbuf *out, struct look *look, struct str body)
{
	struct jr_segment r;

	if (!jr_segment_decode(body, &r))
		return false;
	strbuf_addf(out, " no=%u kind=%s size=%llu epoch=%llu draining=%d",
		    r.no, r.kind ? "nof" : "memory", (unsigned long long)r.size,
		    (unsigned long long)r.epoch, r.is_draining);
	add_uuid(out, "id", &r.id);
	strbuf_addf(out, " name=\"" STR_FMT "\"", STR_ARG(r.name));
	for (uint32_t i = 0; i < r.path_count; i++)
		strbuf_addf(out, " path=\"" STR_FMT "\"", STR_ARG(r.paths[i]));
	return true;
}

static bool add_segment_gone(struct strbuf *out, struct look *look,
			     struct str body)
{
	struct jr_segment_gone r;

	if (!jr_segment_gone_decode(body, &r))
		return false;
	strbuf_addf(out, " no=%u", r.no);
	add_uuid(out, "id", &r.id);
	add_ms(out, "writers_ms", r.writers_ms);
	return true;
}

static bool add_grant(struct strbuf *out, struct look *look, struct str body)
{
	if (!jr_object_decode(body, &look->object))
		return false;
	strbuf_addf(out, " generation=%llu",
		    (unsigned long long)look->object.generation);
	add_ms(out, "writers_ms", look->object.soft_pin_ms);
	add_replicas(out, &look->object);
	return true;
}

static bool add_object(struct strbuf *out, struct look *look, struct str body)
{
	if (!jr_object_decode(body, &look->object))
		return false;
	add_key(out, look->object.key);
	strbuf_addf(out, " size=%llu generation=%llu",
		    (unsigned long long)look->object.size,
		    (unsigned long long)look->object.generation);
	add_replicas(out, &look->object);
	return true;
}

static bool add_gone(struct strbuf *out, struct look *look, struct str body)
{
	struct jr_gone r;

	if (!jr_gone_decode(body, &r))
		return false;
	add_key(out, r.key);
	strbuf_addf(out, " generation=%llu replica=%u",
		    (unsigned long long)r.generation, r.index);
	return true;
}

static bool add_group(struct strbuf *out, struct look *look, struct str body)
{
	struct jr_group r;

	if (!jr_group_decode(body, &r))
		return false;
	add_key(out, r.key);
	strbuf_addf(out, " generation=%llu group_bytes=%zu",
		    (unsigned long long)r.generation, r.group.n);
	return true;
}

static bool add_marks(struct strbuf *out, struct look *look, struct str body)
{
	struct jr_marks r;

	if (!jr_marks_decode(body, &r))
		return false;
	strbuf_addf(out, " generation=%llu segment=%u",
		    (unsigned long long)r.generation, r.segment_no);
	return true;
}

static bool add_scrub(struct strbuf *out, struct look *look, struct str body)
{
	struct jr_scrub r;

	if (!jr_scrub_decode(body, &r))
		return false;
	strbuf_addf(out, " generation=%llu due_ms=%llu",
		    (unsigned long long)r.generation,
		    (unsigned long long)r.due_ms);
	return true;
}

static bool (*const add_body[])(struct strbuf *out, struct look *look,
				struct str body) = {
	[JR_SEGMENT] = add_segment,   [JR_SEGMENT_GONE] = add_segment_gone,
	[JR_GRANT] = add_grant,	      [JR_OBJECT] = add_object,
	[JR_REPLICA_GONE] = add_gone, [JR_OBJECT_GONE] = add_gone,
	[JR_MARKS] = add_marks,	      [JR_GROUP] = add_group,
	[JR_SCRUB] = add_scrub,
};

/* A dump shows what no master would take, too. */
static void add_line(struct look *look, const struct jr_frame *frame)
{
	struct str body = {(const char *)frame->body, frame->len};
	struct strbuf *out = &look->ctl->out;
	const char *name = jr_type_name(frame->type);

	strbuf_addf(out, "%llu %s", (unsigned long long)frame->sequence,
		    name ? name : "unknown");
	if (frame->type >= ARRAY_SIZE(add_body) || !add_body[frame->type])
		strbuf_addf(out, " type=%u bytes=%u", frame->type, frame->len);
	else if (!add_body[frame->type](out, look, body))
		strbuf_addf(out, " (its %u bytes make no sense)", frame->len);
	strbuf_addc(out, '\n');
	if (out->n > FLUSH_BYTES) {
		fwrite(out->p, 1, out->n, stdout);
		strbuf_reset(out);
	}
}

static int look_at(const struct jr_frame *frame, void *arg, struct err *err)
{
	struct look *look = arg;

	if (look->is_dump)
		add_line(look, frame);
	else
		look->counts[frame->type]++;
	return 0;
}

/* --- check, dump, cut --- */

static void report_text(struct strbuf *out, const struct jr_report *r)
{
	if (r->cluster_id[0])
		strbuf_addf(out, "cluster %s\n", r->cluster_id);
	if (r->has_snapshot)
		strbuf_addf(out, "snapshot up to record %llu: %llu records\n",
			    (unsigned long long)r->snapshot,
			    (unsigned long long)r->snapshot_records);
	strbuf_addf(out, "%u logs: %llu records behind it, %llu bytes\n",
		    r->logs, (unsigned long long)r->log_records,
		    (unsigned long long)r->log_bytes);
	if (r->torn_bytes)
		strbuf_addf(out,
			    "%s: a torn tail of %llu bytes, which the next "
			    "start cuts\n",
			    r->torn.text, (unsigned long long)r->torn_bytes);
	if (r->bare_logs)
		strbuf_addf(out,
			    "%s: no header, nothing was ever in it; the next "
			    "start removes it\n",
			    r->bare.text);
	if (r->void_from)
		strbuf_addf(out, "logs from record %llu on do not count: %s\n",
			    (unsigned long long)r->void_from,
			    r->is_end_lost
				    ? "the end of the log before them is lost"
				    : "their snapshot is not there");
}

static int report_json(struct ctl *ctl, const struct look *look,
		       const struct jr_report *r, struct err *err)
{
	const struct rehearsal *found = &look->found;
	json_t *types = json_object();

	for (uint32_t i = 0; i < ARRAY_SIZE(look->counts); i++)
		if (jr_type_name(i))
			json_object_set_new(
				types, jr_type_name(i),
				json_integer((json_int_t)look->counts[i]));
	return ctl_print_json(
		ctl,
		json_pack("{s:s,s:I,s:i,s:I,s:I,s:i,s:I,s:I,s:I,s:I,s:o}",
			  "cluster_id", r->cluster_id, "objects",
			  (json_int_t)found->objects, "segments",
			  (int)found->segments, "snapshot",
			  (json_int_t)r->snapshot, "snapshot_records",
			  (json_int_t)r->snapshot_records, "logs", (int)r->logs,
			  "log_records", (json_int_t)r->log_records,
			  "log_bytes", (json_int_t)r->log_bytes, "torn_bytes",
			  (json_int_t)r->torn_bytes, "next",
			  (json_int_t)r->next, "types", types),
		err);
}

static int print_check(struct ctl *ctl, const struct look *look,
		       const struct jr_report *report, struct err *err)
{
	if (ctl->config.json)
		return report_json(ctl, look, report, err);
	report_text(&ctl->out, report);
	for (uint32_t i = 0; i < ARRAY_SIZE(look->counts); i++)
		if (look->counts[i])
			strbuf_addf(&ctl->out, "%12llu %s\n",
				    (unsigned long long)look->counts[i],
				    jr_type_name(i));
	strbuf_addf(
		&ctl->out, "the journal is whole: %llu objects, %u segments\n",
		(unsigned long long)look->found.objects, look->found.segments);
	return 0;
}

/* The sentence that says why comes behind it. */
static void print_refused(struct ctl *ctl, const char *path,
			  const struct look *look,
			  const struct jr_report *report)
{
	struct strbuf text = {0};

	rehearse_advise(&text, path, report, look->found.objects,
			look->found.segments);
	if (text.n && !text.failed)
		strbuf_addf(&ctl->out,
			    "what can be done without a copy: %s\n", text.p);
	strbuf_fini(&text);
}

static int run_look(struct ctl *ctl, const char *path, bool is_dump,
		    struct err *err)
{
	struct look look = {.ctl = ctl, .is_dump = is_dump};
	int dir_fd = jr_dir_open(path, false, err);
	struct jr_report report;
	int ret = dir_fd;

	if (dir_fd < 0)
		return ret;
	look.found.see = look_at;
	look.found.arg = &look;
	if (is_dump)
		ret = jr_walk(dir_fd, NULL, look_at, &look, &report, err);
	else
		ret = rehearse(dir_fd, &look.found, &report, err);
	close(dir_fd);
	if (ret < 0 && !is_dump && !ctl->config.json)
		print_refused(ctl, path, &look, &report);
	return ret < 0 || is_dump ? ret : print_check(ctl, &look, &report, err);
}

static int read_as_master(int dir_fd, struct jr_report *report, struct err *err)
{
	struct rehearsal r = {0};

	return rehearse(dir_fd, &r, report, err);
}

static int run_cut(struct ctl *ctl, const char *path, struct err *err)
{
	struct jr_report report;
	int ret = files_cut(path, read_as_master, &report, err);

	if (ret < 0)
		return ret;
	if (ret == 0) {
		strbuf_adds(&ctl->out, "nothing to cut: it can be read\n");
		return 0;
	}
	strbuf_addf(&ctl->out,
		    "cut at byte %llu of %s; what was behind is in "
		    "cut-%u-* there\n",
		    (unsigned long long)report.fault_at, report.fault.text,
		    report.cut_no);
	if (report.next > 1)
		strbuf_addf(&ctl->out,
			    "up to record %llu it can be read; namespaces "
			    "that are fenced at the next start need "
			    "mooncake_ssd_register --force\n",
			    (unsigned long long)(report.next - 1));
	else
		strbuf_adds(&ctl->out, "nothing is left: register the "
				       "namespaces again\n");
	return 0;
}

static int run_snapshot(struct ctl *ctl, struct err *err)
{
	Mc__StatsReq req = MC__STATS_REQ__INIT;
	const ProtobufCMessage *msg;
	const Mc__CountRsp *rsp;
	int ret = rpc_sync_dial(ctl->config.master,
				(uint32_t)ctl->config.timeout_ms, &ctl->master,
				err);

	if (ret == 0)
		ret = ctl_call(ctl, METHOD_SNAPSHOT, &req.base, &msg, err);
	if (ret < 0)
		return ret;
	rsp = (const Mc__CountRsp *)msg;
	if (rsp->status)
		return err_set(err, -EIO, "%s", rsp->error);
	strbuf_addf(&ctl->out, "a snapshot of %llu objects is on disk\n",
		    (unsigned long long)rsp->count);
	return 0;
}

static int run(struct ctl *ctl, struct err *err)
{
	const char *what = ctl->args->items[0];
	bool has_dir = ctl->args->count > 1;

	if (strcmp(what, "snapshot") == 0 && !has_dir)
		return run_snapshot(ctl, err);
	if (has_dir && strcmp(what, "check") == 0)
		return run_look(ctl, ctl->args->items[1], false, err);
	if (has_dir && strcmp(what, "dump") == 0 && !ctl->config.json)
		return run_look(ctl, ctl->args->items[1], true, err);
	if (has_dir && strcmp(what, "cut") == 0)
		return run_cut(ctl, ctl->args->items[1], err);
	return err_set(err, -EINVAL,
		       "expected 'check DIR', 'dump DIR' (lines, no JSON), "
		       "'cut DIR' or 'snapshot'");
}

static const struct flag journal_flags[] = {CTL_COMMON_FLAGS};

const struct ctl_command ctl_journal = {
	.prog = {.name = CTL_NAME " journal",
		 .summary = "look at a master's journal, ask for a snapshot",
		 .usage = "[options] check|dump|cut DIR | snapshot",
		 .details =
			 "check DIR: reads and applies all of it, as a master "
			 "would at its start, and says what is wrong\n"
			 "dump DIR: a line for each record\n"
			 "cut DIR: gives up everything from the first fault "
			 "on; keep a copy before\n"
			 "snapshot: has the master write one now, and waits "
			 "for it",
		 .examples = "  " CTL_NAME " journal check "
			     "/var/lib/mooncake-master\n"
			     "  " CTL_NAME " journal snapshot\n",
		 .flags = journal_flags,
		 .flag_count = ARRAY_SIZE(journal_flags),
		 .args_min = 1,
		 .args_max = 2},
	.run = run,
	.is_without_master = true, /* but for one word */
};
