/* SPDX-License-Identifier: Apache-2.0 */
/* PutStart, PutEnd, PutRevoke, and unfinished puts that grow old. */
#ifndef MASTER_PUT_H
#define MASTER_PUT_H

#include "base/err.h"
#include "master/core.h"
#include "master/place.h"

/* What has been done to make room for one replica, in all slices so far. */
struct effort {
	unsigned more; /* of the place: which replica */
	unsigned round;
	uint64_t freed;	   /* bytes of this round */
	uint64_t rested;   /* bytes that were evicted, and have to rest ... */
	uint64_t until_ns; /* ... until then at the latest */
	uint64_t sweep_ns; /* of a search that is cut short, evict.h */
};

struct put_ask {
	struct uuid client;
	uint64_t request;      /* of the next item; 0 = it is not repeated */
	int count[KIND_COUNT]; /* -1 = not asked for, until put_resolve() */
	struct place place;
	bool has_soft_pin, has_hard_pin;
	uint64_t soft_pin_ms; /* 0 = default */
	uint32_t data_type;   /* DATA_TYPE_MAX at most */
	struct str group;     /* of the next key; n 0 = none */
	unsigned budget;      /* evictions that this slice may still cost */
	struct effort effort[KIND_COUNT]; /* of a put that is cut short or
					   * has to wait; put_start()'s */
	uint64_t retry_ns;
	bool is_last; /* nobody will ask again: what has to be waited for, or
		       * is beyond the budget, is not there, and nothing is
		       * evicted that has to rest */
	/* With OBJECT_ALREADY_EXISTS: it does not yet, somebody is at it. */
	bool is_being_written;
};

/* Checks what is said for the whole batch and fills in the counts. */
enum mooncake_status put_resolve(const struct core *core, struct put_ask *ask);

/* Not one of Mooncake's numbers: ask again at ask->retry_ns. */
#define PUT_LATER 1

/*
 * One key: MOONCAKE_OK with the object (the one there is, when the request was
 * carried out before and its answer got lost), PUT_LATER (space rests until
 * retry_ns, or the budget of this slice is used up; not with is_last), or an
 * error.
 */
int put_start(struct core *core, struct put_ask *ask, struct str key,
	      uint64_t size, struct object **out);

struct put_end {
	struct uuid client;
	struct str key;
	uint64_t generation;
	struct str crcs;
	const uint32_t *failed;
	size_t failed_count;
	bool is_resent; /* a first attempt may still be executed */
};
enum mooncake_status put_end(struct core *core, const struct put_end *end);
enum mooncake_status put_revoke(struct core *core, const struct uuid *client,
				struct str key, uint64_t generation);
/* Drops unfinished puts older than release_ns, and what was kept of writers
 * that may have been late; when the next put will be that old, 0 = there is
 * none. */
uint64_t put_expire(struct core *core);

#endif
