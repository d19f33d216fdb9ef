/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First look at a command: is it one that this queue takes in this state?
 * Shard's thread.  Invariant: every command is answered exactly once, or its
 * connection ends.
 */
#include "target/auth.h"

#define SQE_FUSE 0x03
#define SQE_PSDT 0xc0

static bool is_auth(const struct nvme_sqe *sqe)
{
	uint8_t type = (uint8_t)sqe->nsid;

	return sqe->opcode == NVME_OP_FABRICS &&
	       (type == NVME_FCTYPE_AUTH_SEND || type == NVME_FCTYPE_AUTH_RECV);
}

static bool cmd_is_ready(const struct tgt_conn *conn)
{
	return conn->state == CONN_LIVE && (atomic_load(&conn->ctrl->csts) & 1);
}

void cmd_start(struct tgt_req *req, uint32_t icd_len)
{
	struct tgt_conn *conn = req->conn;
	const struct nvme_sqe *sqe = &req->sqe;

	tgt_count(&conn->shard->counters.commands, 1);
	if (conn->ctrl && conn->state == CONN_LIVE)
		ctrl_heard(conn->ctrl, loop_now_ns(conn->shard->loop));
	if (fault_is_on(&conn->tgt->faults) && fault_command(req))
		return;
	if ((sqe->flags & SQE_FUSE) ||
	    (sqe->flags & SQE_PSDT) != NVME_SQE_PSDT_SGL)
		req_complete(req, NVME_SC_BAD_FIELD | NVME_SC_DNR);
	else if (conn->needs_auth && !is_auth(sqe))
		req_complete(req, NVME_SC_AUTH_REQUIRED | NVME_SC_DNR);
	else if (sqe->opcode == NVME_OP_FABRICS)
		fabrics_start(req, icd_len);
	else if (!cmd_is_ready(conn))
		req_complete(req, NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR);
	else if (conn->qid == 0)
		admin_start(req);
	else
		nvm_start(req, icd_len);
}

void cmd_data_ready(struct tgt_req *req)
{
	if (is_auth(&req->sqe))
		auth_send_ready(req);
	else if (req->sqe.opcode == NVME_OP_FABRICS)
		fabrics_connect(req);
	else
		nvm_data_ready(req);
}

uint16_t sgl_in_capsule(const struct nvme_sgl *sgl, uint32_t icd_len)
{
	if (sgl->type != NVME_SGL_DATA_OFFSET)
		return NVME_SC_SGL_TYPE | NVME_SC_DNR;
	if (sgl->addr != 0)
		return NVME_SC_SGL_OFFSET | NVME_SC_DNR;
	if (sgl->len != icd_len)
		return NVME_SC_DATA_SGL_LEN | NVME_SC_DNR;
	return NVME_SC_OK;
}
