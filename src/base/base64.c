/* SPDX-License-Identifier: Apache-2.0 */
/* Base64.  Pure functions. */
#include "base/base64.h"

#include <errno.h>

#define LINE_BYTES 57 /* 76 characters */
#define PAD	   64
#define SKIP	   65
#define BAD	   66

static const char digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct strbuf *out, const void *from, size_t n,
		   bool is_wrapped)
{
	const uint8_t *p = from;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16;
		char four[4];

		v |= i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0;
		v |= i + 2 < n ? p[i + 2] : 0;
		four[0] = digits[v >> 18];
		four[1] = digits[v >> 12 & 63];
		four[2] = i + 1 < n ? digits[v >> 6 & 63] : '=';
		four[3] = i + 2 < n ? digits[v & 63] : '=';
		strbuf_add(out, four, sizeof(four));
		if (is_wrapped && i % LINE_BYTES == LINE_BYTES - 3)
			strbuf_addc(out, '\n');
	}
}

static unsigned value_of(char c)
{
	const char *at;

	if (c == '=')
		return PAD;
	if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
		return SKIP;
	at = c ? strchr(digits, c) : NULL;
	return at ? (unsigned)(at - digits) : BAD;
}

int base64_decode(struct strbuf *out, struct str text)
{
	uint32_t v = 0;
	unsigned have = 0, pads = 0;

	for (size_t i = 0; i < text.n; i++) {
		unsigned x = value_of(text.p[i]);
		uint8_t three[3];

		if (x == SKIP)
			continue;
		if (have == 5 || x == BAD || (pads && x != PAD) ||
		    (x == PAD && have < 2))
			return -EINVAL;
		pads += x == PAD;
		v = v << 6 | (x & 63);
		if (++have < 4)
			continue;
		three[0] = (uint8_t)(v >> 16);
		three[1] = (uint8_t)(v >> 8);
		three[2] = (uint8_t)v;
		strbuf_add(out, three, 3 - pads);
		if (pads)
			have = 5; /* nothing may follow */
		else
			have = 0;
		v = 0;
	}
	return have == 0 || have == 5 ? 0 : -EINVAL;
}
