/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP server on a loop (libmicrohttpd, external polling).  Routes are a
 * table; a handler answers at once or keeps the request and answers later from
 * the same loop.
 *
 * All calls are made on the loop's thread.  A kept request stays valid until
 * it is answered, also when its client has gone meanwhile.
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
	void *arg;		/* of the server */
	struct http_conn *conn; /* private */
};

/* Decoded query parameter, NULL when absent. */
const char *http_query(const struct http_req *req, const char *name);
/* Answers once; body is copied.  content_type NULL = text/plain.  req is gone
 * afterwards. */
void http_reply(struct http_req *req, int status, const char *content_type,
		struct str body);
void http_replyf(struct http_req *req, int status, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

struct http_route {
	const char *method; /* "GET" answers HEAD as well */
	const char *path;   /* "/api/get/" ending in '/' + is_prefix */
	bool is_prefix;
	void (*handler)(struct http_req *req);
};

struct http_opts {
	struct addr addr;
	const struct http_route *routes; /* constant while the server is open */
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
/*
 * Requests that handlers kept are answered 503 and are gone.  Turns the loop
 * until everything has ended: not inside a callback of the loop, see
 * http_close_async() for that.  NULL is fine.
 */
void http_close(struct http_server *hs);
/* The same inside callbacks (but not in a handler): done (may be NULL) runs
 * when everything has ended, and the loop must live until then. */
void http_close_async(struct http_server *hs, void (*done)(void *arg),
		      void *arg);

#endif
