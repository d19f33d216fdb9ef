/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REST handlers.  A handler runs on the loop and only wraps its request into a
 * job; the job asks the store on a worker's thread, since that blocks, and the
 * answer goes out from the loop again.
 *
 * Invariant: between submit and done a job and its request belong to the
 * worker.
 */
#include "node/rest.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/status.h"
#include "proto/frame.h"

#define JSON_TYPE  "application/json; charset=utf-8"
#define BYTES_TYPE "application/octet-stream"

struct rest_job {
	struct job job;
	struct http_req *req;
	mooncake_store_t store;
	void (*run)(struct rest_job *rj);
	/* answer */
	int status;
	const char *content_type;
	struct strbuf text;
	mooncake_buffer_t value; /* instead of text */
};

/* --- answers, on a worker --- */

static void answer_json(struct rest_job *rj, int status, json_t *root)
{
	char *text = root ? json_dumps(root, JSON_ENSURE_ASCII) : NULL;

	json_decref(root);
	rj->status = text ? status : 500;
	rj->content_type = JSON_TYPE;
	strbuf_adds(&rj->text, text ? text : "{\"error\": \"out of memory\"}");
	free(text);
}

static void answer_error(struct rest_job *rj, int status, const char *text)
{
	answer_json(rj, status, json_pack("{s:s}", "error", text));
}

/* 500 with upstream's text; code and reason say which of many it was. */
static void answer_failure(struct rest_job *rj, const char *text, int64_t code)
{
	answer_json(rj, 500,
		    json_pack("{s:s, s:I, s:s}", "error", text, "code",
			      (json_int_t)code, "reason",
			      mooncake_store_strerror((int)code)));
}

/* --- jobs, on a worker --- */

static bool has_key(struct rest_job *rj, const char *key)
{
	size_t n = strlen(key);

	if (n >= 1 && n <= KEY_LEN_MAX)
		return true;
	answer_error(rj, 400,
		     n ? "The key is longer than 4096 bytes"
		       : "The key is empty");
	return false;
}

static void put_value(struct rest_job *rj, const char *key, const json_t *value)
{
	int ret = mooncake_store_put(rj->store, key, json_string_value(value),
				     json_string_length(value), NULL);

	if (ret)
		answer_failure(rj, "PUT operation failed", ret);
	else
		answer_json(rj, 200, json_pack("{s:s}", "status", "success"));
}

static void run_put(struct rest_job *rj)
{
	struct str body = rj->req->body;
	json_error_t jerr;
	json_t *root = json_loadb(body.p, body.n, JSON_ALLOW_NUL, &jerr);
	const json_t *key = json_object_get(root, "key");
	const json_t *value = json_object_get(root, "value");
	struct strbuf text = {0};

	if (!root) {
		strbuf_addf(&text,
			    "The body is not JSON: line %d, column %d: "
			    "%s",
			    jerr.line, jerr.column, jerr.text);
		answer_error(rj, 400, text.p ? text.p : "bad JSON");
		strbuf_fini(&text);
	} else if (!json_is_string(key) || !json_is_string(value) ||
		   json_string_length(value) == 0) {
		answer_error(rj, 400, "Missing key or value");
	} else if (strlen(json_string_value(key)) != json_string_length(key)) {
		answer_error(rj, 400, "The key contains a NUL");
	} else if (has_key(rj, json_string_value(key))) {
		put_value(rj, json_string_value(key), value);
	}
	json_decref(root);
}

static void run_get(struct rest_job *rj)
{
	const char *key = rj->req->tail;

	if (!has_key(rj, key))
		return;
	mooncake_store_batch_get_buffer(rj->store, &key, 1, &rj->value);
	if (rj->value.status == MOONCAKE_OBJECT_NOT_FOUND)
		answer_error(rj, 404, "Key not found");
	else if (rj->value.status)
		answer_failure(rj, "GET operation failed", rj->value.status);
	else
		rj->content_type = BYTES_TYPE;
}

