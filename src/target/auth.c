/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authentication Send and Receive.  Shard's thread.  Invariant: needs_auth of
 * a connection is cleared by the end of a successful transaction and by nothing
 * else, and comes back with a failed one.
 */
#include "target/auth.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"

#define RECV_MAX  16384
#define LINGER_NS (10 * NS_PER_S) /* to ask for the reason of a failure */

void auth_destroy(struct tgt_auth *auth)
{
	if (!auth)
		return;
	dhchap_dh_destroy(auth->dh);
	secret_clear(auth, sizeof(*auth));
	free(auth);
}

/* For those who ask who is connected. */
static void tell(struct tgt_conn *conn, enum tgt_auth_state state)
{
	const struct tgt_auth *auth = conn->auth;

	atomic_store(&conn->auth_told, (uint32_t)state |
					       (uint32_t)auth->hash << 8 |
					       (uint32_t)auth->group << 16);
}

static void passed(struct tgt_conn *conn)
{
	struct tgt_auth *auth = conn->auth;

	auth->state = AUTH_IDLE;
	auth->begun = 0;
	if (conn->needs_auth)
		timer_cancel(conn->shard->loop, &conn->timer);
	conn->needs_auth = false;
	tell(conn, TGT_AUTH_DONE);
	log_debug("host authenticated",
		  "host=%s subnqn=%s qid=%u hash=%s dh=%s", conn->ctrl->hostnqn,
		  conn->ctrl->ss->nqn, conn->qid, dhchap_hash_name(auth->hash),
		  dhchap_group_name(auth->group));
}

static void failed(struct tgt_conn *conn)
{
	conn->needs_auth = true;
	tell(conn, TGT_AUTH_FAILED);
	timer_set(conn->shard->loop, &conn->timer, LINGER_NS);
}

static void on_judged(struct mbox_msg *msg)
{
	struct tgt_auth *auth = container_of(msg, struct tgt_auth, msg);
	struct tgt_conn *conn = auth->conn;
	struct tgt_req *req = TAKE(auth->req);

	conn->busy_count--;
	req->state = REQ_SENDING;
	if (conn->state == CONN_LIVE && auth->state == AUTH_PASSED)
		passed(conn);
	else if (conn->state == CONN_LIVE && auth->state == AUTH_FAILED)
		failed(conn);
	req_complete(req, NVME_SC_OK);
	conn_check(conn);
}

static void on_judge(struct mbox_msg *msg)
{
	struct tgt_auth *auth = container_of(msg, struct tgt_auth, msg);

	auth_judge(auth);
	auth->msg.run = on_judged;
	loop_post(auth->conn->shard->loop, &auth->msg);
}

void auth_send_start(struct tgt_req *req, uint32_t icd_len)
{
	uint16_t sc = sgl_in_capsule(&req->sqe.sgl, icd_len);

	if (!sc && !auth_is_sqe_ok(&req->sqe))
		sc = NVME_SC_BAD_FIELD | NVME_SC_DNR;
	else if (!sc && (req->sqe.cdw11 != icd_len || !icd_len ||
			 icd_len > CONN_ADMIN_ICD))
		sc = NVME_SC_BAD_FIELD | NVME_SC_DNR;
	if (sc) {
		req_complete(req, sc);
		return;
	}
	req->data = malloc(icd_len);
	if (!req->data) {
		req_complete(req, NVME_SC_INTERNAL);
		return;
	}
	req->mem = MEM_HEAP;
	req->len = icd_len;
	rx_into(req);
}

static struct tgt_auth *auth_get(struct tgt_conn *conn)
{
	if (!conn->auth) {
		conn->auth = calloc(1, sizeof(*conn->auth));
		if (conn->auth)
			conn->auth->conn = conn;
	}
	return conn->auth;
}

void auth_send_ready(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;
	struct tgt_auth *auth = auth_get(conn);

	if (conn->state != CONN_LIVE || !auth) {
		req_complete(req, NVME_SC_INTERNAL);
		return;
	}
	if (auth->req || auth->state == AUTH_FAILED) {
		req_complete(req, NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR);
		return;
	}
	if (conn->needs_auth)
		tell(conn, TGT_AUTH_UNDERWAY);
	auth->req = req;
	req->state = REQ_BUSY;
	conn->busy_count++;
	auth->msg.run = on_judge;
	loop_post(conn->tgt->opts.loop, &auth->msg);
}

/* The message in out has gone to the host. */
static void taken(struct tgt_conn *conn)
{
	struct tgt_auth *auth = conn->auth;

	auth->out_len = 0;
	if (auth->state == AUTH_ANSWERED) {
		passed(conn);
	} else if (auth->state == AUTH_FAILED) {
		/* The reason is the last word. */
		conn->state = CONN_DRAIN;
		timer_set(conn->shard->loop, &conn->timer, NS_PER_S);
	}
}

void auth_recv_start(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;
	struct tgt_auth *auth = conn->auth;
	uint32_t len = req->sqe.cdw11;

	if (!auth || auth->req || !auth->out_len) {
		req_complete(req, NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR);
		return;
	}
	if (!auth_is_sqe_ok(&req->sqe) || len < auth->out_len ||
	    len > RECV_MAX) {
		req_complete(req, NVME_SC_BAD_FIELD | NVME_SC_DNR);
		return;
	}
	if (!admin_data(req, len))
		return;
	memcpy(req->data, auth->out, auth->out_len);
	req_complete_data(req);
	taken(conn);
}
