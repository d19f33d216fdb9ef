/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the doctor found, as a table for people and as JSON.  Any thread; only
 * reads.  Invariant: both say the same, finding for finding.
 */
#include "deploy/doctor_check.h"
#include "deploy/table.h"

#define ADVICE_WIDTH 76

static const char *const level_names[DOCTOR_LEVELS] = {
	[DOCTOR_OK] = "OK",
	[DOCTOR_NOTE] = "NOTE",
	[DOCTOR_WARN] = "WARN",
	[DOCTOR_FAIL] = "FAIL",
};

/* Where a line of at most ADVICE_WIDTH bytes ends. */
static size_t line_end(struct str text)
{
	size_t end = MIN(text.n, (size_t)ADVICE_WIDTH);

	if (text.n <= ADVICE_WIDTH)
		return text.n;
	while (end > 0 && text.p[end] != ' ')
		end--;
	if (end)
		return end;
	end = strcspn(text.p, " "); /* a word that is longer */
	return end;
}

static void add_advice(struct table *table, const char *advice)
{
	struct str rest = str_of(advice);
	struct strbuf line = {0};
	const char *mark = "→ ";

	while (rest.n) {
		size_t n = line_end(rest);

		strbuf_reset(&line);
		strbuf_adds(&line, mark);
		strbuf_add(&line, rest.p, n);
		table_add_line(table, line.p ? line.p : "");
		mark = "  ";
		rest.p += n;
		rest.n -= n;
		while (rest.n && *rest.p == ' ') {
			rest.p++;
			rest.n--;
		}
	}
	strbuf_fini(&line);
}

void doctor_format(const struct doctor *d, struct strbuf *out)
{
	static const char *const heads[] = {"RESULT", "CHECK", "FINDING"};
	size_t counts[DOCTOR_LEVELS] = {0};
	struct table table;

	table_init(&table, heads, ARRAY_SIZE(heads));
	for (size_t i = 0; i < d->count; i++) {
		const struct doctor_finding *f = &d->findings[i];

		counts[f->level]++;
		table_add(&table, level_names[f->level]);
		table_add(&table, f->check->name);
		table_addf(&table, "%s%s%s", f->subject,
			   *f->subject ? ": " : "", f->text);
		add_advice(&table, f->advice);
	}
	table_format(&table, out);
	strbuf_addf(out, "\n%zu OK, %zu notes, %zu warnings, %zu failures\n",
		    counts[DOCTOR_OK], counts[DOCTOR_NOTE], counts[DOCTOR_WARN],
		    counts[DOCTOR_FAIL]);
	if (d->is_out_of_memory)
		strbuf_adds(out, "Memory ran out: findings are missing.\n");
}

json_t *doctor_json(const struct doctor *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->count; i++) {
		const struct doctor_finding *f = &d->findings[i];

		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "result",
				  level_names[f->level], "check",
				  f->check->name, "subject", f->subject, "text",
				  f->text, "advice", f->advice, "looked_at",
				  f->check->looks_at));
	}
	return json_pack("{s:s, s:b, s:o}", "result",
			 level_names[doctor_worst(d)], "is_complete",
			 !d->is_out_of_memory, "findings", list);
}
