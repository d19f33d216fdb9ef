/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs as bytes and text.  Pure functions but for uuid_make(); any thread. */
#include "base/uuid.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/rand.h"

#define HEX_DIGITS	32
#define HEX_WITH_DASHES 36

void uuid_make(struct uuid *u)
{
	rand_fill_os(u->b, sizeof(u->b));
	u->b[6] = (uint8_t)((u->b[6] & 0x0f) | 0x40); /* version 4 */
	u->b[8] = (uint8_t)((u->b[8] & 0x3f) | 0x80); /* RFC 9562 variant */
}

bool uuid_eq(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool uuid_is_zero(const struct uuid *u)
{
	return uuid_eq(u, &(struct uuid){0});
}

static bool has_dash_before(size_t byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_format_hex(const struct uuid *u, char out[UUID_TEXT_LEN])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < sizeof(u->b); i++) {
		if (has_dash_before(i))
			*out++ = '-';
		*out++ = digits[u->b[i] >> 4];
		*out++ = digits[u->b[i] & 15];
	}
	*out = '\0';
}

static uint64_t get_half(const uint8_t *b)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | b[i];
	return v;
}

static void set_half(uint8_t *b, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		b[i] = (uint8_t)v;
}

void uuid_format_dec(const struct uuid *u, char out[UUID_TEXT_LEN])
{
	snprintf(out, UUID_TEXT_LEN, "%" PRIu64 "-%" PRIu64, get_half(u->b),
		 get_half(u->b + 8));
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_hex(struct str s, struct uuid *out)
{
	const char *p = s.p;

	for (size_t i = 0; i < sizeof(out->b); i++) {
		int high, low;

		if (s.n == HEX_WITH_DASHES && has_dash_before(i) && *p++ != '-')
			return -EINVAL;
		high = hex_digit(*p++);
		low = hex_digit(*p++);
		if (high < 0 || low < 0)
			return -EINVAL;
		out->b[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

int uuid_parse(struct str s, struct uuid *out)
{
	struct str rest, first = str_cut(s, '-', &rest);
	struct uuid u;
	uint64_t high, low;

	if (str_to_u64(first, &high) == 0 && str_to_u64(rest, &low) == 0) {
		set_half(u.b, high);
		set_half(u.b + 8, low);
	} else if ((s.n != HEX_DIGITS && s.n != HEX_WITH_DASHES) ||
		   parse_hex(s, &u)) {
		return -EINVAL;
	}
	*out = u;
	return 0;
}
