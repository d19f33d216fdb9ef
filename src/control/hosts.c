/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may connect: allowed hosts of a subsystem, and their keys.  Control loop.
 * Invariant: a host that was given keys is never on the list without them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/methods.h"
#include "crypt/dhchap.h"

/* By which names a host got its keys. */
struct host_keys {
	struct list node; /* control.host_keys */
	char nqn[NVME_NQN_LEN], host[NVME_NQN_LEN];
	char *key, *ctrlr_key, *psk; /* NULL = none */
};

struct host_args {
	struct nqn_args nqn;
	const char *host, *psk, *dhchap_key, *dhchap_ctrlr_key;
	bool allow_any_host;
};

#define OFF(field) offsetof(struct host_args, field)
static const struct param add_params[] = {
	NQN_PARAMS,
	{"host", PARAM_STR, OFF(host), true},
	{"psk", PARAM_STR, OFF(psk)},
	{"dhchap_key", PARAM_STR, OFF(dhchap_key)},
	{"dhchap_ctrlr_key", PARAM_STR, OFF(dhchap_ctrlr_key)},
};
static const struct param remove_params[] = {
	NQN_PARAMS,
	{"host", PARAM_STR, OFF(host), true},
};
static const struct param keys_params[] = {
	NQN_PARAMS,
	{"host", PARAM_STR, OFF(host), true},
	{"dhchap_key", PARAM_STR, OFF(dhchap_key)},
	{"dhchap_ctrlr_key", PARAM_STR, OFF(dhchap_ctrlr_key)},
};
static const struct param any_params[] = {
	NQN_PARAMS,
	{"allow_any_host", PARAM_BOOL, OFF(allow_any_host), true},
};

static void answer(struct jrpc_call *call, int ret, const struct err *err)
{
	if (ret == 0) {
		jrpc_true(call);
		return;
	}
	log_warn("host refused", "method=%s reason=\"%s\"", call->method->name,
		 err->text);
	jrpc_fail(call, JRPC_INTERNAL_ERROR, "Internal error");
}

/* name NULL: none is asked for. */
static int load_key(struct control *ctl, const char *name,
		    struct dhchap_key *out, struct err *err)
{
	struct key *key;

	if (!name)
		return 0;
	key = named_key_find(&ctl->keyring, name);
	if (!key)
		return err_set(err, -ENOENT, "there is no key '%.60s'", name);
	return dhchap_key_load(key->path, out, err);
}

/* Also when none is asked for. */
static bool has_key(struct control *ctl, const char *name)
{
	return !name || named_key_find(&ctl->keyring, name);
}

static int set_keys_try(struct control *ctl, const struct host_args *a,
			struct err *err)
{
	struct tgt_keys keys = {0};
	int ret = load_key(ctl, a->dhchap_key, &keys.host, err);

	if (!ret)
		ret = load_key(ctl, a->dhchap_ctrlr_key, &keys.ctrl, err);
	if (!ret)
		ret = tgt_keys_set(ctl->tgt, a->nqn.nqn, a->host, &keys);
	secret_clear(&keys, sizeof(keys));
	return ret;
}

static int set_psk_try(struct control *ctl, const struct host_args *a,
		       struct err *err)
{
	struct key *named = named_key_find(&ctl->keyring, a->psk);
	struct tls_key key;
	int ret;

	if (!named)
		return err_set(err, -ENOENT, "there is no key '%.60s'", a->psk);
	ret = tls_key_load(named->path, &key, err);
	if (!ret)
		ret = tgt_tls_key_set(ctl->tgt, a->nqn.nqn, a->host, &key);
	secret_clear(&key, sizeof(key));
	return ret;
}

static struct host_keys *find_keys(struct control *ctl, const char *nqn,
				   const char *host)
{
	struct host_keys *hk;

	list_for_each (hk, &ctl->host_keys, node) {
		if (strcmp(hk->nqn, nqn) == 0 && strcmp(hk->host, host) == 0)
			return hk;
	}
	return NULL;
}

static void count_use(struct control *ctl, const char *name, int by)
{
	struct key *key = name ? named_key_find(&ctl->keyring, name) : NULL;

	if (key && (by > 0 || key->uses))
		key->uses += (unsigned)by;
}

static void host_keys_free(struct control *ctl, struct host_keys *hk)
{
	if (!hk)
		return;
	list_del(&hk->node);
	count_use(ctl, hk->key, -1);
	count_use(ctl, hk->ctrlr_key, -1);
	count_use(ctl, hk->psk, -1);
	free(hk->key);
	free(hk->ctrlr_key);
	free(hk->psk);
	free(hk);
}

