/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports of a batch, in the caller's thread.  Invariant: the arena travels
 * with the message, so everything in it is a copy.
 */
#include "client/report.h"

#include <string.h>

#include "client/call.h"

static bool report_begin(struct report *r)
{
	Mc__ReportReq *req;

	if (r->req)
		return true;
	arena_init(&r->arena, 0);
	req = arena_alloc(&r->arena, sizeof(*req));
	if (req) {
		mc__report_req__init(req);
		req->items =
			arena_alloc(&r->arena, r->cap * sizeof(*req->items));
	}
	if (!req || !req->items) {
		arena_fini(&r->arena);
		return false;
	}
	req->client_id.len = sizeof(r->client->id.b);
	req->client_id.data = r->client->id.b;
	r->req = req;
	return true;
}

static ProtobufCBinaryData copy(struct report *r, const void *p, size_t n)
{
	ProtobufCBinaryData out = {0, arena_alloc(&r->arena, n)};

	if (out.data && n) {
		memcpy(out.data, p, n);
		out.len = n;
	}
	return out;
}

static bool is_said(const struct report *r, const Mc__Segment *seg)
{
	for (size_t i = 0; i < r->req->n_items; i++) {
		const Mc__ReportItem *item = r->req->items[i];

		if (item->problem == MC__PROBLEM__PROBLEM_UNREACHABLE &&
		    item->segment_id.len == seg->id.len &&
		    !memcmp(item->segment_id.data, seg->id.data, seg->id.len))
			return true;
	}
	return false;
}

void report_add(struct report *r, const struct report_what *what)
{
	bool is_lost = what->problem == MC__PROBLEM__PROBLEM_UNREACHABLE;
	Mc__ReportItem *item;

	if (!report_begin(r) || r->req->n_items == r->cap ||
	    (is_lost && is_said(r, what->segment)))
		return;
	item = arena_alloc(&r->arena, sizeof(*item));
	if (!item)
		return;
	mc__report_item__init(item);
	item->problem = what->problem;
	item->key = copy(r, what->key.p, what->key.n);
	item->generation = what->generation;
	item->replica = what->replica;
	item->segment_id =
		copy(r, what->segment->id.data, what->segment->id.len);
	item->text = strerror(-what->ret); /* sent before it changes */
	r->req->items[r->req->n_items++] = item;
}

void report_send(struct report *r)
{
	if (r->req)
		call_send(r->client, METHOD_REPORT, &r->req->base, &r->arena);
	r->req = NULL;
}
