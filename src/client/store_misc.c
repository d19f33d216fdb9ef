/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rest of the C API: questions and removals, one RPC each, registered
 * memory, health and counters.  In the caller's thread.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "client/batch.h"
#include "client/call.h"
#include "client/store.h"

/* --- one status per key --- */

/* The keys that are good; their indexes go to index. */
static size_t keys_fill(const struct batch_in *in, size_t n,
			ProtobufCBinaryData *out, size_t *index, int *results)
{
	size_t good = 0;

	for (size_t i = 0; i < n; i++) {
		results[i] = key_check(in->keys[i]);
		if (results[i] != MOONCAKE_OK)
			continue;
		out[good].data = (uint8_t *)(uintptr_t)in->keys[i];
		out[good].len = strlen(in->keys[i]);
		index[good++] = i;
	}
	return good;
}

struct ask {
	uint16_t method; /* EXIST or REMOVE */
	bool force;
};

static enum mooncake_status ask_call(struct client *c, const struct ask *ask,
				     ProtobufCBinaryData *keys, size_t n,
				     struct call *call)
{
	Mc__ExistReq exist = MC__EXIST_REQ__INIT;
	Mc__RemoveReq remove_req = MC__REMOVE_REQ__INIT;

	if (ask->method == METHOD_EXIST) {
		exist.client_id = client_id_bytes(c);
		exist.keys = keys;
		exist.n_keys = n;
		return call_run(c, call, METHOD_EXIST, &exist.base,
				CALL_REPEATABLE);
	}
	remove_req.client_id = client_id_bytes(c);
	remove_req.keys = keys;
	remove_req.n_keys = n;
	remove_req.force = ask->force;
	/* Twice would turn "removed" into "not there". */
	return call_run(c, call, METHOD_REMOVE, &remove_req.base, CALL_ONCE);
}

static void ask_some(struct client *c, const struct ask *ask,
		     const struct batch_in *in, size_t n, int *results)
{
	struct arena arena;
	ProtobufCBinaryData *keys;
	size_t *index, good = 0;
	struct call call = {0};
	enum mooncake_status st = MOONCAKE_INTERNAL_ERROR;
	const Mc__StatusRsp *rsp = NULL;

	arena_init(&arena, 0);
	keys = arena_alloc(&arena, n * sizeof(*keys));
	index = arena_alloc(&arena, n * sizeof(*index));
	if (keys && index)
		good = keys_fill(in, n, keys, index, results);
	if (good > 0)
		st = ask_call(c, ask, keys, good, &call);
	if (good > 0 && st == MOONCAKE_OK) {
		rsp = (const Mc__StatusRsp *)call.rpc.rsp;
		if (rsp->n_status != good)
			rsp = NULL;
		st = rsp ? MOONCAKE_OK : MOONCAKE_DESERIALIZE_FAIL;
	}
	for (size_t i = 0; i < good; i++)
		results[index[i]] = rsp ? rsp->status[i] : (int)st;
	for (size_t i = 0; !(keys && index) && i < n; i++)
		results[i] = MOONCAKE_INTERNAL_ERROR;
	call_fini(&call);
	arena_fini(&arena);
}

static int ask_all(mooncake_store_t handle, const struct ask *ask,
		   struct batch_in in, int *results)
{
	struct store *store = store_of(handle);
	struct client *c;

	if (!store || (in.count && (!in.keys || !results)))
		return -1;
	c = store_enter(store);
	for (size_t i = 0; !c && i < in.count; i++)
		results[i] = MOONCAKE_INVALID_PARAMS;
	if (!c)
		return 0;
	stats_add(&c->stats,
		  ask->method == METHOD_EXIST ? STAT_exists : STAT_removes,
		  in.count);
	while (in.count > 0) {
		size_t n = batch_cut(&in);

		ask_some(c, ask, &in, n, results);
		results += n;
		in.keys += n;
		in.count -= n;
	}
	store_leave(store);
	return 0;
}

int mooncake_store_batch_is_exist(mooncake_store_t store, const char **keys,
				  size_t count, int *results_out)
{
	const struct ask ask = {METHOD_EXIST, false};

	return ask_all(store, &ask, (struct batch_in){keys, NULL, count},
		       results_out);
}

int mooncake_store_is_exist(mooncake_store_t store, const char *key)
{
	const struct ask ask = {METHOD_EXIST, false};
	int result = -1;

	if (!key ||
	    ask_all(store, &ask, (struct batch_in){&key, NULL, 1}, &result) < 0)
		return -1;
	/* LMCache takes any number but 0 for a hit; a master that can't be
	 * asked has no hits to offer. */
	if (result == MOONCAKE_RPC_FAIL || result == MOONCAKE_RPC_TIMEOUT) {
		log_warn("is_exist answered 0: the master can't be asked",
			 "key=\"%s\" status=%d", key, result);
		result = 0;
	}
	return result;
}