static void run_exist(struct rest_job *rj)
{
	int ret;

	if (!has_key(rj, rj->req->tail))
		return;
	ret = mooncake_store_is_exist(rj->store, rj->req->tail);
	if (ret < 0)
		answer_failure(rj, "Exist check failed", ret);
	else
		answer_json(rj, 200, json_pack("{s:b}", "exists", ret));
}

static void run_remove(struct rest_job *rj)
{
	int ret;

	if (!has_key(rj, rj->req->tail))
		return;
	ret = mooncake_store_remove(rj->store, rj->req->tail, 0);
	if (ret)
		answer_failure(rj, "Remove operation failed", ret);
	else
		answer_json(rj, 200, json_pack("{s:s}", "status", "success"));
}

static void run_remove_all(struct rest_job *rj)
{
	int64_t ret = mooncake_store_remove_all(rj->store, 0);
	struct strbuf text = {0};

	if (ret < 0) {
		answer_failure(rj, "RemoveAll operation failed", ret);
		return;
	}
	strbuf_addf(&text, "success removed %lld keys", (long long)ret);
	answer_json(rj, 200,
		    json_pack("{s:s}", "status", text.p ? text.p : ""));
	strbuf_fini(&text);
}

static void run_health(struct rest_job *rj)
{
	int ret = mooncake_store_health_check(rj->store);

	rj->status = ret == 0 ? 200 : 503;
	strbuf_adds(&rj->text, ret == 0	  ? "OK"
			       : ret == 2 ? "the master can't be reached"
					  : "the store is not set up");
}

static void run_metrics(struct rest_job *rj)
{
	size_t n = mooncake_store_metrics(rj->store, NULL, 0);
	char *text = malloc(n + 1);

	rj->content_type = "text/plain; version=0.0.4";
	if (text) {
		/* It may have grown meanwhile: what fits is whole lines, but
		 * for the last one. */
		mooncake_store_metrics(rj->store, text, n + 1);
		strbuf_adds(&rj->text, text);
	} else {
		rj->status = 503;
	}
	free(text);
}

/* --- on the loop --- */

static void rest_run(struct job *job)
{
	struct rest_job *rj = container_of(job, struct rest_job, job);

	rj->run(rj);
}

static void rest_done(struct job *job)
{
	struct rest_job *rj = container_of(job, struct rest_job, job);
	struct str body = strbuf_str(&rj->text);

	if (rj->value.ptr)
		body = (struct str){rj->value.ptr, rj->value.size};
	if (job->is_cancelled)
		http_replyf(rj->req, 503, "the store service is going down\n");
	else
		http_reply(rj->req, rj->status, rj->content_type, body);
	mooncake_buffer_free(&rj->value);
	strbuf_fini(&rj->text);
	free(rj);
}

static void rest_start(struct http_req *req, void (*run)(struct rest_job *rj))
{
	struct rest *rest = req->arg;
	struct rest_job *rj;

	rj = calloc(1, sizeof(*rj));
	if (!rj) {
		http_replyf(req, 503, "out of memory\n");
		return;
	}
	rj->job.run = rest_run;
	rj->job.done = rest_done;
	rj->req = req;
	rj->store = rest->store;
	rj->run = run;
	rj->status = 200;
	if (workers_submit(rest->workers, &rj->job) < 0) {
		free(rj);
		http_replyf(req, 503,
			    "too many requests are waiting, try "
			    "again later\n");
	}
}

#define HANDLER(name)                                                          \
	static void on_##name(struct http_req *req)                            \
	{                                                                      \
		rest_start(req, run_##name);                                   \
	}
HANDLER(put)
HANDLER(get)
HANDLER(exist)
HANDLER(remove)
HANDLER(remove_all)
HANDLER(health)
HANDLER(metrics)

const struct http_route rest_routes[] = {
	{"PUT", "/api/put", false, on_put},
	{"GET", "/api/get/", true, on_get},
	{"GET", "/api/exist/", true, on_exist},
	{"DELETE", "/api/remove/", true, on_remove},
	{"DELETE", "/api/remove_all", false, on_remove_all},
	{"GET", "/health", false, on_health},
	{"GET", "/metrics", false, on_metrics},
};
const size_t rest_route_count = ARRAY_SIZE(rest_routes);
