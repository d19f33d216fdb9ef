/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What became of each namespace that a tool worked on: a table for people,
 * JSON for programs, and upstream's summary lines.
 */
#ifndef DEPLOY_REPORT_H
#define DEPLOY_REPORT_H

#include <jansson.h>

#include "nvme/endpoint.h"

enum outcome {
	OUTCOME_NEW,	 /* registered now */
	OUTCOME_TAKEN,	 /* was registered before, but fenced until now */
	OUTCOME_ALREADY, /* was registered before */
	OUTCOME_REMOVED, /* unregistered now */
	OUTCOME_FAILED,
	OUTCOME_COUNT
};

struct report_row {
	enum outcome outcome;
	char endpoint[ENDPOINT_TEXT_LEN]; /* or the segment's name */
	char segment[48];		  /* UUID or "" */
	uint64_t bytes;			  /* 0 = not known */
	char text[256];			  /* why it failed, what to note */
};

struct report {
	struct report_row *rows;
	size_t count, cap;
	size_t counts[OUTCOME_COUNT];
};

void report_fini(struct report *report);
/* -ENOMEM. */
int report_add(struct report *report, const struct report_row *row);
/* is_removal chooses the words of the summary. */
void report_format(const struct report *report, bool is_removal,
		   struct strbuf *out);
void report_format_json(const struct report *report, struct strbuf *out);
/* What another machine said may be in any encoding, or cut inside of a
 * character: JSON gets what is readable.  NULL: out of memory. */
json_t *report_text(const char *text);
/* 0, or 1 when something failed or there was nothing at all. */
int report_exit_status(const struct report *report);

#endif
