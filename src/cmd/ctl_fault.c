/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncakectl target fault: drills on a target of ours (docs/drills.md).  One
 * thread, one call at a time.  Invariant: the rule's text is the target's to
 * judge; nothing is read into it here.
 */
#include <errno.h>
#include <string.h>

#include "cmd/ctl.h"
#include "deploy/table.h"

static long long number(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static int fault_set(struct ctl *ctl, const char *rule, struct err *err)
{
	json_t *result;
	int ret = ctl_target_call(ctl, "mooncake_fault_set",
				  json_pack("{s:s}", "fault", rule), &result,
				  err);

	if (!ret)
		strbuf_addf(&ctl->out, "fault %lld\n", number(result, "id"));
	json_decref(result);
	return ret;
}

static void add_one(struct table *table, const json_t *one)
{
	bool is_active = json_is_true(json_object_get(one, "active"));
	long long left_ms = number(one, "left_ms");

	table_addf(table, "%lld", number(one, "id"));
	if (!is_active)
		table_add(table, "over");
	else if (left_ms)
		table_addf(table, "%lld s", (left_ms + 999) / 1000);
	else
		table_add(table, "active");
	table_addf(table, "%lld", number(one, "injected"));
	table_addf(table, "%lld", number(one, "seen"));
	table_add(table, text(one, "seed"));
	table_add(table, text(one, "fault"));
}

static int fault_list(struct ctl *ctl, const char *none, struct err *err)
{
	static const char *const heads[] = {">ID",   "STATE", ">HITS",
					    ">SEEN", ">SEED", "FAULT"};
	struct table table;
	json_t *list;
	int ret = ctl_target_call(ctl, "mooncake_fault_list", NULL, &list, err);

	if (ret)
		return ret;
	if (ctl->config.json)
		return ctl_print_json(ctl, list, err);
	table_init(&table, heads, ARRAY_SIZE(heads));
	for (size_t i = 0; i < json_array_size(list); i++)
		add_one(&table, json_array_get(list, i));
	table_format(&table, &ctl->out);
	json_decref(list);
	return 0;
}

static int fault_clear(struct ctl *ctl, const char *which, struct err *err)
{
	json_t *params = NULL, *result;
	uint64_t id;
	int ret;

	if (which) {
		if (str_to_u64(str_of(which), &id) || !id || id > UINT32_MAX)
			return err_set(err, -EINVAL,
				       "'%.40s' is no fault's id; 'list' shows "
				       "them",
				       which);
		params = json_pack("{s:I}", "id", (json_int_t)id);
	}
	ret = ctl_target_call(ctl, "mooncake_fault_clear", params, &result,
			      err);
	if (!ret)
		strbuf_addf(&ctl->out, "%lld cleared\n",
			    number(result, "cleared"));
	json_decref(result);
	return ret;
}

int ctl_fault(struct ctl *ctl, struct err *err)
{
	static const struct {
		const char *name;
		size_t args_min, args_max;
		int (*run)(struct ctl *ctl, const char *what, struct err *err);
	} words[] = {
		{"set", 1, 1, fault_set},
		{"list", 0, 0, fault_list},
		{"clear", 0, 1, fault_clear},
	};
	const char *word = ctl->args->items[1];
	size_t given = ctl->args->count - 2;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(words[i].name, word) == 0 &&
		    given >= words[i].args_min && given <= words[i].args_max)
			return words[i].run(
				ctl, given ? ctl->args->items[2] : NULL, err);
	}
	return err_set(err, -EINVAL,
		       "write '" CTL_NAME " target fault set RULE', 'fault "
		       "list' or 'fault clear [ID]'");
}
