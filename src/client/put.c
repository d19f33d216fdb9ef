/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Put: PutStart for the batch, all replicas of all objects at once, then PutEnd
 * for what was written and PutRevoke for the rest.  In the caller's thread.
 *
 * A key that another put is at is asked for again, for a short while: then 0
 * says that it is stored, by whom ever, or that somebody is still writing it
 * (MC_STORE_PUT_WAIT_MS; counted as puts_unfinished).
 *
 * Invariant: a grant that the master gave is answered with exactly one of
 * PutEnd and PutRevoke (or its client is unreachable and it expires).
 */
#include <errno.h>
#include <string.h>

#include "base/crc.h"
#include "base/log.h"
#include "base/time.h"
#include "client/batch.h"
#include "client/call.h"
#include "client/report.h"
#include "client/xfer.h"

#define AVOID_MAX	16 /* what a PutStart may name */
#define OTHERS_PAUSE_NS (64 * NS_PER_MS)

struct put_one {
	struct item *item;
	const Mc__PutGrant *grant;
	struct xfer_io *ios; /* one per replica */
	uint32_t *crcs;
	size_t crc_count;
	uint32_t *failed; /* indexes of replicas that were not written */
	size_t failed_count;
	bool is_written; /* enough of it for PutEnd */
	bool is_resent;	 /* some of it more than once */
};

struct put_batch {
	struct client *client;
	struct arena *arena;
	struct put_one *ones; /* those sent to the master, in its order */
	size_t count;
	struct call start;
	const Mc__PutStartRsp *rsp;
	/* Our time to write is counted from here: the master counts from its
	 * answer, which may have been long on its way. */
	uint64_t asked_ns;
	struct vols vols;
	/* Ids of segments that were not reached: copies. */
	ProtobufCBinaryData avoid[AVOID_MAX];
	size_t avoid_count;
	struct report report; /* of those that others won't reach either */
};

static void put_decide(struct put_batch *b, enum mooncake_status st)
{
	for (size_t i = 0; i < b->count; i++)
		if (b->ones[i].item->result == ITEM_OPEN)
			b->ones[i].item->result = st;
}

/* --- PutStart --- */

static void put_fill_config(struct client *c, Mc__ReplicateConfig *config,
			    const struct put_opts *po)
{
	const mooncake_put_opts_t *o = po->opts;

	mc__replicate_config__init(config);
	if (po->policy.memory >= 0) {
		config->ask_memory_case =
			MC__REPLICATE_CONFIG__ASK_MEMORY_REPLICA_NUM;
		config->replica_num = (uint32_t)po->policy.memory;
	}
	if (po->policy.nof >= 0) {
		config->ask_nof_case =
			MC__REPLICATE_CONFIG__ASK_NOF_NOF_REPLICA_NUM;
		config->nof_replica_num = (uint32_t)po->policy.nof;
	}
	/* Packing only reads; protobuf-c has no const in its structs. */
	config->n_preferred_segments = o->preferred_segments_count;
	config->preferred_segments = (char **)(uintptr_t)o->preferred_segments;
	config->n_preferred_nof_segments = o->preferred_nof_segments_count;
	config->preferred_nof_segments =
		(char **)(uintptr_t)o->preferred_nof_segments;
	config->with_soft_pin = o->with_soft_pin != 0;
	config->with_hard_pin = o->with_hard_pin != 0;
	config->prefer_same_node = o->prefer_alloc_in_same_node != 0;
	config->data_type = (uint32_t)o->data_type;
	config->soft_pin_ttl_ms = (uint64_t)MAX(o->soft_pin_ttl_ms, (int64_t)0);
	config->host_id = c->host;
}

