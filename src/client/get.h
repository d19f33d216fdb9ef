/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a get: the batch, and the waiting for one round of its reads. */
#ifndef CLIENT_GET_H
#define CLIENT_GET_H

#include "client/batch.h"
#include "client/call.h"
#include "client/hedge.h"
#include "client/report.h"
#include "client/xfer.h"

struct get_one {
	struct item *item;
	const Mc__Object *object;
	struct xfer_io xio;
	uint32_t *crcs;
	size_t crc_count;
	const Mc__Replica **order; /* best first */
	size_t next;		   /* of order */
	bool is_reading;
	/* this round */
	const Mc__Replica *first_replica;
	uint64_t start_ns;
	uint64_t hedge_ns; /* when to read it a second time; 0 = not */
	struct hedge *hedge;
	const Mc__Replica *hedge_replica; /* was begun */
	bool is_hedge_late; /* the first time there was nothing to spend */
	bool is_cancelled;
};

struct get_batch {
	struct client *client;
	struct arena *arena;
	struct get_one *ones;
	size_t count;
	struct call call;
	const Mc__GetRsp *rsp;
	struct vols vols;
	uint64_t deadline_ns; /* of the call; then it is a miss */
	struct report report; /* about bad replicas */
};

/* A read of that replica failed. */
struct get_failure {
	const Mc__Replica *replica;
	const Mc__Segment *segment; /* NULL = not known */
	int ret;
	uint64_t ended_ns;
};
void get_failed(struct get_batch *b, const struct get_one *one,
		const struct get_failure *why);
/* The read in xio. */
void get_first_failed(struct get_batch *b, const struct get_one *one);

/* A first read begins: when to begin a second one? */
void get_hedge_plan(struct get_batch *b, struct get_one *one);
/* Until every read of the round has ended, at most until the call's deadline
 * and what aborting takes; is_reading stays for get_judge(), io.ret says how it
 * went, whichever read won. */
void get_wait(struct get_batch *b, struct xfer *xfer, uint64_t deadline_ns);

#endif
