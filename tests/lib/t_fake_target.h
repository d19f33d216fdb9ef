/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target for tests of the initiator: one RAM namespace, as polite or as rude
 * as the test wants.  Knobs change how it answers; hook sees every PDU of the
 * host first and may answer (or not) itself.  Shares nothing with src/target.
 */
#ifndef T_FAKE_TARGET_H
#define T_FAKE_TARGET_H

#include <stdio.h>
#include <stdlib.h>

#include "base/crc.h"
#include "io/listener.h"
#include "io/stream.h"
#include "nvme/pdu.h"

#define FAKE_NQN    "nqn.2024-01.org.example:fake"
#define FAKE_BLOCKS 4096u
#define FAKE_LBA    512u
#define FAKE_CONNS  64
#define FAKE_CNTLID 7

struct fake;

struct fake_conn {
	struct fake *fake;
	struct stream stream;
	struct iovec iov;
	uint8_t *rx;
	size_t rx_len, rx_cap;
	struct strbuf out, sending;
	bool hdgst, ddgst, is_dead;
	uint16_t qid;
	/* writes that wait for data: by CID */
	struct {
		struct nvme_sqe sqe;
		uint32_t got, asked;
		unsigned out; /* R2Ts */
	} writes[8];
};

struct fake {
	struct loop *loop;
	struct listener listener;
	struct fake_conn *conns[FAKE_CONNS];
	unsigned conn_count;
	void *arg;
	/* true = dealt with; data is in-capsule or H2CData payload */
	bool (*hook)(struct fake_conn *c, const union pdu_hdr *hdr,
		     const uint8_t *data, uint32_t len);
	/* knobs, with their polite values set by fake_start */
	uint32_t maxh2c, c2h_piece, r2t_piece;
	uint8_t cpda; /* 0's based dwords */
	bool no_success;
	unsigned r2ts;	   /* at a time, 0 = 1 */
	bool r2t_reversed; /* the last piece first */
	int cut_after;	   /* PDUs sent before it hangs up; -1 = never */
	/* what it has seen */
	unsigned pdus_sent, keep_alives, shutdowns, terms, h2c_pdus;
	uint16_t term_fes;
	uint32_t term_fei;
	uint8_t term_echo[128]; /* the header it complains about */
	uint32_t term_echo_len;
	uint32_t cc;
	/* what it tells */
	struct nvme_id_ctrl id;
	struct nvme_id_ns ns;
	uint32_t nn; /* namespaces 1..nn are active */
	uint16_t descs_sc; /* of the next descriptor list */
	uint64_t genctr, numrec;
	unsigned genctr_moves; /* how often it changes between reads */
	const char *traddr; /* of discovery entries, NULL = 10.0.0.1 and on */
	uint8_t disk[FAKE_BLOCKS * FAKE_LBA];
};

static inline void fake_hang_up(struct fake_conn *c)
{
	if (c->is_dead)
		return;
	c->is_dead = true;
	stream_close(&c->stream, NULL);
}

static inline void fake_flush(struct fake_conn *c);

static inline void fake_sent(struct stream *s, int res)
{
	struct fake_conn *c = s->arg;

	strbuf_reset(&c->sending);
	if (res == 0 && !c->is_dead)
		fake_flush(c);
}

static inline void fake_flush(struct fake_conn *c)
{
	struct strbuf swap = c->sending;
	struct iovec iov;

	if (c->stream.tx_busy || !c->out.n || c->is_dead)
		return;
	c->sending = c->out;
	c->out = swap;
	iov = (struct iovec){c->sending.p, c->sending.n};
	stream_send(&c->stream, &iov, 1, fake_sent);
}

/* Raw bytes, for what no polite encoder would make. */
static inline void fake_send_raw(struct fake_conn *c, const void *p, size_t n)
{
	struct fake *f = c->fake;

	if (c->is_dead)
		return;
	if (f->cut_after >= 0 && f->pdus_sent >= (unsigned)f->cut_after) {
		fake_hang_up(c);
		return;
	}
	f->pdus_sent++;
	strbuf_add(&c->out, p, n);
	fake_flush(c);
}