int mooncake_store_batch_remove(mooncake_store_t store, const char *const *keys,
				size_t count, int force, int *results_out)
{
	const struct ask ask = {METHOD_REMOVE, force != 0};

	return ask_all(store, &ask, (struct batch_in){keys, NULL, count},
		       results_out);
}

int mooncake_store_remove(mooncake_store_t store, const char *key, int force)
{
	int result = -1;

	if (!key ||
	    mooncake_store_batch_remove(store, &key, 1, force, &result) < 0)
		return -1;
	return result;
}

/* --- counts --- */

static int64_t count_call(mooncake_store_t handle, uint16_t method,
			  const ProtobufCMessage *req)
{
	struct store *store = store_of(handle);
	const Mc__CountRsp *rsp;
	struct client *c;
	struct call call;
	int64_t result;

	if (!store)
		return -1;
	c = store_enter(store);
	if (!c)
		return MOONCAKE_INVALID_PARAMS;
	result = call_run(c, &call, method, req, CALL_ONCE);
	if (result == MOONCAKE_OK) {
		rsp = (const Mc__CountRsp *)call.rpc.rsp;
		result = rsp->status ? rsp->status : (int64_t)rsp->count;
		if (rsp->status)
			log_warn("removal refused", "status=%d error=\"%s\"",
				 rsp->status, rsp->error);
		else
			stats_add(&c->stats, STAT_removes, rsp->count);
	}
	call_fini(&call);
	store_leave(store);
	return result;
}

int64_t mooncake_store_remove_by_regex(mooncake_store_t store,
				       const char *regex, int force)
{
	Mc__RemoveByRegexReq req = MC__REMOVE_BY_REGEX_REQ__INIT;

	if (!regex)
		return -1;
	req.pattern = (char *)(uintptr_t)regex;
	req.force = force != 0;
	return count_call(store, METHOD_REMOVE_BY_REGEX, &req.base);
}

int64_t mooncake_store_remove_all(mooncake_store_t store, int force)
{
	Mc__RemoveAllReq req = MC__REMOVE_ALL_REQ__INIT;

	req.force = force != 0;
	return count_call(store, METHOD_REMOVE_ALL, &req.base);
}

/* --- where it lies --- */

/* Upstream's ReplicaStatus; the master tells of no others. */
#define REPLICA_COMPLETE 3

static void replica_fill(const Mc__GetRsp *rsp, const Mc__Object *object,
			 const Mc__Replica *replica, mooncake_replica_t *out)
{
	*out = (mooncake_replica_t){
		.kind = replica->kind,
		.status = REPLICA_COMPLETE,
		.size = object->size,
	};
	if (replica->n_extents == 0 ||
	    replica->extents[0]->segment >= rsp->n_segments)
		return;
	out->offset = replica->extents[0]->offset;
	snprintf(out->endpoint, sizeof(out->endpoint), "%s",
		 rsp->segments[replica->extents[0]->segment]->name);
}

int64_t mooncake_store_get_replicas(mooncake_store_t handle, const char *key,
				    mooncake_replica_t *out, size_t max)
{
	struct store *store = store_of(handle);
	Mc__GetReq req = MC__GET_REQ__INIT;
	ProtobufCBinaryData bytes;
	const Mc__GetRsp *rsp;
	struct call call;
	struct client *c;
	int64_t result;

	if (!store || !key || (max && !out))
		return -1;
	result = key_check(key);
	c = result == MOONCAKE_OK ? store_enter(store) : NULL;
	if (!c)
		return result ? result : MOONCAKE_INVALID_PARAMS;
	bytes.data = (uint8_t *)(uintptr_t)key;
	bytes.len = strlen(key);
	req.client_id = client_id_bytes(c);
	req.no_lease = true;
	req.keys = &bytes;
	req.n_keys = 1;
	result = call_run(c, &call, METHOD_GET, &req.base, CALL_REPEATABLE);
	rsp = (const Mc__GetRsp *)call.rpc.rsp;
	if (result == MOONCAKE_OK && rsp->n_objects != 1)
		result = MOONCAKE_DESERIALIZE_FAIL;
	if (result == MOONCAKE_OK)
		result = rsp->objects[0]->status;
	if (result == MOONCAKE_OK) {
		const Mc__Object *o = rsp->objects[0];

		result = (int64_t)o->n_replicas;
		for (size_t i = 0; i < MIN(o->n_replicas, max); i++)
			replica_fill(rsp, o, o->replicas[i], &out[i]);
	}
	call_fini(&call);
	store_leave(store);
	return result;
}
