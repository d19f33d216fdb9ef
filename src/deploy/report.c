/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports of the pool tools.  Single thread.  Invariant: counts[] adds up to
 * count.
 */
#include "deploy/report.h"

#include <errno.h>
#include <stdlib.h>

#include "deploy/table.h"

static const char *const outcome_names[] = {
	[OUTCOME_NEW] = "new",	       [OUTCOME_TAKEN] = "taken over",
	[OUTCOME_ALREADY] = "already", [OUTCOME_REMOVED] = "removed",
	[OUTCOME_FAILED] = "failed",
};

void report_fini(struct report *report)
{
	free(report->rows);
	*report = (struct report){0};
}

int report_add(struct report *report, const struct report_row *row)
{
	ASSERT(row->outcome < OUTCOME_COUNT);
	if (report->count == report->cap) {
		size_t cap = report->cap ? report->cap * 2 : 16;
		struct report_row *rows =
			realloc(report->rows, cap * sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		report->rows = rows;
		report->cap = cap;
	}
	report->rows[report->count++] = *row;
	report->counts[row->outcome]++;
	return 0;
}

/* Upstream has no word for a namespace that is taken over; nothing was skipped
 * of it. */
static size_t registered(const struct report *report)
{
	return report->counts[OUTCOME_NEW] + report->counts[OUTCOME_TAKEN];
}

static void add_summary(const struct report *report, bool is_removal,
			struct strbuf *out)
{
	const size_t *counts = report->counts;

	strbuf_addf(out, "Total SSDs: %zu\n", report->count);
	if (is_removal) {
		strbuf_addf(out, "Successfully unregistered: %zu\n",
			    counts[OUTCOME_REMOVED]);
		if (counts[OUTCOME_ALREADY])
			strbuf_addf(out, "Not registered (skipped): %zu\n",
				    counts[OUTCOME_ALREADY]);
	} else {
		strbuf_addf(out, "Successfully registered: %zu\n",
			    registered(report));
		strbuf_addf(out, "Already registered (skipped): %zu\n",
			    counts[OUTCOME_ALREADY]);
	}
	strbuf_addf(out, "Failed: %zu\n", counts[OUTCOME_FAILED]);
}

void report_format(const struct report *report, bool is_removal,
		   struct strbuf *out)
{
	static const char *const heads[] = {"STATE", ">SIZE", "NAMESPACE"};
	struct table table;

	if (report->count > 0) {
		table_init(&table, heads, ARRAY_SIZE(heads));
		for (size_t i = 0; i < report->count; i++) {
			const struct report_row *row = &report->rows[i];
			struct strbuf name = {0};

			table_add(&table, outcome_names[row->outcome]);
			if (row->bytes)
				table_add_size(&table, row->bytes);
			else
				table_add(&table, "?");
			add_endpoint_name(&name, row->endpoint);
			table_add(&table, name.p ? name.p : "");
			table_add_line(&table, row->text);
			strbuf_fini(&name);
		}
		table_format(&table, out);
		strbuf_addc(out, '\n');
	}
	add_summary(report, is_removal, out);
}

json_t *report_text(const char *text)
{
	json_t *out = json_string(text); /* NULL: no UTF-8 */
	char *copy = out ? NULL : str_dup(str_of(text));

	for (char *c = copy; c && *c; c++)
		if (*c & 0x80)
			*c = '?';
	if (copy)
		out = json_string(copy);
	free(copy);
	return out;
}

static json_t *row_json(const struct report_row *row)
{
	return json_pack("{s:s, s:o, s:s, s:I, s:o}", "state",
			 outcome_names[row->outcome], "endpoint",
			 report_text(row->endpoint), "segment", row->segment,
			 "size", (json_int_t)row->bytes, "message",
			 report_text(row->text));
}

void report_format_json(const struct report *report, struct strbuf *out)
{
	json_t *rows = json_array(), *root;
	char *text;

	for (size_t i = 0; i < report->count; i++)
		json_array_append_new(rows, row_json(&report->rows[i]));
	root = json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:o}", "total",
		(json_int_t)report->count, "registered",
		(json_int_t)registered(report), "already_registered",
		(json_int_t)report->counts[OUTCOME_ALREADY], "unregistered",
		(json_int_t)report->counts[OUTCOME_REMOVED], "failed",
		(json_int_t)report->counts[OUTCOME_FAILED], "namespaces", rows);
	text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	if (text) {
		strbuf_adds(out, text);
		strbuf_addc(out, '\n');
	} else {
		out->failed = true;
	}
	free(text);
	json_decref(root);
}

int report_exit_status(const struct report *report)
{
	return report->count == 0 || report->counts[OUTCOME_FAILED] > 0;
}