static int put_fill_items(struct put_batch *b, Mc__PutStartReq *req,
			  const struct put_opts *po, struct item *items)
{
	const mooncake_put_opts_t *o = po->opts;
	Mc__ReplicateConfig *config = req->config;
	Mc__PutItem *msgs = arena_alloc(b->arena, b->count * sizeof(*msgs));

	req->items = arena_alloc(b->arena, b->count * sizeof(*req->items));
	if (o->group_ids_count)
		config->group_ids = arena_alloc(
			b->arena, b->count * sizeof(*config->group_ids));
	if (!msgs || !req->items || (o->group_ids_count && !config->group_ids))
		return -ENOMEM;
	for (size_t i = 0; i < b->count; i++) {
		struct item *item = b->ones[i].item;
		size_t index = po->first + (size_t)(item - items);

		mc__put_item__init(&msgs[i]);
		msgs[i].key.data = (uint8_t *)(uintptr_t)item->key.p;
		msgs[i].key.len = item->key.n;
		msgs[i].size = item->bytes;
		req->items[i] = &msgs[i];
		if (index < o->group_ids_count)
			config->group_ids[config->n_group_ids++] =
				(char *)(uintptr_t)o->group_ids[index];
	}
	req->n_items = b->count;
	return 0;
}

static enum mooncake_status
put_start(struct put_batch *b, const struct put_opts *po, struct item *items)
{
	Mc__PutStartReq req = MC__PUT_START_REQ__INIT;
	Mc__ReplicateConfig config;
	enum mooncake_status st;

	put_fill_config(b->client, &config, po);
	req.client_id = client_id_bytes(b->client);
	req.config = &config;
	req.avoid_segments = b->avoid;
	req.n_avoid_segments = b->avoid_count;
	req.request = 1 + atomic_fetch_add(&b->client->puts_begun, b->count);
	if (put_fill_items(b, &req, po, items) < 0)
		return MOONCAKE_INTERNAL_ERROR;
	b->asked_ns = time_mono_ns();
	/* The master knows the request again: a lost answer would leave its
	 * keys unfinished, and in the way of who puts them again. */
	st = call_run(b->client, &b->start, METHOD_PUT_START, &req.base,
		      CALL_REPEATABLE);
	if (st != MOONCAKE_OK)
		return st;
	b->rsp = (const Mc__PutStartRsp *)b->start.rpc.rsp;
	if (b->rsp->n_grants != b->count)
		return MOONCAKE_DESERIALIZE_FAIL;
	if (vols_init(&b->vols, b->client, b->rsp->segments, b->rsp->n_segments,
		      b->arena) < 0)
		return MOONCAKE_INTERNAL_ERROR;
	return MOONCAKE_OK;
}

/* --- writing --- */

static void put_prepare(struct put_batch *b, struct put_one *one,
			uint64_t deadline_ns)
{
	const Mc__PutGrant *grant = one->grant;
	size_t n = grant->n_replicas;

	one->crc_count = (one->item->bytes + CRC_BLOCK - 1) / CRC_BLOCK;
	one->crcs = arena_alloc(b->arena, one->crc_count * sizeof(uint32_t));
	one->ios = arena_alloc(b->arena, n * sizeof(*one->ios));
	one->failed = arena_alloc(b->arena, n * sizeof(*one->failed));
	if (!one->crcs || !one->ios || !one->failed || n == 0) {
		one->ios = NULL;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct vol_io *io = &one->ios[i].io;

		io->is_write = true;
		io->iov = one->item->iov;
		io->iovcnt = one->item->iovcnt;
		io->deadline_ns = deadline_ns;
		io->crcs = i == 0 ? one->crcs : NULL;
		io->ret = xfer_set_replica(&one->ios[i], &b->vols,
					   grant->replicas[i], one->item->bytes,
					   b->arena);
	}
}

static void put_write(struct put_batch *b)
{
	struct xfer xfer;
	uint64_t bytes = 0, deadline_ns;

	xfer_init(&xfer, b->client);
	for (size_t i = 0; i < b->count; i++)
		bytes += b->ones[i].item->bytes * 2;
	deadline_ns = MIN(xfer_deadline_ns(b->client, bytes),
			  b->asked_ns + b->rsp->write_timeout_ms * NS_PER_MS);
	for (size_t i = 0; i < b->count; i++) {
		struct put_one *one = &b->ones[i];

		one->grant = b->rsp->grants[i];
		if (one->grant->status == MOONCAKE_OBJECT_ALREADY_EXISTS) {
			one->item->result = MOONCAKE_OK;
			one->item->is_being_written = one->grant->being_written;
			if (!one->grant->being_written)
				stats_add(&b->client->stats, STAT_puts_existing,
					  1);
		} else if (one->grant->status != MOONCAKE_OK) {
			one->item->result = one->grant->status;
		} else {
			put_prepare(b, one, deadline_ns);
			for (size_t r = 0;
			     one->ios && r < one->grant->n_replicas; r++)
				if (one->ios[r].io.ret == 0)
					xfer_submit(&xfer, &one->ios[r]);
		}
	}
	xfer_wait(&xfer);
}

