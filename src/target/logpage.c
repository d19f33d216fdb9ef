/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Get Log Page.  Shard of the admin connection.  Invariant: a page (but that of
 * discovery, which has no limit) is made as a whole, then the window that was
 * asked for is copied out of it; what lies behind its end reads as zeros.
 */
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "target/conn.h"
#include "target/ident.h"

#define LID_DISCOVERY	0x70
#define LID_ANA		0x0c
#define ANA_GROUPS_ONLY (1u << 8) /* LSP */

struct page {
	uint8_t *p; /* malloc'ed */
	size_t len;
};

static bool page_alloc(struct page *page, size_t cap)
{
	page->p = calloc(1, cap);
	return page->p != NULL;
}

static void page_error(struct tgt_req *req, struct page *page)
{
	errlog_read(&req->conn->ctrl->errors, page->p);
	page->len = (size_t)ERRLOG_ENTRIES * ERRLOG_BYTES;
}

static void page_smart(struct tgt_req *req, struct page *page)
{
	struct tgt *tgt = req->conn->tgt;
	uint64_t errors, media_errors;
	struct tgt_counters sum;

	subsys_counters_sum(req->conn->ctrl->ss, &sum);
	errlog_counts(&req->conn->ctrl->errors, &errors, &media_errors);
	page->len = ident_log_smart(
		&(struct ident_smart){
			.bytes_read = sum.bytes_read,
			.bytes_written = sum.bytes_written,
			.reads = sum.reads,
			.writes = sum.writes,
			.errors = errors,
			.media_errors = media_errors,
			.up_hours = (time_mono_ns() - tgt->start_ns) /
				    (3600 * NS_PER_S),
		},
		page->p);
}

static void page_firmware(struct tgt_req *req, struct page *page)
{
	page->len = ident_log_firmware(page->p);
}

/* Reading it takes the list and allows the next notice. */
static void page_changed_ns(struct tgt_req *req, struct page *page)
{
	struct tgt_ctrl *ctrl = req->conn->ctrl;
	bool is_kept = req->sqe.cdw10 & LOG_RETAIN_EVENT;
	uint32_t nsids[TGT_NS_MAX];
	size_t count = 0;

	aer_read(req, AER_NS_CHANGED);
	for (unsigned w = 0; w < ARRAY_SIZE(ctrl->changed); w++) {
		uint64_t bits = is_kept ? atomic_load(&ctrl->changed[w])
					: atomic_exchange(&ctrl->changed[w], 0);

		for (unsigned b = 0; b < 64; b++) {
			if (bits >> b & 1)
				nsids[count++] = w * 64 + b + 1;
		}
	}
	page->len = ident_log_changed_ns(nsids, count, page->p);
}

/* Namespaces by group: chains of ids, 0 ends them. */
struct groups {
	uint16_t first[TGT_NS_MAX + 1], next[TGT_NS_MAX + 1];
};
static_assert(TGT_NS_MAX < UINT16_MAX, "ids fit");

static void groups_collect(struct tgt_subsys *ss, struct groups *out)
{
	memset(out, 0, sizeof(*out));
	for (uint32_t nsid = TGT_NS_MAX; nsid; nsid--) {
		const struct tgt_ns *ns = tgt_ns_find(ss, nsid);

		if (!ns)
			continue;
		out->next[nsid] = out->first[ns->anagrpid];
		out->first[ns->anagrpid] = (uint16_t)nsid;
	}
}

static uint32_t group_members(const struct groups *groups, uint32_t grpid,
			      uint32_t nsids[TGT_NS_MAX])
{
	uint32_t count = 0;

	for (uint32_t i = groups->first[grpid]; i; i = groups->next[i])
		nsids[count++] = i;
	return count;
}

/* Groups that have a namespace, as seen through this listener. */
static void page_ana(struct tgt_req *req, struct page *page)
{
	bool is_groups_only = req->sqe.cdw10 & ANA_GROUPS_ONLY;
	struct tgt_subsys *ss = req->conn->ctrl->ss;
	uint8_t *out = page->p + IDENT_ANA_HEAD;
	uint32_t nsids[TGT_NS_MAX];
	struct groups groups;
	uint16_t count = 0;

	aer_read(req, AER_ANA_CHANGED);
	groups_collect(ss, &groups);
	for (uint32_t g = 1; g <= TGT_NS_MAX; g++) {
		struct ident_ana in = {
			.grpid = g,
			.count = group_members(&groups, g, nsids),
			.changes = atomic_load(&ss->ana_changes),
			.state = (uint8_t)tgt_ana_at(ss, req->conn->tl, g),
			.nsids = nsids,
		};

		if (!in.count)
			continue;
		if (is_groups_only)
			in.count = 0;
		out += ident_ana_group(&in, out);
		count++;
	}
	ident_ana_header(atomic_load(&ss->ana_changes), count, page->p);
	page->len = (size_t)(out - page->p);
}

