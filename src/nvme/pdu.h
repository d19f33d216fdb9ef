/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/TCP PDUs as bytes (NVMe/TCP Transport 1.0c, section 3.6).  Encoders fill
 * a header; pdu_check() is the one place where a header from the wire is
 * judged.  No I/O, no state.
 */
#ifndef NVME_PDU_H
#define NVME_PDU_H

#include "nvme/cmd.h"

enum pdu_type {
	PDU_ICREQ = 0x00,
	PDU_ICRESP = 0x01,
	PDU_H2C_TERM = 0x02,
	PDU_C2H_TERM = 0x03,
	PDU_CAPSULE_CMD = 0x04,
	PDU_CAPSULE_RESP = 0x05,
	PDU_H2C_DATA = 0x06,
	PDU_C2H_DATA = 0x07,
	PDU_R2T = 0x09,
};

enum { /* common header flags */
	PDU_F_HDGST = 0x01,
	PDU_F_DDGST = 0x02,
	PDU_F_LAST = 0x04,    /* H2C/C2H data: last PDU of this command */
	PDU_F_SUCCESS = 0x08, /* C2H data: no response capsule follows */
};

enum pdu_fes { /* fatal error status of TermReq, section 3.6.2.3 */
	PDU_FES_HEADER_FIELD = 0x01,
	PDU_FES_SEQUENCE = 0x02,
	PDU_FES_HDGST = 0x03,
	PDU_FES_DATA_RANGE = 0x04, /* data transfer out of range */
	PDU_FES_R2T_LIMIT = 0x05,  /* C2HTermReq: data transfer limit */
	PDU_FES_UNSUPPORTED = 0x06,
};

struct pdu_ch { /* common header */
	uint8_t type;
	uint8_t flags;
	uint8_t hlen;
	uint8_t pdo;
	uint32_t plen;
};
static_assert(sizeof(struct pdu_ch) == 8, "common header");

struct pdu_ic { /* ICReq and ICResp, 128 bytes */
	struct pdu_ch ch;
	uint16_t pfv;
	uint8_t pda;  /* HPDA or CPDA, 0's based dwords, 0..31 */
	uint8_t dgst; /* bit 0 header, bit 1 data */
	uint32_t max; /* ICReq: MAXR2T (0's based); ICResp: MAXH2CDATA */
	uint8_t rsvd[112];
};
static_assert(sizeof(struct pdu_ic) == 128, "ICReq/ICResp");

struct pdu_term {
	struct pdu_ch ch;
	uint16_t fes;
	uint8_t fei[4]; /* unaligned */
	uint8_t rsvd[10];
	/* then up to 128 bytes of the offending header */
};
static_assert(sizeof(struct pdu_term) == 24, "TermReq");

struct pdu_cmd {
	struct pdu_ch ch;
	struct nvme_sqe sqe;
};
static_assert(sizeof(struct pdu_cmd) == 72, "CapsuleCmd");

struct pdu_resp {
	struct pdu_ch ch;
	struct nvme_cqe cqe;
};
static_assert(sizeof(struct pdu_resp) == 24, "CapsuleResp");

struct pdu_data { /* H2CData and C2HData */
	struct pdu_ch ch;
	uint16_t cccid;
	uint16_t ttag; /* C2H: reserved */
	uint32_t datao;
	uint32_t datal;
	uint8_t rsvd[4];
};
static_assert(sizeof(struct pdu_data) == 24, "H2CData/C2HData");

struct pdu_r2t {
	struct pdu_ch ch;
	uint16_t cccid;
	uint16_t ttag;
	uint32_t r2to;
	uint32_t r2tl;
	uint8_t rsvd[4];
};
static_assert(sizeof(struct pdu_r2t) == 24, "R2T");

union pdu_hdr {
	struct pdu_ch ch;
	struct pdu_ic ic;
	struct pdu_term term;
	struct pdu_cmd cmd;
	struct pdu_resp resp;
	struct pdu_data data;
	struct pdu_r2t r2t;
};

/* Most that stands before the data: a command's 72 bytes for PDA 72 with a
 * header digest.  Data PDUs stay within 128. */
#define PDU_HEAD_MAX 144
/* A gather ends at so much payload whose digest was computed for it, so that
 * it is still in the cache when the kernel copies it: with less there are more
 * sends, with more it is read from memory twice (docs/performance.md). */
#define PDU_SUMMED_MAX	 (512u << 10)
#define PDU_DIGEST_LEN	 4
#define PDU_TERM_MAX	 152
#define PDU_DEFAULT_PORT 4420
#define PDU_DISC_PORT	 8009
#define NVME_DISC_NQN	 "nqn.2014-08.org.nvmexpress.discovery"

/* What was agreed on by ICReq/ICResp, as seen by the receiver of a PDU. */
struct pdu_limits {
	bool is_target; /* we are the controller: expect host PDUs */
	bool is_ready;	/* after ICReq/ICResp */
	bool hdgst, ddgst;
	uint8_t pda;	   /* alignment that we asked the peer to use (bytes) */
	uint32_t plen_max; /* most a data-carrying PDU may have */
};

/*
 * Judges a common header before anything else is read: type allowed in this
 * direction and state, HLEN, PDO, PLEN, flags.  0, or the FES for a TermReq
 * with *fei = offset of the bad field.
 */
int pdu_check(const struct pdu_ch *ch, const struct pdu_limits *lim,
	      uint32_t *fei);
/* Header length that belongs to a type, 0 for an unknown one. */
uint8_t pdu_hlen(uint8_t type);

void pdu_icreq(struct pdu_ic *pdu, uint8_t hpda, uint8_t dgst, uint32_t maxr2t);
void pdu_icresp(struct pdu_ic *pdu, uint8_t cpda, uint8_t dgst,
		uint32_t maxh2cdata);
/* hdr is the offending header (up to 128 bytes of it are echoed); out holds
 * PDU_TERM_MAX bytes; returns the length of the PDU. */
size_t pdu_termreq(void *out, bool is_c2h, uint16_t fes, uint32_t fei,
		   const void *hdr, size_t hdr_len);
/*
 * Sets HLEN, PDO, PLEN and digest flags of a command, response, R2T or data
 * header that carries data_len bytes; returns how many bytes go on the wire
 * before the data (header, header digest, padding up to PDO).  pda is the
 * peer's alignment in bytes (0 or 1 = none).
 */
size_t pdu_finish(struct pdu_ch *ch, uint32_t data_len, bool hdgst, bool ddgst,
		  uint32_t pda);

#endif