/* When the replica that computed them was the one that failed. */
static void put_compute_crcs(struct put_one *one)
{
	const struct item *item = one->item;
	uint64_t off = 0;

	memset(one->crcs, 0, one->crc_count * sizeof(*one->crcs));
	for (unsigned i = 0; i < item->iovcnt; i++) {
		const uint8_t *p = item->iov[i].iov_base;
		size_t left = item->iov[i].iov_len;

		while (left > 0) {
			uint32_t *crc = &one->crcs[off / CRC_BLOCK];
			size_t n = MIN(left,
				       (size_t)(CRC_BLOCK - off % CRC_BLOCK));

			*crc = crc32c(*crc, p, n);
			p += n;
			off += n;
			left -= n;
		}
	}
}

/* One memory and one pool replica: upstream keeps the one that worked. */
static bool put_is_flexible(const Mc__PutGrant *grant)
{
	return grant->n_replicas == 2 &&
	       grant->replicas[0]->kind != grant->replicas[1]->kind;
}

/* Only who was not there at all.  Who is refused was deposed; a namespace that
 * is full or write protected can be read. */
static void put_report(struct put_batch *b, const struct xfer_io *xio,
		       const Mc__Segment *segment)
{
	int ret = xio->io.ret;

	if (ret == -EHOSTUNREACH ||
	    (ret == -ETIMEDOUT &&
	     !xfer_is_impatience(&xio->io, ret, xio->done_ns)))
		report_add(&b->report,
			   &(struct report_what){
				   .problem = MC__PROBLEM__PROBLEM_UNREACHABLE,
				   .segment = segment,
				   .ret = ret,
			   });
}

/* Where a second attempt should not go: what did not fit into the list, or into
 * memory, may fail again. */
static void put_avoid(struct put_batch *b, const struct xfer_io *xio)
{
	const Mc__Segment *s = xfer_failed_segment(&b->vols, xio);
	uint8_t *id;

	if (!s)
		return;
	put_report(b, xio, s);
	if (b->avoid_count == AVOID_MAX)
		return;
	for (size_t i = 0; i < b->avoid_count; i++)
		if (b->avoid[i].len == s->id.len &&
		    !memcmp(b->avoid[i].data, s->id.data, s->id.len))
			return;
	id = arena_alloc(b->arena, s->id.len);
	if (!id)
		return;
	memcpy(id, s->id.data, s->id.len);
	b->avoid[b->avoid_count++] = (ProtobufCBinaryData){s->id.len, id};
}

static void put_judge(struct put_batch *b, struct put_one *one)
{
	const Mc__PutGrant *grant = one->grant;

	if (!one->ios)
		return;
	for (size_t i = 0; i < grant->n_replicas; i++) {
		const struct xfer_io *xio = &one->ios[i];

		one->is_resent |= xio->io.is_resent;
		if (xio->io.ret == 0)
			continue;
		one->failed[one->failed_count++] = grant->replicas[i]->index;
		log_debug("replica was not written", "key=" STR_FMT " error=%s",
			  STR_ARG(one->item->key), strerror(-xio->io.ret));
		put_avoid(b, xio);
	}
	one->is_written = one->failed_count == 0 ||
			  (put_is_flexible(grant) && one->failed_count == 1);
	if (one->is_written && one->ios[0].io.ret != 0)
		put_compute_crcs(one);
}

/* --- PutEnd and PutRevoke --- */