static inline void fake_send(struct fake_conn *c, union pdu_hdr *hdr,
			     const void *data, uint32_t len)
{
	uint8_t head[128] = {0};
	struct strbuf pdu = {0};
	size_t n = pdu_finish(&hdr->ch, len, c->hdgst, c->ddgst, 0);
	uint32_t crc;

	memcpy(head, hdr, hdr->ch.hlen);
	crc = crc32c(0, hdr, hdr->ch.hlen);
	if (c->hdgst)
		memcpy(head + hdr->ch.hlen, &crc, sizeof(crc));
	strbuf_add(&pdu, head, n);
	strbuf_add(&pdu, data, len);
	crc = crc32c(0, data, len);
	if (c->ddgst && len)
		strbuf_add(&pdu, &crc, sizeof(crc));
	fake_send_raw(c, pdu.p, pdu.n);
	strbuf_fini(&pdu);
}

static inline void fake_resp(struct fake_conn *c, uint16_t cid, uint16_t sc,
			     uint64_t result)
{
	union pdu_hdr hdr = {.resp = {
				     .ch.type = PDU_CAPSULE_RESP,
				     .cqe = {.result = result,
					     .cid = cid,
					     .status = (uint16_t)(sc << 1)},
			     }};

	fake_send(c, &hdr, NULL, 0);
}

static inline void fake_c2h(struct fake_conn *c, uint16_t cid, uint32_t off,
			    uint8_t flags, struct str data)
{
	union pdu_hdr hdr = {
		.data = {
			.ch = {.type = PDU_C2H_DATA, .flags = flags},
			.cccid = cid,
			.datao = off,
			.datal = (uint32_t)data.n,
		}};

	fake_send(c, &hdr, data.p, (uint32_t)data.n);
}

/* Data in pieces, then SUCCESS or a response, as the knobs say. */
static inline void fake_data(struct fake_conn *c, uint16_t cid, const void *p,
			     uint32_t len)
{
	struct fake *f = c->fake;
	uint32_t off, n;

	for (off = 0; off < len; off += n) {
		uint8_t flags = 0;

		n = MIN(f->c2h_piece, len - off);
		if (off + n == len)
			flags = PDU_F_LAST |
				(f->no_success ? 0 : PDU_F_SUCCESS);
		fake_c2h(c, cid, off, flags,
			 (struct str){(const char *)p + off, n});
	}
	if (f->no_success)
		fake_resp(c, cid, NVME_SC_OK, 0);
}

static inline void fake_r2t(struct fake_conn *c, uint16_t cid, uint32_t off,
			    uint32_t len)
{
	union pdu_hdr hdr = {.r2t = {
				     .ch.type = PDU_R2T,
				     .cccid = cid,
				     .ttag = (uint16_t)(off / 512 + 99),
				     .r2to = off,
				     .r2tl = len,
			     }};

	fake_send(c, &hdr, NULL, 0);
}

/* --- polite answers --- */

static inline void fake_prop(struct fake_conn *c, const struct nvme_sqe *sqe)
{
	struct fake *f = c->fake;
	uint64_t cap = 127 | (uint64_t)30 << 24 | (uint64_t)1 << 37;
	uint64_t value = 0;

	if ((sqe->nsid & 0xff) == NVME_FCTYPE_PROP_SET) {
		f->cc = sqe->cdw12;
		f->shutdowns += (f->cc >> 14 & 3) == 1;
	} else if (sqe->cdw11 == NVME_PROP_CAP) {
		value = cap;
	} else if (sqe->cdw11 == NVME_PROP_VS) {
		value = 0x20000;
	} else if (sqe->cdw11 == NVME_PROP_CC) {
		value = f->cc;
	} else if (sqe->cdw11 == NVME_PROP_CSTS) {
		value = f->cc & 1;
	}
	fake_resp(c, sqe->cid, NVME_SC_OK, value);
}

static inline void fake_identify(struct fake_conn *c,
				 const struct nvme_sqe *sqe)
{
	static const uint8_t uuid[20] = {3, 16, 0, 0, 0xaa, 0xbb};
	struct fake *f = c->fake;
	uint8_t page[4096] = {0};
	uint32_t ids = 0;

	switch (sqe->cdw10 & 0xff) {
	case NVME_IDENTIFY_CNS_CTRL:
		memcpy(page, &f->id, sizeof(page));
		break;
	case NVME_IDENTIFY_CNS_NS:
		if (sqe->nsid >= 1 && sqe->nsid <= f->nn)
			memcpy(page, &f->ns, sizeof(page));
		break;
	case NVME_IDENTIFY_CNS_NS_ACTIVE_LIST:
		for (uint32_t i = sqe->nsid + 1; i <= f->nn && ids < 1024; i++)
			memcpy(page + 4 * ids++, &i, sizeof(i));
		break;
	case NVME_IDENTIFY_CNS_NS_DESC_LIST:
		memcpy(page, uuid, sizeof(uuid));
		if (!f->descs_sc)
			break;
		fake_resp(c, sqe->cid, f->descs_sc, 0);
		f->descs_sc = 0;
		return;
	default:
		break;
	}
	fake_data(c, sqe->cid, page, sizeof(page));
}

