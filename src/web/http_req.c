/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP request: decoded, routed, given to its handler, answered.  Runs on
 * the loop's thread inside MHD_run(), http_reply() also outside of it.
 *
 * Invariant: a request is suspended in libmicrohttpd exactly while its state
 * is CONN_KEPT; only then its handler may still hold it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "web/http_impl.h"

/* All bodies together may take this many times body_max. */
#define BODIES_FACTOR  8
#define QUERY_ARGS_MAX 32

enum conn_state {
	CONN_BODY,    /* body is coming in */
	CONN_HANDLER, /* handler is on the stack */
	CONN_KEPT,    /* handler will answer later */
	CONN_ANSWERED /* response is there */
};

struct http_arg {
	char *name, *value;
};

struct http_conn {
	struct http_server *hs;
	struct MHD_Connection *mhd;
	struct list node; /* in hs->conns */
	enum conn_state state;
	const struct http_route *route;
	struct http_req req;
	char *path;
	struct http_arg args[QUERY_ARGS_MAX];
	size_t arg_count;
	struct strbuf body;
	uint64_t swallowed; /* bytes of a body that is refused */
	int status;
	struct MHD_Response *response; /* ours until queued */
};

/* --- answering --- */

static bool conn_add_header(struct http_conn *conn, const char *name,
			    const char *value)
{
	return MHD_add_response_header(conn->response, name, value) == MHD_YES;
}

static void conn_set_response(struct http_conn *conn, int status,
			      const char *content_type, struct str body)
{
	ASSERT(!conn->response);
	conn->status = status;
	/* With MUST_COPY libmicrohttpd only reads. */
	conn->response = MHD_create_response_from_buffer(
		body.n, (void *)(uintptr_t)body.p, MHD_RESPMEM_MUST_COPY);
	if (!content_type)
		content_type = "text/plain; charset=utf-8";
	if (conn->response &&
	    conn_add_header(conn, "Content-Type", content_type))
		return;
	if (conn->response)
		MHD_destroy_response(conn->response);
	conn->response = conn->hs->out_of_memory;
	conn->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
}

void http_reply(struct http_req *req, int status, const char *content_type,
		struct str body)
{
	struct http_conn *conn = req->conn;
	enum conn_state before = conn->state;

	ASSERT(before == CONN_HANDLER || before == CONN_KEPT);
	conn_set_response(conn, status, content_type, body);
	conn->state = CONN_ANSWERED;
	if (before == CONN_KEPT) {
		MHD_resume_connection(conn->mhd);
		loop_defer(conn->hs->loop, &conn->hs->task);
	}
}

void http_replyf(struct http_req *req, int status, const char *fmt, ...)
{
	struct strbuf text = {0};
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	http_reply(req, status, NULL, strbuf_str(&text));
	strbuf_fini(&text);
}

void http_answer_kept(struct http_server *hs)
{
	struct http_conn *conn;

	list_for_each (conn, &hs->conns, node) {
		if (conn->state == CONN_KEPT)
			http_reply(&conn->req, MHD_HTTP_SERVICE_UNAVAILABLE,
				   NULL, STR("the server is going down\n"));
	}
}

static enum MHD_Result conn_queue(struct http_conn *conn)
{
	enum MHD_Result ret;

	ASSERT(conn->response);
	ret = MHD_queue_response(conn->mhd, (unsigned)conn->status,
				 conn->response);
	if (conn->response != conn->hs->out_of_memory)
		MHD_destroy_response(conn->response);
	conn->response = NULL;
	return ret;
}

/* To be queued when the body, if any, has come in: else the connection ends. */
static void conn_refuse(struct http_conn *conn, int status, const char *text)
{
	conn->state = CONN_ANSWERED;
	conn_set_response(conn, status, NULL, str_of(text));
}

/* --- decoding --- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* NULL with -EINVAL for "%4", "%zz" and "%00", or -ENOMEM. */
static int percent_decode(const char *in, char **out)
{
	size_t n = strlen(in), len = 0;
	char *text = malloc(n + 1);

	*out = text;
	if (!text)
		return -ENOMEM;
	while (*in) {
		int hi, lo;

		if (*in != '%') {
			text[len++] = *in++;
			continue;
		}
		hi = hex_digit(in[1]);
		lo = hi < 0 ? -1 : hex_digit(in[2]);
		if (lo < 0 || hi + lo == 0) {
			free(text);
			*out = NULL;
			return -EINVAL;
		}
		text[len++] = (char)(hi << 4 | lo);
		in += 3;
	}
	text[len] = '\0';
	return 0;
}

