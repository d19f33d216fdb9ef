/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hedge: a second read of an object from another replica, into memory of its
 * own, because the first one takes long.  What loses never touches the caller's
 * memory after the call: a hedge that loses ends for itself, and a first read
 * that loses is cancelled and waited for.
 */
#ifndef CLIENT_HEDGE_H
#define CLIENT_HEDGE_H

#include "client/xfer.h"

/* Of a client at a time.  The bytes are what second reads may take of memory;
 * an object that has more is read once. */
#define HEDGE_BYTES_MAX (512 * MiB)
#define HEDGES_MAX	32

struct hedge;

/* What to read; rings bell when it has ended.  NULL: it could not be begun. */
struct hedge_ask {
	struct vols *vols;
	const Mc__Replica *replica;
	uint64_t bytes;
	const uint32_t *crcs; /* copied */
	size_t crc_count;
	uint64_t deadline_ns;
	struct bell *bell;
};
struct hedge *hedge_start(struct client *c, const struct hedge_ask *ask);
/* 1 while it is under way, else 0 or -errno; then *extent is where it failed.
 */
int hedge_result(struct hedge *h, unsigned *extent);
/* After result 0: the bytes. */
const void *hedge_bytes(const struct hedge *h);
/* Frees it, at once or when it ends.  NULL is fine. */
void hedge_drop(struct hedge *h);

#endif