static inline void fake_log(struct fake_conn *c, const struct nvme_sqe *sqe)
{
	struct fake *f = c->fake;
	size_t len = ((size_t)(sqe->cdw10 >> 16) + 1) * 4;
	size_t total = (f->numrec + 1) * 1024;
	size_t off = sqe->cdw12;
	uint8_t *log = calloc(1, total + len);
	struct nvmf_discovery_log head = {.genctr = f->genctr,
					  .numrec = f->numrec};

	memcpy(log, &head, sizeof(head));
	for (uint64_t i = 0; i < f->numrec; i++) {
		struct nvmf_disc_log_entry e = {
			.trtype = 3, .adrfam = 1, .subtype = 2};

		snprintf(e.trsvcid, sizeof(e.trsvcid), "%-31u", 4420);
		snprintf(e.traddr, sizeof(e.traddr), "10.0.0.%u",
			 (unsigned)i + 1);
		if (f->traddr)
			snprintf(e.traddr, sizeof(e.traddr), "%s", f->traddr);
		snprintf(e.subnqn, sizeof(e.subnqn), "%s%u", FAKE_NQN,
			 (unsigned)i);
		memcpy(log + 1024 * (i + 1), &e, sizeof(e));
	}
	if (off > 0 && f->genctr_moves) {
		f->genctr_moves--;
		f->genctr++;
	}
	fake_data(c, sqe->cid, log + MIN(off, total), (uint32_t)len);
	free(log);
}

static inline void fake_admin(struct fake_conn *c, const struct nvme_sqe *sqe)
{
	switch (sqe->opcode) {
	case NVME_ADM_IDENTIFY:
		fake_identify(c, sqe);
		break;
	case NVME_ADM_GET_LOG:
		fake_log(c, sqe);
		break;
	case NVME_ADM_SET_FEATURES:
		fake_resp(c, sqe->cid, NVME_SC_OK, 0x00010001);
		break;
	case NVME_ADM_KEEP_ALIVE:
		c->fake->keep_alives++;
		fake_resp(c, sqe->cid, NVME_SC_OK, 0);
		break;
	case NVME_ADM_AER:
		break;
	default:
		fake_resp(c, sqe->cid, NVME_SC_BAD_OPCODE, 0);
	}
}

static inline void fake_write_more(struct fake_conn *c, unsigned slot)
{
	struct fake *f = c->fake;
	uint32_t len = c->writes[slot].sqe.sgl.len;
	uint32_t at, n;

	if (c->writes[slot].got == len) {
		c->writes[slot].sqe.sgl.len = 0;
		fake_resp(c, c->writes[slot].sqe.cid, NVME_SC_OK, 0);
		return;
	}
	while (c->writes[slot].out < MAX(f->r2ts, 1u) &&
	       c->writes[slot].asked < len) {
		at = c->writes[slot].asked;
		n = MIN(f->r2t_piece, len - at);
		c->writes[slot].asked += n;
		c->writes[slot].out++;
		fake_r2t(c, c->writes[slot].sqe.cid,
			 f->r2t_reversed ? len - at - n : at, n);
	}
}

static inline void fake_io(struct fake_conn *c, const struct nvme_sqe *sqe,
			   const uint8_t *data, uint32_t len)
{
	struct fake *f = c->fake;
	size_t off = (size_t)sqe->cdw10 * FAKE_LBA;

	if (sqe->opcode == NVME_CMD_FLUSH) {
		fake_resp(c, sqe->cid, NVME_SC_OK, 0);
	} else if (off + sqe->sgl.len > sizeof(f->disk) ||
		   sqe->sgl.len != ((sqe->cdw12 & 0xffff) + 1) * FAKE_LBA) {
		fake_resp(c, sqe->cid, NVME_SC_DNR | NVME_SC_LBA_RANGE, 0);
	} else if (sqe->opcode == NVME_CMD_READ) {
		fake_data(c, sqe->cid, f->disk + off, sqe->sgl.len);
	} else if (len) {
		memcpy(f->disk + off, data, len);
		fake_resp(c, sqe->cid, NVME_SC_OK, 0);
	} else {
		unsigned slot = 0;

		while (c->writes[slot].sqe.sgl.len)
			slot++;
		ASSERT(slot < ARRAY_SIZE(c->writes));
		c->writes[slot].sqe = *sqe;
		c->writes[slot].got = c->writes[slot].asked = 0;
		c->writes[slot].out = 0;
		fake_write_more(c, slot);
	}
}

