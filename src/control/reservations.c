/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reservations that outlive the target, as a call that makes them again.
 * Control loop.  Invariant: they come back on the namespace that had them, or
 * not at all.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/methods.h"
#include "target/resv.h"

#define METHOD "mooncake_reservation_restore"

struct restore_args {
	struct nqn_args nqn;
	uint32_t nsid, type, generation;
	const char *uuid, *holder;
	const json_t *registrants;
};

#define OFF(field) offsetof(struct restore_args, field)
static const struct param restore_params[] = {
	NQN_PARAMS,
	{"nsid", PARAM_U32, OFF(nsid), true},
	{"uuid", PARAM_STR, OFF(uuid), true},
	{"type", PARAM_U32, OFF(type), true},
	{"generation", PARAM_U32, OFF(generation), true},
	{"holder", PARAM_STR, OFF(holder)},
	{"registrants", PARAM_JSON, OFF(registrants), true},
};

static_assert(sizeof(struct uuid) == RESV_HOSTID_LEN, "host ids are UUIDs");

static int parse_host(const char *text, uint8_t out[RESV_HOSTID_LEN],
		      struct err *err)
{
	struct uuid id;

	if (!text || uuid_parse(str_of(text), &id))
		return err_set(err, -EINVAL, "'%.60s' is no host id",
			       text ? text : "");
	memcpy(out, id.b, sizeof(id.b));
	return 0;
}

static int parse_key(const char *text, uint64_t *out, struct err *err)
{
	char *end = NULL;

	if (text && !strncmp(text, "0x", 2) && strlen(text) <= 18)
		*out = strtoull(text, &end, 16);
	return end && !*end ? 0 : err_set(err, -EINVAL, "no key of a host");
}

static int parse_registrants(const json_t *list, struct resv_state *out,
			     struct err *err)
{
	out->count = 0;
	if (!json_is_array(list) || json_array_size(list) > RESV_HOST_MAX)
		return err_set(err, -EINVAL, "registrants: at most %d",
			       RESV_HOST_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);
		struct resv_host *host = &out->hosts[out->count++];
		const char *id, *key;

		id = json_string_value(json_object_get(one, "hostid"));
		key = json_string_value(json_object_get(one, "key"));
		if (parse_host(id, host->id, err) ||
		    parse_key(key, &host->key, err))
			return err->code;
	}
	return 0;
}

static int restore_try(struct control *ctl, const struct restore_args *a,
		       struct err *err)
{
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);
	struct resv_state state = {.type = (uint8_t)a->type,
				   .gen = a->generation};
	struct tgt_ns_info info;
	struct uuid uuid;
	int ret;

	if (!ss || !tgt_ns_info_get(ss, a->nsid, &info))
		return err_set(err, -ENOENT, "no namespace %u in %s", a->nsid,
			       a->nqn.nqn);
	if (uuid_parse(str_of(a->uuid), &uuid) ||
	    memcmp(&uuid, &info.opts.uuid, sizeof(uuid)))
		return err_set(err, -ENOENT,
			       "namespace %u of %s is not %.60s any more",
			       a->nsid, a->nqn.nqn, a->uuid);
	if (a->type >= RESV_TYPES)
		return err_set(err, -EINVAL, "no reservation type %u", a->type);
	if (a->holder && parse_host(a->holder, state.holder, err))
		return err->code;
	if (parse_registrants(a->registrants, &state, err))
		return err->code;
	ret = tgt_ns_resv_set(ss, a->nsid, &state);
	return ret ? err_set(err, ret, "namespace %u of %s: %s", a->nsid,
			     a->nqn.nqn,
			     ret == -EEXIST ? "hosts have registered already"
					    : "who holds it has not registered")
		   : 0;
}

static void restore(struct jrpc_call *call, void *args)
{
	struct err err = {0};

	if (restore_try(jrpc_ctx(call), args, &err) == 0) {
		jrpc_true(call);
		return;
	}
	log_warn("reservation not restored", "reason=\"%s\"", err.text);
	jrpc_fail(call, JRPC_INVALID_PARAMS, "%s", err.text);
}

static json_t *host_json(const uint8_t *hostid)
{
	char text[UUID_TEXT_LEN];
	struct uuid id;

	memcpy(id.b, hostid, sizeof(id.b));
	uuid_format_hex(&id, text);
	return json_string(text);
}

static json_t *registrants_json(const struct resv_state *state)
{
	json_t *out = json_array();
	char key[24];

	for (unsigned i = 0; i < state->count; i++) {
		snprintf(key, sizeof(key), "0x%016" PRIx64,
			 state->hosts[i].key);
		json_array_append_new(out,
				      json_pack("{s:o, s:s}", "hostid",
						host_json(state->hosts[i].id),
						"key", key));
	}
	return out;
}

json_t *reservation_call(const char *nqn, const struct tgt_subsys *ss,
			 const struct tgt_ns_info *ns)
{
	char uuid[UUID_TEXT_LEN];
	struct resv_state state;
	json_t *params;

	if (!tgt_ns_resv_get(ss, ns->opts.nsid, &state))
		return NULL;
	uuid_format_hex(&ns->opts.uuid, uuid);
	params = json_pack("{s:s, s:I, s:s, s:i, s:I, s:o}", "nqn", nqn, "nsid",
			   (json_int_t)ns->opts.nsid, "uuid", uuid, "type",
			   (int)state.type, "generation", (json_int_t)state.gen,
			   "registrants", registrants_json(&state));
	if (state.type)
		json_object_set_new(params, "holder", host_json(state.holder));
	return json_pack("{s:s, s:o}", "method", METHOD, "params", params);
}

static const struct jrpc_method methods[] = {
	{.name = METHOD,
	 .params = restore_params,
	 .param_count = ARRAY_SIZE(restore_params),
	 .args_size = sizeof(struct restore_args),
	 .run = restore,
	 .attrs = JRPC_CHANGES},
};

const struct jrpc_table control_reservations = {methods, ARRAY_SIZE(methods)};
