/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Get: ask the master once for the batch, then read every object from its best
 * replica straight into the caller's pieces; what can't be read or does not
 * match its checksums is tried from the next replica, in rounds.  In the
 * caller's thread.
 *
 * Invariant: an item's result is its size only after a vol_io with the object's
 * checksums said 0.
 */
#include "client/get.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"

/* --- asking --- */

static enum mooncake_status get_ask(struct get_batch *b, bool no_lease)
{
	Mc__GetReq req = MC__GET_REQ__INIT;
	enum mooncake_status st;

	req.client_id = client_id_bytes(b->client);
	req.no_lease = no_lease;
	req.keys = arena_alloc(b->arena, b->count * sizeof(*req.keys));
	if (!req.keys)
		return MOONCAKE_INTERNAL_ERROR;
	req.n_keys = b->count;
	for (size_t i = 0; i < b->count; i++) {
		const struct item *item = b->ones[i].item;

		req.keys[i].data = (uint8_t *)(uintptr_t)item->key.p;
		req.keys[i].len = item->key.n;
	}
	st = call_run_until(
		b->client, &b->call,
		&(struct call_what){METHOD_GET, &req.base, CALL_REPEATABLE},
		b->deadline_ns);
	if (st != MOONCAKE_OK)
		return st;
	b->rsp = (const Mc__GetRsp *)b->call.rpc.rsp;
	if (b->rsp->n_objects != b->count)
		return MOONCAKE_DESERIALIZE_FAIL;
	for (size_t i = 0; i < b->count; i++) {
		b->ones[i].object = b->rsp->objects[i];
		if (b->rsp->objects[i]->status != MOONCAKE_OK)
			b->ones[i].item->result = b->rsp->objects[i]->status;
	}
	return MOONCAKE_OK;
}

/* --- reporting --- */

static void get_report(struct get_batch *b, const struct get_one *one,
		       const struct get_failure *why)
{
	struct report_what what = {
		.segment = why->segment,
		.key = one->item->key,
		.generation = one->object->generation,
		.replica = why->replica->index,
		.ret = why->ret,
	};

	if (what.segment &&
	    !xfer_is_impatience(&one->xio.io, why->ret, why->ended_ns) &&
	    xfer_problem(why->ret, &what.problem))
		report_add(&b->report, &what);
}

void get_failed(struct get_batch *b, const struct get_one *one,
		const struct get_failure *why)
{
	stats_add(&b->client->stats, STAT_get_other_replica, 1);
	if (why->ret == -EILSEQ)
		stats_add(&b->client->stats, STAT_checksum_misses, 1);
	if (why->ret == -ENODATA)
		stats_add(&b->client->stats, STAT_media_misses, 1);
	get_report(b, one, why);
	log_debug("replica can't be read", "key=" STR_FMT " error=%s",
		  STR_ARG(one->item->key), strerror(-why->ret));
}

void get_first_failed(struct get_batch *b, const struct get_one *one)
{
	const struct get_failure why = {
		.replica = one->xio.replica,
		.segment = xfer_failed_segment(&b->vols, &one->xio),
		.ret = one->xio.io.ret,
		.ended_ns = one->xio.done_ns,
	};

	get_failed(b, one, &why);
}

/* --- reading --- */

/* Pieces cut to the object's size. */
static int get_cut_pieces(struct item *item, uint64_t size)
{
	uint64_t left = size;
	unsigned n = 0;

	if (item->bytes < size)
		return -EINVAL;
	while (left > 0) {
		struct iovec *iov = &item->iov[n++];

		iov->iov_len = MIN(iov->iov_len, left);
		left -= iov->iov_len;
	}
	item->iovcnt = n;
	return 0;
}

static int get_make_room(struct get_batch *b, struct item *item, uint64_t size)
{
	item->iov = arena_alloc(b->arena, sizeof(*item->iov));
	if (!item->iov)
		return -ENOMEM;
	item->into->ptr = mooncake_host_alloc(size);
	if (!item->into->ptr)
		return -ENOMEM;
	item->into->size = size;
	item->iov[0] = (struct iovec){item->into->ptr, size};
	item->iovcnt = 1;
	item->bytes = size;
	return 0;
}

