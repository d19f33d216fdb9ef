/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces of a controller, read by a chain of Identify commands; the
 * controller's thread.
 *
 * A job owns its page and results; it lives until its done() has returned.
 * Invariant: ids come in ascending order without end only if the target
 * cheats, so each page has to begin behind the one before.
 */
#include "nvmf/nvmf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define PAGE_BYTES	       4096
#define IDS_PER_PAGE	       (PAGE_BYTES / sizeof(uint32_t))
#define NS_MAX		       65536 /* more is refused, not read for hours */
#define LBA_MIN		       512
#define LBA_MAX		       65536
#define CNS_COMMON	       0x08 /* of any command set */
#define VERSION_2_0	       0x00020000u
#define NSFEAT_OPTPERF	       (1u << 4)
#define NMIC_SHARED	       1u
#define NSATTR_WRITE_PROTECTED 1u
#define NSTAT_READY	       1u

struct ns_job {
	struct nvmf_ctrl *ctrl;
	nvmf_ns_list_fn done;
	void *arg;
	struct nvmf_admin req;
	bool is_single; /* nvmf_ns_get */
	union {
		uint8_t page[PAGE_BYTES];
		uint32_t ids[IDS_PER_PAGE];
		struct nvme_id_ns id;
		struct nvme_id_independent_id_ns common;
	};
	struct nvmf_ns_info *ns; /* nsid only until it has been read */
	size_t count, cap, next;
};

static void identify(struct ns_job *job, uint8_t cns, uint32_t nsid,
		     void (*done)(struct nvmf_admin *req))
{
	job->req = (struct nvmf_admin){
		.done = done,
		.data = job->page,
		.data_len = PAGE_BYTES,
	};
	nvme_cmd_identify(&job->req.sqe, cns, nsid);
	nvmf_admin_submit(job->ctrl, &job->req);
}

static void finish(struct ns_job *job, int ret)
{
	if (ret)
		job->done(ret, NULL, 0, job->arg);
	else
		job->done(0, job->ns, job->count, job->arg);
	free(job->ns);
	free(job);
}

static struct ns_job *job_of(struct nvmf_admin *req)
{
	return container_of(req, struct ns_job, req);
}

static void next_ns(struct ns_job *job);

/* Forgets the namespace under way, which can't be used. */
static void skip(struct ns_job *job, const char *why)
{
	struct nvmf_ns_info *ns = &job->ns[job->next];

	log_warn("namespace ignored", "nsid=%u reason=\"%s\"", ns->nsid, why);
	job->count--;
	memmove(ns, ns + 1, (job->count - job->next) * sizeof(*ns));
}

static void take_ids(struct nvmf_ns_info *ns, const uint8_t *page)
{
	static const struct {
		uint8_t len, off;
	} kinds[] = {
		[NVME_NIDT_EUI64] = {8, offsetof(struct nvmf_ns_info, eui64)},
		[NVME_NIDT_NGUID] = {16, offsetof(struct nvmf_ns_info, nguid)},
		[NVME_NIDT_UUID] = {16, offsetof(struct nvmf_ns_info, uuid)},
	};
	size_t pos = 0;

	while (pos + sizeof(struct nvme_ns_id_desc) <= PAGE_BYTES) {
		uint8_t type = page[pos], len = page[pos + 1];

		pos += sizeof(struct nvme_ns_id_desc);
		if (!type || !len || len > PAGE_BYTES - pos)
			return;
		if (type < ARRAY_SIZE(kinds) && kinds[type].len == len)
			memcpy((uint8_t *)ns + kinds[type].off, page + pos,
			       len);
		pos += len;
	}
}

static void common_done(struct nvmf_admin *req)
{
	struct ns_job *job = job_of(req);

	if (req->sc == NVME_SC_HOST_PATH_ERROR) {
		finish(job, nvme_sc_errno(req->sc));
		return;
	}
	if (req->sc == NVME_SC_OK)
		job->ns[job->next].is_not_ready =
			!(job->common.nstat & NSTAT_READY);
	job->next++;
	next_ns(job);
}

/* Old controllers don't have the list; NGUID and EUI-64 are known.  What may
 * pass says nothing: without its UUID it would be another namespace. */
static bool has_no_list(uint16_t sc)
{
	uint16_t code = sc & NVME_SC_MASK;

	return sc & NVME_SC_DNR || code == NVME_SC_BAD_OPCODE ||
	       code == NVME_SC_BAD_FIELD || code == NVME_SC_BAD_NS;
}

static void ids_done(struct nvmf_admin *req)
{
	struct ns_job *job = job_of(req);

	if (req->sc != NVME_SC_OK && !has_no_list(req->sc)) {
		finish(job, nvme_sc_errno(req->sc));
		return;
	}
	if (req->sc == NVME_SC_OK)
		take_ids(&job->ns[job->next], job->page);
	if (nvmf_ctrl_info(job->ctrl)->version >= VERSION_2_0) {
		identify(job, CNS_COMMON, job->ns[job->next].nsid, common_done);
		return;
	}
	job->next++;
	next_ns(job);
}

