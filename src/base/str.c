/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views of text and the numbers in them.  Pure functions of their arguments,
 * any thread; nothing here reads past s.p + s.n or needs a NUL.
 */
#include "base/str.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>

bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static char to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool str_eq_nocase(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (to_lower(a.p[i]) != to_lower(b.p[i]))
			return false;
	return true;
}

bool str_has_prefix(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq((struct str){s.p, prefix.n}, prefix);
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

struct str str_trim(struct str s)
{
	while (s.n && is_blank(s.p[0]))
		s = (struct str){s.p + 1, s.n - 1};
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

struct str str_cut(struct str s, char sep, struct str *rest)
{
	const char *at = s.n ? memchr(s.p, sep, s.n) : NULL;

	if (!at) {
		*rest = (struct str){NULL, 0};
		return s;
	}
	*rest = (struct str){at + 1, s.n - (size_t)(at + 1 - s.p)};
	return (struct str){s.p, (size_t)(at - s.p)};
}

int str_to_u64(struct str s, uint64_t *out)
{
	uint64_t v = 0;
	bool over = false;

	if (!s.n)
		return -EINVAL;
	for (size_t i = 0; i < s.n; i++) {
		if (!is_digit(s.p[i]))
			return -EINVAL;
		over |= mul_overflows(v, (uint64_t)10, &v);
		over |= add_overflows(v, (uint64_t)(s.p[i] - '0'), &v);
	}
	if (over)
		return -ERANGE;
	*out = v;
	return 0;
}

int str_to_i64(struct str s, int64_t *out)
{
	bool minus = s.n && s.p[0] == '-';
	uint64_t v;
	int ret;

	if (minus)
		s = (struct str){s.p + 1, s.n - 1};
	ret = str_to_u64(s, &v);
	if (ret)
		return ret;
	if (v > (uint64_t)INT64_MAX + minus)
		return -ERANGE;
	*out = minus ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

int str_to_double(struct str s, double *out)
{
	char text[128], *end;
	locale_t c_locale;
	double v;

	if (!s.n || s.n >= sizeof(text))
		return -EINVAL;
	/* strtod() also takes blanks, hex, "inf" and "nan": we don't. */
	for (size_t i = 0; i < s.n; i++)
		if (!is_digit(s.p[i]) && !memchr("+-.eE", s.p[i], 5))
			return -EINVAL;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	/* The embedding process may have set a locale with a decimal comma. */
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (!c_locale)
		return -ENOMEM;
	v = strtod_l(text, &end, c_locale);
	freelocale(c_locale);
	if (*end || end == text)
		return -EINVAL;
	if (isinf(v))
		return -ERANGE;
	*out = v;
	return 0;
}

int str_to_bool(struct str s, bool *out)
{
	static const struct {
		struct str word;
		bool value;
	} words[] = {
		{{"true", 4}, true},	 {{"1", 1}, true},
		{{"yes", 3}, true},	 {{"on", 2}, true},
		{{"enable", 6}, true},	 {{"enabled", 7}, true},
		{{"t", 1}, true},	 {{"y", 1}, true},
		{{"false", 5}, false},	 {{"0", 1}, false},
		{{"no", 2}, false},	 {{"off", 3}, false},
		{{"disable", 7}, false}, {{"disabled", 8}, false},
		{{"f", 1}, false},	 {{"n", 1}, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!str_eq_nocase(s, words[i].word))
			continue;
		*out = words[i].value;
		return 0;
	}
	return -EINVAL;
}

/* A suffix and what it multiplies by. */
struct scale {
	struct str suffix;
	uint64_t factor;
};

static int find_scale(struct str suffix, const struct scale *scales,
		      size_t count, uint64_t *factor)
{
	for (size_t i = 0; i < count; i++) {
		if (!str_eq_nocase(suffix, scales[i].suffix))
			continue;
		*factor = scales[i].factor;
		return 0;
	}
	return -EINVAL;
}

/* Digits at the start of *s, which moves behind them. */
static struct str take_digits(struct str *s)
{
	struct str digits = {s->p, 0};

	while (digits.n < s->n && is_digit(s->p[digits.n]))
		digits.n++;
	*s = (struct str){s->p + digits.n, s->n - digits.n};
	return digits;
}

/* "1.5g": exact in integers, as a double would lose bytes above 2^53. */
static int scaled(struct str s, const struct scale *scales, size_t count,
		  uint64_t *out)
{
	struct str whole, frac = {NULL, 0};
	uint64_t factor, base, num = 0, den = 1;
	int ret;

	s = str_trim(s);
	if (!s.n)
		return -EINVAL; /* p may be NULL: no arithmetic with it */
	whole = take_digits(&s);
	if (whole.n && s.n && s.p[0] == '.') {
		s = (struct str){s.p + 1, s.n - 1};
		frac = take_digits(&s);
		if (!frac.n)
			return -EINVAL;
	}
	ret = find_scale(str_trim(s), scales, count, &factor);
	if (ret)
		return ret;
	if (frac.n && factor == 1)
		return -EINVAL;
	ret = str_to_u64(whole, &base);
	if (ret)
		return ret;
	for (size_t i = 0; i < frac.n && i < 18; i++, den *= 10)
		num = num * 10 + (uint64_t)(frac.p[i] - '0');
	num = (uint64_t)((unsigned __int128)num * factor / den);
	if (mul_overflows(base, factor, &base) ||
	    add_overflows(base, num, &base))
		return -ERANGE;
	*out = base;
	return 0;
}

int str_to_size(struct str s, uint64_t *bytes)
{
	static const struct scale scales[] = {
		{{"", 0}, 1},
		{{"b", 1}, 1},
		{{"k", 1}, KiB},
		{{"kb", 2}, KiB},
		{{"kib", 3}, KiB},
		{{"m", 1}, MiB},
		{{"mb", 2}, MiB},
		{{"mib", 3}, MiB},
		{{"g", 1}, GiB},
		{{"gb", 2}, GiB},
		{{"gib", 3}, GiB},
		{{"t", 1}, 1024 * GiB},
		{{"tb", 2}, 1024 * GiB},
		{{"tib", 3}, 1024 * GiB},
		{{"p", 1}, MiB * GiB},
		{{"pb", 2}, MiB * GiB},
		{{"pib", 3}, MiB * GiB},
	};

	return scaled(s, scales, ARRAY_SIZE(scales), bytes);
}

int str_to_ms(struct str s, uint64_t *ms)
{
	static const struct scale scales[] = {
		{{"", 0}, 1},
		{{"ms", 2}, 1},
		{{"s", 1}, 1000},
		{{"m", 1}, 60 * 1000},
		{{"h", 1}, 3600 * 1000},
	};

	return scaled(s, scales, ARRAY_SIZE(scales), ms);
}

char *str_dup(struct str s)
{
	char *copy = s.n == SIZE_MAX ? NULL : malloc(s.n + 1);

	if (!copy)
		return NULL;
	if (s.n)
		memcpy(copy, s.p, s.n);
	copy[s.n] = '\0';
	return copy;
}
