/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: each event is formatted on the caller's stack and leaves in one
 * write(), so lines of several threads never mix.  Any thread; the level and
 * the name are set before threads start and constant afterwards.
 */
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "base/time.h"

#define LINE_MAX_LEN 2048

_Atomic(enum log_level) log_level_max = LOG_INFO;

static const char *log_name;
static const char *const level_names[] = {"ERROR", "WARN", "INFO", "DEBUG"};

int log_level_parse(const char *text, enum log_level *out)
{
	struct str s = str_of(text);

	if (str_eq_nocase(s, STR("warning"))) {
		*out = LOG_WARN;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (!str_eq_nocase(s, str_of(level_names[i])))
			continue;
		*out = (enum log_level)i;
		return 0;
	}
	return -EINVAL;
}

void log_set_name(const char *name)
{
	log_name = name;
}

bool log_is_named(void)
{
	return log_name != NULL;
}

/* "module/file.c": the build directory's prefix says nothing to a reader. */
static const char *short_file(const char *path)
{
	const char *at = path + strlen(path);
	int slashes = 0;

	while (at > path && (at[-1] != '/' || ++slashes < 2))
		at--;
	return at;
}

/* Copies with control characters as \n, \t or \xHH; returns the new end. */
static char *escape(char *at, const char *end, const char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (; *text && end - at >= 4; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c != 0x7f) {
			*at++ = (char)c;
			continue;
		}
		*at++ = '\\';
		if (c == '\n' || c == '\t' || c == '\r') {
			*at++ = c == '\n' ? 'n' : c == '\t' ? 't' : 'r';
			continue;
		}
		*at++ = 'x';
		*at++ = digits[c >> 4];
		*at++ = digits[c & 15];
	}
	return at;
}

static size_t format_prefix(char *out, size_t cap, enum log_level level,
			    const char *place)
{
	uint64_t now = time_wall_ns();
	time_t seconds = (time_t)(now / NS_PER_S);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(out, cap, "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(out + n, cap - n, ".%06uZ %-5s %.64s%s%.64s ",
			      (unsigned)(now % NS_PER_S / NS_PER_US),
			      level_names[level], log_name ? log_name : "",
			      log_name ? " " : "", place);
	return n;
}

void log_line(enum log_level level, const char *file, int line, const char *msg,
	      const char *fmt, ...)
{
	char place[96], values[LINE_MAX_LEN], out[LINE_MAX_LEN];
	char *at = out, *end = out + sizeof(out) - 1;
	va_list ap;

	ASSERT(level <= LOG_DEBUG);
	snprintf(place, sizeof(place), "%.80s:%d", short_file(file), line);
	va_start(ap, fmt);
	vsnprintf(values, sizeof(values), fmt, ap);
	va_end(ap);

	at += format_prefix(out, sizeof(out), level, place);
	at = escape(at, end, msg);
	at = escape(at, end, values);
	while (at > out && at[-1] == ' ')
		at--;
	*at++ = '\n';
	/* A log that cannot be written must not stop what it reports on. */
	if (write(STDERR_FILENO, out, (size_t)(at - out)) < 0)
		return;
}

bool log_rate_take(struct log_rate *rate, uint64_t now_ns, uint32_t *held_back)
{
	if (now_ns < rate->next_ns) {
		rate->held_back++;
		return false;
	}
	*held_back = rate->held_back;
	rate->held_back = 0;
	rate->next_ns = now_ns + NS_PER_S;
	return true;
}