static inline void fake_h2c(struct fake_conn *c, const union pdu_hdr *hdr,
			    const uint8_t *data, uint32_t len)
{
	struct fake *f = c->fake;
	unsigned slot = 0;

	while (c->writes[slot].sqe.cid != hdr->data.cccid ||
	       !c->writes[slot].sqe.sgl.len)
		slot++;
	ASSERT(slot < ARRAY_SIZE(c->writes));
	ASSERT(len <= f->maxh2c);
	ASSERT(f->r2ts > 1 || f->r2t_reversed ||
	       hdr->data.datao == c->writes[slot].got);
	ASSERT(hdr->data.datal == len);
	f->h2c_pdus++;
	memcpy(f->disk + (size_t)c->writes[slot].sqe.cdw10 * FAKE_LBA +
		       hdr->data.datao,
	       data, len);
	c->writes[slot].got += len;
	ASSERT(f->r2ts > 1 ||
	       !!(hdr->ch.flags & PDU_F_LAST) ==
		       (c->writes[slot].got == c->writes[slot].asked));
	if (hdr->ch.flags & PDU_F_LAST) {
		c->writes[slot].out--;
		fake_write_more(c, slot);
	}
}

static inline void fake_icresp(struct fake_conn *c, uint8_t dgst)
{
	struct pdu_ic ic;

	pdu_icresp(&ic, c->fake->cpda, dgst, c->fake->maxh2c);
	fake_send_raw(c, &ic, sizeof(ic));
	c->hdgst = dgst & 1;
	c->ddgst = dgst & 2;
}

static inline void fake_pdu(struct fake_conn *c, const union pdu_hdr *hdr,
			    const uint8_t *data, uint32_t len)
{
	const struct nvme_sqe *sqe = &hdr->cmd.sqe;

	if (hdr->ch.type == PDU_H2C_TERM) {
		c->fake->terms++;
		c->fake->term_fes = hdr->term.fes;
		memcpy(&c->fake->term_fei, hdr->term.fei, sizeof(uint32_t));
		c->fake->term_echo_len =
			MIN(len, (uint32_t)sizeof(c->fake->term_echo));
		memcpy(c->fake->term_echo, data, c->fake->term_echo_len);
		fake_hang_up(c);
		return;
	}
	if (c->fake->hook && c->fake->hook(c, hdr, data, len))
		return;
	if (hdr->ch.type == PDU_ICREQ) {
		fake_icresp(c, hdr->ic.dgst);
	} else if (hdr->ch.type == PDU_H2C_DATA) {
		fake_h2c(c, hdr, data, len);
	} else if (sqe->opcode != NVME_OP_FABRICS) {
		if (c->qid)
			fake_io(c, sqe, data, len);
		else
			fake_admin(c, sqe);
	} else if ((sqe->nsid & 0xff) == NVME_FCTYPE_CONNECT) {
		c->qid = (uint16_t)(sqe->cdw10 >> 16);
		fake_resp(c, sqe->cid, NVME_SC_OK, FAKE_CNTLID);
	} else {
		fake_prop(c, sqe);
	}
}

