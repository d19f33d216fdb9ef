/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncakectl doctor: checks of this host and, when they are named, of a master
 * and of targets.  Nothing is changed anywhere.  Each check has a deadline of
 * its own; a check that can't look says so instead of failing.
 */
#ifndef DEPLOY_DOCTOR_H
#define DEPLOY_DOCTOR_H

#include <jansson.h>

#include "base/flag.h"

enum doctor_level {
	DOCTOR_OK,
	DOCTOR_NOTE, /* worth knowing, nothing is wrong */
	DOCTOR_WARN, /* works, but badly or not for long */
	DOCTOR_FAIL, /* does not work */
	DOCTOR_LEVELS
};

/* What the system calls say, so that tests can say something else. */
struct doctor_facts {
	int uring_ret; /* of an attempt to use io_uring: 0 or -errno */
	uint64_t memlock_bytes, open_files, open_files_hard;
	unsigned cpus;
	int clock_state; /* 1 synchronised, 0 not, -errno not known */
};

struct doctor_opts {
	const char *root; /* of /proc, /sys and /etc; "" but in tests */
	const struct doctor_facts *facts; /* NULL = look */
	const char *master;		  /* HOST[:PORT] or "" */
	const char *admin;  /* its admin pages; "" = the master, port 9003 */
	const char *config; /* a store service's file or "" */
	const struct flag_list *endpoints, *discover;
	uint32_t timeout_ms; /* of each question */
};

struct doctor_finding {
	const struct doctor_check *check;
	enum doctor_level level;
	char *subject, *text, *advice; /* owned; advice "" = none */
};

struct doctor; /* doctor_check.h */

int doctor_create(const struct doctor_opts *opts, struct doctor **out,
		  struct err *err);
void doctor_destroy(struct doctor *d);
/* All checks; progress (may be NULL) is told what is looked at. */
void doctor_run(struct doctor *d, void (*progress)(const char *what));
/* The worst level of all findings. */
enum doctor_level doctor_worst(const struct doctor *d);

/* --- doctor_report.c --- */
void doctor_format(const struct doctor *d, struct strbuf *out);
json_t *doctor_json(const struct doctor *d); /* NULL: out of memory */

#endif
