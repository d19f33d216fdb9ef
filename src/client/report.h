/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Report: what a batch tells the master about replicas that are bad and
 * segments that it could not reach.  Sent once, when the batch has ended.
 */
#ifndef CLIENT_REPORT_H
#define CLIENT_REPORT_H

#include "client/client.h"

struct report {
	struct client *client;
	size_t cap; /* of items; what is more is left out */
	/* report.c's */
	struct arena arena;
	Mc__ReportReq *req; /* NULL until there is something */
};

struct report_what {
	Mc__Problem problem;
	const Mc__Segment *segment;
	/* Of a bad replica; of UNREACHABLE ones the segment says it all. */
	struct str key;
	uint64_t generation;
	uint32_t replica;
	int ret; /* -errno, for the text */
};
/* Copies everything; a segment is called UNREACHABLE once. */
void report_add(struct report *r, const struct report_what *what);
/* Not waited for; what could not be sent the next reader reports. */
void report_send(struct report *r);

#endif