/* Digests of what the host sent, then the PDU; its length or 0. */
static inline size_t fake_parse(struct fake_conn *c)
{
	struct pdu_limits lim = {.is_target = true,
				 .is_ready = c->fake->pdus_sent > 0,
				 .hdgst = c->hdgst,
				 .ddgst = c->ddgst,
				 .pda = (uint8_t)((c->fake->cpda + 1) * 4),
				 .plen_max = 64u << 20};
	union pdu_hdr hdr = {0};
	uint32_t fei, len = 0, crc;

	if (c->rx_len < sizeof(hdr.ch))
		return 0;
	memcpy(&hdr.ch, c->rx, sizeof(hdr.ch));
	if (c->rx_len < hdr.ch.plen)
		return 0;
	lim.is_ready = hdr.ch.type != PDU_ICREQ;
	ASSERT(pdu_check(&hdr.ch, &lim, &fei) == 0);
	memcpy(&hdr, c->rx, hdr.ch.hlen);
	if (hdr.ch.flags & PDU_F_HDGST) {
		memcpy(&crc, c->rx + hdr.ch.hlen, sizeof(crc));
		ASSERT(crc == crc32c(0, c->rx, hdr.ch.hlen));
	}
	if (hdr.ch.type == PDU_H2C_TERM) {
		fake_pdu(c, &hdr, c->rx + hdr.ch.hlen,
			 hdr.ch.plen - hdr.ch.hlen);
		return hdr.ch.plen;
	}
	if (hdr.ch.pdo)
		len = hdr.ch.plen - hdr.ch.pdo - (c->ddgst ? 4 : 0);
	if (hdr.ch.flags & PDU_F_DDGST) {
		memcpy(&crc, c->rx + hdr.ch.plen - 4, sizeof(crc));
		ASSERT(crc == crc32c(0, c->rx + hdr.ch.pdo, len));
	}
	fake_pdu(c, &hdr, c->rx + hdr.ch.pdo, len);
	return hdr.ch.plen;
}

static inline void fake_recv(struct fake_conn *c);

static inline void fake_got(struct stream *s, int res)
{
	struct fake_conn *c = s->arg;
	size_t n;

	if (res <= 0) {
		fake_hang_up(c);
		return;
	}
	c->rx_len += (size_t)res;
	while (!c->is_dead && (n = fake_parse(c)) > 0) {
		memmove(c->rx, c->rx + n, c->rx_len - n);
		c->rx_len -= n;
	}
	if (!c->is_dead)
		fake_recv(c);
}

static inline void fake_recv(struct fake_conn *c)
{
	c->iov = (struct iovec){c->rx + c->rx_len, c->rx_cap - c->rx_len};
	stream_recv(&c->stream, &c->iov, 1, fake_got);
}

static inline void fake_accept(struct listener *l, int fd,
			       const struct addr *peer)
{
	struct fake *f = l->arg;
	struct fake_conn *c = calloc(1, sizeof(*c));

	ASSERT(c && f->conn_count < FAKE_CONNS);
	f->conns[f->conn_count++] = c;
	c->fake = f;
	c->rx_cap = 4u << 20;
	c->rx = malloc(c->rx_cap);
	stream_init(&c->stream, f->loop, c);
	stream_attach(&c->stream, fd);
	fake_recv(c);
}

/* port 0: any; f->listener.local says which. */
static inline void fake_start_at(struct fake *f, struct loop *loop,
				 uint16_t port)
{
	struct addr any;
	struct err err = {0};

	memset(f, 0, sizeof(*f));
	f->loop = loop;
	f->maxh2c = 128u << 10;
	f->c2h_piece = f->r2t_piece = UINT32_MAX;
	f->cut_after = -1;
	f->nn = 1;
	f->id = (struct nvme_id_ctrl){
		.cntlid = FAKE_CNTLID,
		.mdts = 5,
		.kas = 100,
		.sqes = 0x66,
		.cqes = 0x44,
		.maxcmd = 128,
		.nn = 32,
		.oaes = 0x100,
		.cntrltype = 1,
		.ioccsz = 260,
		.iorcsz = 1,
	};
	memcpy(f->id.sn, "SERIAL              ", 20);
	f->ns = (struct nvme_id_ns){.nsze = FAKE_BLOCKS, .lbaf[0].ds = 9};
	ASSERT(!addr_parse("127.0.0.1", port, &any));
	if (listener_open(&f->listener, loop, &any, fake_accept, f, &err))
		ASSERT(!err.code);
}

static inline void fake_start(struct fake *f, struct loop *loop)
{
	fake_start_at(f, loop, 4420);
}

/* Closes what is still open; turn the loop before fake_free(). */
static inline void fake_stop(struct fake *f)
{
	for (unsigned i = 0; i < f->conn_count; i++)
		fake_hang_up(f->conns[i]);
	listener_close(&f->listener, NULL);
}

static inline void fake_free(struct fake *f)
{
	for (unsigned i = 0; i < f->conn_count; i++) {
		strbuf_fini(&f->conns[i]->out);
		strbuf_fini(&f->conns[i]->sending);
		free(f->conns[i]->rx);
		free(f->conns[i]);
	}
}

#endif