/* name NULL: none. */
static int note_one(struct control *ctl, const char *name, char **out)
{
	if (!name)
		return 0;
	*out = str_dup(str_of(name));
	count_use(ctl, *out, 1);
	return *out ? 0 : -ENOMEM;
}

/* Remembers by which names the target has its keys. */
static int host_keys_note(struct control *ctl, const struct host_args *a)
{
	struct host_keys *hk = calloc(1, sizeof(*hk));

	if (!hk)
		return -ENOMEM;
	list_init(&hk->node);
	snprintf(hk->nqn, sizeof(hk->nqn), "%s", a->nqn.nqn);
	snprintf(hk->host, sizeof(hk->host), "%s", a->host);
	if (note_one(ctl, a->dhchap_key, &hk->key) ||
	    note_one(ctl, a->dhchap_ctrlr_key, &hk->ctrlr_key) ||
	    note_one(ctl, a->psk, &hk->psk)) {
		host_keys_free(ctl, hk);
		return -ENOMEM;
	}
	list_add_tail(&ctl->host_keys, &hk->node);
	return 0;
}

static void drop_keys(struct control *ctl, const char *nqn, const char *host)
{
	struct host_keys *hk = find_keys(ctl, nqn, host);

	if (!hk)
		return;
	(void)tgt_keys_set(ctl->tgt, nqn, host, NULL);
	(void)tgt_tls_key_set(ctl->tgt, nqn, host, NULL);
	host_keys_free(ctl, hk);
}

void hosts_forget(struct control *ctl, const char *nqn)
{
	struct host_keys *hk, *tmp;

	list_for_each_safe (hk, tmp, &ctl->host_keys, node) {
		if (!nqn || strcmp(hk->nqn, nqn) == 0)
			host_keys_free(ctl, hk);
	}
	if (nqn) {
		tgt_keys_drop(ctl->tgt, nqn);
		tgt_tls_keys_drop(ctl->tgt, nqn);
	}
}

static int add_with_keys(struct control *ctl, struct tgt_subsys *ss,
			 const struct host_args *a, struct err *err)
{
	int ret = 0;

	if (tgt_host_find(ss, a->host))
		return err_set(err, -EEXIST, "%.200s is there already",
			       a->host);
	if (nqn_check(str_of(a->host), err))
		return -EINVAL;
	/* First the keys: it must not get in without, not even for long. */
	if (a->dhchap_key)
		ret = set_keys_try(ctl, a, err);
	if (!ret && a->psk)
		ret = set_psk_try(ctl, a, err);
	if (!ret && (a->dhchap_key || a->psk))
		ret = host_keys_note(ctl, a);
	if (!ret)
		ret = tgt_host_add(
			ss, &(struct tgt_host_opts){.hostnqn = a->host}, err);
	if (ret)
		drop_keys(ctl, a->nqn.nqn, a->host);
	return ret;
}

static void add(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct host_args *a = args;
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);
	struct err err = {0};

	if (!ss || !has_key(ctl, a->psk) || !has_key(ctl, a->dhchap_key) ||
	    !has_key(ctl, a->dhchap_ctrlr_key) ||
	    (a->dhchap_ctrlr_key && !a->dhchap_key))
		jrpc_fail_params(call);
	else
		answer(call, add_with_keys(ctl, ss, a, &err), &err);
}

/* The names of a, with the PSK that the host has already. */
static int note_again(struct control *ctl, const struct host_args *a)
{
	struct host_keys *old = find_keys(ctl, a->nqn.nqn, a->host);
	struct host_args now = *a;
	int ret = 0;

	now.psk = old ? old->psk : NULL;
	if (now.dhchap_key || now.psk)
		ret = host_keys_note(ctl, &now);
	if (!ret)
		host_keys_free(ctl, old);
	return ret;
}

/* Other keys for a host that is there; who is connected stays. */
static void set_keys(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct host_args *a = args;
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);
	struct err err = {0};
	int ret = 0;

	if (!ss || !tgt_host_find(ss, a->host) ||
	    (a->dhchap_ctrlr_key && !a->dhchap_key)) {
		jrpc_fail_errno(call, -EINVAL);
		return;
	}
	if (a->dhchap_key)
		ret = set_keys_try(ctl, a, &err);
	else /* there may be none */
		(void)tgt_keys_set(ctl->tgt, a->nqn.nqn, a->host, NULL);
	if (!ret)
		ret = note_again(ctl, a);
	if (ret)
		log_warn("keys refused", "reason=\"%s\"", err.text);
	if (ret)
		jrpc_fail_errno(call, ret == -ENOMEM ? ret : -EINVAL);
	else
		jrpc_true(call);
}

