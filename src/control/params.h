/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters of a method as a table: name, type, whether it must be there, and
 * where in a struct it goes.  Objects inside have tables of their own that
 * fill the same struct.
 */
#ifndef CONTROL_PARAMS_H
#define CONTROL_PARAMS_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

enum param_type {
	PARAM_BOOL,   /* bool */
	PARAM_U32,    /* uint32_t */
	PARAM_U64,    /* uint64_t */
	PARAM_STR,    /* const char *, NULL when absent */
	PARAM_STRS,   /* const json_t *: an array of texts, NULL when absent */
	PARAM_JSON,   /* const json_t *: any value, NULL when absent */
	PARAM_OBJECT, /* filled by sub; off is not used */
};

struct param {
	const char *name;
	enum param_type type;
	size_t off; /* offsetof in the struct */
	bool is_required;
	uint64_t def; /* of numbers and booleans that are absent */
	const struct param *sub;
	size_t sub_count;
};

/*
 * Fills args, which is zeroed, from object (NULL: no parameters were given).
 * Texts and arrays point into object.  -EINVAL with a sentence.
 */
int params_decode(const struct param *params, size_t count, bool is_relaxed,
		  const json_t *object, void *args, struct err *err);

#endif
