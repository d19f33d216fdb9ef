/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys on their way.  Loading: the main thread; the rest: the deployment's.
 * Invariant: no title, sentence or fact has a part of a key's text.
 */
#include "deploy/hostkey.h"

#include <errno.h>
#include <stdio.h>

#include "base/hash.h"
#include "deploy/deployment.h"

static int load(const char *path, char out[DHCHAP_KEY_TEXT_LEN],
		struct err *err)
{
	struct dhchap_key key;
	int ret = dhchap_key_load(path, &key, err);

	if (ret == 0)
		dhchap_key_format(&key, out);
	secret_clear(&key, sizeof(key));
	return ret;
}

int hostkeys_load(const struct node *node, struct hostkeys *out,
		  struct err *err)
{
	int ret = 0;

	*out = (struct hostkeys){.is_empty = true};
	for (size_t i = 0; i < node->allow_count && ret == 0; i++) {
		const char *files[HOSTKEY_KINDS] = {
			node_key_file(&node->key, node->allow[i]),
			node_key_file(&node->ctrl_key, node->allow[i]),
		};

		for (int k = 0; k < HOSTKEY_KINDS && ret == 0; k++) {
			if (!files[k])
				continue;
			out->is_empty = false;
			ret = load(files[k], out->of[i][k].text, err);
		}
	}
	return ret;
}

void hostkeys_fini(struct hostkeys *keys)
{
	secret_clear(keys, sizeof(*keys));
}

void hostkey_name(const char *hostnqn, enum hostkey_kind kind,
		  char out[HOSTKEY_NAME_LEN])
{
	snprintf(out, HOSTKEY_NAME_LEN, "mooncake-%016llx%s",
		 (unsigned long long)hash_str(str_of(hostnqn)),
		 kind == HOSTKEY_CTRL ? "-ctrl" : "");
}

void hostkey_path(const char *hostnqn, enum hostkey_kind kind,
		  char out[HOSTKEY_PATH_LEN])
{
	char name[HOSTKEY_NAME_LEN];

	hostkey_name(hostnqn, kind, name);
	snprintf(out, HOSTKEY_PATH_LEN, HOSTKEY_FOLDER "/%s", name);
}

static void take_fact(void *arg, struct str key, struct str value)
{
	struct hostkeys *keys = arg;
	struct hostkey *hk;
	uint64_t n;

	if (str_to_u64(value, &n) || n >= NODE_HOSTS_MAX * HOSTKEY_KINDS)
		return;
	hk = &keys->of[n / HOSTKEY_KINDS][n % HOSTKEY_KINDS];
	if (str_eq(key, STR("there")))
		hk->is_there = true;
	else if (str_eq(key, STR("same")))
		hk->is_same = true;
}

static int look(struct deployment *d, struct err *err)
{
	struct strbuf script = {.is_secret = true};
	int ret;

	strbuf_adds(&script,
		    "look() { [ -e \"$2\" ] || return 0\n"
		    "  echo there=$1\n"
		    "  [ \"$(cat \"$2\")\" != \"$3\" ] || echo same=$1; }\n");
	for (size_t i = 0; i < d->node->allow_count; i++)
		for (int k = 0; k < HOSTKEY_KINDS; k++) {
			struct hostkey *hk = &d->keys.of[i][k];
			char path[HOSTKEY_PATH_LEN];

			hk->is_there = hk->is_same = false;
			if (!hk->text[0])
				continue;
			hostkey_path(d->node->allow[i], k, path);
			strbuf_addf(&script, "look %zu '%s' '%s'\n",
				    i * HOSTKEY_KINDS + (size_t)k, path,
				    hk->text);
		}
	ret = script.failed
		      ? err_set(err, -ENOMEM, "out of memory")
		      : deployment_facts(d, script.p, take_fact, &d->keys, err);
	strbuf_fini(&script);
	return ret;
}

static void plan_key(struct deployment *d, const char *hostnqn,
		     enum hostkey_kind kind, const struct hostkey *hk)
{
	char path[HOSTKEY_PATH_LEN], title[NVME_NQN_LEN + 64];
	struct step *step;

	if (!hk->text[0] || hk->is_same)
		return;
	hostkey_path(hostnqn, kind, path);
	snprintf(title, sizeof(title), "write the %s key for %s",
		 kind == HOSTKEY_CTRL ? "target's" : "host's", hostnqn);
	step = plan_file(&d->plan, title, path, hk->text, 0600);
	if (step)
		step->is_secret = true;
}

int hostkeys_plan(struct deployment *d, struct err *err)
{
	bool has_folder = false;
	int ret;

	if (d->keys.is_empty)
		return 0;
	ret = look(d, err);
	for (size_t i = 0; i < d->node->allow_count && ret == 0; i++)
		for (int k = 0; k < HOSTKEY_KINDS; k++) {
			const struct hostkey *hk = &d->keys.of[i][k];

			if (hk->text[0] && !hk->is_same && !has_folder)
				plan_script(
					&d->plan,
					"make the folder " HOSTKEY_FOLDER,
					"mkdir -p -m 0755 " DEPLOY_FOLDER
					" && mkdir -p -m 0700 " HOSTKEY_FOLDER,
					"rmdir " HOSTKEY_FOLDER
					" 2>/dev/null || :");
			has_folder |= hk->text[0] && !hk->is_same;
			plan_key(d, d->node->allow[i], k, hk);
		}
	return ret;
}
