/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reservation commands: frames and the status page, the queue pair's thread.
 * Invariant: a report lists what the target sent, and nothing beyond it.
 */
#include "nvmf/resv.h"

#include <string.h>

#define EXTENDED 1u /* 128-bit host ids, the only ones over fabrics */

/* Data of Register, Acquire and (the first one alone) Release. */
struct keys {
	uint64_t current, other;
};
static_assert(sizeof(struct keys) == 16, "keys");

static const struct {
	uint8_t opcode, action;
} frames[] = {
	[NVMF_RESV_REPORT] = {NVME_CMD_RESV_REPORT, 0},
	[NVMF_RESV_REGISTER] = {NVME_CMD_RESV_REGISTER,
				NVME_RESERVATION_RREGA_REGISTER_KEY},
	[NVMF_RESV_UNREGISTER] = {NVME_CMD_RESV_REGISTER,
				  NVME_RESERVATION_RREGA_UNREGISTER_KEY},
	[NVMF_RESV_ACQUIRE] = {NVME_CMD_RESV_ACQUIRE,
			       NVME_RESERVATION_RACQA_ACQUIRE},
	[NVMF_RESV_PREEMPT] = {NVME_CMD_RESV_ACQUIRE,
			       NVME_RESERVATION_RACQA_PREEMPT_AND_ABORT},
};

static void take_host(const uint8_t *p, struct nvmf_resv_host *out)
{
	struct nvme_registered_ctrl_ext wire;

	memcpy(&wire, p, sizeof(wire));
	memcpy(out->id, wire.hostid, sizeof(out->id));
	out->key = wire.rkey;
	out->is_holder = wire.rcsts & 1;
}

static void take_report(struct nvmf_resv *resv)
{
	struct nvmf_resv_report *out = &resv->report;
	struct nvme_resv_status head;
	unsigned count;

	static_assert(
		sizeof(head) + NVMF_RESV_HOSTS *
					sizeof(struct
					       nvme_registered_ctrl_ext) ==
			NVMF_RESV_PAGE,
		"page");
	memcpy(&head, resv->page, sizeof(head));
	count = head.regctl[0] | (unsigned)head.regctl[1] << 8;
	*out = (struct nvmf_resv_report){
		.type = head.rtype,
		.is_persistent = head.ptpls & 1,
		.count = MIN(count, (unsigned)NVMF_RESV_HOSTS),
	};
	for (unsigned i = 0; i < out->count; i++)
		take_host(resv->page + sizeof(head) +
				  i * sizeof(struct nvme_registered_ctrl_ext),
			  &out->hosts[i]);
}

static void on_done(struct nvmf_io *io)
{
	struct nvmf_resv *resv = container_of(io, struct nvmf_resv, io);

	resv->sc = io->sc;
	if (resv->sc == NVME_SC_OK && resv->op == NVMF_RESV_REPORT)
		take_report(resv);
	resv->done(resv);
}

static struct keys keys_of(const struct nvmf_resv *resv)
{
	if (resv->op == NVMF_RESV_REGISTER)
		return (struct keys){.other = resv->key};
	return (struct keys){resv->key, resv->other_key};
}

static void set_words(struct nvmf_resv *resv)
{
	struct nvme_sqe *sqe = &resv->sqe;

	sqe->cdw10 = frames[resv->op].action;
	switch (resv->op) {
	case NVMF_RESV_REPORT:
		sqe->cdw10 = NVMF_RESV_PAGE / 4 - 1; /* 0's based */
		sqe->cdw11 = EXTENDED;
		break;
	case NVMF_RESV_REGISTER:
		if (resv->is_persistent)
			sqe->cdw10 |= (uint32_t)NVME_RESERVATION_CPTPL_PERSIST
				      << 30;
		break;
	case NVMF_RESV_UNREGISTER:
		break;
	case NVMF_RESV_ACQUIRE:
	case NVMF_RESV_PREEMPT:
		sqe->cdw10 |= (uint32_t)resv->type << 8;
		break;
	}
}

void nvmf_resv_submit(struct nvmf_qp *qp, struct nvmf_resv *resv)
{
	bool is_report = resv->op == NVMF_RESV_REPORT;
	struct keys keys = keys_of(resv);

	ASSERT(resv->done && resv->op < ARRAY_SIZE(frames));
	resv->sqe = (struct nvme_sqe){
		.opcode = frames[resv->op].opcode,
		.flags = NVME_SQE_PSDT_SGL,
		.nsid = resv->nsid,
	};
	set_words(resv);
	memset(resv->page, 0, sizeof(resv->page));
	if (!is_report)
		memcpy(resv->page, &keys, sizeof(keys));
	resv->iov.iov_base = resv->page;
	resv->iov.iov_len = is_report ? NVMF_RESV_PAGE : sizeof(keys);
	resv->io = (struct nvmf_io){
		.done = on_done,
		.op = is_report ? NVMF_READ : NVMF_WRITE,
		.lba_bytes = sizeof(uint32_t),
		.bytes = resv->iov.iov_len,
		.iov = &resv->iov,
		.iovcnt = 1,
		.sqe = &resv->sqe,
	};
	nvmf_io_submit(qp, &resv->io);
}
