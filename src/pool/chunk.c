/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunk: from the caller's pieces to a queue pair and back, by another way
 * when the first one fails.
 *
 * Worker's thread; chunk_on_lane() and chunk_answer() run on the thread of the
 * worker that has the queue pair, when a controller grants fewer queue pairs
 * than there are workers.  Invariant: a chunk holds its bytes of the budget
 * from its first attempt to its end, and is on one way, or delayed, meanwhile.
 *
 * Why a write may be sent again: what failed may still be executed, by a target
 * that is late, after the second attempt has succeeded.  Both carry the same
 * bytes to the same extent, so the order does not matter while the extent is
 * this object's.  Nothing is sent after the I/O's deadline, and the master lets
 * the extent of a put that did not end rest until its writer's deadline.  Of a
 * put that ended well by a second attempt it is told (is_resent), and lets the
 * extent rest as long from then on, whenever the object is removed.  A target
 * that is later still tears somebody else's object, and the checksums in the
 * master's metadata turn that into a miss; wrong bytes are never read.
 */
#include "pool/chunk.h"

#include <errno.h>
#include <string.h>

#include "base/time.h"
#include "proto/frame.h"

#define AGAIN_NS  (50 * NS_PER_MS) /* between looks for a way */
#define TRIES_MAX 16		   /* of one chunk, apart from ANA's */

/* Zeros behind the end of an object; never written. */
static uint8_t zeros[BLOCK_MAX];

/* --- checksums --- */

int chunk_crcs(const struct vol_io *io, const struct split_chunk *at,
	       struct split_cursor cur)
{
	uint64_t i = split_block_first(at->at, CRC_BLOCK);
	uint32_t crc;

	for (; i * CRC_BLOCK < at->at + at->len; i++) {
		/* The next chunk goes on from its own cursor: copies. */
		split_seek(&cur, i * CRC_BLOCK);
		crc = split_crc(&cur,
				MIN((uint64_t)CRC_BLOCK, io->bytes - cur.at));
		if (io->is_write)
			io->crcs[i] = crc;
		else if (io->crcs[i] != crc)
			return -EILSEQ;
	}
	return 0;
}

int chunk_verify(const struct vol_job *job, const struct split_chunk *at,
		 struct split_cursor cur)
{
	const struct vol_io *io = job->io;

	if (io->is_write || !io->crcs || job->is_verified_late)
		return 0;
	return chunk_crcs(io, at, cur);
}

/* Where data digests are on, the bytes are summed once for them and for the
 * object: a write gives its sums to the queue, a read gets them from there. */
static void chunk_share_sums(struct chunk *chunk)
{
	const struct vol_job *job = chunk->part->job;
	const struct split_chunk *at = &chunk->at;
	bool is_padded = at->len != at->dev_len;

	chunk->io.crcs = NULL;
	if (!job->io->crcs || at->at % CRC_BLOCK ||
	    !chunk->way->path->opts.ddgst)
		return;
	chunk->io.crc_bytes = CRC_BLOCK;
	if (job->io->is_write && !is_padded &&
	    (at->len % CRC_BLOCK == 0 || at->at + at->len == job->io->bytes))
		chunk->io.crcs = job->io->crcs + at->at / CRC_BLOCK;
	else if (!job->io->is_write && !job->is_verified_late &&
		 at->dev_len <= (uint64_t)CHUNK_SUMS * CRC_BLOCK)
		chunk->io.crcs = chunk->sums;
}

/* As chunk_verify(), without looking at bytes whose sums are known. */
static int chunk_verify_sums(const struct chunk *chunk)
{
	const struct vol_job *job = chunk->part->job;
	struct split_chunk rest = chunk->at;
	uint64_t first = rest.at / CRC_BLOCK;
	uint64_t n = rest.len / CRC_BLOCK;

	for (uint64_t i = 0; i < n; i++)
		if (job->io->crcs[first + i] != chunk->sums[i])
			return -EILSEQ;
	rest.at += n * CRC_BLOCK;
	rest.len -= n * CRC_BLOCK;
	return rest.len ? chunk_verify(job, &rest, chunk->cur) : 0;
}

/* --- sending --- */

/* The caller's pieces and the padding, or a bounce buffer for both. */
static int chunk_map(struct chunk *chunk, struct worker *w)
{
	const struct split_chunk *at = &chunk->at;
	struct split_cursor cur = chunk->cur;
	uint64_t pad = at->dev_len - at->len;
	bool is_write = chunk->part->job->io->is_write;
	unsigned n = split_pieces(&cur, at->len, chunk->iov, CHUNK_PIECES - 1);

	if (n && pad)
		chunk->iov[n++] = (struct iovec){
			is_write ? zeros : chunk->lane->trash, pad};
	if (!n) {
		if (!chunk->bounce)
			chunk->bounce = pool_take(&w->bounces);
		if (!chunk->bounce)
			return -ENOMEM;
		chunk->iov[n++] = (struct iovec){chunk->bounce, at->dev_len};
		if (is_write) {
			split_gather(&cur, at->len, chunk->bounce);
			memset((char *)chunk->bounce + at->len, 0, pad);
		}
	}
	chunk->io.iov = chunk->iov;
	chunk->io.iovcnt = n;
	return 0;
}

