/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/TCP PDU headers.  Pure functions, any thread.  Invariant: a header that
 * pdu_check() let pass can be used to compute lengths without further checks:
 * HLEN is the type's, HLEN (+ digest) <= PDO <= PLEN where there are data.
 */
#include "nvme/pdu.h"

#include <string.h>

#define AT(s, field, off) static_assert(offsetof(s, field) == (off), #s)

AT(struct pdu_ch, type, 0);
AT(struct pdu_ch, flags, 1);
AT(struct pdu_ch, hlen, 2);
AT(struct pdu_ch, pdo, 3);
AT(struct pdu_ch, plen, 4);
AT(struct pdu_ic, pfv, 8);
AT(struct pdu_ic, pda, 10);
AT(struct pdu_ic, dgst, 11);
AT(struct pdu_ic, max, 12);
AT(struct pdu_ic, rsvd, 16);
AT(struct pdu_term, fes, 8);
AT(struct pdu_term, fei, 10);
AT(struct pdu_term, rsvd, 14);
AT(struct pdu_cmd, sqe, 8);
AT(struct pdu_resp, cqe, 8);
AT(struct pdu_data, cccid, 8);
AT(struct pdu_data, ttag, 10);
AT(struct pdu_data, datao, 12);
AT(struct pdu_data, datal, 16);
AT(struct pdu_data, rsvd, 20);
AT(struct pdu_r2t, cccid, 8);
AT(struct pdu_r2t, ttag, 10);
AT(struct pdu_r2t, r2to, 12);
AT(struct pdu_r2t, r2tl, 16);
AT(struct pdu_r2t, rsvd, 20);
static_assert(sizeof(union pdu_hdr) == 128, "the longest header is an IC");
static_assert(PDU_TERM_MAX == sizeof(struct pdu_term) + 128, "TermReq");

#define FEI(field) ((uint32_t)offsetof(struct pdu_ch, field))

/* What is true of a type always: one row per type of the specification. */
static const struct pdu_kind {
	uint8_t hlen;
	bool to_target;	   /* the host sends it */
	bool before_ready; /* belongs to connection set-up */
	bool after_ready;
	bool can_digest; /* header digest when agreed on */
	bool may_data, must_data;
} kinds[] = {
	[PDU_ICREQ] = {.hlen = 128, .to_target = true, .before_ready = true},
	[PDU_ICRESP] = {.hlen = 128, .before_ready = true},
	[PDU_H2C_TERM] = {.hlen = 24,
			  .to_target = true,
			  .before_ready = true,
			  .after_ready = true},
	[PDU_C2H_TERM] = {.hlen = 24,
			  .before_ready = true,
			  .after_ready = true},
	[PDU_CAPSULE_CMD] = {.hlen = 72,
			     .to_target = true,
			     .after_ready = true,
			     .can_digest = true,
			     .may_data = true},
	[PDU_CAPSULE_RESP] = {.hlen = 24,
			      .after_ready = true,
			      .can_digest = true},
	[PDU_H2C_DATA] = {.hlen = 24,
			  .to_target = true,
			  .after_ready = true,
			  .can_digest = true,
			  .may_data = true,
			  .must_data = true},
	[PDU_C2H_DATA] = {.hlen = 24,
			  .after_ready = true,
			  .can_digest = true,
			  .may_data = true,
			  .must_data = true},
	[PDU_R2T] = {.hlen = 24, .after_ready = true, .can_digest = true},
};

uint8_t pdu_hlen(uint8_t type)
{
	return type < ARRAY_SIZE(kinds) ? kinds[type].hlen : 0;
}

static int bad(uint32_t *fei, uint32_t where, int fes)
{
	*fei = where;
	return fes;
}

static int check_flags(const struct pdu_ch *ch, const struct pdu_kind *kind,
		       const struct pdu_limits *lim, bool has_data)
{
	bool has_hdgst = ch->flags & PDU_F_HDGST;
	bool has_ddgst = ch->flags & PDU_F_DDGST;

	if (has_hdgst != (kind->can_digest && lim->hdgst))
		return -1;
	/* Without data the flag means nothing; hosts differ in setting it. */
	if (has_data ? has_ddgst != lim->ddgst : has_ddgst && !lim->ddgst)
		return -1;
	if (ch->type == PDU_C2H_DATA && (ch->flags & PDU_F_SUCCESS) &&
	    !(ch->flags & PDU_F_LAST))
		return -1;
	return 0;
}

static int check_data(const struct pdu_ch *ch, const struct pdu_limits *lim,
		      uint32_t head, uint32_t *fei)
{
	uint32_t align = lim->pda > 4 ? lim->pda : 4;
	uint32_t tail = lim->ddgst ? PDU_DIGEST_LEN : 0;

	if (ch->pdo < head || ch->pdo % align || ch->pdo > ch->plen)
		return bad(fei, FEI(pdo), PDU_FES_HEADER_FIELD);
	if (ch->plen - ch->pdo <= tail || ch->plen > lim->plen_max)
		return bad(fei, FEI(plen), PDU_FES_HEADER_FIELD);
	return 0;
}

