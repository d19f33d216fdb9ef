/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of a connection.  Invariant: memory is freed on the control loop, after
 * the shard has closed the stream, every command has left the back end, and no
 * message for this connection is under way.
 */
#include "target/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "target/auth.h"

#define HANDSHAKE_NS                                                           \
	(10 * NS_PER_S)	      /* for Connect, then as long for authentication */
#define USER_TIMEOUT_MS 30000 /* unacknowledged bytes */
#define REQ_CHUNK	16u   /* slots that are made at once */
#define SURPLUS_MAX	64    /* connections that are told that we are full */

static void conn_post(struct tgt_conn *conn, struct loop *loop,
		      void (*run)(struct mbox_msg *msg))
{
	conn->msg.run = run;
	loop_post(loop, &conn->msg);
}

static void conn_free(struct tgt_conn *conn)
{
	auth_destroy(conn->auth);
	free(conn->rx_buf);
	free(conn->icd_buf);
	for (unsigned i = 0; i * REQ_CHUNK < conn->req_count; i++)
		free(conn->reqs[i]);
	free(conn->reqs);
	free(conn);
}

static void on_free(struct mbox_msg *msg)
{
	struct tgt_conn *conn = container_of(msg, struct tgt_conn, msg);
	struct tgt *tgt = conn->tgt;

	struct tgt_listener *tl = conn->tl;

	list_del(&conn->node);
	conn->shard->conn_count--;
	conn_free(conn);
	tgt->conn_count--;
	atomic_store(&tgt->stat_conns, tgt->conn_count);
	tl->conn_count--;
	listener_check(tl);
	tgt_stop_check(tgt);
}

static void on_bye(struct mbox_msg *msg)
{
	struct tgt_conn *conn = container_of(msg, struct tgt_conn, msg);

	conn_post(conn, conn->tgt->opts.loop, on_free);
}

static void on_gone(struct mbox_msg *msg)
{
	struct tgt_conn *conn = container_of(msg, struct tgt_conn, msg);

	ctrl_detach(conn);
	conn->ctrl = NULL;
	conn->is_killed = true; /* nothing more is posted to it */
	conn_post(conn, conn->shard->loop, on_bye);
}

struct tgt_req *conn_req_at(struct tgt_conn *conn, uint16_t ttag)
{
	unsigned i = ttag - 1u;

	if (ttag == 0)
		return &conn->first;
	return i < conn->req_count ? &conn->reqs[i / REQ_CHUNK][i % REQ_CHUNK]
				   : NULL;
}

static void conn_drop_reqs(struct tgt_conn *conn)
{
	ASSERT(!conn->s.holds);
	list_init(&conn->txq);
	list_init(&conn->parked);
	list_init(&conn->free);
	for (unsigned i = 0; i <= conn->req_count; i++) {
		struct tgt_req *req = conn_req_at(conn, (uint16_t)i);

		list_init(&req->node);
		if (req->state != REQ_FREE)
			conn_req_release(req);
	}
}

/* Nothing but event requests is left of what the host has asked for. */
static bool conn_is_idle(struct tgt_conn *conn)
{
	for (unsigned i = 0; i <= conn->req_count; i++) {
		uint8_t state = conn_req_at(conn, (uint16_t)i)->state;

		if (state != REQ_FREE && state != REQ_PARKED &&
		    state != REQ_LOST)
			return false;
	}
	return true;
}

void conn_check(struct tgt_conn *conn)
{
	if (conn->is_leaving && conn->state == CONN_LIVE && conn_is_idle(conn))
		conn->state = CONN_DRAIN;
	if (conn->state == CONN_DRAIN && !conn->busy_count &&
	    conn_tx_is_idle(conn))
		conn_close(conn, "stopped");
	if (!conn->is_stream_closed || conn->busy_count || conn->is_gone)
		return;
	conn->is_gone = true;
	conn_drop_reqs(conn);
	list_del(&conn->shard_node);
	conn_post(conn, conn->tgt->opts.loop, on_gone);
}

static void on_closed(struct stream *s)
{
	struct tgt_conn *conn = s->arg;

	conn->is_stream_closed = true;
	conn_check(conn);
}

void conn_close(struct tgt_conn *conn, const char *why)
{
	char peer[ADDR_TEXT_LEN];

	if (conn->state == CONN_CLOSED)
		return;
	if (log_level_max >= LOG_DEBUG) {
		addr_format(&conn->peer, peer);
		log_debug("connection closed", "peer=%s qid=%u reason=%s", peer,
			  conn->qid, why);
	}
	conn->state = CONN_CLOSED;
	timer_cancel(conn->shard->loop, &conn->timer);
	loop_undefer(conn->shard->loop, &conn->tx_task);
	fault_conn_closed(conn);
	stream_close(&conn->s, on_closed);
}

