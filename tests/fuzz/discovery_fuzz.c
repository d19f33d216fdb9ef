/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a discovery service may answer.  First byte: bits 3:0 the entries that
 * fit into a command, bits 7:4 how often the generation changes meanwhile.
 * The rest is the log page, zero beyond its end.  Stands in for the
 * controller.  Promise: no memory error, and an answer after a bounded number
 * of commands, in which every entry can be printed and read again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "nvmf/nvmf.h"

#define COMMANDS_MAX 100000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	const uint8_t *data;
	size_t size;
	unsigned changes;
	struct nvmf_ctrl_info info;
	struct nvmf_admin *req; /* to be answered */
	bool is_done;
} f;

const struct nvmf_ctrl_info *nvmf_ctrl_info(const struct nvmf_ctrl *ctrl)
{
	return &f.info;
}

void nvmf_admin_submit(struct nvmf_ctrl *ctrl, struct nvmf_admin *req)
{
	ASSERT(!f.req);
	f.req = req;
}

static void answer(struct nvmf_admin *req)
{
	uint64_t off = req->sqe.cdw12 | (uint64_t)req->sqe.cdw13 << 32;
	size_t n = 0;

	ASSERT(req->data_len > 0);
	memset(req->data, 0, req->data_len);
	if (off < f.size)
		n = MIN(f.size - off, (size_t)req->data_len);
	memcpy(req->data, f.data + off * (n > 0), n);
	if (off == 0 && f.changes && f.changes-- % 2)
		*(uint8_t *)req->data ^= 1;
	req->sc = NVME_SC_OK;
	req->done(req);
}

static void found(int ret, const struct nvmf_disc_entry *entries, size_t count,
		  void *arg)
{
	char text[ENDPOINT_TEXT_LEN];
	struct endpoint again;
	struct err err = {0};

	f.is_done = true;
	ASSERT(ret <= 0 && (ret == 0 || count == 0));
	for (size_t i = 0; i < count; i++) {
		endpoint_format(&entries[i].ep, text);
		ASSERT(endpoint_parse(str_of(text), &again, &err) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned commands = 0;

	log_level_max = LOG_ERROR;
	if (size < 1)
		return 0;
	memset(&f, 0, sizeof(f));
	f.data = data + 1;
	f.size = size - 1;
	f.changes = data[0] >> 4;
	f.info.max_transfer = 4096 + (data[0] & 15u) * 1024;
	ASSERT(nvmf_discover(NULL, found, NULL) == 0);
	while (f.req) {
		struct nvmf_admin *req = f.req;

		f.req = NULL;
		ASSERT(++commands < COMMANDS_MAX);
		answer(req);
	}
	ASSERT(f.is_done);
	return 0;
}
