/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admin commands: a table by opcode, and the small ones.  Shard of the admin
 * connection.
 */
#include <stdlib.h>

#include "base/log.h"
#include "target/conn.h"

bool admin_data(struct tgt_req *req, uint32_t len)
{
	const struct nvme_sgl *sgl = &req->sqe.sgl;

	ASSERT(len && req->mem == MEM_NONE);
	if (sgl->type != NVME_SGL_TRANSPORT) {
		req_complete(req, NVME_SC_SGL_TYPE | NVME_SC_DNR);
		return false;
	}
	if (sgl->len < len) {
		req_complete(req, NVME_SC_DATA_SGL_LEN | NVME_SC_DNR);
		return false;
	}
	req->data = calloc(1, len);
	if (!req->data) {
		req_complete(req, NVME_SC_INTERNAL);
		return false;
	}
	req->mem = MEM_HEAP;
	req->len = len;
	return true;
}

static void keep_alive(struct tgt_req *req)
{
	req_complete(req, NVME_SC_OK); /* cmd_start() has noted the time */
}

void admin_reset(struct tgt_conn *conn)
{
	struct tgt_req *req;

	while (!list_is_empty(&conn->parked)) {
		req = list_first(&conn->parked, struct tgt_req, node);
		list_del(&req->node);
		conn_req_release(req);
	}
	conn->ctrl->aer_masked = 0;
	feature_init(conn->ctrl);
}

void admin_start(struct tgt_req *req)
{
	static const struct {
		uint8_t opcode;
		void (*start)(struct tgt_req *req);
	} ops[] = {
		{NVME_ADM_GET_LOG, log_page_start},
		{NVME_ADM_IDENTIFY, identify_start},
		{NVME_ADM_ABORT, abort_start},
		{NVME_ADM_SET_FEATURES, feature_set},
		{NVME_ADM_GET_FEATURES, feature_get},
		{NVME_ADM_AER, aer_start},
		{NVME_ADM_KEEP_ALIVE, keep_alive},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		if (ops[i].opcode == req->sqe.opcode) {
			ops[i].start(req);
			return;
		}
	}
	log_debug("admin command not supported", "opcode=%#x", req->sqe.opcode);
	req_complete(req, NVME_SC_BAD_OPCODE | NVME_SC_DNR);
}
