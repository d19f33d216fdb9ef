/* SPDX-License-Identifier: Apache-2.0 */
/* Remove by key, by pattern, everything. */
#ifndef MASTER_REMOVE_H
#define MASTER_REMOVE_H

#include "base/err.h"
#include "master/core.h"
#include "master/scan.h"

enum mooncake_status remove_key(struct core *core, struct str key,
				bool is_forced);

/* A removal in slices.  Owner: the caller; fini after the last slice. */
struct remover {
	struct scan scan;
	struct pcre2_real_code_8 *code; /* NULL = everything */
	struct pcre2_real_match_data_8 *match;
	struct pcre2_real_match_context_8 *limits;
	bool is_forced;
	uint64_t count;	   /* removed so far */
	uint64_t too_hard; /* keys on which the pattern hit its limits */
};
/* pattern.p NULL = all objects.  -EINVAL with sentence and offset for a bad
 * pattern, -ENOMEM. */
int remover_init(struct remover *r, struct core *core, struct str pattern,
		 bool is_forced, struct err *err);
void remover_fini(struct remover *r);
/* Looks at up to budget objects; true when there is more to do. */
bool remover_step(struct remover *r, struct core *core, unsigned budget);

#endif
