/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables and progress.  Single thread, programs only.  Invariant: cell i is in
 * column i % columns, and width[] covers every cell that was added.
 */
#include "deploy/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/hostport.h"
#include "nvme/endpoint.h"

#define BAR_WIDTH 30
/* In front of a line's text; cells have no control characters. */
#define LINE_MARK   '\1'
#define LINE_INDENT "    "

/* Characters, not bytes. */
static size_t text_width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

void table_init(struct table *table, const char *const *heads, size_t columns)
{
	ASSERT(columns > 0 && columns <= TABLE_COLUMNS_MAX);
	*table = (struct table){.columns = columns};
	for (size_t i = 0; i < columns; i++) {
		table->is_right[i] = heads[i][0] == '>';
		table_add(table, heads[i] + table->is_right[i]);
	}
}

static void add_text(struct table *table, const char *text)
{
	for (; *text; text++)
		strbuf_addc(&table->cells,
			    (unsigned char)*text < 0x20 || *text == 0x7f
				    ? '?'
				    : *text);
	strbuf_addc(&table->cells, '\0');
}

void table_add(struct table *table, const char *text)
{
	size_t column = table->cell_count++ % table->columns;

	table->width[column] = MAX(table->width[column], text_width(text));
	add_text(table, text);
}

void table_add_line(struct table *table, const char *text)
{
	ASSERT(table->cell_count % table->columns == 0);
	if (!*text)
		return;
	strbuf_addc(&table->cells, LINE_MARK);
	add_text(table, text);
}

static const char *format_lines(const char *cell, const char *end,
				struct strbuf *out)
{
	while (cell < end && *cell == LINE_MARK) {
		strbuf_addf(out, LINE_INDENT "%s\n", cell + 1);
		cell += strlen(cell) + 1;
	}
	return cell;
}

void table_addf(struct table *table, const char *fmt, ...)
{
	struct strbuf text = {0};
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	table_add(table, text.p ? text.p : "");
	strbuf_fini(&text);
}

void table_add_size(struct table *table, uint64_t bytes)
{
	struct strbuf text = {0};

	strbuf_add_size(&text, bytes);
	table_add(table, text.p ? text.p : "");
	strbuf_fini(&text);
}

void table_format(struct table *table, struct strbuf *out)
{
	const char *cell = table->cells.p;
	const char *end = cell + table->cells.n;

	ASSERT(table->cell_count % table->columns == 0);
	for (size_t i = 0; i < table->cell_count && !table->cells.failed; i++) {
		size_t column = i % table->columns;
		size_t pad = table->width[column] - text_width(cell);
		bool is_last = column + 1 == table->columns;

		if (table->is_right[column])
			strbuf_addf(out, "%*s%s", (int)pad, "", cell);
		else
			strbuf_addf(out, "%s%*s", cell, is_last ? 0 : (int)pad,
				    "");
		strbuf_adds(out, is_last ? "\n" : "  ");
		cell += strlen(cell) + 1;
		if (is_last)
			cell = format_lines(cell, end, out);
	}
	strbuf_fini(&table->cells);
	*table = (struct table){0};
}

void add_endpoint_name(struct strbuf *out, const char *text)
{
	char address[HOST_TEXT_LEN + 8];
	struct err ignored = {0};
	struct hostport hp = {0};
	struct endpoint ep;

	if (endpoint_parse(str_of(text), &ep, &ignored) || !ep.subnqn[0]) {
		strbuf_adds(out, text);
		return;
	}
	snprintf(hp.host, sizeof(hp.host), "%s", ep.traddr);
	hp.port = ep.trsvcid;
	hp.has_port = true;
	hostport_format(&hp, address);
	strbuf_addf(out, "%s %s", address, ep.subnqn);
	if (ep.nsid)
		strbuf_addf(out, " ns %u", ep.nsid);
}

static void term_line(const char *text)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s", text);
}

void term_status(const char *fmt, ...)
{
	char text[200] = "";
	va_list ap;

	if (fmt) {
		va_start(ap, fmt);
		vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
	}
	term_line(text);
}

void term_progress(const char *what, uint64_t done, uint64_t total)
{
	unsigned filled = total ? (unsigned)(done * BAR_WIDTH / total) : 0;
	struct strbuf sizes = {0};
	char bar[BAR_WIDTH + 1];

	for (unsigned i = 0; i < BAR_WIDTH; i++)
		bar[i] = i < filled ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
	strbuf_add_size(&sizes, done);
	strbuf_adds(&sizes, " of ");
	strbuf_add_size(&sizes, total);
	term_status("%s [%s] %s", what, bar, sizes.p ? sizes.p : "");
	strbuf_fini(&sizes);
}