static void remove_host(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct host_args *a = args;
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);
	struct err err = {0};
	int ret;

	if (!ss) {
		jrpc_fail_params(call);
		return;
	}
	ret = tgt_host_remove(ss, a->host, &err);
	if (!ret)
		drop_keys(ctl, a->nqn.nqn, a->host);
	answer(call, ret, &err);
}

static void allow_any(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct host_args *a = args;
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);

	if (!ss) {
		jrpc_fail_params(call);
		return;
	}
	tgt_allow_any_host(ss, a->allow_any_host);
	jrpc_true(call);
}

struct config_args {
	const json_t *digests, *groups;
};
static const struct param config_params[] = {
	{"dhchap_digests", PARAM_STRS, offsetof(struct config_args, digests)},
	{"dhchap_dhgroups", PARAM_STRS, offsetof(struct config_args, groups)},
};

/* NULL: none, which means all. */
static int parse_ids(const json_t *names, int (*parse)(struct str name),
		     struct auth_ids *out)
{
	int id;

	*out = (struct auth_ids){0};
	for (size_t i = 0; i < json_array_size(names); i++) {
		id = parse(str_of(json_string_value(json_array_get(names, i))));
		if (id < 0 || out->count == AUTH_IDS_MAX)
			return -EINVAL;
		out->ids[out->count++] = (uint8_t)id;
	}
	return 0;
}

/* Of all that it can say, what hosts may use to authenticate. */
static void set_config(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct config_args *a = args;
	struct auth_ids hashes, groups;
	json_t *config;

	if (parse_ids(a->digests, dhchap_hash_parse, &hashes) ||
	    parse_ids(a->groups, dhchap_group_parse, &groups)) {
		jrpc_fail_params(call);
		return;
	}
	config = json_pack("{s:O*, s:O*}", "dhchap_digests", a->digests,
			   "dhchap_dhgroups", a->groups);
	if (!config || tgt_auth_set(ctl->tgt, &hashes, &groups)) {
		json_decref(config);
		jrpc_fail_errno(call, -ENOMEM);
		return;
	}
	json_decref(ctl->auth_config);
	ctl->auth_config = config;
	jrpc_true(call);
}

json_t *hosts_json(struct control *ctl, const struct tgt_subsys *ss)
{
	struct tgt_subsys_info info;
	struct tgt_host *host = NULL;
	json_t *out = json_array(), *one;
	const struct host_keys *hk;

	tgt_subsys_info_get(ss, &info);
	while ((host = tgt_host_next(ss, host))) {
		one = json_pack("{s:s}", "nqn", tgt_host_nqn(host));
		hk = find_keys(ctl, info.opts.nqn, tgt_host_nqn(host));
		if (hk && hk->psk)
			json_object_set_new(one, "psk", json_string(hk->psk));
		if (hk && hk->key)
			json_object_set_new(one, "dhchap_key",
					    json_string(hk->key));
		if (hk && hk->ctrlr_key)
			json_object_set_new(one, "dhchap_ctrlr_key",
					    json_string(hk->ctrlr_key));
		json_array_append_new(out, one);
	}
	return out;
}

#define METHOD(name_, params_, run_)                                           \
	{                                                                      \
		.name = name_, .params = params_,                              \
		.param_count = ARRAY_SIZE(params_),                            \
		.args_size = sizeof(struct host_args), .run = run_,            \
		.attrs = JRPC_CHANGES                                          \
	}

static const struct jrpc_method methods[] = {
	METHOD("nvmf_subsystem_add_host", add_params, add),
	METHOD("nvmf_subsystem_set_keys", keys_params, set_keys),
	METHOD("nvmf_subsystem_remove_host", remove_params, remove_host),
	METHOD("nvmf_subsystem_allow_any_host", any_params, allow_any),
	{.name = "nvmf_set_config",
	 .params = config_params,
	 .param_count = ARRAY_SIZE(config_params),
	 .args_size = sizeof(struct config_args),
	 .run = set_config,
	 .attrs = JRPC_RELAXED | JRPC_CHANGES},
};

const struct jrpc_table control_hosts = {methods, ARRAY_SIZE(methods)};
