/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What log pages a controller may have.  First byte: bits 1:0 which page is
 * asked for, bits 3:2 how much fits into a command, bits 7:4 how often the
 * beginning of the page changes meanwhile.  The rest is the page, zero beyond
 * its end.  Stands in for the controller.  Promise: no memory error, and an
 * answer after a bounded number of commands, whose lists can be read to their
 * ends.
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
	uint64_t sum; /* so that lists are read */
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

static void use(const uint32_t *ids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		f.sum += ids[i];
}

static void smart_done(int ret, const struct nvmf_smart *smart, void *arg)
{
	f.is_done = true;
	ASSERT(ret == 0 && smart);
}

static void changed_done(int ret, const uint32_t *ids, size_t count,
			 bool is_many, void *arg)
{
	f.is_done = true;
	ASSERT(ret == 0 && count <= 1024 && !(is_many && count));
	use(ids, count);
}

static void ana_done(int ret, const struct nvmf_ana_group *groups, size_t count,
		     void *arg)
{
	f.is_done = true;
	ASSERT(ret <= 0 && (ret == 0 || count == 0));
	for (size_t i = 0; i < count; i++)
		use(groups[i].nsids, groups[i].nsid_count);
}

static int ask(unsigned which)
{
	switch (which) {
	case 0:
		return nvmf_smart_get(NULL, smart_done, NULL);
	case 2:
		return nvmf_changed_ns_get(NULL, changed_done, NULL);
	default:
		return nvmf_ana_get(NULL, ana_done, NULL);
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
	f.info.max_transfer = 4096u << (data[0] >> 2 & 3);
	f.info.nn = 256;
	ASSERT(ask(data[0] & 3) == 0);
	while (f.req) {
		struct nvmf_admin *req = f.req;

		f.req = NULL;
		ASSERT(++commands < COMMANDS_MAX);
		answer(req);
	}
	ASSERT(f.is_done);
	return 0;
}
