/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the HTTP server: what http.c and http_req.c share. */
#ifndef WEB_HTTP_IMPL_H
#define WEB_HTTP_IMPL_H

#include <microhttpd.h>

#include "web/http.h"

/* Outlives the server until the loop gives the operation back. */
struct http_poll {
	struct io_op op;
	struct loop_task end_task; /* when there is no operation to wait for */
	struct http_server *hs;	   /* NULL when that is gone */
	void (*closed)(void *arg);
	void *closed_arg;
};

struct http_server {
	struct loop *loop;
	struct MHD_Daemon *mhd;
	struct http_poll *poll;
	struct timer timer;  /* MHD's own deadlines */
	struct timer repoll; /* set instead of the poll: a pause */
	struct loop_task task;
	const struct http_route *routes;
	size_t route_count;
	void *arg;
	uint64_t body_max;
	uint64_t body_bytes; /* of all requests, see BODIES_FACTOR */
	struct list conns;
	/* made when opening, so that it can be sent when memory is out */
	struct MHD_Response *out_of_memory;
};

/* Callbacks of libmicrohttpd. */
enum MHD_Result http_on_request(void *arg, struct MHD_Connection *mhd,
				const char *url, const char *method,
				const char *version, const char *data,
				size_t *data_len, void **state);
void http_on_completed(void *arg, struct MHD_Connection *mhd, void **state,
		       enum MHD_RequestTerminationCode why);
/* 503 for every request that a handler kept. */
void http_answer_kept(struct http_server *hs);

#endif
