/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Get Log Page.  Shard of the admin connection.  Invariant: a page is made as
 * a whole, then the window that was asked for is copied out of it; what lies
 * behind its end reads as zeros.
 */
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "target/conn.h"
#include "target/ident.h"

#define LOG_RETAIN_EVENT (1u << 15)
#define LID_DISCOVERY	 0x70

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

	tgt_counters_sum(tgt, &sum);
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

	for (unsigned w = 0; w < ARRAY_SIZE(ctrl->changed); w++) {
		uint64_t bits = is_kept ? atomic_load(&ctrl->changed[w])
					: atomic_exchange(&ctrl->changed[w], 0);

		for (unsigned b = 0; b < 64; b++) {
			if (bits >> b & 1)
				nsids[count++] = w * 64 + b + 1;
		}
	}
	if (!is_kept)
		ctrl->is_aen_masked = false;
	page->len = ident_log_changed_ns(nsids, count, page->p);
}

static void page_effects(struct tgt_req *req, struct page *page)
{
	page->len = ident_log_effects(page->p);
}

static void disc_put(const struct tgt_conn *conn, const struct tgt_subsys *ss,
		     uint16_t port_id, uint8_t *out)
{
	const struct tgt *tgt = conn->tgt;
	const struct addr *addr = &tgt->listeners[port_id]->l.local;
	char host[ADDR_TEXT_LEN];

	addr_format_host(addr_is_any(addr) ? &conn->local : addr, host);
	ident_disc_entry(
		&(struct ident_disc){
			.nqn = ss->nqn,
			.traddr = host,
			.port = addr_port(addr),
			.port_id = port_id,
			.is_ipv6 = strchr(host, ':') != NULL,
		},
		out);
}

/* Every subsystem through every listener that serves subsystems. */
static void page_discovery(struct tgt_req *req, struct page *page)
{
	struct tgt *tgt = req->conn->tgt;
	unsigned ports = atomic_load(&tgt->listener_count);
	unsigned subsystems = atomic_load(&tgt->subsys_count);
	uint8_t *out = page->p + IDENT_LOG_HEADER;
	uint64_t count = 0;

	for (unsigned s = 1; s < subsystems; s++) {
		for (unsigned p = 0; p < ports; p++) {
			if (tgt->listeners[p]->is_discovery)
				continue;
			disc_put(req->conn, tgt->subsys[s], (uint16_t)p, out);
			out += 1024;
			count++;
		}
	}
	ident_disc_header(atomic_load(&tgt->genctr), count, page->p);
	page->len = (size_t)(out - page->p);
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
	{LID_DISCOVERY, true,
	 IDENT_LOG_HEADER + 1024 * TGT_SUBSYS_MAX *TGT_LISTENER_MAX,
	 page_discovery},
};

static bool page_is_here(const struct tgt_req *req, const struct log_page *lp)
{
	bool is_discovery = req->conn->ctrl->ss->is_discovery;

	return is_discovery ? lp->on_discovery : lp->lid != LID_DISCOVERY;
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

static void page_send(struct tgt_req *req, const struct page *page,
		      uint64_t off, uint32_t len)
{
	if (off > page->len) {
		req_complete(req, NVME_SC_BAD_FIELD | NVME_SC_DNR);
		return;
	}
	if (!admin_data(req, len))
		return;
	memcpy(req->data, page->p + off, MIN((uint64_t)len, page->len - off));
	req_complete_data(req);
}

void log_page_start(struct tgt_req *req)
{
	const struct nvme_sqe *sqe = &req->sqe;
	const struct log_page *lp = page_find(req);
	uint64_t off = sqe->cdw12 | (uint64_t)sqe->cdw13 << 32;
	uint64_t len = sqe->cdw10 >> 16 | (uint64_t)(sqe->cdw11 & 0xffff) << 16;
	struct page page;

	len = (len + 1) * 4; /* 0's based dwords */
	if (!lp) {
		req_complete(req, NVME_SC_BAD_LOG_PAGE | NVME_SC_DNR);
	} else if (off % 4 || len > req->conn->tgt->opts.max_transfer) {
		req_complete(req, NVME_SC_BAD_FIELD | NVME_SC_DNR);
	} else if (!page_alloc(&page, lp->cap)) {
		req_complete(req, NVME_SC_INTERNAL);
	} else {
		lp->make(req, &page);
		page_send(req, &page, off, (uint32_t)len);
		free(page.p);
		aer_check(req->conn);
	}
}