static void on_timer(struct timer *timer)
{
	struct tgt_conn *conn = container_of(timer, struct tgt_conn, timer);

	conn_close(conn, "deadline passed");
}

static void on_kill(struct mbox_msg *msg)
{
	struct tgt_conn *conn = container_of(msg, struct tgt_conn, kill_msg);

	if (conn->state >= CONN_TERM)
		return; /* ends by itself, with a deadline */
	if (conn->state == CONN_LIVE)
		conn->is_leaving = true;
	else
		conn->state = CONN_DRAIN;
	timer_set(conn->shard->loop, &conn->timer, conn->linger_ms * NS_PER_MS);
	conn_check(conn);
}

void conn_kill(struct tgt_conn *conn)
{
	conn_kill_within(conn, CONN_LINGER_MS);
}

void conn_kill_within(struct tgt_conn *conn, uint32_t ms)
{
	if (conn->is_killed)
		return;
	conn->is_killed = true;
	conn->linger_ms = ms;
	conn->kill_msg.run = on_kill;
	loop_post(conn->shard->loop, &conn->kill_msg);
}

static void on_note(struct mbox_msg *msg)
{
	struct tgt_conn *conn = container_of(msg, struct tgt_conn, note_msg);

	atomic_store(&conn->is_noted, false);
	if (conn->state == CONN_LIVE)
		aer_check(conn);
}

void conn_note(struct tgt_conn *conn)
{
	if (conn->is_killed || atomic_exchange(&conn->is_noted, true))
		return;
	conn->note_msg.run = on_note;
	loop_post(conn->shard->loop, &conn->note_msg);
}

static void on_attached(struct mbox_msg *msg)
{
	struct tgt_conn *conn = container_of(msg, struct tgt_conn, msg);

	conn->busy_count--;
	if (conn->state == CONN_CONNECT) {
		conn->state = conn->ctrl ? CONN_LIVE : CONN_NEW;
		if (conn->ctrl && conn->needs_auth)
			timer_set(conn->shard->loop, &conn->timer,
				  HANDSHAKE_NS);
		else if (conn->ctrl)
			timer_cancel(conn->shard->loop, &conn->timer);
	}
	fabrics_connect_done(conn);
	conn_check(conn);
}

void conn_attached(struct tgt_conn *conn)
{
	conn_post(conn, conn->shard->loop, on_attached);
}

void conn_term(struct tgt_conn *conn, uint16_t fes, uint32_t fei,
	       const void *hdr, size_t hdr_len)
{
	const uint8_t *type = hdr; /* the first byte of each */
	struct tgt_shard *shard = conn->shard;
	char peer[ADDR_TEXT_LEN];
	uint32_t held_back;

	if (conn->state >= CONN_TERM)
		return;
	addr_format(&conn->peer, peer);
	if (log_rate_take(&shard->pdu_rate, loop_now_ns(shard->loop),
			  &held_back))
		log_warn("bad PDU from host",
			 "peer=%s qid=%u type=%u fes=%u fei=%u held_back=%u",
			 peer, conn->qid, *type, fes, fei, held_back);
	conn->state = CONN_TERM;
	conn->ctl.iov_base = conn->term;
	conn->ctl.iov_len =
		pdu_termreq(conn->term, true, fes, fei, hdr, hdr_len);
	/* What waits to be sent is not worth sending any more. */
	list_init(&conn->txq);
	timer_set(conn->shard->loop, &conn->timer, CONN_LINGER_MS * NS_PER_MS);
	conn_tx_kick(conn);
}

void conn_close_users(struct tgt_shard *shard, const struct tgt_ns *ns)
{
	struct tgt_conn *conn, *tmp;

	list_for_each_safe (conn, tmp, &shard->conns, shard_node) {
		for (unsigned i = 0; i <= conn->req_count; i++) {
			if (conn_req_at(conn, (uint16_t)i)->ns != ns)
				continue;
			conn_close(conn, "namespace removed");
			break;
		}
	}
}

struct tgt_req *conn_req_take(struct tgt_conn *conn)
{
	struct tgt_req *req;

	if (list_is_empty(&conn->free))
		return NULL;
	req = list_first(&conn->free, struct tgt_req, node);
	list_del(&req->node);
	ASSERT(req->state == REQ_FREE && req->mem == MEM_NONE);
	req->state = REQ_RECV;
	req->has_failed_digest = req->is_fua = req->is_final = false;
	req->is_aborted = false;
	req->sc = NVME_SC_OK;
	req->result = 0;
	req->tx_want = 0;
	req->fault.acts = 0;
	ASSERT(!req->ns);
	req->data = NULL;
	req->len = req->received = 0;
	return req;
}

