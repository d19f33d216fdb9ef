/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text: a view that never owns (struct str) and a buffer that grows
 * (struct strbuf).  A view lives no longer than what it points into.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>
#include <string.h>

#include "base/def.h"

struct str {
	const char *p;
	size_t n;
};

#define STR(lit)   ((struct str){(lit), sizeof(lit) - 1})
#define STR_FMT	   "%.*s"
#define STR_ARG(s) (int)(s).n, (s).p

static inline struct str str_of(const char *cstr)
{
	return (struct str){cstr, cstr ? strlen(cstr) : 0};
}

bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b);
bool str_has_prefix(struct str s, struct str prefix);
struct str str_trim(struct str s);
/* Cuts off and returns what stands before the first sep; *rest is the rest
 * (n == 0 and p == NULL when there was no sep). */
struct str str_cut(struct str s, char sep, struct str *rest);
/* Whole-text numbers; -EINVAL for anything else, -ERANGE when too large. */
int str_to_u64(struct str s, uint64_t *out);
int str_to_i64(struct str s, int64_t *out);
int str_to_double(struct str s, double *out);
/* true/1/yes/on/enable(d) and opposites, any case; -EINVAL otherwise. */
int str_to_bool(struct str s, bool *out);
/*
 * Bytes: number (fraction allowed) with optional b, k, kb, kib, m, g, t…,
 * any case, 1024-based, blanks allowed before the suffix: "50gb", "4 GB",
 * "1g", "16777216".  -EINVAL, -ERANGE.
 */
int str_to_size(struct str s, uint64_t *bytes);
/* Milliseconds: plain number = ms, or ms|s|m|h suffix. */
int str_to_ms(struct str s, uint64_t *ms);
/* Owned NUL-terminated copy, or NULL when out of memory. */
char *str_dup(struct str s);

/*
 * Growable buffer.  p is always NUL-terminated (it may be NULL when empty).
 * Running out of memory sets failed and drops further appends; check once at
 * the end.
 */
struct strbuf {
	char *p;
	size_t n;
	size_t cap;
	bool failed;
	bool is_secret; /* memory is overwritten before it is given back */
};

void strbuf_fini(struct strbuf *sb);
void strbuf_reset(struct strbuf *sb); /* empty, memory kept */
void strbuf_add(struct strbuf *sb, const void *p, size_t n);
/* n more bytes, for the caller to fill in; NULL when memory is out. */
char *strbuf_extend(struct strbuf *sb, size_t n);
void strbuf_adds(struct strbuf *sb, const char *cstr);
void strbuf_addc(struct strbuf *sb, char c);
void strbuf_addf(struct strbuf *sb, const char *fmt, ...) PRINTF_LIKE(2, 3);
void strbuf_vaddf(struct strbuf *sb, const char *fmt, va_list ap);
/* Text for humans: "1.50 GB" style as upstream's summary ("n B" below 1 KiB,
 * two decimals above, 1024-based). */
void strbuf_add_size(struct strbuf *sb, uint64_t bytes);
static inline struct str strbuf_str(const struct strbuf *sb)
{
	return (struct str){sb->p ? sb->p : "", sb->n};
}

#endif