static void put_take_statuses(struct put_batch *b, const Mc__StatusRsp *rsp,
			      bool is_written)
{
	size_t at = 0;

	for (size_t i = 0; i < b->count; i++) {
		struct put_one *one = &b->ones[i];

		if (one->item->result != ITEM_OPEN ||
		    one->is_written != is_written)
			continue;
		if (!is_written)
			one->item->result = MOONCAKE_TRANSFER_FAIL;
		else if (rsp && at < rsp->n_status)
			one->item->result = rsp->status[at];
		at++;
	}
}

static void put_end(struct put_batch *b)
{
	Mc__PutEndReq req = MC__PUT_END_REQ__INIT;
	Mc__PutEndItem *msgs = arena_alloc(b->arena, b->count * sizeof(*msgs));
	enum mooncake_status st = MOONCAKE_INTERNAL_ERROR;
	struct call call;

	req.client_id = client_id_bytes(b->client);
	req.items = arena_alloc(b->arena, b->count * sizeof(*req.items));
	for (size_t i = 0; msgs && req.items && i < b->count; i++) {
		struct put_one *one = &b->ones[i];
		Mc__PutEndItem *msg = &msgs[i];

		if (!one->is_written)
			continue;
		mc__put_end_item__init(msg);
		msg->key.data = (uint8_t *)(uintptr_t)one->item->key.p;
		msg->key.len = one->item->key.n;
		msg->generation = one->grant->generation;
		msg->crcs.data = (uint8_t *)one->crcs;
		msg->crcs.len = one->crc_count * sizeof(uint32_t);
		msg->failed = one->failed;
		msg->n_failed = one->failed_count;
		msg->resent = one->is_resent;
		req.items[req.n_items++] = msg;
	}
	if (req.n_items == 0)
		return;
	/* The master takes a second PutEnd of the same generation well. */
	st = call_run(b->client, &call, METHOD_PUT_END, &req.base,
		      CALL_REPEATABLE);
	if (st == MOONCAKE_OK)
		put_take_statuses(b, (const Mc__StatusRsp *)call.rpc.rsp, true);
	else
		for (size_t i = 0; i < b->count; i++)
			if (b->ones[i].is_written)
				b->ones[i].item->result = st;
	call_fini(&call);
}

static void put_revoke(struct put_batch *b)
{
	Mc__PutRevokeReq req = MC__PUT_REVOKE_REQ__INIT;
	Mc__PutRevokeItem *msgs;
	struct call call;

	msgs = arena_alloc(b->arena, b->count * sizeof(*msgs));
	req.client_id = client_id_bytes(b->client);
	req.items = arena_alloc(b->arena, b->count * sizeof(*req.items));
	for (size_t i = 0; msgs && req.items && i < b->count; i++) {
		const struct put_one *one = &b->ones[i];

		if (one->item->result != ITEM_OPEN || one->is_written)
			continue;
		mc__put_revoke_item__init(&msgs[i]);
		msgs[i].key.data = (uint8_t *)(uintptr_t)one->item->key.p;
		msgs[i].key.len = one->item->key.n;
		msgs[i].generation = one->grant->generation;
		req.items[req.n_items++] = &msgs[i];
	}
	if (req.n_items == 0)
		return;
	/* Whatever it answers: the objects were not stored. */
	call_run(b->client, &call, METHOD_PUT_REVOKE, &req.base,
		 CALL_REPEATABLE);
	call_fini(&call);
	put_take_statuses(b, NULL, false);
}

/* --- public --- */

static void put_account(struct client *c, const struct item *items,
			size_t count)
{
	const struct item *first = NULL;
	size_t failed = 0;

	for (size_t i = 0; i < count; i++) {
		if (items[i].same)
			continue;
		if (items[i].result == MOONCAKE_OK) {
			stats_add(&c->stats, STAT_puts, 1);
			stats_add(&c->stats, STAT_put_bytes, items[i].bytes);
			continue;
		}
		stats_add(&c->stats, STAT_put_errors, 1);
		if (failed++ == 0)
			first = &items[i];
	}
	/* A line per batch, never one per key. */
	if (first)
		log_warn("put failed",
			 "objects=%zu of=%zu first=\"" STR_FMT "\" status=%lld",
			 failed, count, STR_ARG(first->key),
			 (long long)first->result);
}