static void chunk_came(struct chunk *chunk);

static void chunk_back(struct mbox_msg *msg)
{
	chunk_came(container_of(msg, struct chunk, msg));
}

static void chunk_answer(struct nvmf_io *io)
{
	struct chunk *chunk = container_of(io, struct chunk, io);
	struct worker *w = chunk->part->worker;

	chunk->is_submitted = false;
	if (chunk->lane->worker == w) {
		chunk_came(chunk);
		return;
	}
	chunk->msg.run = chunk_back;
	loop_post(w->shard.loop, &chunk->msg);
}

static bool lane_takes(const struct chunk *chunk)
{
	const struct lane *lane = chunk->lane;

	return lane->is_live && lane->gen == chunk->gen;
}

static void chunk_on_lane(struct mbox_msg *msg)
{
	struct chunk *chunk = container_of(msg, struct chunk, msg);

	if (lane_takes(chunk)) {
		chunk->is_submitted = true;
		nvmf_io_submit(chunk->lane->qp, &chunk->io);
		return;
	}
	chunk->io.sc = NVME_SC_HOST_PATH_ERROR;
	chunk_answer(&chunk->io);
}

/* 0 or -ENOMEM; chunk_came() follows when it is 0, perhaps inside. */
static int chunk_send(struct chunk *chunk, struct vol_way *way)
{
	struct worker *w = chunk->part->worker;
	unsigned lanes = atomic_load(&way->lane_count);
	const struct vol *vol = way->vol;

	chunk->way = way;
	chunk->lane = &way->path->lanes[w->index % lanes];
	chunk->gen = atomic_load(&way->gen);
	chunk->start_ns = loop_now_ns(w->shard.loop);
	if (chunk_map(chunk, w))
		return -ENOMEM;
	chunk->io.done = chunk_answer;
	chunk->io.op = chunk->part->job->io->is_write ? NVMF_WRITE : NVMF_READ;
	chunk->io.nsid = way->nsid;
	chunk->io.lba_bytes = vol->block_bytes;
	chunk->io.slba = chunk->at.dev_off / vol->block_bytes;
	chunk->io.bytes = chunk->at.dev_len;
	chunk->io.deadline_ns = chunk->part->job->io->deadline_ns;
	chunk_share_sums(chunk);
	chunk->tries++;
	stat_add(&way_load(way, w)->inflight, chunk->at.dev_len);
	list_add_tail(&chunk->part->sent, &chunk->node);
	if (chunk->lane->worker != w) {
		chunk->msg.run = chunk_on_lane;
		loop_post(chunk->lane->worker->shard.loop, &chunk->msg);
	} else if (lane_takes(chunk)) {
		nvmf_io_submit(chunk->lane->qp, &chunk->io);
	} else {
		chunk->io.sc = NVME_SC_HOST_PATH_ERROR;
		chunk_came(chunk);
	}
	return 0;
}

/* --- the end, or another way --- */

static void chunk_end(struct chunk *chunk, int ret)
{
	struct part *part = chunk->part;
	struct worker *w = part->worker;

	budget_give(&w->set->budget, chunk->at.dev_len);
	if (ret)
		job_fail(part->job, ret, chunk->ext);
	pool_give(&w->bounces, chunk->bounce);
	pool_give(&w->chunks, chunk);
	part->out--;
	part_maybe_end(part);
}

static int chunk_good(struct chunk *chunk)
{
	const struct vol_job *job = chunk->part->job;
	struct split_cursor cur = chunk->cur;

	if (chunk->bounce && !job->io->is_write)
		split_scatter(&cur, chunk->at.len, chunk->bounce);
	if (!job->io->is_write && chunk->io.crcs && chunk->io.has_crcs)
		return chunk_verify_sums(chunk);
	return chunk_verify(job, &chunk->at, chunk->cur);
}

static bool is_refused(uint16_t sc)
{
	return (sc & NVME_SC_MASK) == NVME_SC_RESV_CONFLICT;
}

static int chunk_errno(uint16_t sc)
{
	int ret = is_refused(sc) ? -ESTALE : nvme_sc_errno(sc);

	return ret == -ENOTCONN ? -EHOSTUNREACH : ret;
}

