/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named key files and their methods.  Control loop.  Invariant: no secret is
 * kept here, only where it lies.
 */
#include "control/keyring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/methods.h"
#include "crypt/keyfile.h"

void keyring_init(struct keyring *ring)
{
	list_init(&ring->keys);
}

void named_key_remove(struct key *key)
{
	list_del(&key->node);
	free(key->name);
	free(key->path);
	free(key);
}

void keyring_fini(struct keyring *ring)
{
	struct key *key, *tmp;

	list_for_each_safe (key, tmp, &ring->keys, node)
		named_key_remove(key);
}

struct key *named_key_find(struct keyring *ring, const char *name)
{
	struct key *key;

	list_for_each (key, &ring->keys, node) {
		if (strcmp(key->name, name) == 0)
			return key;
	}
	return NULL;
}

int named_key_add(struct keyring *ring, const char *name, const char *path,
		  struct err *err)
{
	char secret[KEYFILE_MAX];
	struct str text;
	struct key *key;
	int ret;

	if (named_key_find(ring, name))
		return err_set(err, -EEXIST, "there is a key '%.60s'", name);
	if (path[0] != '/')
		return err_set(err, -EINVAL, "'%.100s' is no absolute path",
			       path);
	/* Says now what would be wrong with it later. */
	ret = keyfile_read(path, secret, &text, err);
	secret_clear(secret, sizeof(secret));
	if (ret)
		return ret;
	key = calloc(1, sizeof(*key));
	if (!key)
		return err_set(err, -ENOMEM, "out of memory");
	list_init(&key->node);
	key->name = str_dup(str_of(name));
	key->path = str_dup(str_of(path));
	if (!key->name || !key->path) {
		named_key_remove(key);
		return err_set(err, -ENOMEM, "out of memory");
	}
	list_add_tail(&ring->keys, &key->node);
	return 0;
}

struct key_args {
	const char *name, *path;
};

#define OFF(field) offsetof(struct key_args, field)
static const struct param add_params[] = {
	{"name", PARAM_STR, OFF(name), true},
	{"path", PARAM_STR, OFF(path), true},
};
static const struct param remove_params[] = {
	{"name", PARAM_STR, OFF(name), true},
};

static void add(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct key_args *a = args;
	struct err err = {0};
	int ret = named_key_add(&ctl->keyring, a->name, a->path, &err);

	if (ret == 0) {
		jrpc_true(call);
		return;
	}
	log_warn("key refused", "name=%s reason=\"%s\"", a->name, err.text);
	jrpc_fail_errno(call, ret);
}

/* Hosts that have it keep their copy; a new one can't get it. */
static void remove_key(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct key_args *a = args;
	struct key *key = named_key_find(&ctl->keyring, a->name);

	if (!key) {
		jrpc_fail_errno(call, -ENOENT);
		return;
	}
	named_key_remove(key);
	jrpc_true(call);
}

static void get(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	json_t *out = json_array();
	struct key *key;

	list_for_each (key, &ctl->keyring.keys, node)
		json_array_append_new(
			out,
			json_pack("{s:s, s:s, s:b, s:b, s:i, s:s}", "name",
				  key->name, "module", "keyring_file",
				  "removed", false, "probed", false, "refcnt",
				  (int)key->uses + 1, "path", key->path));
	jrpc_result(call, out);
}

json_t *keyring_json(struct keyring *ring)
{
	json_t *out = json_array();
	struct key *key;

	list_for_each (key, &ring->keys, node)
		json_array_append_new(
			out, json_pack("{s:s, s:{s:s, s:s}}", "method",
				       "keyring_file_add_key", "params", "name",
				       key->name, "path", key->path));
	return out;
}

static const struct jrpc_method methods[] = {
	{.name = "keyring_file_add_key",
	 .params = add_params,
	 .param_count = ARRAY_SIZE(add_params),
	 .args_size = sizeof(struct key_args),
	 .run = add,
	 .attrs = JRPC_CHANGES},
	{.name = "keyring_file_remove_key",
	 .params = remove_params,
	 .param_count = ARRAY_SIZE(remove_params),
	 .args_size = sizeof(struct key_args),
	 .run = remove_key,
	 .attrs = JRPC_CHANGES},
	{.name = "keyring_get_keys", .run = get},
};

const struct jrpc_table control_keyring = {methods, ARRAY_SIZE(methods)};
