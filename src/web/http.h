/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP server on a loop (libmicrohttpd, external polling).  Routes are a
 * table; a handler answers at once or keeps the request and answers later from
 * the same loop.
 */
#ifndef WEB_HTTP_H
#define WEB_HTTP_H

#include "base/str.h"
#include "io/loop.h"

struct http_server;

struct http_req {
	const char *method; /* "GET", … */
	const char *path;   /* decoded */
	const char *tail;   /* decoded rest behind a prefix route, else "" */
	struct str body;
	void *arg; /* of the server */
	struct http_conn *conn; /* private */
};

/* Decoded query parameter, NULL when absent. */
const char *http_query(const struct http_req *req, const char *name);
/* Answers once; body is copied.  content_type NULL = text/plain. */
void http_reply(struct http_req *req, int status, const char *content_type,
		struct str body);
void http_replyf(struct http_req *req, int status, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

struct http_route {
	const char *method;
	const char *path; /* "/api/get/" ending in '/' + is_prefix */
	bool is_prefix;
	void (*handler)(struct http_req *req);
};

struct http_opts {
	struct addr addr;
	const struct http_route *routes;
	size_t route_count;
	void *arg;
	uint64_t body_max;	  /* 0 = 1 MiB; larger: 413 */
	uint32_t max_connections; /* 0 = 256 */
	uint32_t timeout_s;	  /* idle connections, 0 = 30 */
};
/* addr gets the real port in *bound.  Known path with another method: 405;
 * unknown path: 404 with a list of what there is. */
int http_open(struct loop *loop, const struct http_opts *opts,
	      struct addr *bound, struct http_server **out, struct err *err);
/* Synchronous; requests kept by handlers are answered 503. */
void http_close(struct http_server *hs);

#endif
