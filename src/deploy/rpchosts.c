/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts of a subsystem and their keys, against what a target answers.  The
 * caller's thread.  Invariant: a host that is to have a key is never admitted
 * without one, not even for a moment.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "deploy/rpcplan.h"

/* --- the keyring --- */

static void plan_named_key(const char *name, const char *path,
			   struct plan *plan)
{
	char title[HOSTKEY_NAME_LEN + 32];
	struct step *step;

	snprintf(title, sizeof(title), "name the key %s", name);
	step = plan_rpc(plan, title, "keyring_file_add_key",
			json_pack("{s:s, s:s}", "name", name, "path", path));
	step_undo_rpc(plan, step, "keyring_file_remove_key",
		      json_pack("{s:s}", "name", name));
}

static int plan_keyring(struct relay *relay, const struct rpc_want *want,
			struct plan *plan, struct err *err)
{
	const struct node *node = want->node;
	json_t *list;
	int ret;

	if (want->keys->is_empty)
		return 0;
	ret = relay_list(relay, "keyring_get_keys", &list, err);
	if (ret == -ENOSYS) {
		*err = (struct err){0};
		return err_set(err, -ENOTSUP,
			       "%s: the target there knows no DH-HMAC-CHAP "
			       "(SPDK has it from 24.09 on)",
			       node->host);
	}
	if (ret)
		return ret;
	for (size_t i = 0; i < node->allow_count; i++)
		for (int k = 0; k < HOSTKEY_KINDS; k++) {
			char name[HOSTKEY_NAME_LEN], path[HOSTKEY_PATH_LEN];

			hostkey_name(node->allow[i], k, name);
			hostkey_path(node->allow[i], k, path);
			if (want->keys->of[i][k].text[0] &&
			    !relay_find(list, "name", name))
				plan_named_key(name, path, plan);
		}
	json_decref(list);
	return 0;
}

/* --- hosts --- */

static const char *const key_params[HOSTKEY_KINDS] = {"dhchap_key",
						      "dhchap_ctrlr_key"};

static json_t *host_params(const struct rpc_want *want, size_t i)
{
	json_t *out = json_pack("{s:s, s:s}", "nqn", want->nqn, "host",
				want->node->allow[i]);

	for (int k = 0; k < HOSTKEY_KINDS; k++) {
		char name[HOSTKEY_NAME_LEN];

		hostkey_name(want->node->allow[i], k, name);
		if (want->keys->of[i][k].text[0])
			json_object_set_new(out, key_params[k],
					    json_string(name));
	}
	return out;
}

/* The host as the target has it, with the keys it has now. */
static json_t *params_before(const struct rpc_want *want, size_t i,
			     const json_t *have)
{
	json_t *out = json_pack("{s:s, s:s}", "nqn", want->nqn, "host",
				want->node->allow[i]);

	for (int k = 0; k < HOSTKEY_KINDS; k++)
		if (json_object_get(have, key_params[k]))
			json_object_set(out, key_params[k],
					json_object_get(have, key_params[k]));
	return out;
}

/* Has it the keys that are wanted?  Without a wish any will do. */
static bool is_keyed(const struct rpc_want *want, size_t i, const json_t *have)
{
	for (int k = 0; k < HOSTKEY_KINDS; k++) {
		const struct hostkey *hk = &want->keys->of[i][k];
		const char *now =
			json_string_value(json_object_get(have, key_params[k]));
		char name[HOSTKEY_NAME_LEN];

		if (!hk->text[0])
			continue;
		hostkey_name(want->node->allow[i], k, name);
		if (!now || strcmp(now, name))
			return false;
	}
	return true;
}

/* The first of the steps that write another key of this host, or NULL. */
static struct step *rewritten(const struct rpc_want *want, size_t i,
			      struct plan *plan)
{
	for (size_t s = 0; s < plan->count; s++)
		for (int k = 0; k < HOSTKEY_KINDS; k++) {
			const struct hostkey *hk = &want->keys->of[i][k];
			char path[HOSTKEY_PATH_LEN];

			hostkey_path(want->node->allow[i], k, path);
			if (plan->steps[s].kind == STEP_FILE && hk->is_there &&
			    !hk->is_same && !strcmp(plan->steps[s].text, path))
				return &plan->steps[s];
		}
	return NULL;
}

/* SPDK reads a key's file each time, ours when it is told: after it was
 * written, and after it was taken back. */
static void plan_reread(const struct rpc_want *want, size_t i,
			const json_t *have, const char *title,
			struct plan *plan)
{
	struct step *file = rewritten(want, i, plan);

	if (!file || want->node->backend != NODE_MOONCAKE)
		return;
	step_undo_rpc(plan, file, "nvmf_subsystem_set_keys",
		      params_before(want, i, have));
	plan_rpc(plan, title, "nvmf_subsystem_set_keys", host_params(want, i));
}

static void plan_host(const struct rpc_want *want, size_t i, const json_t *have,
		      struct plan *plan)
{
	const char *host = want->node->allow[i];
	bool has_key = want->keys->of[i][HOSTKEY_HOST].text[0];
	char title[NVME_NQN_LEN + 48];
	struct step *step;

	snprintf(title, sizeof(title), "%s %s%s",
		 have ? "set the keys of" : "admit the host", host,
		 !have && has_key ? " with its key" : "");
	if (!have) {
		step = plan_rpc(plan, title, "nvmf_subsystem_add_host",
				host_params(want, i));
		step_undo_rpc(plan, step, "nvmf_subsystem_remove_host",
			      json_pack("{s:s, s:s}", "nqn", want->nqn, "host",
					host));
	} else if (!is_keyed(want, i, have)) {
		step = plan_rpc(plan, title, "nvmf_subsystem_set_keys",
				host_params(want, i));
		step_undo_rpc(plan, step, "nvmf_subsystem_set_keys",
			      params_before(want, i, have));
	} else {
		plan_reread(want, i, have, title, plan);
	}
}

/* An open door makes keys useless; without them it is left as it is. */
static void plan_door(const struct rpc_want *want, struct plan *plan)
{
	struct step *step;

	if (want->keys->is_empty) {
		plan_note(plan, "the subsystem admits any host: left as it is; "
				"nvmf_subsystem_allow_any_host changes that");
		return;
	}
	step = plan_rpc(plan, "admit no host without a key",
			"nvmf_subsystem_allow_any_host",
			json_pack("{s:s, s:b}", "nqn", want->nqn,
				  "allow_any_host", false));
	step_undo_rpc(plan, step, "nvmf_subsystem_allow_any_host",
		      json_pack("{s:s, s:b}", "nqn", want->nqn,
				"allow_any_host", true));
}

int rpcplan_hosts(struct relay *relay, const struct rpc_want *want,
		  const json_t *ss, struct plan *plan, struct err *err)
{
	const struct node *node = want->node;
	bool any = json_is_true(json_object_get(ss, "allow_any_host"));
	int ret = plan_keyring(relay, want, plan, err);

	if (ret)
		return ret;
	if (ss && any && node->allow_count)
		plan_door(want, plan);
	for (size_t i = 0; i < node->allow_count; i++)
		plan_host(want, i,
			  relay_find(json_object_get(ss, "hosts"), "nqn",
				     node->allow[i]),
			  plan);
	return 0;
}
