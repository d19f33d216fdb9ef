/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log pages of a controller: SMART, changed namespaces, ANA; its loop.
 *
 * A job owns its buffer and lives until its done() has returned.  Invariant:
 * nothing of a page is used before its lengths were compared with what was
 * read; a page of several commands is handed out only when its change count is
 * the same before and after.
 */
#include "nvmf/nvmf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LID_SMART     0x02
#define LID_CHANGED   0x04
#define LID_ANA	      0x0c
#define PIECE_MAX     (128u << 10)
#define CHANGED_BYTES 4096u
#define CHANGED_IDS   (CHANGED_BYTES / sizeof(uint32_t))
#define ANA_NSIDS_MAX 65536u
#define ATTEMPTS_MAX  5
#define SMART_UNIT    512000u

/* struct nvme_ana_log without its descriptors. */
struct ana_head {
	uint64_t chgcnt;
	uint16_t ngrps;
	uint8_t rsvd[6];
};
static_assert(sizeof(struct ana_head) == 16, "ANA log header");

struct log_job {
	struct nvmf_ctrl *ctrl;
	struct nvmf_admin req;
	uint8_t lid;
	uint8_t *buf;
	uint32_t len, got;
	void (*next)(struct log_job *job); /* len bytes are there */
	void (*end)(struct log_job *job, int ret);
	union {
		nvmf_smart_fn smart;
		nvmf_changed_ns_fn changed;
		nvmf_ana_fn ana;
	} done;
	void *arg;
	/* ANA */
	struct ana_head head;
	struct nvmf_ana_group *groups;
	unsigned attempts;
};

/* --- reading --- */

static void job_end(struct log_job *job, int ret)
{
	job->end(job, ret);
	free(job->groups);
	free(job->buf);
	free(job);
}

static void read_piece(struct log_job *job);

static void piece_done(struct nvmf_admin *req)
{
	struct log_job *job = container_of(req, struct log_job, req);
	bool is_behind_end =
		job->got > 0 && (req->sc & NVME_SC_MASK) == NVME_SC_BAD_FIELD;

	if (req->sc != NVME_SC_OK && !is_behind_end) {
		job_end(job, nvme_sc_errno(req->sc));
		return;
	}
	/* The rest of a page that is shorter than it might be is zeros. */
	job->got = is_behind_end ? job->len : job->got + req->data_len;
	if (job->got < job->len)
		read_piece(job);
	else
		job->next(job);
}

static void read_piece(struct log_job *job)
{
	uint32_t most = MIN(nvmf_ctrl_info(job->ctrl)->max_transfer, PIECE_MAX);
	uint32_t len = MIN(job->len - job->got, most);

	job->req = (struct nvmf_admin){
		.done = piece_done,
		.data = job->buf + job->got,
		.data_len = len,
	};
	nvme_cmd_get_log(&job->req.sqe, job->lid, job->got, len);
	job->req.sqe.nsid = UINT32_MAX; /* of the controller */
	nvmf_admin_submit(job->ctrl, &job->req);
}

static void read_page(struct log_job *job, uint32_t len,
		      void (*next)(struct log_job *job))
{
	free(job->buf);
	job->buf = calloc(1, len);
	job->len = len;
	job->got = 0;
	job->next = next;
	if (job->buf)
		read_piece(job);
	else
		job_end(job, -ENOMEM);
}

static struct log_job *job_create(struct nvmf_ctrl *ctrl, uint8_t lid,
				  uint32_t len, void *arg)
{
	struct log_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	*job = (struct log_job){
		.ctrl = ctrl,
		.lid = lid,
		.buf = calloc(1, len),
		.len = len,
		.arg = arg,
	};
	if (job->buf)
		return job;
	free(job);
	return NULL;
}

/* --- SMART --- */

static uint64_t u128(const uint8_t *p)
{
	uint64_t low, high;

	memcpy(&low, p, sizeof(low));
	memcpy(&high, p + sizeof(low), sizeof(high));
	return high ? UINT64_MAX : low;
}

static uint64_t units(const uint8_t *p)
{
	uint64_t n = u128(p), bytes;

	return mul_overflows(n, (uint64_t)SMART_UNIT, &bytes) ? UINT64_MAX
							      : bytes;
}

static void page_read(struct log_job *job)
{
	job_end(job, 0);
}

static void smart_end(struct log_job *job, int ret)
{
	const struct nvme_smart_log *log = (const void *)job->buf;
	struct nvmf_smart smart = {0};

	if (ret) {
		job->done.smart(ret, NULL, job->arg);
		return;
	}
	smart = (struct nvmf_smart){
		.critical_warning = log->critical_warning,
		.temperature_k = (uint16_t)(log->temperature[0] |
					    log->temperature[1] << 8),
		.spare_percent = log->avail_spare,
		.spare_threshold = log->spare_thresh,
		.used_percent = log->percent_used,
		.read_bytes = units(log->data_units_read),
		.written_bytes = units(log->data_units_written),
		.reads = u128(log->host_reads),
		.writes = u128(log->host_writes),
		.busy_minutes = u128(log->ctrl_busy_time),
		.power_cycles = u128(log->power_cycles),
		.power_on_hours = u128(log->power_on_hours),
		.unsafe_shutdowns = u128(log->unsafe_shutdowns),
		.media_errors = u128(log->media_errors),
		.error_entries = u128(log->num_err_log_entries),
	};
	job->done.smart(0, &smart, job->arg);
}

