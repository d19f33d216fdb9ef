/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tools print for people: tables with aligned columns, and one line of
 * progress on stderr that exists only when that is a terminal.
 */
#ifndef DEPLOY_TABLE_H
#define DEPLOY_TABLE_H

#include "base/str.h"

#define TABLE_COLUMNS_MAX 12

struct table {
	size_t columns;
	bool is_right[TABLE_COLUMNS_MAX]; /* numbers */
	size_t width[TABLE_COLUMNS_MAX];
	struct strbuf cells; /* NUL-terminated texts, row by row */
	size_t cell_count;
};

/* heads: one per column; a leading '>' makes the column right-aligned. */
void table_init(struct table *table, const char *const *heads, size_t columns);
/* Cells are added row by row, left to right; control characters become '?'. */
void table_add(struct table *table, const char *text);
void table_addf(struct table *table, const char *fmt, ...) PRINTF_LIKE(2, 3);
void table_add_size(struct table *table, uint64_t bytes);
/* An indented line of its own under the row that has just been added: for what
 * would make a column too wide.  "" adds none. */
void table_add_line(struct table *table, const char *text);
/* Appends the table and empties it. */
void table_format(struct table *table, struct strbuf *out);

/* A transport id in fewer columns, "HOST:PORT NQN ns N"; other text as it is.
 */
void add_endpoint_name(struct strbuf *out, const char *text);

/* Replaces the progress line; NULL removes it.  Silent when stderr is no
 * terminal. */
void term_status(const char *fmt, ...) PRINTF_LIKE(1, 2);
void term_progress(const char *what, uint64_t done, uint64_t total);

#endif
