/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The "and Abort" of a reservation's Preempt: the command is answered when no
 * command of a host that was preempted touches the medium any more.  Travels
 * over all shards, its command holding the namespace.  Invariant: a shard is
 * left only when nothing is in the way there; what begins later meets the new
 * reservation.
 */
#include "target/resv_fence.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"

#define STEP_NS	 (2 * NS_PER_MS)
#define CLOSE_NS (2 * NS_PER_S)	 /* then their connections end */
#define END_NS	 (20 * NS_PER_S) /* then a device does not answer */

struct resv_fence {
	struct tgt_req *req;
	void (*done)(struct mbox_msg *msg); /* of req->msg */
	struct mbox_msg msg;
	struct timer timer; /* on the shard where it is */
	unsigned at_shard;
	uint64_t close_ns, end_ns;
	unsigned count;
	uint8_t hosts[RESV_HOST_MAX][RESV_HOSTID_LEN];
};

struct resv_fence *resv_fence_create(struct tgt_req *req)
{
	struct resv_fence *f = calloc(1, sizeof(*f));

	if (f)
		f->req = req;
	return f;
}

void resv_fence_destroy(struct resv_fence *f)
{
	free(f);
}

static bool is_preempted(const struct resv_fence *f, const uint8_t *hostid)
{
	for (unsigned i = 0; i < f->count; i++) {
		if (!memcmp(f->hosts[i], hostid, RESV_HOSTID_LEN))
			return true;
	}
	return false;
}

/* In the back end, or received straight into the medium; what waits for a
 * buffer or stops over in one will be refused when it gets there. */
static bool is_in_the_way(const struct resv_fence *f, const struct tgt_req *req)
{
	bool is_direct = req->mem == MEM_MAPPED &&
			 (req->state == REQ_RECV || req->state == REQ_R2T);

	if (req->ns != f->req->ns || (!is_direct && req->state != REQ_BUSY))
		return false;
	/* Reservation commands touch nothing, and may be fences themselves. */
	return req->sqe.opcode < NVME_CMD_RESV_REGISTER &&
	       is_preempted(f, req->conn->ctrl->hostid);
}

static unsigned count_in_the_way(const struct resv_fence *f,
				 struct tgt_shard *shard, bool is_late)
{
	struct tgt_conn *conn, *tmp;
	unsigned count = 0;

	list_for_each_safe (conn, tmp, &shard->conns, shard_node) {
		unsigned before = count;

		for (unsigned i = 0; i <= conn->req_count; i++)
			count += is_in_the_way(f,
					       conn_req_at(conn, (uint16_t)i));
		if (count > before && is_late)
			conn_close(conn, "preempted");
	}
	return count;
}

static void on_shard(struct mbox_msg *msg);

static void finish(struct resv_fence *f)
{
	struct tgt_req *req = f->req;

	req->msg.run = f->done;
	loop_post(req->conn->shard->loop, &req->msg);
	resv_fence_destroy(f);
}

static void travel(struct resv_fence *f)
{
	struct tgt *tgt = f->req->conn->tgt;

	if (!f->count || f->at_shard == tgt->shard_count) {
		finish(f);
		return;
	}
	f->msg.run = on_shard;
	loop_post(tgt->shards[f->at_shard].loop, &f->msg);
}

static void look(struct timer *timer)
{
	struct resv_fence *f = container_of(timer, struct resv_fence, timer);
	struct tgt_shard *shard = &f->req->conn->tgt->shards[f->at_shard];
	uint64_t now_ns = loop_now_ns(shard->loop);
	unsigned count = count_in_the_way(f, shard, now_ns >= f->close_ns);

	if (!count) {
		f->at_shard++;
		travel(f);
		return;
	}
	if (now_ns < f->end_ns) {
		timer_set(shard->loop, timer, STEP_NS);
		return;
	}
	log_warn("preempted, but commands are still in the medium",
		 "nsid=%u medium=%s commands=%u", f->req->ns->nsid,
		 f->req->ns->bdev->name, count);
	f->req->sc = NVME_SC_INTERNAL;
	finish(f);
}

static void on_shard(struct mbox_msg *msg)
{
	struct resv_fence *f = container_of(msg, struct resv_fence, msg);

	f->timer.fire = look;
	look(&f->timer);
}

void resv_fence_start(struct resv_fence *f, const struct resv_notes *notes,
		      void (*done)(struct mbox_msg *msg))
{
	uint64_t now_ns = loop_now_ns(f->req->conn->tgt->opts.loop);

	for (unsigned i = 0; i < notes->count; i++) {
		const struct resv_note *n = &notes->notes[i];

		if (n->event == RESV_EVENT_REGISTRATION_PREEMPTED)
			memcpy(f->hosts[f->count++], n->hostid,
			       RESV_HOSTID_LEN);
	}
	f->done = done;
	f->close_ns = now_ns + CLOSE_NS;
	f->end_ns = now_ns + END_NS;
	travel(f);
}