/* The numbers are 0's based where "not reported" is a bit of its own. */
static void take_hints(struct nvmf_ns_info *ns, const struct nvme_id_ns *id,
		       bool has_ana)
{
	ns->ana_group = has_ana ? id->anagrpid : 0;
	ns->opt_boundary_lba = id->noiob;
	ns->is_shared = id->nmic & NMIC_SHARED;
	ns->reservations = id->rescap;
	ns->is_write_protected = id->nsattr & NSATTR_WRITE_PROTECTED;
	if (!(id->nsfeat & NSFEAT_OPTPERF))
		return;
	ns->write_granularity_lba = id->npwg + 1u;
	ns->write_align_lba = id->npwa + 1u;
	ns->opt_write_lba = id->nows + 1u;
}

/* NULL, or what is wrong with it. */
static const char *take_identify(struct nvmf_ns_info *ns,
				 const struct nvme_id_ns *id)
{
	unsigned index = (id->flbas & 0xfu) | (id->flbas >> 1 & 0x30u);
	const struct nvme_lbaf *format = &id->lbaf[index];

	if (id->nsze == 0)
		return "it has no blocks";
	if (index > (unsigned)id->nlbaf + id->nulbaf)
		return "its LBA format is not in its own list";
	if (format->ds >= 32 || (1u << format->ds) < LBA_MIN ||
	    (1u << format->ds) > LBA_MAX)
		return "its block size is not between 512 and 65536";
	ns->lba_bytes = 1u << format->ds;
	ns->size_lba = id->nsze;
	if (mul_overflows(ns->size_lba, (uint64_t)ns->lba_bytes,
			  &(uint64_t){0}))
		return "its size does not fit into 64 bits";
	ns->metadata_bytes = format->ms;
	memcpy(ns->nguid, id->nguid, sizeof(ns->nguid));
	memcpy(ns->eui64, id->eui64, sizeof(ns->eui64));
	return NULL;
}

static void identify_done(struct nvmf_admin *req)
{
	struct ns_job *job = job_of(req);
	uint16_t sc = req->sc & NVME_SC_MASK;
	const char *why;

	if (sc == NVME_SC_BAD_NS || sc == NVME_SC_BAD_FIELD) {
		why = "it went away";
		if (job->is_single) {
			finish(job, -ENODEV);
			return;
		}
	} else if (sc != NVME_SC_OK) {
		finish(job, nvme_sc_errno(sc));
		return;
	} else {
		why = take_identify(&job->ns[job->next], &job->id);
	}
	if (!why) {
		take_hints(&job->ns[job->next], &job->id,
			   nvmf_ctrl_info(job->ctrl)->has_ana);
		identify(job, NVME_IDENTIFY_CNS_NS_DESC_LIST,
			 job->ns[job->next].nsid, ids_done);
		return;
	}
	if (job->is_single) {
		/* All zeros is how an inactive namespace looks. */
		finish(job, job->id.nsze ? -EPROTO : -ENODEV);
		return;
	}
	skip(job, why);
	next_ns(job);
}

static void next_ns(struct ns_job *job)
{
	if (job->next == job->count)
		finish(job, 0);
	else
		identify(job, NVME_IDENTIFY_CNS_NS, job->ns[job->next].nsid,
			 identify_done);
}

static int add_ns(struct ns_job *job, uint32_t nsid)
{
	struct nvmf_ns_info *ns = job->ns;
	size_t cap = job->cap ? job->cap * 2 : 16;

	if (job->count == NS_MAX)
		return -E2BIG;
	if (job->count == job->cap) {
		ns = reallocarray(job->ns, cap, sizeof(*ns));
		if (!ns)
			return -ENOMEM;
		job->ns = ns;
		job->cap = cap;
	}
	job->ns[job->count++] = (struct nvmf_ns_info){.nsid = nsid};
	return 0;
}

static void list_done(struct nvmf_admin *req)
{
	struct ns_job *job = job_of(req);
	uint32_t last = job->count ? job->ns[job->count - 1].nsid : 0;
	int ret = nvme_sc_errno(req->sc);
	size_t i;

	for (i = 0; !ret && i < IDS_PER_PAGE && job->ids[i]; i++) {
		ret = job->ids[i] > last ? add_ns(job, job->ids[i]) : -EPROTO;
		last = job->ids[i];
	}
	if (ret)
		finish(job, ret);
	else if (i == IDS_PER_PAGE && last < UINT32_MAX - 1)
		identify(job, NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, last,
			 list_done);
	else
		next_ns(job);
}

static struct ns_job *job_create(struct nvmf_ctrl *ctrl, nvmf_ns_list_fn done,
				 void *arg)
{
	struct ns_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->ctrl = ctrl;
	job->done = done;
	job->arg = arg;
	return job;
}

int nvmf_ns_list(struct nvmf_ctrl *ctrl, nvmf_ns_list_fn done, void *arg)
{
	struct ns_job *job = job_create(ctrl, done, arg);

	if (!job)
		return -ENOMEM;
	identify(job, NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, 0, list_done);
	return 0;
}

int nvmf_ns_get(struct nvmf_ctrl *ctrl, uint32_t nsid, nvmf_ns_list_fn done,
		void *arg)
{
	struct ns_job *job = job_create(ctrl, done, arg);

	if (!job || add_ns(job, nsid)) {
		free(job);
		return -ENOMEM;
	}
	job->is_single = true;
	next_ns(job);
	return 0;
}
