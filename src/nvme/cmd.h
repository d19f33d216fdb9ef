/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands and completions as bytes (NVMe Base 2.0 section 3.3, Fabrics
 * section 6 of the Base, NVM command set).  Little-endian structs; the host is
 * little-endian (asserted in cmd.c).  Identify and log page layouts come from
 * libnvme's nvme/types.h.
 */
#ifndef NVME_CMD_H
#define NVME_CMD_H

#include "base/def.h"
#include "nvme/id.h"

/* SGL descriptor, 16 bytes (Base 2.0 figure 113). */
struct nvme_sgl {
	uint64_t addr; /* or offset, or 0 for transport SGL */
	uint32_t len;
	uint8_t rsvd[3];
	uint8_t type; /* NVME_SGL_* */
};
static_assert(sizeof(struct nvme_sgl) == 16, "SGL descriptor");

enum {
	NVME_SGL_DATA_OFFSET = 0x01, /* data block, offset: in-capsule */
	NVME_SGL_DATA_KEYED = 0x40,  /* RDMA */
	NVME_SGL_TRANSPORT = 0x5a,   /* transport data block, transport: TCP */
};

/* Submission queue entry, 64 bytes.  Fabrics commands use the same frame with
 * fctype in the byte where nsid starts. */
struct nvme_sqe {
	uint8_t opcode;
	uint8_t flags; /* PSDT in bits 7:6, 01b for fabrics */
	uint16_t cid;
	uint32_t nsid; /* fabrics: fctype in the low byte */
	uint32_t cdw2, cdw3;
	uint64_t mptr;
	struct nvme_sgl sgl;
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
static_assert(sizeof(struct nvme_sqe) == 64, "SQE");
static_assert(offsetof(struct nvme_sqe, sgl) == 24, "SQE.DPTR");
static_assert(offsetof(struct nvme_sqe, cdw10) == 40, "SQE.CDW10");

struct nvme_cqe {
	union {
		uint64_t result; /* property get, connect: cntlid in 15:0 */
		struct {
			uint32_t dw0, dw1;
		};
	};
	uint16_t sqhd;
	uint16_t sqid;
	uint16_t cid;
	uint16_t status; /* phase in bit 0, always 0 over fabrics */
};
static_assert(sizeof(struct nvme_cqe) == 16, "CQE");

#define NVME_SQE_PSDT_SGL 0x40

enum { /* opcodes */
	NVME_OP_FABRICS = 0x7f,
	/* admin */
	NVME_ADM_GET_LOG = 0x02,
	NVME_ADM_IDENTIFY = 0x06,
	NVME_ADM_ABORT = 0x08,
	NVME_ADM_SET_FEATURES = 0x09,
	NVME_ADM_GET_FEATURES = 0x0a,
	NVME_ADM_AER = 0x0c,
	NVME_ADM_KEEP_ALIVE = 0x18,
	/* NVM */
	NVME_CMD_FLUSH = 0x00,
	NVME_CMD_WRITE = 0x01,
	NVME_CMD_READ = 0x02,
	NVME_CMD_COMPARE = 0x05,
	NVME_CMD_WRITE_ZEROES = 0x08,
	NVME_CMD_DSM = 0x09,
	NVME_CMD_VERIFY = 0x0c,
	NVME_CMD_RESV_REGISTER = 0x0d,
	NVME_CMD_RESV_REPORT = 0x0e,
	NVME_CMD_RESV_ACQUIRE = 0x11,
	NVME_CMD_RESV_RELEASE = 0x15,
	/* fabrics types */
	NVME_FCTYPE_PROP_SET = 0x00,
	NVME_FCTYPE_CONNECT = 0x01,
	NVME_FCTYPE_PROP_GET = 0x04,
	NVME_FCTYPE_AUTH_SEND = 0x05,
	NVME_FCTYPE_AUTH_RECV = 0x06,
	NVME_FCTYPE_DISCONNECT = 0x08,
};

enum { /* properties (controller registers) */
	NVME_PROP_CAP = 0x00,
	NVME_PROP_VS = 0x08,
	NVME_PROP_CC = 0x14,
	NVME_PROP_CSTS = 0x1c,
};

/*
 * Status without the phase bit: type in bits 10:8, code in bits 7:0, DNR in
 * bit 14, as (cqe.status >> 1).  A type of its own, never mixed with errno.
 */
#define NVME_SC(type, code) ((uint16_t)((type) << 8 | (code)))
#define NVME_SC_DNR	    ((uint16_t)0x4000)
#define NVME_SC_MORE	    ((uint16_t)0x2000) /* see the error log */
#define NVME_SC_MASK	    ((uint16_t)0x07ff)
enum {
	NVME_SC_OK = 0x000,
	NVME_SC_BAD_OPCODE = 0x001,
	NVME_SC_BAD_FIELD = 0x002,
	NVME_SC_CID_CONFLICT = 0x003,
	NVME_SC_DATA_XFER_ERROR = 0x004,
	NVME_SC_INTERNAL = 0x006,
	NVME_SC_ABORT_REQUESTED = 0x007,
	NVME_SC_ABORT_SQ_DELETED = 0x008,
	NVME_SC_BAD_NS = 0x00b,
	NVME_SC_CMD_SEQ_ERROR = 0x00c,
	NVME_SC_BAD_SGL_DESC = 0x00d,
	NVME_SC_BAD_SGL_COUNT = 0x00e,
	NVME_SC_DATA_SGL_LEN = 0x00f,
	NVME_SC_SGL_TYPE = 0x011,
	NVME_SC_SGL_OFFSET = 0x016,
	NVME_SC_BAD_HOSTID_FORMAT = 0x018,
	NVME_SC_KA_EXPIRED = 0x019,
	NVME_SC_KA_INVALID = 0x01a,
	NVME_SC_WRITE_PROTECTED = 0x020,
	NVME_SC_TRANSIENT_TRANSPORT = 0x022,
	NVME_SC_LBA_RANGE = 0x080,
	NVME_SC_CAP_EXCEEDED = 0x081,
	NVME_SC_NS_NOT_READY = 0x082,
	NVME_SC_RESV_CONFLICT = 0x083,
	NVME_SC_BAD_QUEUE_SIZE = 0x102,
	NVME_SC_ABORT_LIMIT = 0x103,
	NVME_SC_AER_LIMIT = 0x105,
	NVME_SC_BAD_LOG_PAGE = 0x109,
	NVME_SC_FEATURE_NOT_SAVEABLE = 0x10d,
	NVME_SC_FEATURE_NOT_CHANGEABLE = 0x10e,
	NVME_SC_FEATURE_NOT_NS = 0x10f,
	/* fabrics command specific */
	NVME_SC_CONNECT_FORMAT = 0x180,
	NVME_SC_CONNECT_CTRL_BUSY = 0x181,
	NVME_SC_CONNECT_BAD_PARAM = 0x182,
	NVME_SC_CONNECT_RESTART_DISC = 0x183,
	NVME_SC_CONNECT_BAD_HOST = 0x184,
	NVME_SC_DISCONNECT_BAD_QTYPE = 0x185,
	NVME_SC_AUTH_REQUIRED = 0x191,
	/* media */
	NVME_SC_WRITE_FAULT = 0x280,
	NVME_SC_READ_ERROR = 0x281,
	NVME_SC_COMPARE_FAILED = 0x285,
	NVME_SC_ACCESS_DENIED = 0x286,
	/* path; also ours for commands that never got an answer */
	NVME_SC_ANA_PERSISTENT_LOSS = 0x301,
	NVME_SC_ANA_INACCESSIBLE = 0x302,
	NVME_SC_ANA_TRANSITION = 0x303,
	NVME_SC_HOST_PATH_ERROR = 0x370,
	NVME_SC_HOST_ABORTED = 0x371,
};

/* Short text for a status, static: "LBA out of range". */
const char *nvme_sc_text(uint16_t sc);
/* The one mapping to -errno (0 for success).  -ENODATA: the medium has lost
 * (or can't keep) these blocks; it says nothing of others. */
int nvme_sc_errno(uint16_t sc);

/* Fabrics Connect data, 1024 bytes (Base 2.0 figure 380). */
struct nvme_connect_data {
	uint8_t hostid[16];
	uint16_t cntlid;
	uint8_t rsvd18[238];
	char subnqn[256];
	char hostnqn[256];
	uint8_t rsvd768[256];
};
static_assert(sizeof(struct nvme_connect_data) == 1024, "connect data");

/* In CDW11 of Connect: CATTR bit 2, SQ flow control is not wanted. */
#define NVME_CONNECT_NO_SQ_FLOW (1u << 18)

/*
 * Frame builders: zero the frame and set everything but the cid and the SGL,
 * which is left as "transport, 0 bytes" for the queue to fill in.  sqsize is
 * 0's based, as on the wire.
 */
void nvme_cmd_connect(struct nvme_sqe *sqe, uint16_t qid, uint16_t sqsize,
		      uint32_t kato_ms);
void nvme_cmd_prop_get(struct nvme_sqe *sqe, uint32_t off, bool is_64bit);
void nvme_cmd_prop_set(struct nvme_sqe *sqe, uint32_t off, bool is_64bit,
		       uint64_t value);
void nvme_cmd_identify(struct nvme_sqe *sqe, uint8_t cns, uint32_t nsid);
void nvme_cmd_set_feature(struct nvme_sqe *sqe, uint8_t fid, uint32_t cdw11);
void nvme_cmd_abort(struct nvme_sqe *sqe, uint16_t sqid, uint16_t cid);
void nvme_cmd_get_log(struct nvme_sqe *sqe, uint8_t lid, uint64_t off,
		      uint32_t len);
/* nlb: number of blocks, 1-based (the wire is 0-based). */
void nvme_cmd_rw(struct nvme_sqe *sqe, bool is_write, uint32_t nsid,
		 uint64_t slba, uint32_t nlb);

#endif
