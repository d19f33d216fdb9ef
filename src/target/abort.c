/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Abort.  The command travels from the admin connection's shard to the control
 * loop, which knows the queues, to the shard of the queue, and back.
 * Invariant: the answer says "aborted" only when the other command has been
 * answered so and will touch nothing any more.
 */
#include "target/conn.h"
#include "target/ident.h"

#define NOT_ABORTED 1

/*
 * What waits for something can be withdrawn.  A host that has been asked for
 * data may be sending them, so their place is kept until they are there; then
 * the command ends without using them.
 */
static bool req_abort(struct tgt_req *req)
{
	bool is_asked = req->is_in_tx || !req->tx_want;

	switch ((enum req_state)req->state) {
	case REQ_R2T:
		if (is_asked) {
			req->is_aborted = true;
			return false;
		}
		req->tx_want = 0;
		break;
	case REQ_WAIT:
	case REQ_PARKED:
		break;
	case REQ_FREE:
	case REQ_RECV:
	case REQ_BUSY:
	case REQ_SENDING:
	case REQ_LOST:
		return false;
	}
	list_del(&req->node);
	req_complete(req, NVME_SC_ABORT_REQUESTED);
	return true;
}

static bool conn_abort(struct tgt_conn *conn, uint16_t cid)
{
	struct tgt_req *req;

	for (unsigned i = 0; i <= conn->req_count; i++) {
		req = conn_req_at(conn, (uint16_t)i);
		if (req->state != REQ_FREE && req->sqe.cid == cid &&
		    conn->state == CONN_LIVE)
			return req_abort(req);
	}
	return false;
}

static void on_back(struct mbox_msg *msg)
{
	struct tgt_req *req = container_of(msg, struct tgt_req, msg);
	struct tgt_conn *conn = req->conn;

	conn->busy_count--;
	conn->abort_count--;
	req->state = REQ_SENDING;
	req_complete(req, NVME_SC_OK);
	conn_check(conn);
}

static void travel(struct tgt_req *req, struct loop *loop,
		   void (*run)(struct mbox_msg *msg))
{
	req->msg.run = run;
	loop_post(loop, &req->msg);
}

static void on_queue(struct mbox_msg *msg)
{
	struct tgt_req *req = container_of(msg, struct tgt_req, msg);

	if (conn_abort(req->other, (uint16_t)(req->sqe.cdw10 >> 16)))
		req->result = 0;
	travel(req, req->conn->shard->loop, on_back);
}

static void on_control(struct mbox_msg *msg)
{
	struct tgt_req *req = container_of(msg, struct tgt_req, msg);
	uint16_t qid = (uint16_t)req->sqe.cdw10;
	struct tgt_conn *conn;

	req->other = NULL;
	list_for_each (conn, &req->conn->ctrl->conns, ctrl_node) {
		if (conn->qid == qid)
			req->other = conn;
	}
	/* A queue in the list gets this message before its end: what frees it
	 * goes through the same mailboxes, later. */
	if (req->other)
		travel(req, req->other->shard->loop, on_queue);
	else
		travel(req, req->conn->shard->loop, on_back);
}

void abort_start(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;

	if (conn->abort_count > IDENT_ACL) {
		req_complete(req, NVME_SC_ABORT_LIMIT | NVME_SC_DNR);
		return;
	}
	conn->abort_count++;
	conn->busy_count++;
	req->state = REQ_BUSY;
	req->result = NOT_ABORTED;
	travel(req, conn->tgt->opts.loop, on_control);
}
