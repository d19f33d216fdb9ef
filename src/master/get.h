/* SPDX-License-Identifier: Apache-2.0 */
/* Readers: Get, Exist, and what they report. */
#ifndef MASTER_GET_H
#define MASTER_GET_H

#include "master/core.h"

/* obj may be NULL.  OK = there is a readable replica; grants a lease unless
 * is_peek. */
enum mooncake_status get_object(struct core *core, struct object *obj,
				bool is_peek);
/* The same question without the replicas. */
bool exist_object(struct core *core, struct object *obj);
/* Looks count keys up; out[i] NULL where absent.  count <= GET_BATCH. */
#define GET_BATCH 256
void get_lookup(struct core *core, const struct str *keys, size_t count,
		struct object **out);

/* Bytes of that replica did not match: it goes, if it is still that one. */
struct mismatch {
	uint64_t generation;
	uint32_t index;	     /* of the replica */
	struct uuid segment; /* where; zero = not known */
};
enum mooncake_status get_report_mismatch(struct core *core, struct str key,
					 const struct mismatch *what);

#endif
