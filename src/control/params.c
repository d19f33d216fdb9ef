/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameter tables; any thread.  Invariant: args is complete (each field has a
 * value or its default) whenever 0 is returned.
 */
#include "control/params.h"

#include <errno.h>
#include <string.h>

/* Numbers have no sign, no fraction and no quotes, as SPDK wants them. */
static int decode_number(const json_t *value, uint64_t max, uint64_t *out)
{
	json_int_t n = json_integer_value(value);

	if (!json_is_integer(value) || n < 0 || (uint64_t)n > max)
		return -EINVAL;
	*out = (uint64_t)n;
	return 0;
}

static int decode_strings(const json_t *value)
{
	if (!json_is_array(value))
		return -EINVAL;
	for (size_t i = 0; i < json_array_size(value); i++) {
		if (!json_is_string(json_array_get(value, i)))
			return -EINVAL;
	}
	return 0;
}

static void store_number(const struct param *p, uint64_t n, void *field)
{
	if (p->type == PARAM_BOOL)
		*(bool *)field = n != 0;
	else if (p->type == PARAM_U32)
		*(uint32_t *)field = (uint32_t)n;
	else if (p->type == PARAM_U64)
		*(uint64_t *)field = n;
}

static int decode_value(const struct param *p, const json_t *value, void *args)
{
	void *field = (char *)args + p->off;
	uint64_t n = 0;
	int ret = 0;

	switch (p->type) {
	case PARAM_BOOL:
		ret = json_is_boolean(value) ? 0 : -EINVAL;
		n = json_is_true(value);
		break;
	case PARAM_U32:
		ret = decode_number(value, UINT32_MAX, &n);
		break;
	case PARAM_U64:
		ret = decode_number(value, INT64_MAX, &n);
		break;
	case PARAM_STR:
		*(const char **)field = json_string_value(value);
		return json_is_string(value) ? 0 : -EINVAL;
	case PARAM_STRS:
		*(const json_t **)field = value;
		return decode_strings(value);
	case PARAM_JSON:
		*(const json_t **)field = value;
		return 0;
	case PARAM_OBJECT:
		return json_is_object(value) ? 0 : -EINVAL;
	}
	if (ret == 0)
		store_number(p, n, field);
	return ret;
}

static const struct param *find(const struct param *params, size_t count,
				const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(params[i].name, name) == 0)
			return &params[i];
	}
	return NULL;
}

static int check_names(const struct param *params, size_t count,
		       const json_t *object, struct err *err)
{
	json_t *o = (json_t *)(uintptr_t)object; /* only looked at */
	const char *name;
	json_t *value;

	json_object_foreach(o, name, value)
	{
		if (!find(params, count, name))
			return err_set(err, -EINVAL,
				       "there is no parameter '%.60s'", name);
	}
	return 0;
}

static int decode_one(const struct param *p, bool is_relaxed,
		      const json_t *value, void *args, struct err *err)
{
	int ret;

	if (!value && p->is_required)
		return err_set(err, -EINVAL, "the parameter '%s' is missing",
			       p->name);
	if (!value)
		store_number(p, p->def, (char *)args + p->off);
	ret = value ? decode_value(p, value, args) : 0;
	if (ret)
		return err_set(err, ret,
			       "the parameter '%s' has the wrong type",
			       p->name);
	if (p->type == PARAM_OBJECT && value)
		return params_decode(p->sub, p->sub_count, is_relaxed, value,
				     args, err);
	return 0;
}

int params_decode(const struct param *params, size_t count, bool is_relaxed,
		  const json_t *object, void *args, struct err *err)
{
	int ret = 0;

	if (object && !json_is_object(object))
		return err_set(err, -EINVAL, "parameters are an object");
	if (object && !is_relaxed)
		ret = check_names(params, count, object, err);
	for (size_t i = 0; !ret && i < count; i++)
		ret = decode_one(
			&params[i], is_relaxed,
			object ? json_object_get(object, params[i].name) : NULL,
			args, err);
	return ret;
}
