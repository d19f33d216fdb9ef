/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growable text.  Owned by whoever holds the struct; p is NULL or ends with a
 * NUL at p[n], and n < cap whenever p is set.
 */
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void strbuf_fini(struct strbuf *sb)
{
	if (!sb)
		return;
	if (sb->is_secret && sb->p)
		explicit_bzero(sb->p, sb->cap);
	free(sb->p);
	*sb = (struct strbuf){0};
}

void strbuf_reset(struct strbuf *sb)
{
	sb->n = 0;
	sb->failed = false;
	if (sb->p)
		sb->p[0] = '\0';
}

/* As realloc(), which may leave a copy behind. */
static char *grow(struct strbuf *sb, size_t cap)
{
	char *p;

	if (!sb->is_secret)
		return realloc(sb->p, cap);
	p = malloc(cap);
	if (p && sb->p) {
		memcpy(p, sb->p, sb->n);
		explicit_bzero(sb->p, sb->cap);
		free(sb->p);
	}
	return p;
}

/* Room for more bytes and the NUL. */
static bool has_room(struct strbuf *sb, size_t more)
{
	size_t need, cap = sb->cap ? sb->cap : 64;
	char *p;

	if (sb->failed)
		return false;
	if (add_overflows(sb->n, more, &need) ||
	    add_overflows(need, (size_t)1, &need))
		goto fail;
	if (need <= sb->cap)
		return true;
	while (cap < need)
		if (mul_overflows(cap, (size_t)2, &cap))
			goto fail;
	p = grow(sb, cap);
	if (!p)
		goto fail;
	p[sb->n] = '\0';
	sb->p = p;
	sb->cap = cap;
	return true;

fail:
	sb->failed = true;
	return false;
}

char *strbuf_extend(struct strbuf *sb, size_t n)
{
	if (!has_room(sb, n))
		return NULL;
	sb->n += n;
	sb->p[sb->n] = '\0';
	return sb->p + sb->n - n;
}

void strbuf_add(struct strbuf *sb, const void *p, size_t n)
{
	if (!has_room(sb, n))
		return;
	if (n)
		memcpy(sb->p + sb->n, p, n);
	sb->n += n;
	sb->p[sb->n] = '\0';
}

void strbuf_adds(struct strbuf *sb, const char *cstr)
{
	strbuf_add(sb, cstr, strlen(cstr));
}

void strbuf_addc(struct strbuf *sb, char c)
{
	strbuf_add(sb, &c, 1);
}

void strbuf_vaddf(struct strbuf *sb, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	if (!has_room(sb, 0))
		return;
	va_copy(again, ap);
	n = vsnprintf(sb->p + sb->n, sb->cap - sb->n, fmt, ap);
	ASSERT(n >= 0);
	if ((size_t)n >= sb->cap - sb->n) {
		sb->p[sb->n] = '\0'; /* the cut text, if growing fails */
		if (has_room(sb, (size_t)n))
			vsnprintf(sb->p + sb->n, sb->cap - sb->n, fmt, again);
	}
	va_end(again);
	if (!sb->failed)
		sb->n += (size_t)n;
}

void strbuf_addf(struct strbuf *sb, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(sb, fmt, ap);
	va_end(ap);
}

void strbuf_add_size(struct strbuf *sb, uint64_t bytes)
{
	static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB"};
	double v = (double)bytes;
	size_t unit = 0;

	while (v >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		v /= 1024;
		unit++;
	}
	if (unit == 0)
		strbuf_addf(sb, "%u B", (unsigned)bytes);
	else
		strbuf_addf(sb, "%.2f %s", v, units[unit]);
}