void req_free_data(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;
	bool is_icd_free = false;

	bufs_cancel(&req->wait);
	switch ((enum req_mem)req->mem) {
	case MEM_BUFS:
		bufs_give(&conn->shard->bufs, &req->wait.buf);
		break;
	case MEM_ICD:
		conn->is_icd_busy = false;
		is_icd_free = true;
		break;
	case MEM_HEAP:
		free(req->data);
		break;
	case MEM_NONE:
	case MEM_MAPPED:
		break;
	}
	req->mem = MEM_NONE;
	req->data = NULL;
	if (req->ns)
		tgt_ns_drop(TAKE(req->ns), conn->shard);
	if (is_icd_free && conn->state < CONN_TERM)
		conn_rx_resume(conn);
}

void conn_req_release(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;

	ASSERT(req->state != REQ_FREE && req->state != REQ_BUSY);
	req_free_data(req);
	req->state = REQ_FREE;
	req->is_in_tx = false;
	list_add_tail(&conn->free, &req->node);
	if (conn->state < CONN_TERM)
		conn_rx_resume(conn);
}

static void req_init(struct tgt_conn *conn, struct tgt_req *req, unsigned i)
{
	req->conn = conn;
	req->index = (uint16_t)i;
	list_init(&req->wait.node);
	list_add_tail(&conn->free, &req->node);
}

int conn_reqs_create(struct tgt_conn *conn, unsigned count)
{
	void *icd = NULL;

	ASSERT(!conn->reqs && count <= UINT16_MAX);
	if (conn->qid &&
	    posix_memalign(&icd, BUFS_UNIT, 2 * conn->tgt->opts.in_capsule))
		return -ENOMEM;
	conn->icd_buf = icd;
	conn->req_max = count;
	conn->reqs = calloc(ALIGN_UP(count, REQ_CHUNK) / REQ_CHUNK,
			    sizeof(*conn->reqs));
	return conn->reqs ? 0 : -ENOMEM;
}

int conn_reqs_grow(struct tgt_conn *conn)
{
	unsigned n = MIN(conn->req_max - conn->req_count, REQ_CHUNK);
	struct tgt_req *chunk;

	if (n == 0)
		return -ENOSPC;
	chunk = calloc(n, sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	conn->reqs[conn->req_count / REQ_CHUNK] = chunk;
	for (unsigned i = 0; i < n; i++)
		req_init(conn, &chunk[i], ++conn->req_count);
	return 0;
}

static void on_start(struct mbox_msg *msg)
{
	struct tgt_conn *conn = container_of(msg, struct tgt_conn, msg);
	struct loop *loop = conn->shard->loop;
	struct io_sockopts so = {.user_timeout_ms = USER_TIMEOUT_MS};

	io_local_addr(loop, conn->fd, &conn->local);
	io_set_sockopts(loop, conn->fd, &so);
	list_add_tail(&conn->shard->conns, &conn->shard_node);
	stream_init(&conn->s, loop, conn);
	conn->s.hold_from = conn->tgt->opts.zerocopy_bytes;
	stream_attach(&conn->s, conn->fd);
	conn->timer.fire = on_timer;
	timer_set(loop, &conn->timer, HANDSHAKE_NS);
	if (conn->tl->is_tls)
		conn_tls_start(conn);
	else
		conn_rx_start(conn);
}

/* The one with the fewest connections. */
static struct tgt_shard *shard_pick(struct tgt *tgt)
{
	struct tgt_shard *best = &tgt->shards[0];

	for (unsigned i = 1; i < tgt->shard_count; i++) {
		if (tgt->shards[i].conn_count < best->conn_count)
			best = &tgt->shards[i];
	}
	return best;
}

int conn_create(struct tgt *tgt, struct tgt_listener *tl, int fd,
		const struct addr *peer)
{
	uint32_t most = tgt->opts.max_connections;
	struct tgt_conn *conn;

	if (tgt->is_stopping || tgt->is_draining || tl->is_closing)
		return -ESHUTDOWN;
	if (tgt->conn_count >= most + SURPLUS_MAX)
		return -EUSERS;
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return -ENOMEM;
	conn->rx_buf = malloc(CONN_RX_BYTES);
	if (!conn->rx_buf) {
		conn_free(conn);
		return -ENOMEM;
	}
	conn->tgt = tgt;
	conn->shard = shard_pick(tgt);
	conn->shard->conn_count++;
	conn->fd = fd;
	conn->peer = *peer;
	conn->is_surplus = tgt->conn_count >= most;
	conn->tl = tl;
	tl->conn_count++;
	conn->sqsize = 1;
	list_init(&conn->ctrl_node);
	list_init(&conn->shard_node);
	list_init(&conn->free);
	list_init(&conn->parked);
	conn_tx_init(conn);
	req_init(conn, &conn->first, 0);
	list_add_tail(&tgt->conns, &conn->node);
	tgt->conn_count++;
	atomic_store(&tgt->stat_conns, tgt->conn_count);
	conn_post(conn, conn->shard->loop, on_start);
	return 0;
}
