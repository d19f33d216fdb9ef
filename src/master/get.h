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

/* Bytes of that replica are wrong or lost: it goes, if it is still that one.
 * Nothing is lost where the last probe failed, too: then it is not one block
 * that can't be read, and the segment is OFFLINE soon or well again. */
struct bad_replica {
	uint64_t generation;
	uint32_t index;	     /* of the replica */
	struct uuid segment; /* where; zero = not known */
	bool is_media_error; /* the target says so; else they did not match */
};
enum mooncake_status get_report_bad(struct core *core, struct str key,
				    const struct bad_replica *what);

#endif
