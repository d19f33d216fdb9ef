/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removal, on the metadata shard.  Invariant: without force a leased object
 * stays; an unfinished one stays in any case, for its writer is at work.
 */
#include "master/remove.h"

#include <errno.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "master/object.h"

#define PATTERN_MAX 4096
/* A pattern that needs more steps or stack than this on one key is given up
 * for that key. */
#define MATCH_LIMIT    10000
#define MATCH_DEPTH    1000
#define MATCH_HEAP_KIB 1024

enum mooncake_status remove_key(struct core *core, struct str key,
				bool is_forced)
{
	struct object *obj;

	if (key.n == 0)
		return MOONCAKE_INVALID_PARAMS;
	obj = obj_find(core, key);
	if (!obj)
		return MOONCAKE_OBJECT_NOT_FOUND;
	if (!obj->is_complete)
		return MOONCAKE_REPLICA_IS_NOT_READY;
	if (!is_forced && obj_is_leased(core, obj))
		return MOONCAKE_OBJECT_HAS_LEASE;
	obj_destroy(core, obj);
	return MOONCAKE_OK;
}

static int compile(struct remover *r, struct str pattern, struct err *err)
{
	PCRE2_SIZE offset = 0;
	int code = 0;

	if (pattern.n == 0 || pattern.n > PATTERN_MAX)
		return err_set(err, -EINVAL,
			       "a pattern has 1 to %d bytes, this one %zu",
			       PATTERN_MAX, pattern.n);
	r->code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n,
				PCRE2_NEVER_BACKSLASH_C, &code, &offset, NULL);
	if (!r->code) {
		char text[160] = "";

		pcre2_get_error_message(code, (PCRE2_UCHAR *)text,
					sizeof(text));
		return err_set(err, -EINVAL, "bad pattern at offset %zu: %s",
			       (size_t)offset, text);
	}
	r->match = pcre2_match_data_create(1, NULL);
	r->limits = pcre2_match_context_create(NULL);
	if (!r->match || !r->limits)
		return err_set(err, -ENOMEM, "out of memory");
	pcre2_set_match_limit(r->limits, MATCH_LIMIT);
	pcre2_set_depth_limit(r->limits, MATCH_DEPTH);
	pcre2_set_heap_limit(r->limits, MATCH_HEAP_KIB);
	return 0;
}

int remover_init(struct remover *r, struct core *core, struct str pattern,
		 bool is_forced, struct err *err)
{
	int ret;

	*r = (struct remover){.is_forced = is_forced};
	list_init(&r->scan.node);
	if (pattern.p) {
		ret = compile(r, pattern, err);
		if (ret < 0) {
			remover_fini(r);
			return ret;
		}
	}
	scan_start(core, &r->scan);
	return 0;
}

void remover_fini(struct remover *r)
{
	scan_stop(&r->scan);
	pcre2_match_context_free(r->limits);
	pcre2_match_data_free(r->match);
	pcre2_code_free(r->code);
	r->limits = NULL;
	r->match = NULL;
	r->code = NULL;
}

static bool is_meant(struct remover *r, const struct object *obj)
{
	struct str key = obj_key(obj);
	int ret;

	if (!r->code)
		return true;
	ret = pcre2_match(r->code, (PCRE2_SPTR)key.p, key.n, 0, 0, r->match,
			  r->limits);
	if (ret < 0 && ret != PCRE2_ERROR_NOMATCH)
		r->too_hard++;
	return ret >= 0;
}

bool remover_step(struct remover *r, struct core *core, unsigned budget)
{
	while (budget-- > 0) {
		struct object *obj = scan_next(core, &r->scan);

		if (!obj)
			return false;
		if (!obj->is_complete ||
		    (!r->is_forced && obj_is_leased(core, obj)))
			continue;
		if (!is_meant(r, obj))
			continue;
		obj_destroy(core, obj);
		r->count++;
	}
	return true;
}