/* Our own memory first, then as the master ordered them. */
static int get_order(struct get_batch *b, struct get_one *one)
{
	const Mc__Object *o = one->object;
	size_t n = 0;

	one->order = arena_alloc(b->arena, o->n_replicas * sizeof(*one->order));
	if (!one->order)
		return -ENOMEM;
	for (int is_own = 1; is_own >= 0; is_own--)
		for (size_t i = 0; i < o->n_replicas; i++)
			if (xfer_is_own(&b->vols, o->replicas[i]) == is_own)
				one->order[n++] = o->replicas[i];
	return 0;
}

static void get_prepare(struct get_batch *b, struct get_one *one)
{
	struct vol_io *io = &one->xio.io;
	const Mc__Object *o = one->object;
	size_t crcs = (size_t)(o->size / CRC_BLOCK + (o->size % CRC_BLOCK > 0));

	if (o->size == 0 || o->size > INT64_MAX - CRC_BLOCK ||
	    o->crcs.len != crcs * sizeof(uint32_t)) {
		one->item->result = MOONCAKE_DESERIALIZE_FAIL;
		return;
	}
	if (one->item->into && get_make_room(b, one->item, o->size) < 0) {
		one->item->result = MOONCAKE_INTERNAL_ERROR;
		return;
	}
	if (get_cut_pieces(one->item, o->size) < 0) {
		one->item->result = MOONCAKE_INVALID_PARAMS;
		return;
	}
	io->crcs = arena_alloc(b->arena, o->crcs.len);
	if (!io->crcs || get_order(b, one) < 0) {
		one->item->result = MOONCAKE_INTERNAL_ERROR;
		return;
	}
	memcpy(io->crcs, o->crcs.data, o->crcs.len);
	one->crcs = io->crcs;
	one->crc_count = crcs;
	io->iov = one->item->iov;
	io->iovcnt = one->item->iovcnt;
}

/* The next replica that makes sense; false when there is none. */
static bool get_start_read(struct get_batch *b, struct get_one *one,
			   struct xfer *xfer, uint64_t deadline_ns)
{
	struct vol_io *io = &one->xio.io;

	while (one->next < one->object->n_replicas) {
		const Mc__Replica *replica = one->order[one->next++];

		if (xfer_set_replica(&one->xio, &b->vols, replica,
				     one->object->size, b->arena) < 0)
			continue;
		io->deadline_ns = deadline_ns;
		io->ret = 0;
		one->is_reading = true;
		one->first_replica = replica;
		get_hedge_plan(b, one);
		xfer_submit(xfer, &one->xio);
		return true;
	}
	return false;
}

/* By the replica that was read in the end. */
static void count_tier(struct client *c, const struct get_one *one)
{
	bool is_nof = one->xio.replica->kind == MC__KIND__NOF_SSD;

	stats_add(&c->stats, is_nof ? STAT_gets_nof : STAT_gets_memory, 1);
	stats_add(&c->stats,
		  is_nof ? STAT_get_nof_bytes : STAT_get_memory_bytes,
		  one->object->size);
}

static void get_judge(struct get_batch *b, struct get_one *one)
{
	one->is_reading = false;
	if (one->xio.io.ret == 0) {
		count_tier(b->client, one);
		one->item->result = (int64_t)one->object->size;
		return;
	}
	get_first_failed(b, one);
}

/* One replica of every object that is still open; false when nothing was left
 * to try. */
static bool get_round(struct get_batch *b)
{
	uint64_t bytes = 0, deadline_ns;
	unsigned started = 0;
	struct xfer xfer;

	for (size_t i = 0; i < b->count; i++)
		if (b->ones[i].item->result == ITEM_OPEN)
			bytes += b->ones[i].object->size;
	deadline_ns = MIN(xfer_deadline_ns(b->client, bytes), b->deadline_ns);
	xfer_init(&xfer, b->client);
	for (size_t i = 0; i < b->count; i++) {
		struct get_one *one = &b->ones[i];

		if (one->item->result != ITEM_OPEN)
			continue;
		if (time_mono_ns() < b->deadline_ns &&
		    get_start_read(b, one, &xfer, deadline_ns))
			started++;
		else
			one->item->result = MOONCAKE_OBJECT_NOT_FOUND;
	}
	get_wait(b, &xfer, b->deadline_ns);
	for (size_t i = 0; i < b->count; i++)
		if (b->ones[i].is_reading)
			get_judge(b, &b->ones[i]);
	return started > 0;
}