static bool is_ana(uint16_t sc)
{
	sc &= NVME_SC_MASK;
	return sc == NVME_SC_ANA_PERSISTENT_LOSS ||
	       sc == NVME_SC_ANA_INACCESSIBLE || sc == NVME_SC_ANA_TRANSITION;
}

/* Says nothing of the namespace: another way may do better.  We abort late
 * commands only, and those come back as HOST_ABORTED: any other abort is the
 * target's doing, or of one that had the same id before. */
static bool is_path_error(uint16_t sc)
{
	sc &= NVME_SC_MASK;
	return sc >> 8 == NVME_SCT_PATH || sc == NVME_SC_ABORT_SQ_DELETED ||
	       sc == NVME_SC_ABORT_REQUESTED ||
	       sc == NVME_SC_TRANSIENT_TRANSPORT;
}

static void count(struct chunk *chunk)
{
	struct worker *w = chunk->part->worker;
	struct lane_load *load = way_load(chunk->way, w);
	uint16_t sc = chunk->io.sc & NVME_SC_MASK;

	stat_add(&load->inflight, 0 - chunk->at.dev_len);
	if (sc == NVME_SC_OK)
		stat_done(&load->dir[chunk->part->job->io->is_write],
			  chunk->at.dev_len,
			  loop_now_ns(w->shard.loop) - chunk->start_ns);
	else if (atomic_load(&chunk->part->job->ret) == -ECANCELED)
		; /* nobody's fault */
	else if (sc == NVME_SC_HOST_ABORTED)
		stat_add(&load->errors[VOL_PATH_TIMEOUT], 1);
	else if (is_ana(sc))
		stat_add(&load->errors[VOL_PATH_ANA], 1);
	else if (is_path_error(sc))
		stat_add(&load->errors[VOL_PATH_LOST], 1);
	else if (is_refused(sc))
		stat_add(&load->errors[VOL_PATH_REFUSED], 1);
	else
		stat_add(&load->errors[VOL_PATH_OTHER], 1);
	load_unhold(load);
}

/* No way for the moment: in ANA transition, or just lost. */
static void chunk_delay(struct chunk *chunk)
{
	struct worker *w = chunk->part->worker;
	uint64_t now_ns = loop_now_ns(w->shard.loop);

	if (is_ana(chunk->io.sc))
		chunk->until_ns = UINT64_MAX;
	else if (!chunk->until_ns)
		chunk->until_ns = now_ns + RETRY_NS;
	/* It keeps its bytes of the budget, so they count as the path's. */
	stat_add(&way_load(chunk->way, w)->inflight, chunk->at.dev_len);
	list_add_tail(&w->delayed, &chunk->node);
	if (!timer_is_set(&w->again))
		timer_set(w->shard.loop, &w->again, AGAIN_NS);
}

/* Somebody else may have failed the job; nothing is sent after the deadline. */
static bool is_wanted(const struct chunk *chunk)
{
	const struct vol_job *job = chunk->part->job;
	uint64_t now_ns = loop_now_ns(chunk->part->worker->shard.loop);

	return !atomic_load(&job->ret) && now_ns < job->io->deadline_ns;
}

/* Given up by us; nobody said that the target has. */
static bool may_still_run(uint16_t sc)
{
	sc &= NVME_SC_MASK;
	return sc == NVME_SC_HOST_PATH_ERROR || sc == NVME_SC_HOST_ABORTED;
}

/* True when the chunk is under way again, or delayed. */
static bool chunk_retry(struct chunk *chunk)
{
	struct worker *w = chunk->part->worker;
	uint16_t sc = chunk->io.sc;
	struct vol_way *way;

	if (!is_path_error(sc) || sc & NVME_SC_DNR || !is_wanted(chunk))
		return false;
	if (is_ana(sc)) /* learn which ways there are now */
		poke_send(&chunk->way->path->ana_poke);
	else if (chunk->tries >= TRIES_MAX)
		return false;
	/* A digest that was wrong on the wire says little about the way. */
	if ((sc & NVME_SC_MASK) != NVME_SC_TRANSIENT_TRANSPORT)
		chunk->tried |= 1u << chunk->way->index;
	way = pick_way(chunk->way->vol, w, chunk->tried);
	stat_add(&way_load(chunk->way, w)->retries, 1);
	if (chunk->part->job->io->is_write && may_still_run(sc))
		atomic_store(&chunk->part->job->is_resent, true);
	if (!way)
		chunk_delay(chunk);
	else if (chunk_send(chunk, way))
		return false;
	return true;
}

/* What was sent has come back; while its cancel_msg is about, it stays. */
static void chunk_came(struct chunk *chunk)
{
	if (chunk->is_cancelling) {
		chunk->has_come = true;
		return;
	}
	list_del(&chunk->node);
	count(chunk);
	if (is_refused(chunk->io.sc))
		poke_send(&chunk->way->vol->refused);
	if (chunk->io.sc == NVME_SC_OK)
		chunk_end(chunk, chunk_good(chunk));
	else if (!chunk_retry(chunk))
		chunk_end(chunk, chunk_errno(chunk->io.sc));
}

