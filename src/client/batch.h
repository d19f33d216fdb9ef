/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts and gets of many objects.  Everything runs in the caller's thread,
 * which waits for the master and for the volumes; when a function returns,
 * nothing touches the caller's memory any more.
 */
#ifndef CLIENT_BATCH_H
#define CLIENT_BATCH_H

#include "client/client.h"
#include "mooncake/store.h"

/* One object of a batch. */
struct item {
	struct str key;
	struct iovec *iov; /* its pieces, none empty; in the batch's arena */
	unsigned iovcnt;
	uint64_t bytes;	   /* sum of the pieces */
	int64_t result;	   /* what the caller gets; ITEM_OPEN until decided */
	struct item *same; /* an earlier item with the same key, or NULL */
	bool is_being_written; /* by another put: 0 does not say "stored" yet */
	/* Get without pieces: memory is made there once the size is known, and
	 * is the caller's whatever the result; NULL with pieces. */
	mooncake_buffer_t *into;
};
#define ITEM_OPEN INT64_MAX

/* At most this many keys go into one message. */
#define BATCH_ITEMS_MAX	    1024
#define BATCH_KEY_BYTES_MAX ((size_t)4 << 20)

struct batch_in {
	const char *const *keys;
	const mooncake_pieces_t *values;
	size_t count;
	bool is_write;		 /* into the caller's memory: not a put */
	mooncake_buffer_t *into; /* one per key, instead of values; or NULL */
};
/* For values of one piece each; NULL when out of memory. */
mooncake_pieces_t *batch_pieces(void *const *buffers, const size_t *sizes,
				size_t count, struct arena *arena);
/* How many of the first keys fit into one message; at least 1. */
size_t batch_cut(const struct batch_in *in);
/*
 * Items for the first n: keys and pointers are checked, what is wrong is
 * decided (-600, -400).  NULL when out of memory.
 */
struct item *batch_items(struct client *c, const struct batch_in *in, size_t n,
			 struct arena *arena);
/* OK, INVALID_PARAMS (empty) or INVALID_KEY (too long). */
enum mooncake_status key_check(const char *key);

struct put_opts {
	const mooncake_put_opts_t *opts; /* never NULL */
	struct policy policy;		 /* resolved */
	size_t first; /* index of the first item, for group_ids */
};
/* Decides every item. */
void put_items(struct client *c, struct item *items, size_t count,
	       const struct put_opts *opts, struct arena *arena);

/* Decides every item: bytes, or negative. */
void get_items(struct client *c, struct item *items, size_t count,
	       struct arena *arena);
/* Sizes only; items need no pieces.  OBJECT_NOT_FOUND where absent. */
void get_sizes(struct client *c, struct item *items, size_t count,
	       struct arena *arena);

#endif