/* --- public --- */

static void get_account(struct client *c, const struct item *items,
			size_t count)
{
	const struct item *first = NULL;
	size_t failed = 0;

	for (size_t i = 0; i < count; i++) {
		if (items[i].result >= 0) {
			stats_add(&c->stats, STAT_gets, 1);
			stats_add(&c->stats, STAT_get_bytes,
				  (uint64_t)items[i].result);
			continue;
		}
		if (items[i].result == MOONCAKE_OBJECT_NOT_FOUND) {
			stats_add(&c->stats, STAT_get_misses, 1);
			continue;
		}
		stats_add(&c->stats, STAT_get_errors, 1);
		if (failed++ == 0)
			first = &items[i];
	}
	if (first)
		log_warn("get failed",
			 "objects=%zu of=%zu first=\"" STR_FMT "\" status=%lld",
			 failed, count, STR_ARG(first->key),
			 (long long)first->result);
}

static int get_begin(struct get_batch *b, struct item *items, size_t count)
{
	b->ones = arena_alloc(b->arena, count * sizeof(*b->ones));
	if (!b->ones)
		return -ENOMEM;
	/* The same key twice has two destinations, so it is read twice. */
	for (size_t i = 0; i < count; i++)
		if (items[i].result == ITEM_OPEN)
			b->ones[b->count++].item = &items[i];
	return 0;
}

static void get_end(struct get_batch *b, enum mooncake_status st,
		    struct item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (items[i].result == ITEM_OPEN)
			items[i].result = st;
	report_send(&b->report);
	vols_fini(&b->vols);
	call_fini(&b->call);
}

/* What the caller has no patience for is not there. */
static enum mooncake_status get_late(const struct get_batch *b,
				     enum mooncake_status st)
{
	bool is_late = st != MOONCAKE_OK && time_mono_ns() >= b->deadline_ns;

	return is_late ? MOONCAKE_OBJECT_NOT_FOUND : st;
}

void get_items(struct client *c, struct item *items, size_t count,
	       struct arena *arena)
{
	struct get_batch b = {.client = c, .arena = arena};
	enum mooncake_status st = MOONCAKE_INTERNAL_ERROR;

	b.report = (struct report){.client = c, .cap = count * 2};
	b.deadline_ns =
		c->conf.get_timeout_ms
			? time_mono_ns() + c->conf.get_timeout_ms * NS_PER_MS
			: UINT64_MAX;

	if (get_begin(&b, items, count) == 0 && b.count > 0)
		st = get_ask(&b, false);
	if (st == MOONCAKE_OK && vols_init(&b.vols, c, b.rsp->segments,
					   b.rsp->n_segments, arena) < 0)
		st = MOONCAKE_INTERNAL_ERROR;
	if (st == MOONCAKE_OK) {
		for (size_t i = 0; i < b.count; i++)
			if (b.ones[i].item->result == ITEM_OPEN)
				get_prepare(&b, &b.ones[i]);
		while (get_round(&b))
			;
	}
	get_end(&b, get_late(&b, st), items, count);
	get_account(c, items, count);
}

void get_sizes(struct client *c, struct item *items, size_t count,
	       struct arena *arena)
{
	struct get_batch b = {
		.client = c, .arena = arena, .deadline_ns = UINT64_MAX};
	enum mooncake_status st = MOONCAKE_INTERNAL_ERROR;

	if (get_begin(&b, items, count) == 0 && b.count > 0)
		st = get_ask(&b, true);
	for (size_t i = 0; st == MOONCAKE_OK && i < b.count; i++)
		if (b.ones[i].item->result == ITEM_OPEN)
			b.ones[i].item->result =
				(int64_t)b.ones[i].object->size;
	get_end(&b, st, items, count);
}
