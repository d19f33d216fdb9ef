/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admin HTTP: a shard of its own that asks the metadata shard and answers.
 */
#ifndef MASTER_ADMIN_H
#define MASTER_ADMIN_H

#include "master/scan.h"
#include "master/service.h"
#include "web/http.h"

struct admin;

struct admin_opts {
	struct loop *loop; /* the HTTP shard */
	struct service *svc;
	struct addr addr;
	struct addr rpc; /* what /leader tells */
};
/* On the HTTP shard, or before it has requests. */
int admin_open(const struct admin_opts *opts, struct addr *bound,
	       struct admin **out, struct err *err);
/* On the HTTP shard.  Answers what is under way first; then done. */
void admin_close(struct admin *admin, void (*done)(void *arg), void *arg);

/* One request on its way to the metadata shard and back. */
struct admin_call {
	struct mbox_msg msg;
	struct slice slice; /* for walks */
	struct scan scan;
	struct admin *admin;
	struct http_req *req;
	void (*run)(struct service *svc, struct admin_call *call);
	char *arg; /* query parameter, or NULL */
	int status;
	const char *content_type;
	struct strbuf body;
};
/* From the metadata shard: the body is complete. */
void admin_answer(struct admin_call *call);

/* What runs on the metadata shard, admin_data.c. */
void admin_metrics(struct service *svc, struct admin_call *call);
void admin_summary(struct service *svc, struct admin_call *call);
void admin_segments(struct service *svc, struct admin_call *call);
void admin_segments_detail(struct service *svc, struct admin_call *call);
void admin_segment(struct service *svc, struct admin_call *call);
void admin_segment_status(struct service *svc, struct admin_call *call);
void admin_all_keys(struct service *svc, struct admin_call *call);
void admin_key(struct service *svc, struct admin_call *call);
void admin_keys(struct service *svc, struct admin_call *call);

#endif