/* --- cancelling --- */

static void chunk_cancelled(struct mbox_msg *msg)
{
	struct chunk *chunk = container_of(msg, struct chunk, cancel_msg);

	chunk->is_cancelling = false;
	if (!chunk->has_come)
		return;
	chunk->has_come = false;
	chunk_came(chunk);
}

/* It follows the chunk itself, so that has arrived; it may have ended. */
static void chunk_cancel_on_lane(struct mbox_msg *msg)
{
	struct chunk *chunk = container_of(msg, struct chunk, cancel_msg);

	if (chunk->is_submitted && lane_takes(chunk))
		nvmf_io_cancel(chunk->lane->qp, &chunk->io);
	msg->run = chunk_cancelled;
	loop_post(chunk->part->worker->shard.loop, msg);
}

static void chunk_cancel(struct chunk *chunk)
{
	struct worker *w = chunk->lane->worker;

	if (w == chunk->part->worker) {
		if (lane_takes(chunk))
			nvmf_io_cancel(chunk->lane->qp, &chunk->io);
	} else if (!chunk->is_cancelling) {
		chunk->is_cancelling = true;
		chunk->cancel_msg.run = chunk_cancel_on_lane;
		loop_post(w->shard.loop, &chunk->cancel_msg);
	}
}

void chunks_cancel(struct part *part)
{
	struct chunk *chunk, *tmp;

	list_for_each_safe (chunk, tmp, &part->sent, node)
		chunk_cancel(chunk);
}

/* A lost way that is not expected back soon, or the end of patience. */
static bool is_hopeless(const struct chunk *chunk)
{
	enum vol_state state = atomic_load(&chunk->way->vol->state);

	return state == VOL_DOWN || state == VOL_FENCED ||
	       loop_now_ns(chunk->part->worker->shard.loop) >= chunk->until_ns;
}

static void chunk_again(struct chunk *chunk)
{
	struct vol_way *way;

	chunk->tried = 0;
	way = pick_way(chunk->way->vol, chunk->part->worker, 0);
	if (!is_wanted(chunk))
		chunk_end(chunk, -ETIMEDOUT);
	else if (!way && is_hopeless(chunk))
		chunk_end(chunk, chunk_errno(chunk->io.sc));
	else if (!way)
		chunk_delay(chunk);
	else if (chunk_send(chunk, way))
		chunk_end(chunk, -ENOMEM);
}

void chunks_again(struct timer *timer)
{
	struct worker *w = container_of(timer, struct worker, again);
	struct lane_load *load;
	struct list batch;

	list_init(&batch);
	list_splice_tail(&batch, &w->delayed);
	while (!list_is_empty(&batch)) {
		struct chunk *chunk = list_first(&batch, struct chunk, node);

		list_del(&chunk->node);
		load = way_load(chunk->way, w);
		stat_add(&load->inflight, 0 - chunk->at.dev_len);
		load_unhold(load);
		chunk_again(chunk);
	}
}

/* --- issuing --- */

static struct chunk *chunk_make(struct part *part, const struct split_chunk *at)
{
	struct chunk *chunk = pool_take(&part->worker->chunks);

	if (chunk) {
		*chunk = (struct chunk){
			.part = part,
			.at = *at,
			.cur = part->cur,
			.ext = part->ext,
		};
		list_init(&chunk->node);
	}
	return chunk;
}

enum issue chunk_issue(struct part *part, const struct split_chunk *at,
		       struct vol *vol)
{
	struct worker *w = part->worker;
	const struct vol_io *io = part->job->io;
	struct vol_way *first = pick_way(vol, w, 0), *way;
	struct chunk *chunk;

	if (!first)
		return part_wait(part, vol);
	way = pick_free(vol, w, first);
	if (!way)
		return part_hold(part, vol);
	if (!budget_take(&w->set->budget, &w->waiter, at->dev_len))
		return ISSUE_WAIT;
	chunk = chunk_make(part, at);
	if (!chunk) {
		budget_give(&w->set->budget, at->dev_len);
		job_fail(part->job, -ENOMEM, part->ext);
		return ISSUE_OVER;
	}
	/* Just before it is sent, so that it is in the cache then. */
	if (io->is_write && io->crcs)
		chunk_crcs(io, at, part->cur);
	part->next += part->job->stride;
	part->out++;
	if (chunk_send(chunk, way)) {
		chunk_end(chunk, -ENOMEM);
		return ISSUE_OVER;
	}
	return ISSUE_GOOD;
}