int nvmf_smart_get(struct nvmf_ctrl *ctrl, nvmf_smart_fn done, void *arg)
{
	struct log_job *job =
		job_create(ctrl, LID_SMART, sizeof(struct nvme_smart_log), arg);

	if (!job)
		return -ENOMEM;
	job->done.smart = done;
	job->end = smart_end;
	job->next = page_read;
	read_piece(job);
	return 0;
}

/* --- changed namespaces --- */

static void changed_end(struct log_job *job, int ret)
{
	const uint32_t *ids = (const void *)job->buf;
	bool is_many = !ret && ids[0] == UINT32_MAX;
	size_t count = 0;

	while (!ret && !is_many && count < CHANGED_IDS && ids[count])
		count++;
	job->done.changed(ret, ret ? NULL : ids, count, is_many, job->arg);
}

int nvmf_changed_ns_get(struct nvmf_ctrl *ctrl, nvmf_changed_ns_fn done,
			void *arg)
{
	struct log_job *job = job_create(ctrl, LID_CHANGED, CHANGED_BYTES, arg);

	if (!job)
		return -ENOMEM;
	job->done.changed = done;
	job->end = changed_end;
	job->next = page_read;
	read_piece(job);
	return 0;
}

/* --- ANA --- */

static void ana_start(struct log_job *job);

static int ana_decode(struct log_job *job)
{
	const struct ana_head *log = (const void *)job->buf;
	size_t pos = sizeof(*log);

	job->groups = calloc(log->ngrps + 1u, sizeof(*job->groups));
	if (!job->groups)
		return -ENOMEM;
	for (size_t i = 0; i < log->ngrps; i++) {
		struct nvme_ana_group_desc desc;

		if (job->len - pos < sizeof(desc))
			return -EPROTO;
		memcpy(&desc, job->buf + pos, sizeof(desc));
		pos += sizeof(desc);
		if (desc.nnsids > (job->len - pos) / sizeof(uint32_t))
			return -EPROTO;
		job->groups[i] = (struct nvmf_ana_group){
			.id = desc.grpid,
			.state = desc.state & 0xf,
			.change_count = desc.chgcnt,
			.nsids = (const void *)(job->buf + pos),
			.nsid_count = desc.nnsids,
		};
		pos += desc.nnsids * sizeof(uint32_t);
	}
	return 0;
}

static void ana_end(struct log_job *job, int ret)
{
	job->done.ana(ret, ret ? NULL : job->groups, ret ? 0 : job->head.ngrps,
		      job->arg);
}

static void ana_recheck_done(struct nvmf_admin *req)
{
	struct log_job *job = container_of(req, struct log_job, req);
	const struct ana_head *log = (const void *)job->buf;

	/* The number of groups, too: ana_end() goes by this head's. */
	if (req->sc != NVME_SC_OK)
		job_end(job, nvme_sc_errno(req->sc));
	else if (job->head.chgcnt == log->chgcnt &&
		 job->head.ngrps == log->ngrps)
		job_end(job, ana_decode(job));
	else
		ana_start(job);
}

/* The whole page is there: of the same state, if it came in pieces? */
static void ana_read(struct log_job *job)
{
	const struct ana_head *log = (const void *)job->buf;

	if (log->ngrps != job->head.ngrps) {
		ana_start(job);
		return;
	}
	job->req = (struct nvmf_admin){
		.done = ana_recheck_done,
		.data = &job->head,
		.data_len = sizeof(job->head),
	};
	nvme_cmd_get_log(&job->req.sqe, job->lid, 0, sizeof(job->head));
	job->req.sqe.nsid = UINT32_MAX;
	nvmf_admin_submit(job->ctrl, &job->req);
}

static void ana_head_read(struct log_job *job)
{
	uint32_t nn = MIN(nvmf_ctrl_info(job->ctrl)->nn, ANA_NSIDS_MAX);

	memcpy(&job->head, job->buf, sizeof(job->head));
	read_page(job,
		  (uint32_t)(sizeof(job->head) +
			     job->head.ngrps *
				     sizeof(struct nvme_ana_group_desc) +
			     nn * sizeof(uint32_t)),
		  ana_read);
}

static void ana_start(struct log_job *job)
{
	if (job->attempts++ == ATTEMPTS_MAX)
		job_end(job, -EAGAIN);
	else
		read_page(job, sizeof(job->head), ana_head_read);
}

int nvmf_ana_get(struct nvmf_ctrl *ctrl, nvmf_ana_fn done, void *arg)
{
	struct log_job *job =
		job_create(ctrl, LID_ANA, sizeof(struct ana_head), arg);

	if (!job)
		return -ENOMEM;
	job->done.ana = done;
	job->end = ana_end;
	ana_start(job);
	return 0;
}