struct arg_walk {
	struct http_conn *conn;
	int ret;
};

static enum MHD_Result on_query_arg(void *cls, enum MHD_ValueKind kind,
				    const char *name, const char *value)
{
	struct arg_walk *walk = cls;
	struct http_conn *conn = walk->conn;
	struct http_arg *arg;

	if (conn->arg_count == QUERY_ARGS_MAX) {
		walk->ret = -E2BIG;
		return MHD_NO;
	}
	arg = &conn->args[conn->arg_count++];
	walk->ret = percent_decode(name, &arg->name);
	if (!walk->ret)
		walk->ret = percent_decode(value ? value : "", &arg->value);
	return walk->ret ? MHD_NO : MHD_YES;
}

static int conn_decode(struct http_conn *conn, const char *url)
{
	struct arg_walk walk = {.conn = conn};
	int ret = percent_decode(url, &conn->path);

	if (ret < 0)
		return ret;
	MHD_get_connection_values(conn->mhd, MHD_GET_ARGUMENT_KIND,
				  on_query_arg, &walk);
	return walk.ret;
}

const char *http_query(const struct http_req *req, const char *name)
{
	const struct http_conn *conn = req->conn;

	for (size_t i = 0; i < conn->arg_count; i++) {
		if (strcmp(conn->args[i].name, name) == 0)
			return conn->args[i].value;
	}
	return NULL;
}

/* --- routing --- */

static bool route_has_path(const struct http_route *route, const char *path)
{
	size_t n = strlen(route->path);

	if (route->is_prefix)
		return strncmp(route->path, path, n) == 0;
	return strcmp(route->path, path) == 0;
}

static bool route_has_method(const struct http_route *route, const char *method)
{
	if (strcmp(method, MHD_HTTP_METHOD_HEAD) == 0)
		method = MHD_HTTP_METHOD_GET;
	return strcmp(route->method, method) == 0;
}

static void refuse_405(struct http_conn *conn)
{
	const struct http_server *hs = conn->hs;
	struct strbuf allow = {0};

	for (size_t i = 0; i < hs->route_count; i++) {
		if (route_has_path(&hs->routes[i], conn->path))
			strbuf_addf(&allow, "%s%s", allow.n ? ", " : "",
				    hs->routes[i].method);
	}
	conn->state = CONN_ANSWERED;
	conn_set_response(conn, MHD_HTTP_METHOD_NOT_ALLOWED, NULL,
			  STR("Method not allowed"));
	if (allow.p && conn->response != hs->out_of_memory)
		conn_add_header(conn, "Allow", allow.p);
	strbuf_fini(&allow);
}

static void refuse_404(struct http_conn *conn)
{
	const struct http_server *hs = conn->hs;
	struct strbuf text = {0};

	strbuf_adds(&text, "Not found. There is:\n");
	for (size_t i = 0; i < hs->route_count; i++)
		strbuf_addf(&text, "  %-6s %s%s\n", hs->routes[i].method,
			    hs->routes[i].path,
			    hs->routes[i].is_prefix ? "…" : "");
	conn_refuse(conn, MHD_HTTP_NOT_FOUND, text.p ? text.p : "");
	strbuf_fini(&text);
}

static void conn_route(struct http_conn *conn, const char *method)
{
	struct http_server *hs = conn->hs;
	bool has_path = false;

	for (size_t i = 0; i < hs->route_count && !conn->route; i++) {
		const struct http_route *route = &hs->routes[i];

		if (!route_has_path(route, conn->path))
			continue;
		has_path = true;
		if (route_has_method(route, method))
			conn->route = route;
	}
	if (!conn->route) {
		(has_path ? refuse_405 : refuse_404)(conn);
		return;
	}
	conn->req = (struct http_req){
		.method = conn->route->method,
		.path = conn->path,
		.tail = conn->route->is_prefix
				? conn->path + strlen(conn->route->path)
				: "",
		.arg = hs->arg,
		.conn = conn,
	};
}

/* --- the request's stages --- */