/* Reading takes the oldest notification and allows the next event. */
static void page_resv(struct tgt_req *req, struct page *page)
{
	struct tgt_ctrl *ctrl = req->conn->ctrl;
	bool is_kept = req->sqe.cdw10 & LOG_RETAIN_EVENT;

	aer_read(req, AER_RESV);
	resv_log_read(&ctrl->resv_log, is_kept, page->p);
	/* There is an event for each page. */
	if (!is_kept && resv_log_has_any(&ctrl->resv_log))
		atomic_fetch_or(&ctrl->aer_due, 1u << AER_RESV);
	page->len = RESV_LOG_BYTES;
}

static void page_effects(struct tgt_req *req, struct page *page)
{
	page->len = ident_log_effects(page->p);
}

static void page_supported(struct tgt_req *req, struct page *page);

static const struct log_page {
	uint8_t lid;
	bool on_discovery;
	size_t cap;
	void (*make)(struct tgt_req *req, struct page *page);
} pages[] = {
	{0x00, true, IDENT_BYTES, page_supported},
	{0x01, true, IDENT_BYTES, page_error},
	{0x02, false, IDENT_BYTES, page_smart},
	{0x03, false, IDENT_BYTES, page_firmware},
	{0x04, false, IDENT_BYTES, page_changed_ns},
	{0x05, false, IDENT_BYTES, page_effects},
	{LID_ANA, false, IDENT_ANA_HEAD + (IDENT_ANA_GROUP + 4) * TGT_NS_MAX,
	 page_ana},
	{0x80, false, IDENT_BYTES, page_resv},
	{LID_DISCOVERY, true, 0, NULL}, /* made by disc.c */
};

static bool page_is_here(const struct tgt_req *req, const struct log_page *lp)
{
	const struct tgt_subsys *ss = req->conn->ctrl->ss;

	if (lp->lid == LID_ANA && !ss->ana)
		return false;
	return ss->is_discovery ? lp->on_discovery : lp->lid != LID_DISCOVERY;
}

/* The table names itself. */
static void page_supported(struct tgt_req *req, struct page *page)
{
	uint8_t lids[ARRAY_SIZE(pages)];
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		if (page_is_here(req, &pages[i]))
			lids[count++] = pages[i].lid;
	}
	page->len = ident_log_supported(lids, count, page->p);
}

static const struct log_page *page_find(const struct tgt_req *req)
{
	uint8_t lid = (uint8_t)req->sqe.cdw10;

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		if (pages[i].lid == lid && page_is_here(req, &pages[i]))
			return &pages[i];
	}
	return NULL;
}

static uint64_t log_off(const struct nvme_sqe *sqe)
{
	return sqe->cdw12 | (uint64_t)sqe->cdw13 << 32;
}

static uint64_t log_len(const struct nvme_sqe *sqe)
{
	uint64_t dwords = sqe->cdw10 >> 16 | (uint64_t)(sqe->cdw11 & 0xffff)
						     << 16;

	return (dwords + 1) * 4; /* 0's based */
}

static void log_page_send(struct tgt_req *req, const uint8_t *page,
			  size_t page_len)
{
	uint64_t off = log_off(&req->sqe), len = log_len(&req->sqe);

	if (off > page_len) {
		req_complete(req, NVME_SC_BAD_FIELD | NVME_SC_DNR);
		return;
	}
	if (!admin_data(req, (uint32_t)len))
		return;
	memcpy(req->data, page + off, MIN(len, page_len - off));
	req_complete_data(req);
}

static void page_start(struct tgt_req *req, const struct log_page *lp)
{
	struct page page;

	if (!page_alloc(&page, lp->cap)) {
		req_complete(req, NVME_SC_INTERNAL);
		return;
	}
	lp->make(req, &page);
	log_page_send(req, page.p, page.len);
	free(page.p);
	aer_check(req->conn);
}

void log_page_start(struct tgt_req *req)
{
	const struct log_page *lp = page_find(req);

	if (!lp)
		req_complete(req, NVME_SC_BAD_LOG_PAGE | NVME_SC_DNR);
	else if (log_off(&req->sqe) % 4 ||
		 log_len(&req->sqe) > req->conn->tgt->opts.max_transfer)
		req_complete(req, NVME_SC_BAD_FIELD | NVME_SC_DNR);
	else if (lp->lid == LID_DISCOVERY)
		disc_start(req, log_off(&req->sqe),
			   (uint32_t)log_len(&req->sqe));
	else
		page_start(req, lp);
}
