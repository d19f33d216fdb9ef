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

/*
 * Bytes of that replica are wrong or lost: it goes, if it is still that one.
 * Nothing is lost on a word about the medium where the last probe failed, too,
 * or that is OFFLINE: then it is not one block that can't be read, and the
 * segment is OFFLINE soon or well again.  Nor is the last replica of the pool
 * that anybody can read: GET_DOUBTED says that somebody has to look first
 * (doubt.h), and to come again with is_confirmed.
 */
#define GET_DOUBTED 1
struct bad_replica {
	uint64_t generation;
	uint32_t index;	     /* of the replica */
	struct uuid segment; /* where; zero = not known */
	bool is_media_error; /* the target says so; else they did not match */
	bool is_confirmed;   /* somebody has looked */
};
/* enum mooncake_status or GET_DOUBTED. */
int get_report_bad(struct core *core, struct str key,
		   const struct bad_replica *what);
/* The replica that is meant, or NULL. */
struct replica *get_bad_replica(struct core *core, struct str key,
				const struct bad_replica *what);

#endif