static bool is_too_long(const struct http_conn *conn)
{
	const char *length = MHD_lookup_connection_value(
		conn->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
	uint64_t bytes;

	return length && str_to_u64(str_of(length), &bytes) == 0 &&
	       bytes > conn->hs->body_max;
}

static enum MHD_Result conn_start(struct http_server *hs,
				  struct MHD_Connection *mhd, const char *url,
				  const char *method, void **state)
{
	struct http_conn *conn = calloc(1, sizeof(*conn));
	int ret;

	if (!conn)
		return MHD_NO;
	conn->hs = hs;
	conn->mhd = mhd;
	list_add_tail(&hs->conns, &conn->node);
	*state = conn;
	ret = conn_decode(conn, url);
	if (ret == -ENOMEM)
		return MHD_NO;
	if (is_too_long(conn)) {
		conn_refuse(conn, MHD_HTTP_CONTENT_TOO_LARGE,
			    "The request's body is too large\n");
		return conn_queue(conn);
	}
	if (ret)
		conn_refuse(conn, MHD_HTTP_BAD_REQUEST,
			    ret == -E2BIG
				    ? "Too many query parameters\n"
				    : "Bad percent-encoding: write %XX with "
				      "two hex digits, not %00\n");
	else
		conn_route(conn, method);
	return MHD_YES;
}

/* The rest of a body that is refused is read and thrown away, to a limit. */
static enum MHD_Result conn_add_body(struct http_conn *conn, const char *data,
				     size_t n)
{
	struct http_server *hs = conn->hs;

	if (conn->state == CONN_ANSWERED) {
		conn->swallowed += n;
		return conn->swallowed > hs->body_max ? MHD_NO : MHD_YES;
	}
	if (conn->body.n + n > hs->body_max) {
		conn_refuse(conn, MHD_HTTP_CONTENT_TOO_LARGE,
			    "The request's body is too large\n");
		return MHD_YES;
	}
	if (hs->body_bytes + n > BODIES_FACTOR * hs->body_max) {
		conn_refuse(conn, MHD_HTTP_SERVICE_UNAVAILABLE,
			    "Too many large requests at once, try later\n");
		return MHD_YES;
	}
	strbuf_add(&conn->body, data, n);
	if (conn->body.failed)
		conn_refuse(conn, MHD_HTTP_SERVICE_UNAVAILABLE,
			    "out of memory\n");
	else
		hs->body_bytes += n;
	return MHD_YES;
}

static enum MHD_Result conn_handle(struct http_conn *conn)
{
	conn->req.body = strbuf_str(&conn->body);
	conn->state = CONN_HANDLER;
	conn->route->handler(&conn->req);
	if (conn->state == CONN_ANSWERED)
		return conn_queue(conn);
	conn->state = CONN_KEPT;
	MHD_suspend_connection(conn->mhd);
	return MHD_YES;
}

enum MHD_Result http_on_request(void *arg, struct MHD_Connection *mhd,
				const char *url, const char *method,
				const char *version, const char *data,
				size_t *data_len, void **state)
{
	struct http_conn *conn = *state;
	size_t n = *data_len;

	if (!conn)
		return conn_start(arg, mhd, url, method, state);
	if (n > 0) {
		*data_len = 0;
		return conn_add_body(conn, data, n);
	}
	if (conn->state == CONN_BODY)
		return conn_handle(conn);
	ASSERT(conn->state == CONN_ANSWERED);
	return conn->response ? conn_queue(conn) : MHD_YES;
}

void http_on_completed(void *arg, struct MHD_Connection *mhd, void **state,
		       enum MHD_RequestTerminationCode why)
{
	struct http_server *hs = arg;
	struct http_conn *conn = TAKE(*state);

	if (!conn)
		return;
	ASSERT(conn->state != CONN_HANDLER && conn->state != CONN_KEPT);
	ASSERT(hs->body_bytes >= conn->body.n);
	hs->body_bytes -= conn->body.n;
	if (conn->response && conn->response != hs->out_of_memory)
		MHD_destroy_response(conn->response);
	for (size_t i = 0; i < conn->arg_count; i++) {
		free(conn->args[i].name);
		free(conn->args[i].value);
	}
	list_del(&conn->node);
	strbuf_fini(&conn->body);
	free(conn->path);
	free(conn);
}
