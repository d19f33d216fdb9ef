/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admin HTTP server of the master, on a shard of its own.  Invariant: in_flight
 * counts calls between the handler and their answer; the server is closed only
 * at 0, so that a call never comes back to a request that is gone.
 */
#include "master/admin.h"

#include <errno.h>
#include <stdlib.h>

struct admin {
	struct admin_opts opts;
	struct http_server *http;
	unsigned in_flight;
	bool is_closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

static void try_close(struct admin *admin)
{
	struct http_server *http = admin->http;
	void (*closed)(void *arg) = admin->closed;
	void *arg = admin->closed_arg;

	if (!admin->is_closing || admin->in_flight > 0)
		return;
	free(admin);
	http_close_async(http, closed, arg);
}

static void call_free(struct admin_call *call)
{
	strbuf_fini(&call->body);
	free(call->arg);
	free(call);
}

/* Back on the HTTP shard. */
static void call_back(struct mbox_msg *msg)
{
	struct admin_call *call = container_of(msg, struct admin_call, msg);
	struct admin *admin = call->admin;

	if (call->body.failed)
		http_reply(call->req, 500, NULL, STR("out of memory\n"));
	else
		http_reply(call->req, call->status, call->content_type,
			   strbuf_str(&call->body));
	call_free(call);
	admin->in_flight--;
	try_close(admin);
}

void admin_answer(struct admin_call *call)
{
	call->msg.run = call_back;
	loop_post(call->admin->opts.loop, &call->msg);
}

/* On the metadata shard. */
static void call_run(struct mbox_msg *msg)
{
	struct admin_call *call = container_of(msg, struct admin_call, msg);
	struct service *svc = call->admin->opts.svc;

	service_enter(svc);
	if (svc->is_stopping) {
		call->status = 503;
		strbuf_adds(&call->body, "the master is being stopped\n");
		admin_answer(call);
		return;
	}
	call->run(svc, call);
}

/* param NULL = none is needed. */
static void ask(struct http_req *req, const char *param,
		void (*run)(struct service *svc, struct admin_call *call))
{
	struct admin *admin = req->arg;
	const char *value = param ? http_query(req, param) : NULL;
	struct admin_call *call;

	if (admin->is_closing) {
		http_replyf(req, 503, "the master is being stopped\n");
		return;
	}
	if (param && (!value || !value[0])) {
		http_replyf(req, 400,
			    "{\"success\":false,\"error_code\":-600,"
			    "\"error_message\":\"parameter %s is missing\"}",
			    param);
		return;
	}
	call = calloc(1, sizeof(*call));
	if (call && value)
		call->arg = str_dup(str_of(value));
	if (!call || (value && !call->arg)) {
		free(call);
		http_replyf(req, 500, "out of memory\n");
		return;
	}
	call->admin = admin;
	call->req = req;
	call->run = run;
	call->status = 200;
	call->msg.run = call_run;
	admin->in_flight++;
	loop_post(admin->opts.svc->loop, &call->msg);
}

static void on_health(struct http_req *req)
{
	http_reply(req, 200, "application/json",
		   STR("{\"status\":\"ok\",\"role\":\"leader\","
		       "\"ha_state\":\"serving\",\"service_ready\":true}\n"));
}

static void on_role(struct http_req *req)
{
	http_reply(req, 200, NULL, STR("leader"));
}

static void on_ha_status(struct http_req *req)
{
	http_reply(req, 200, NULL, STR("serving"));
}

/* There is no other one, and no view but the first. */
static void on_leader(struct http_req *req)
{
	const struct admin *admin = req->arg;
	char rpc[ADDR_TEXT_LEN];
	struct strbuf text = {0};

	addr_format(&admin->opts.rpc, rpc);
	strbuf_addf(&text,
		    "{\"present\":true,\"leader_address\":\"%s\","
		    "\"view_version\":0}\n",
		    rpc);
	http_reply(req, text.failed ? 500 : 200, "application/json",
		   strbuf_str(&text));
	strbuf_fini(&text);
}

static void on_kv_events(struct http_req *req)
{
	http_reply(req, 200, "application/json",
		   STR("{\"enabled\":false,\"published_batches\":0,"
		       "\"published_events\":0,\"dropped_events\":0,"
		       "\"skipped_unparsed_keys\":0}\n"));
}

static void on_metrics(struct http_req *req)
{
	ask(req, NULL, admin_metrics);
}

static void on_summary(struct http_req *req)
{
	ask(req, NULL, admin_summary);
}

static void on_segments(struct http_req *req)
{
	ask(req, NULL, admin_segments);
}

static void on_segments_detail(struct http_req *req)
{
	ask(req, NULL, admin_segments_detail);
}

static void on_segment(struct http_req *req)
{
	ask(req, "segment", admin_segment);
}

static void on_segment_status(struct http_req *req)
{
	ask(req, "segment", admin_segment_status);
}

static void on_all_keys(struct http_req *req)
{
	ask(req, NULL, admin_all_keys);
}

static void on_key(struct http_req *req)
{
	ask(req, "key", admin_key);
}

static void on_keys(struct http_req *req)
{
	ask(req, "keys", admin_keys);
}

static const struct http_route routes[] = {
	{"GET", "/health", false, on_health},
	{"GET", "/role", false, on_role},
	{"GET", "/ha_status", false, on_ha_status},
	{"GET", "/leader", false, on_leader},
	{"GET", "/kv_events/status", false, on_kv_events},
	{"GET", "/metrics", false, on_metrics},
	{"GET", "/metrics/summary", false, on_summary},
	{"GET", "/get_all_segments", false, on_segments},
	{"GET", "/get_segments_detail", false, on_segments_detail},
	{"GET", "/query_segment", false, on_segment},
	{"GET", "/api/v1/segments/status", false, on_segment_status},
	{"GET", "/get_all_keys", false, on_all_keys},
	{"GET", "/query_key", false, on_key},
	{"GET", "/batch_query_keys", false, on_keys},
};

int admin_open(const struct admin_opts *opts, struct addr *bound,
	       struct admin **out, struct err *err)
{
	struct admin *admin = calloc(1, sizeof(*admin));
	int ret;

	if (!admin)
		return err_set(err, -ENOMEM, "out of memory");
	admin->opts = *opts;
	ret = http_open(opts->loop,
			&(struct http_opts){
				.addr = opts->addr,
				.routes = routes,
				.route_count = ARRAY_SIZE(routes),
				.arg = admin,
			},
			bound, &admin->http, err);
	if (ret < 0) {
		free(admin);
		return ret;
	}
	*out = admin;
	return 0;
}

void admin_close(struct admin *admin, void (*done)(void *arg), void *arg)
{
	ASSERT(!admin->is_closing);
	admin->is_closing = true;
	admin->closed = done;
	admin->closed_arg = arg;
	try_close(admin);
}
