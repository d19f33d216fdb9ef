/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event on stderr: time, level, place, message, key=value pairs.
 *
 *	log_warn("nof segment offline", "segment=%s failures=%u", name, n);
 *
 * The message is a constant a person can grep for; values stand in the format.
 * Thread-safe (one write per line).  Secrets are never arguments.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/def.h"

enum log_level {
	LOG_ERROR,
	LOG_WARN,
	LOG_INFO,
	LOG_DEBUG
};

/* Any thread may change it at any time. */
extern _Atomic(enum log_level) log_level_max;

/* "error|warn|warning|info|debug"; -EINVAL. */
int log_level_parse(const char *text, enum log_level *out);
/* Name printed in each line, e.g. the program; static storage. */
void log_set_name(const char *name);
bool log_is_named(void);
/* fmt begins with the blank that parts it from msg. */
void log_line(enum log_level level, const char *file, int line, const char *msg,
	      const char *fmt, ...) PRINTF_LIKE(5, 6);

/*
 * For what a peer can cause as often as it likes: at most one line a second.
 * true: write it, with how many were held back since the last one.
 */
struct log_rate {
	uint64_t next_ns;
	uint32_t held_back;
};
bool log_rate_take(struct log_rate *rate, uint64_t now_ns, uint32_t *held_back);

#define LOG_AT(level, msg, ...)                                                \
	do {                                                                   \
		if ((level) <= log_level_max)                                  \
			log_line(level, __FILE__, __LINE__, msg, __VA_ARGS__); \
	} while (0)
#define log_err(msg, ...)   LOG_AT(LOG_ERROR, msg, " " __VA_ARGS__)
#define log_warn(msg, ...)  LOG_AT(LOG_WARN, msg, " " __VA_ARGS__)
#define log_info(msg, ...)  LOG_AT(LOG_INFO, msg, " " __VA_ARGS__)
#define log_debug(msg, ...) LOG_AT(LOG_DEBUG, msg, " " __VA_ARGS__)

#endif
