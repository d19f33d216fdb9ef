/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata server.  Runs on its loop's thread.  Invariant: bytes is the sum of
 * the keys and values that are in the table.
 */
#include "web/metadata.h"

#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"
#include "web/http.h"

struct record {
	struct hnode node; /* first, see record_key() */
	char *value;
	size_t value_len, key_len;
	char key[];
};

struct metadata_server {
	struct http_server *hs;
	struct htab table;
	bool has_table;
	uint64_t bytes;
};

static struct str record_key(const struct hnode *node)
{
	const struct record *rec = (const void *)node;

	static_assert(offsetof(struct record, node) == 0, "cast above");
	return (struct str){rec->key, rec->key_len};
}

static struct str record_value(const struct record *rec)
{
	return (struct str){rec->value, rec->value_len};
}

static struct record *find(struct metadata_server *ms, struct str key)
{
	struct hnode *node = htab_get(&ms->table, key, hash_str(key));

	return node ? container_of(node, struct record, node) : NULL;
}

static void record_free(struct record *rec)
{
	free(rec->value);
	free(rec);
}

/* False when the request has been answered. */
static bool request_key(struct http_req *req, struct str *key)
{
	*key = str_of(http_query(req, "key"));
	if (key->n == 0)
		http_replyf(req, 400, "Missing key parameter");
	else if (key->n > METADATA_KEY_MAX)
		http_replyf(req, 413, "The key has %zu bytes, the limit is %d",
			    key->n, METADATA_KEY_MAX);
	else
		return true;
	return false;
}

/* NULL when the request has been answered. */
static struct record *request_record(struct http_req *req)
{
	struct record *rec;
	struct str key;

	if (!request_key(req, &key))
		return NULL;
	rec = find(req->arg, key);
	if (!rec)
		http_replyf(req, 404, "metadata not found");
	return rec;
}

static void on_get(struct http_req *req)
{
	struct record *rec = request_record(req);

	if (rec)
		http_reply(req, 200, "application/json", record_value(rec));
}

static struct record *record_create(struct metadata_server *ms, struct str key)
{
	struct record *rec = calloc(1, sizeof(*rec) + key.n);

	if (!rec)
		return NULL;
	memcpy(rec->key, key.p, key.n);
	rec->key_len = key.n;
	rec->node.hash = hash_str(key);
	if (htab_add(&ms->table, &rec->node)) {
		free(rec);
		return NULL;
	}
	ms->bytes += key.n;
	return rec;
}

static void store(struct metadata_server *ms, struct http_req *req,
		  struct str key, struct record *rec)
{
	char *copy = str_dup(req->body);

	if (copy && !rec)
		rec = record_create(ms, key);
	if (!copy || !rec) {
		free(copy);
		http_replyf(req, 507, "out of memory");
		return;
	}
	ms->bytes += req->body.n - rec->value_len;
	free(rec->value);
	rec->value = copy;
	rec->value_len = req->body.n;
	http_replyf(req, 200, "metadata updated");
}

static bool is_rpc_meta(struct str key)
{
	return memmem(key.p, key.n, "rpc_meta", strlen("rpc_meta"));
}

static void on_put(struct http_req *req)
{
	struct metadata_server *ms = req->arg;
	struct record *rec;
	struct str key;
	uint64_t freed;

	if (!request_key(req, &key))
		return;
	rec = find(ms, key);
	freed = rec ? rec->key_len + rec->value_len : 0;
	if (rec && is_rpc_meta(key)) {
		if (str_eq(record_value(rec), req->body))
			http_replyf(req, 200, "metadata unchanged");
		else
			http_replyf(req, 400,
				    "Duplicate rpc_meta key not allowed");
	} else if (ms->bytes - freed + key.n + req->body.n >
		   METADATA_BYTES_MAX) {
		http_replyf(req, 507,
			    "The metadata server is full: its limit is %llu "
			    "bytes; delete keys that are no longer needed",
			    METADATA_BYTES_MAX);
	} else {
		store(ms, req, key, rec);
	}
}

static void on_delete(struct http_req *req)
{
	struct metadata_server *ms = req->arg;
	struct record *rec = request_record(req);

	if (!rec)
		return;
	htab_del(&ms->table, &rec->node);
	ms->bytes -= rec->key_len + rec->value_len;
	record_free(rec);
	http_replyf(req, 200, "metadata deleted");
}

static void on_health(struct http_req *req)
{
	http_replyf(req, 200, "OK");
}

static const struct http_route routes[] = {
	{"GET", "/metadata", false, on_get},
	{"PUT", "/metadata", false, on_put},
	{"DELETE", "/metadata", false, on_delete},
	{"GET", "/health", false, on_health},
};

static bool drop_record(struct hnode *node, void *arg)
{
	struct metadata_server *ms = arg;

	htab_del(&ms->table, node);
	record_free(container_of(node, struct record, node));
	return true;
}

static void server_free(struct metadata_server *ms)
{
	if (ms->has_table) {
		htab_visit(&ms->table, drop_record, ms);
		htab_fini(&ms->table);
	}
	free(ms);
}

int metadata_server_open(struct loop *loop, const struct addr *addr,
			 struct addr *bound, struct metadata_server **out,
			 struct err *err)
{
	struct metadata_server *ms = calloc(1, sizeof(*ms));
	struct http_opts opts = {
		.addr = *addr,
		.routes = routes,
		.route_count = ARRAY_SIZE(routes),
		.arg = ms,
		.body_max = METADATA_VALUE_MAX,
		.max_connections = 1024,
	};
	int ret;

	*out = NULL;
	if (!ms)
		return err_set(err, -ENOMEM, "out of memory");
	ret = htab_init(&ms->table, 1024, record_key);
	ms->has_table = ret == 0;
	if (ret < 0)
		err_set(err, ret, "out of memory");
	else
		ret = http_open(loop, &opts, bound, &ms->hs, err);
	if (ret < 0) {
		server_free(ms);
		return ret;
	}
	*out = ms;
	return 0;
}

void metadata_server_close(struct metadata_server *ms)
{
	if (!ms)
		return;
	http_close(ms->hs);
	server_free(ms);
}

void metadata_server_close_async(struct metadata_server *ms,
				 void (*done)(void *arg), void *arg)
{
	http_close_async(ms->hs, done, arg);
	server_free(ms);
}