int pdu_check(const struct pdu_ch *ch, const struct pdu_limits *lim,
	      uint32_t *fei)
{
	const struct pdu_kind *kind;
	uint32_t head;
	bool has_data;

	*fei = 0;
	if (!pdu_hlen(ch->type))
		return bad(fei, FEI(type), PDU_FES_HEADER_FIELD);
	kind = &kinds[ch->type];
	if (kind->to_target != lim->is_target)
		return bad(fei, FEI(type), PDU_FES_HEADER_FIELD);
	if (lim->is_ready ? !kind->after_ready : !kind->before_ready)
		return bad(fei, FEI(type), PDU_FES_SEQUENCE);
	if (ch->hlen != kind->hlen)
		return bad(fei, FEI(hlen), PDU_FES_HEADER_FIELD);
	if (ch->type == PDU_H2C_TERM || ch->type == PDU_C2H_TERM) {
		if (ch->plen < kind->hlen || ch->plen > PDU_TERM_MAX)
			return bad(fei, FEI(plen), PDU_FES_HEADER_FIELD);
		return 0;
	}

	head = kind->hlen;
	if (kind->can_digest && lim->hdgst)
		head += PDU_DIGEST_LEN;
	has_data = kind->must_data || (kind->may_data && ch->plen > head);
	if (check_flags(ch, kind, lim, has_data))
		return bad(fei, FEI(flags), PDU_FES_HEADER_FIELD);
	if (has_data)
		return check_data(ch, lim, head, fei);
	if (ch->plen != head)
		return bad(fei, FEI(plen), PDU_FES_HEADER_FIELD);
	return 0;
}

static void ic_init(struct pdu_ic *pdu, uint8_t type)
{
	*pdu = (struct pdu_ic){
		.ch = {.type = type,
		       .hlen = sizeof(*pdu),
		       .plen = sizeof(*pdu)},
	};
}

void pdu_icreq(struct pdu_ic *pdu, uint8_t hpda, uint8_t dgst, uint32_t maxr2t)
{
	ASSERT(hpda <= 31 && dgst <= 3);
	ic_init(pdu, PDU_ICREQ);
	pdu->pda = hpda;
	pdu->dgst = dgst;
	pdu->max = maxr2t;
}

void pdu_icresp(struct pdu_ic *pdu, uint8_t cpda, uint8_t dgst,
		uint32_t maxh2cdata)
{
	ASSERT(cpda <= 31 && dgst <= 3 && maxh2cdata >= 4096);
	ic_init(pdu, PDU_ICRESP);
	pdu->pda = cpda;
	pdu->dgst = dgst;
	pdu->max = maxh2cdata;
}

size_t pdu_termreq(void *out, bool is_c2h, uint16_t fes, uint32_t fei,
		   const void *hdr, size_t hdr_len)
{
	size_t echo =
		MIN(hdr_len, (size_t)PDU_TERM_MAX - sizeof(struct pdu_term));
	struct pdu_term term = {
		.ch = {.type = is_c2h ? PDU_C2H_TERM : PDU_H2C_TERM,
		       .hlen = sizeof(term),
		       .plen = (uint32_t)(sizeof(term) + echo)},
		.fes = fes,
	};

	memcpy(term.fei, &fei, sizeof(term.fei));
	memcpy(out, &term, sizeof(term));
	if (echo)
		memcpy((uint8_t *)out + sizeof(term), hdr, echo);
	return term.ch.plen;
}

size_t pdu_finish(struct pdu_ch *ch, uint32_t data_len, bool hdgst, bool ddgst,
		  uint32_t pda)
{
	uint32_t head = pdu_hlen(ch->type);

	ASSERT(head && kinds[ch->type].can_digest);
	ASSERT(!data_len || kinds[ch->type].may_data);
	ch->hlen = (uint8_t)head;
	ch->flags &= (uint8_t) ~(PDU_F_HDGST | PDU_F_DDGST);
	if (hdgst) {
		ch->flags |= PDU_F_HDGST;
		head += PDU_DIGEST_LEN;
	}
	if (!data_len) {
		ch->pdo = 0;
		ch->plen = head;
		return head;
	}
	if (pda > 1)
		head = (head + pda - 1) / pda * pda;
	ASSERT(head <= PDU_HEAD_MAX);
	ch->pdo = (uint8_t)head;
	ch->plen = head + data_len;
	if (ddgst) {
		ch->flags |= PDU_F_DDGST;
		ch->plen += PDU_DIGEST_LEN;
	}
	return head;
}