/* All that is OPEN: gets a result, OPEN when it could not even be asked. */
static enum mooncake_status put_try(struct put_batch *b, struct item *items,
				    size_t count, const struct put_opts *opts)
{
	enum mooncake_status st = MOONCAKE_INTERNAL_ERROR;

	b->report = (struct report){.client = b->client, .cap = AVOID_MAX};
	b->ones = arena_alloc(b->arena, count * sizeof(*b->ones));
	for (size_t i = 0; b->ones && i < count; i++)
		if (items[i].result == ITEM_OPEN && !items[i].same)
			b->ones[b->count++].item = &items[i];
	if (b->count > 0) {
		st = put_start(b, opts, items);
		if (st == MOONCAKE_OK) {
			put_write(b);
			for (size_t i = 0; i < b->count; i++)
				put_judge(b, &b->ones[i]);
			report_send(&b->report);
			put_end(b);
			put_revoke(b);
			st = MOONCAKE_INTERNAL_ERROR;
		}
		vols_fini(&b->vols);
		call_fini(&b->start);
	}
	put_decide(b, st);
	return st;
}

/*
 * Once more, elsewhere: a node that died seconds ago is still handed out until
 * its time is over.  What fails again keeps its first status.
 */
static void put_again(const struct put_batch *first, struct item *items,
		      size_t count, const struct put_opts *opts)
{
	struct put_batch b = {.client = first->client,
			      .arena = first->arena,
			      .avoid_count = first->avoid_count};

	memcpy(b.avoid, first->avoid, sizeof(b.avoid));
	for (size_t i = 0; i < count; i++)
		if (!items[i].same && items[i].result == MOONCAKE_TRANSFER_FAIL)
			items[i].result = ITEM_OPEN;
	put_try(&b, items, count, opts);
	for (size_t i = 0; i < b.count; i++)
		if (b.ones[i].item->result != MOONCAKE_OK)
			b.ones[i].item->result = MOONCAKE_TRANSFER_FAIL;
}

/* How many another put is at; they are OPEN again when is_again. */
static size_t put_others(struct item *items, size_t count, bool is_again)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if (!items[i].is_being_written)
			continue;
		n++;
		if (!is_again)
			continue;
		items[i].is_being_written = false;
		items[i].result = ITEM_OPEN;
	}
	return n;
}

static void put_sleep(uint64_t ns)
{
	struct gate gate;

	gate_init(&gate);
	gate_wait_for(&gate, ns); /* nobody opens it */
}

/*
 * Another put has the key.  It mostly ends in a moment; if it fails, or its
 * writer has been away for too long, ours is granted.  Who takes longer than
 * the caller has patience for is believed to end well.
 */
static void put_wait_for_others(struct client *c, struct item *items,
				size_t count, const struct put_opts *opts,
				struct arena *arena)
{
	uint64_t now_ns = time_mono_ns(), pause_ns = NS_PER_MS;
	uint64_t until_ns = now_ns + c->conf.put_wait_ms * NS_PER_MS;
	size_t left = put_others(items, count, false);

	while (left > 0 && now_ns < until_ns) {
		struct put_batch b = {.client = c, .arena = arena};

		put_sleep(MIN(pause_ns, until_ns - now_ns));
		put_others(items, count, true);
		put_try(&b, items, count, opts);
		left = put_others(items, count, false);
		now_ns = time_mono_ns();
		pause_ns = MIN(pause_ns * 2, OTHERS_PAUSE_NS);
	}
	stats_add(&c->stats, STAT_puts_existing, left);
	stats_add(&c->stats, STAT_puts_unfinished, left);
}

void put_items(struct client *c, struct item *items, size_t count,
	       const struct put_opts *opts, struct arena *arena)
{
	struct put_batch b = {.client = c, .arena = arena};
	enum mooncake_status st = put_try(&b, items, count, opts);

	if (b.avoid_count > 0)
		put_again(&b, items, count, opts);
	put_wait_for_others(c, items, count, opts, arena);
	for (size_t i = 0; i < count; i++) {
		if (items[i].same)
			items[i].result = items[i].same->result;
		else if (items[i].result == ITEM_OPEN)
			items[i].result = st;
	}
	put_account(c, items, count);
}
