/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that the options of mooncake_nof_target name.  Main thread (the
 * control loop), at the start and again on SIGHUP.  Invariant: all files are
 * read before the first key is set, so that a bad one changes nothing.
 */
#include "cmd/nof_target.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "crypt/dhchap.h"

/* HOSTNQN=FILE; hostnqn empty stands for "*". */
static int split(const char *option, const char *text, char hostnqn[],
		 const char **file, struct err *err)
{
	struct str rest, nqn = str_cut(str_of(text), '=', &rest);
	struct err why = {0};

	if (!nqn.n || !rest.n)
		return err_set(err, -EINVAL,
			       "--%s '%.100s': expected HOSTNQN=FILE", option,
			       text);
	hostnqn[0] = '\0';
	*file = rest.p;
	if (str_eq(nqn, STR("*")))
		return 0;
	if (nqn_check(nqn, &why))
		return err_set(err, -EINVAL, "--%s: %s", option, why.text);
	memcpy(hostnqn, nqn.p, nqn.n);
	hostnqn[nqn.n] = '\0';
	return 0;
}

/* The key of that host in a list; len 0 when there is none. */
static int find_key(const char *option, const struct flag_list *list,
		    const char *hostnqn, struct dhchap_key *out,
		    struct err *err)
{
	char nqn[NVME_NQN_LEN];
	const char *file = NULL;
	int ret = 0;

	*out = (struct dhchap_key){0};
	for (size_t i = 0; !ret && !out->len && i < list->count; i++) {
		ret = split(option, list->items[i], nqn, &file, err);
		if (!ret && strcmp(nqn, hostnqn) == 0)
			ret = dhchap_key_load(file, out, err);
	}
	return ret;
}

static int take_host(struct nof_program *p, const char *item, bool is_trial,
		     struct err *err)
{
	const struct nof_config *c = p->config;
	char nqn[NVME_NQN_LEN];
	struct tgt_keys keys;
	const char *file;
	int ret = split("dhchap_key", item, nqn, &file, err);

	if (ret)
		return ret;
	ret = find_key("dhchap_key", &c->dhchap_keys, nqn, &keys.host, err);
	if (!ret)
		ret = find_key("dhchap_ctrl_key", &c->dhchap_ctrl_keys, nqn,
			       &keys.ctrl, err);
	if (!ret && !is_trial) {
		ret = tgt_keys_set(p->tgt, NULL, nqn[0] ? nqn : NULL, &keys);
		if (ret)
			err_set(err, ret, "out of memory");
	}
	secret_clear(&keys, sizeof(keys));
	return ret;
}

/* A controller key alone would never be used. */
static int check_ctrl_key(const struct nof_config *c, const char *item,
			  struct err *err)
{
	char nqn[NVME_NQN_LEN], other[NVME_NQN_LEN];
	const char *file;
	int ret = split("dhchap_ctrl_key", item, nqn, &file, err);

	for (size_t i = 0; !ret && i < c->dhchap_keys.count; i++) {
		ret = split("dhchap_key", c->dhchap_keys.items[i], other, &file,
			    err);
		if (!ret && strcmp(nqn, other) == 0)
			return 0;
	}
	return ret ? ret
		   : err_set(err, -EINVAL,
			     "--dhchap_ctrl_key for '%s' without --dhchap_key "
			     "for the same host: a target proves itself only "
			     "to a host that does so, too",
			     nqn[0] ? nqn : "*");
}

static int take_tls(struct nof_program *p, const char *item, bool is_trial,
		    struct err *err)
{
	char nqn[NVME_NQN_LEN];
	struct tls_key key = {0};
	const char *file;
	int ret = split("tls_key", item, nqn, &file, err);

	if (!ret)
		ret = tls_key_load(file, &key, err);
	if (!ret && !is_trial) {
		ret = tgt_tls_key_set(p->tgt, NULL, nqn[0] ? nqn : NULL, &key);
		if (ret)
			err_set(err, ret, "out of memory");
	}
	secret_clear(&key, sizeof(key));
	return ret;
}

static int take_keys(struct nof_program *p, bool is_trial, struct err *err)
{
	const struct nof_config *c = p->config;
	int ret = 0;

	for (size_t i = 0; !ret && i < c->dhchap_keys.count; i++)
		ret = take_host(p, c->dhchap_keys.items[i], is_trial, err);
	for (size_t i = 0; !ret && i < c->dhchap_ctrl_keys.count; i++)
		ret = check_ctrl_key(c, c->dhchap_ctrl_keys.items[i], err);
	for (size_t i = 0; !ret && i < c->tls_keys.count; i++)
		ret = take_tls(p, c->tls_keys.items[i], is_trial, err);
	return ret;
}

/* "sha256,sha512" as ids; parse returns one or -EINVAL. */
static int parse_ids(const char *option, const char *text,
		     int (*parse)(struct str name), struct auth_ids *out,
		     struct err *err)
{
	struct str rest = str_of(text), name;
	int id;

	*out = (struct auth_ids){0};
	while (rest.n) {
		name = str_trim(str_cut(rest, ',', &rest));
		id = parse(name);
		if (id < 0 || out->count == AUTH_IDS_MAX)
			return err_set(err, -EINVAL,
				       "--%s: '%.*s' is not known: --help says "
				       "which are",
				       option, (int)MIN(name.n, (size_t)40),
				       name.p);
		out->ids[out->count++] = (uint8_t)id;
	}
	return 0;
}

int nof_keys_all(struct nof_program *p, struct err *err)
{
	const struct nof_config *c = p->config;
	struct auth_ids hashes, groups;
	int ret = parse_ids("dhchap_hash", c->dhchap_hash, dhchap_hash_parse,
			    &hashes, err);

	if (!ret)
		ret = parse_ids("dhchap_dhgroup", c->dhchap_dhgroup,
				dhchap_group_parse, &groups, err);
	if (!ret && (hashes.count || groups.count))
		ret = tgt_auth_set(p->tgt, &hashes, &groups);
	if (!ret)
		ret = take_keys(p, true, err);
	if (!ret)
		ret = take_keys(p, false, err);
	return ret;
}

void nof_keys_again(struct nof_program *p)
{
	struct err err = {0};

	if (nof_keys_all(p, &err))
		log_err("key files not read again: the old keys stay",
			"reason=\"%s\"", err.text);
	else
		log_info("key files read again", "hosts=%zu",
			 p->config->dhchap_keys.count +
				 p->config->tls_keys.count);
}
