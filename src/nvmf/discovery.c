/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery log: its header, its entries in pieces, its header again; the
 * controller's thread.  Invariant: entries are handed out only when the
 * generation counter is the same before and after reading them.
 */
#include "nvmf/nvmf.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define ENTRY_BYTES   ((uint32_t)sizeof(struct nvmf_disc_log_entry))
#define PIECE_ENTRIES 16u
#define ENTRIES_MAX   16384u
#define ATTEMPTS_MAX  5

struct disc_job {
	struct nvmf_ctrl *ctrl;
	nvmf_disc_fn done;
	void *arg;
	struct nvmf_admin req;
	struct nvmf_disc_log_entry raw[PIECE_ENTRIES]; /* or the header */
	uint64_t genctr, numrec;
	uint64_t read; /* entries of this attempt */
	struct nvmf_disc_entry *entries;
	size_t count;
	unsigned attempts;
};

static void get_log(struct disc_job *job, uint64_t off, uint32_t len,
		    void (*done)(struct nvmf_admin *req))
{
	job->req = (struct nvmf_admin){
		.done = done,
		.data = job->raw,
		.data_len = len,
	};
	nvme_cmd_get_log(&job->req.sqe, NVME_LOG_LID_DISCOVER, off, len);
	nvmf_admin_submit(job->ctrl, &job->req);
}

static void finish(struct disc_job *job, int ret)
{
	if (ret)
		job->done(ret, NULL, 0, job->arg);
	else
		job->done(0, job->entries, job->count, job->arg);
	free(job->entries);
	free(job);
}

static struct disc_job *job_of(struct nvmf_admin *req)
{
	return container_of(req, struct disc_job, req);
}

/* The header is as long as an entry, and read into the same place. */
static const struct nvmf_discovery_log *head_of(const struct disc_job *job)
{
	static_assert(sizeof(struct nvmf_discovery_log) == ENTRY_BYTES, "");
	return (const struct nvmf_discovery_log *)job->raw;
}

static void start(struct disc_job *job);

/* --- one entry --- */

/* ASCII, padded with blanks or NULs to n bytes. */
static struct str padded(const char *p, size_t n)
{
	return str_trim((struct str){p, strnlen(p, n)});
}

/* It is printed and parsed again: no blanks, no control characters. */
static bool is_graphic(struct str text)
{
	for (size_t i = 0; i < text.n; i++)
		if (!isgraph((unsigned char)text.p[i]))
			return false;
	return text.n > 0;
}

/* As text that a person may paste: e.g. no IPv6 address that says IPv4. */
static bool is_sound(const struct endpoint *ep)
{
	char text[ENDPOINT_TEXT_LEN];
	struct endpoint again;
	struct err err = {0};

	endpoint_format(ep, text);
	return endpoint_parse(str_of(text), &again, &err) == 0;
}

static bool parse_entry(const struct nvmf_disc_log_entry *raw,
			struct nvmf_disc_entry *out)
{
	struct str traddr = padded(raw->traddr, sizeof(raw->traddr));
	struct str svcid = padded(raw->trsvcid, sizeof(raw->trsvcid));
	struct str nqn = padded(raw->subnqn, sizeof(raw->subnqn));
	struct endpoint *ep = &out->ep;
	struct err err = {0};
	uint64_t port;

	*out = (struct nvmf_disc_entry){
		.subtype = raw->subtype,
		.treq = raw->treq & 3,
		.port_id = raw->portid,
		.cntlid = raw->cntlid,
		.eflags = raw->eflags,
	};
	if (raw->trtype != NVMF_TRTYPE_TCP && raw->trtype != NVMF_TRTYPE_RDMA)
		return false;
	if (raw->adrfam != NVMF_ADDR_FAMILY_IP4 &&
	    raw->adrfam != NVMF_ADDR_FAMILY_IP6)
		return false;
	if (raw->subtype < NVME_NQN_DISC || raw->subtype > NVME_NQN_CURR)
		return false;
	if (!is_graphic(traddr) || traddr.n >= sizeof(ep->traddr) ||
	    str_to_u64(svcid, &port) || port < 1 || port > 65535 ||
	    nqn_check(nqn, &err))
		return false;
	ep->trtype = (enum nvme_trtype)raw->trtype;
	ep->is_ipv6 = raw->adrfam == NVMF_ADDR_FAMILY_IP6;
	ep->trsvcid = (uint16_t)port;
	snprintf(ep->traddr, sizeof(ep->traddr), STR_FMT, STR_ARG(traddr));
	snprintf(ep->subnqn, sizeof(ep->subnqn), STR_FMT, STR_ARG(nqn));
	return is_sound(ep);
}

/* --- the chain of commands --- */

static void recheck_done(struct nvmf_admin *req)
{
	struct disc_job *job = job_of(req);

	if (req->sc != NVME_SC_OK)
		finish(job, nvme_sc_errno(req->sc));
	else if (head_of(job)->genctr != job->genctr)
		start(job);
	else
		finish(job, 0);
}

static void read_piece(struct disc_job *job);

static void piece_done(struct nvmf_admin *req)
{
	struct disc_job *job = job_of(req);
	uint32_t n = req->data_len / ENTRY_BYTES;

	if (req->sc != NVME_SC_OK) {
		finish(job, nvme_sc_errno(req->sc));
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (parse_entry(&job->raw[i], &job->entries[job->count]))
			job->count++;
		else
			log_warn("discovery entry ignored",
				 "index=%llu trtype=%u adrfam=%u subtype=%u",
				 (unsigned long long)(job->read + i),
				 job->raw[i].trtype, job->raw[i].adrfam,
				 job->raw[i].subtype);
	}
	job->read += n;
	read_piece(job);
}

static void read_piece(struct disc_job *job)
{
	uint32_t most =
		MIN(nvmf_ctrl_info(job->ctrl)->max_transfer / ENTRY_BYTES,
		    PIECE_ENTRIES);
	uint64_t left = job->numrec - job->read;

	if (!left)
		get_log(job, 0, ENTRY_BYTES, recheck_done);
	else
		get_log(job, ENTRY_BYTES + job->read * ENTRY_BYTES,
			(uint32_t)MIN(left, (uint64_t)most) * ENTRY_BYTES,
			piece_done);
}

static void head_done(struct nvmf_admin *req)
{
	struct disc_job *job = job_of(req);

	if (req->sc != NVME_SC_OK) {
		finish(job, nvme_sc_errno(req->sc));
		return;
	}
	job->genctr = head_of(job)->genctr;
	job->numrec = head_of(job)->numrec;
	job->read = 0;
	job->count = 0;
	if (head_of(job)->recfmt != 0 || job->numrec > ENTRIES_MAX) {
		finish(job, head_of(job)->recfmt ? -EPROTO : -E2BIG);
		return;
	}
	free(job->entries);
	job->entries = calloc(job->numrec + 1, sizeof(*job->entries));
	if (job->entries)
		read_piece(job);
	else
		finish(job, -ENOMEM);
}

static void start(struct disc_job *job)
{
	if (job->attempts++ == ATTEMPTS_MAX)
		finish(job, -EAGAIN);
	else
		get_log(job, 0, ENTRY_BYTES, head_done);
}

int nvmf_discover(struct nvmf_ctrl *ctrl, nvmf_disc_fn done, void *arg)
{
	struct disc_job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	job->ctrl = ctrl;
	job->done = done;
	job->arg = arg;
	start(job);
	return 0;
}
