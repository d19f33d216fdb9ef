/* SPDX-License-Identifier: Apache-2.0 */
/* Overrides.  Pure functions. */
#include "deploy/define.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct define {
	const char *name;
	int (*apply)(struct nslist *list, struct str value, struct err *err);
};

static int bad(struct err *err, const char *key, struct str value,
	       const char *expected)
{
	return err_set(err, -EINVAL, "-D%s=" STR_FMT ": expected %s", key,
		       (int)MIN(value.n, (size_t)80), value.p ? value.p : "",
		       expected);
}

#define EACH_PATH(list, ep)                                                    \
	for (size_t i_ = 0; i_ < (list)->count; i_++)                          \
		for (struct endpoint *ep = (list)->items[i_].paths;            \
		     ep <                                                      \
		     (list)->items[i_].paths + (list)->items[i_].path_count;   \
		     ep++)

static int set_nqn(struct nslist *list, struct str value, struct err *err)
{
	int ret = nqn_check(value, err);

	if (ret)
		return ret;
	EACH_PATH(list, ep)
	snprintf(ep->subnqn, sizeof(ep->subnqn), STR_FMT, STR_ARG(value));
	for (size_t i = 0; i < list->count; i++)
		snprintf(list->items[i].subnqn, sizeof(list->items[i].subnqn),
			 STR_FMT, STR_ARG(value));
	return 0;
}

static int set_nsid(struct nslist *list, struct str value, struct err *err)
{
	uint64_t n;

	if (str_to_u64(value, &n) || !n || n >= UINT32_MAX)
		return bad(err, "nsid", value, "a namespace id");
	if (list->count > 1)
		return err_set(err, -EINVAL,
			       "-Dnsid=%llu: %zu namespaces were found, which "
			       "can't all have the same id",
			       (unsigned long long)n, list->count);
	EACH_PATH(list, ep)
	ep->nsid = (uint32_t)n;
	if (list->count)
		list->items[0].nsid = (uint32_t)n;
	return 0;
}

static int set_traddr(struct nslist *list, struct str value, struct err *err)
{
	struct endpoint to = {0};
	int ret;

	if (!value.n || value.n >= sizeof(to.traddr))
		return bad(err, "traddr", value, "an address");
	snprintf(to.traddr, sizeof(to.traddr), STR_FMT, STR_ARG(value));
	ret = endpoint_resolve(&to, err);
	if (ret)
		return ret;
	EACH_PATH(list, ep)
	{
		memcpy(ep->traddr, to.traddr, sizeof(ep->traddr));
		ep->is_ipv6 = to.is_ipv6;
	}
	return 0;
}

static int set_trsvcid(struct nslist *list, struct str value, struct err *err)
{
	uint64_t n;

	if (str_to_u64(value, &n) || !n || n > UINT16_MAX)
		return bad(err, "trsvcid", value, "a port number");
	EACH_PATH(list, ep)
	ep->trsvcid = (uint16_t)n;
	return 0;
}

static int check_base(struct nslist *list, struct str value, struct err *err)
{
	uint64_t n;

	if (str_to_size(value, &n) || n)
		return bad(err, "base", value,
			   "0: the pool takes whole namespaces");
	return 0;
}

static int check_size(struct nslist *list, struct str value, struct err *err)
{
	uint64_t n;

	if (str_to_size(value, &n) || !n)
		return bad(err, "size", value, "a size like 3.84t");
	for (size_t i = 0; i < list->count; i++) {
		/* Not asked yet: the master compares. */
		if (!list->items[i].bytes)
			list->items[i].bytes = n;
		if (list->items[i].bytes != n)
			return err_set(
				err, -EINVAL,
				"-Dsize=%llu: namespace %u of %.100s "
				"has %llu bytes; leave -Dsize out",
				(unsigned long long)n, list->items[i].nsid,
				list->items[i].subnqn,
				(unsigned long long)list->items[i].bytes);
	}
	return 0;
}

static int no_effect(struct nslist *list, struct str value, struct err *err)
{
	return 0;
}

static const struct define defines_known[] = {
	{"nqn", set_nqn},
	{"nsid", set_nsid},
	{"traddr", set_traddr},
	{"trsvcid", set_trsvcid},
	{"base", check_base},
	{"size", check_size},
	/* The first is read by define_find(). */
	{"master_server_address", no_effect},
	{"metadata_server", no_effect},
};

static int apply_one(const char *text, struct nslist *list, struct err *err)
{
	struct str value, key = str_cut(str_of(text), '=', &value);

	for (size_t i = 0; value.p && i < ARRAY_SIZE(defines_known); i++)
		if (str_eq(key, str_of(defines_known[i].name)))
			return defines_known[i].apply(list, value, err);
	return err_set(err, -EINVAL,
		       "-D%.100s: expected KEY=VALUE; keys are nqn, nsid, "
		       "traddr, trsvcid, base, size, master_server_address, "
		       "metadata_server",
		       text);
}

int define_apply(const struct flag_list *defines, struct nslist *list,
		 struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < defines->count && ret == 0; i++)
		ret = apply_one(defines->items[i], list, err);
	return ret;
}

const char *define_find(const struct flag_list *defines, const char *key)
{
	const char *found = NULL;
	size_t n = strlen(key);

	for (size_t i = 0; i < defines->count; i++)
		if (!strncmp(defines->items[i], key, n) &&
		    defines->items[i][n] == '=')
			found = defines->items[i] + n + 1;
	return found;
}

char **define_split_args(int argc, char **argv)
{
	size_t bytes = ((size_t)argc + 1) * sizeof(char *);
	char **out, *text;

	for (int i = 0; i < argc; i++)
		bytes += strlen(argv[i]) + 2;
	out = malloc(bytes);
	if (!out)
		return NULL;
	text = (char *)(out + argc + 1);
	for (int i = 0; i < argc; i++) {
		const char *a = argv[i];
		bool is_joined =
			a[0] == '-' && a[1] == 'D' && a[2] && a[2] != '=';

		out[i] = text;
		text += snprintf(text, strlen(a) + 2, "%s%s",
				 is_joined ? "-D=" : "",
				 is_joined ? a + 2 : a) +
			1;
	}
	out[argc] = NULL;
	return out;
}
