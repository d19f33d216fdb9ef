/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command frames and status words.  Pure functions, any thread.  Invariant:
 * what a builder leaves behind is a complete frame except for cid and SGL.
 */
#include "nvme/cmd.h"

#include <errno.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	      "frames are built in host order, which must be little-endian");

#define AT(s, field, off) static_assert(offsetof(s, field) == (off), #s)

AT(struct nvme_sgl, addr, 0);
AT(struct nvme_sgl, len, 8);
AT(struct nvme_sgl, rsvd, 12);
AT(struct nvme_sgl, type, 15);

AT(struct nvme_sqe, opcode, 0);
AT(struct nvme_sqe, flags, 1);
AT(struct nvme_sqe, cid, 2);
AT(struct nvme_sqe, nsid, 4);
AT(struct nvme_sqe, cdw2, 8);
AT(struct nvme_sqe, cdw3, 12);
AT(struct nvme_sqe, mptr, 16);
AT(struct nvme_sqe, sgl, 24);
AT(struct nvme_sqe, cdw10, 40);
AT(struct nvme_sqe, cdw11, 44);
AT(struct nvme_sqe, cdw12, 48);
AT(struct nvme_sqe, cdw13, 52);
AT(struct nvme_sqe, cdw14, 56);
AT(struct nvme_sqe, cdw15, 60);

AT(struct nvme_cqe, result, 0);
AT(struct nvme_cqe, dw0, 0);
AT(struct nvme_cqe, dw1, 4);
AT(struct nvme_cqe, sqhd, 8);
AT(struct nvme_cqe, sqid, 10);
AT(struct nvme_cqe, cid, 12);
AT(struct nvme_cqe, status, 14);

AT(struct nvme_connect_data, hostid, 0);
AT(struct nvme_connect_data, cntlid, 16);
AT(struct nvme_connect_data, rsvd18, 18);
AT(struct nvme_connect_data, subnqn, 256);
AT(struct nvme_connect_data, hostnqn, 512);
AT(struct nvme_connect_data, rsvd768, 768);

/* libnvme's layouts, where we read or write them. */
static_assert(sizeof(struct nvme_id_ctrl) == 4096, "identify controller");
AT(struct nvme_id_ctrl, sn, 4);
AT(struct nvme_id_ctrl, mn, 24);
AT(struct nvme_id_ctrl, fr, 64);
AT(struct nvme_id_ctrl, mdts, 77);
AT(struct nvme_id_ctrl, cntlid, 78);
AT(struct nvme_id_ctrl, ver, 80);
AT(struct nvme_id_ctrl, oaes, 92);
AT(struct nvme_id_ctrl, cntrltype, 111);
AT(struct nvme_id_ctrl, kas, 320);
AT(struct nvme_id_ctrl, sqes, 512);
AT(struct nvme_id_ctrl, maxcmd, 514);
AT(struct nvme_id_ctrl, nn, 516);
AT(struct nvme_id_ctrl, oncs, 520);
AT(struct nvme_id_ctrl, vwc, 525);
AT(struct nvme_id_ctrl, sgls, 536);
AT(struct nvme_id_ctrl, subnqn, 768);
AT(struct nvme_id_ctrl, ioccsz, 1792);
AT(struct nvme_id_ctrl, iorcsz, 1796);
AT(struct nvme_id_ctrl, icdoff, 1800);
AT(struct nvme_id_ctrl, fcatt, 1802);
AT(struct nvme_id_ctrl, msdbd, 1803);
static_assert(sizeof(struct nvme_id_ns) == 4096, "identify namespace");
AT(struct nvme_id_ns, nlbaf, 25);
AT(struct nvme_id_ns, flbas, 26);
AT(struct nvme_id_ns, nguid, 104);
AT(struct nvme_id_ns, eui64, 120);
AT(struct nvme_id_ns, lbaf, 128);
static_assert(sizeof(struct nvme_lbaf) == 4, "LBA format");
AT(struct nvme_lbaf, ds, 2);
static_assert(sizeof(struct nvme_ns_id_desc) == 4, "id descriptor");
static_assert(sizeof(struct nvmf_disc_log_entry) == 1024, "discovery entry");
AT(struct nvmf_disc_log_entry, subtype, 2);
AT(struct nvmf_disc_log_entry, treq, 3);
AT(struct nvmf_disc_log_entry, portid, 4);
AT(struct nvmf_disc_log_entry, cntlid, 6);
AT(struct nvmf_disc_log_entry, asqsz, 8);
AT(struct nvmf_disc_log_entry, trsvcid, 32);
AT(struct nvmf_disc_log_entry, subnqn, 256);
AT(struct nvmf_disc_log_entry, traddr, 512);
AT(struct nvmf_disc_log_entry, tsas, 768);
static_assert(sizeof(struct nvmf_discovery_log) == 1024, "discovery header");
AT(struct nvmf_discovery_log, numrec, 8);
AT(struct nvmf_discovery_log, recfmt, 16);

static const struct sc_entry {
	uint16_t sc;
	int err;
	const char *text;
} sc_table[] = {
	{NVME_SC_OK, 0, "success"},
	{NVME_SC_BAD_OPCODE, -EOPNOTSUPP, "invalid command opcode"},
	{NVME_SC_BAD_FIELD, -EINVAL, "invalid field in command"},
	{NVME_SC_CID_CONFLICT, -EIO, "command id conflict"},
	{NVME_SC_DATA_XFER_ERROR, -EIO, "data transfer error"},
	{NVME_SC_INTERNAL, -EIO, "internal error of the target"},
	{NVME_SC_ABORT_REQUESTED, -ECANCELED, "aborted on request"},
	{NVME_SC_ABORT_SQ_DELETED, -ECANCELED, "queue deleted"},
	{NVME_SC_BAD_NS, -ENODEV, "no such namespace"},
	{NVME_SC_CMD_SEQ_ERROR, -EPROTO, "command sequence error"},
	{NVME_SC_BAD_SGL_DESC, -EPROTO, "invalid SGL descriptor"},
	{NVME_SC_BAD_SGL_COUNT, -EPROTO, "wrong number of SGL descriptors"},
	{NVME_SC_DATA_SGL_LEN, -EPROTO, "data SGL length invalid"},
	{NVME_SC_SGL_TYPE, -EPROTO, "SGL descriptor type invalid"},
	{NVME_SC_SGL_OFFSET, -EPROTO, "SGL offset invalid"},
	{NVME_SC_BAD_HOSTID_FORMAT, -EINVAL, "host id of the wrong format"},
	{NVME_SC_KA_EXPIRED, -ETIMEDOUT, "keep alive timeout expired"},
	{NVME_SC_KA_INVALID, -EINVAL, "keep alive timeout invalid"},
	{NVME_SC_WRITE_PROTECTED, -EROFS, "namespace is write protected"},
	{NVME_SC_TRANSIENT_TRANSPORT, -EAGAIN, "transient transport error"},
	{NVME_SC_LBA_RANGE, -ERANGE, "LBA out of range"},
	{NVME_SC_CAP_EXCEEDED, -ENOSPC, "capacity exceeded"},
	{NVME_SC_NS_NOT_READY, -EAGAIN, "namespace not ready"},
	{NVME_SC_RESV_CONFLICT, -EBUSY,
	 "reservation conflict: another owner holds the namespace"},
	{NVME_SC_BAD_QUEUE_SIZE, -EINVAL, "invalid queue size"},
	{NVME_SC_ABORT_LIMIT, -EBUSY, "abort command limit exceeded"},
	{NVME_SC_AER_LIMIT, -EBUSY, "asynchronous event limit exceeded"},
	{NVME_SC_BAD_LOG_PAGE, -EINVAL, "invalid log page"},
	{NVME_SC_FEATURE_NOT_SAVEABLE, -EINVAL, "feature not saveable"},
	{NVME_SC_FEATURE_NOT_CHANGEABLE, -EINVAL, "feature not changeable"},
	{NVME_SC_FEATURE_NOT_NS, -EINVAL, "feature not namespace specific"},
	{NVME_SC_CONNECT_FORMAT, -EPROTO, "incompatible connect format"},
	{NVME_SC_CONNECT_CTRL_BUSY, -EBUSY, "controller busy"},
	{NVME_SC_CONNECT_BAD_PARAM, -EINVAL, "connect invalid parameters"},
	{NVME_SC_CONNECT_RESTART_DISC, -EAGAIN, "restart discovery"},
	{NVME_SC_CONNECT_BAD_HOST, -EACCES, "host not allowed"},
	{NVME_SC_DISCONNECT_BAD_QTYPE, -EINVAL, "invalid queue type"},
	{NVME_SC_AUTH_REQUIRED, -EACCES, "authentication required"},
	{NVME_SC_WRITE_FAULT, -ENODATA, "write fault"},
	{NVME_SC_READ_ERROR, -ENODATA, "unrecovered read error"},
	{NVME_SC_COMPARE_FAILED, -EIO, "compare failure"},
	/* Also what Linux's target says of a block its disk can't read. */
	{NVME_SC_ACCESS_DENIED, -ENODATA, "access denied"},
	{NVME_SC_ANA_PERSISTENT_LOSS, -EHOSTUNREACH,
	 "ANA: no longer reachable this way"},
	{NVME_SC_ANA_INACCESSIBLE, -EHOSTUNREACH,
	 "ANA: not accessible this way now"},
	{NVME_SC_ANA_TRANSITION, -EAGAIN, "ANA: in transition"},
	{NVME_SC_HOST_PATH_ERROR, -ENOTCONN, "connection lost"},
	{NVME_SC_HOST_ABORTED, -ETIMEDOUT, "no answer in time"},
};

static const struct sc_entry *sc_find(uint16_t sc)
{
	for (size_t i = 0; i < ARRAY_SIZE(sc_table); i++)
		if (sc_table[i].sc == (sc & NVME_SC_MASK))
			return &sc_table[i];
	return NULL;
}

const char *nvme_sc_text(uint16_t sc)
{
	static const char *const by_type[8] = {
		"generic command error", "command specific error",
		"media error",		 "path error",
		"unknown error",	 "unknown error",
		"unknown error",	 "vendor specific error",
	};
	const struct sc_entry *entry = sc_find(sc);

	return entry ? entry->text : by_type[sc >> 8 & 7];
}

int nvme_sc_errno(uint16_t sc)
{
	const struct sc_entry *entry = sc_find(sc);

	if (entry)
		return entry->err;
	return (sc & NVME_SC_MASK) >> 8 == NVME_SCT_MEDIA ? -ENODATA : -EIO;
}

static void frame_init(struct nvme_sqe *sqe, uint8_t opcode, uint32_t nsid)
{
	*sqe = (struct nvme_sqe){
		.opcode = opcode,
		.flags = NVME_SQE_PSDT_SGL,
		.nsid = nsid,
		.sgl.type = NVME_SGL_TRANSPORT,
	};
}

void nvme_cmd_connect(struct nvme_sqe *sqe, uint16_t qid, uint16_t sqsize,
		      uint32_t kato_ms)
{
	frame_init(sqe, NVME_OP_FABRICS, NVME_FCTYPE_CONNECT);
	sqe->cdw10 = (uint32_t)qid << 16; /* record format 0 */
	sqe->cdw11 = sqsize;
	sqe->cdw12 = kato_ms;
}

void nvme_cmd_prop_get(struct nvme_sqe *sqe, uint32_t off, bool is_64bit)
{
	frame_init(sqe, NVME_OP_FABRICS, NVME_FCTYPE_PROP_GET);
	sqe->cdw10 = is_64bit;
	sqe->cdw11 = off;
}

void nvme_cmd_prop_set(struct nvme_sqe *sqe, uint32_t off, bool is_64bit,
		       uint64_t value)
{
	frame_init(sqe, NVME_OP_FABRICS, NVME_FCTYPE_PROP_SET);
	sqe->cdw10 = is_64bit;
	sqe->cdw11 = off;
	sqe->cdw12 = (uint32_t)value;
	sqe->cdw13 = (uint32_t)(value >> 32);
}

void nvme_cmd_identify(struct nvme_sqe *sqe, uint8_t cns, uint32_t nsid)
{
	frame_init(sqe, NVME_ADM_IDENTIFY, nsid);
	sqe->cdw10 = cns;
}

void nvme_cmd_set_feature(struct nvme_sqe *sqe, uint8_t fid, uint32_t cdw11)
{
	frame_init(sqe, NVME_ADM_SET_FEATURES, 0);
	sqe->cdw10 = fid;
	sqe->cdw11 = cdw11;
}

void nvme_cmd_abort(struct nvme_sqe *sqe, uint16_t sqid, uint16_t cid)
{
	frame_init(sqe, NVME_ADM_ABORT, 0);
	sqe->cdw10 = (uint32_t)cid << 16 | sqid;
}

void nvme_cmd_get_log(struct nvme_sqe *sqe, uint8_t lid, uint64_t off,
		      uint32_t len)
{
	uint32_t dwords;

	ASSERT(len >= 4 && len % 4 == 0 && off % 4 == 0);
	dwords = len / 4 - 1; /* 0's based */
	frame_init(sqe, NVME_ADM_GET_LOG, 0);
	sqe->cdw10 = lid | dwords << 16;
	sqe->cdw11 = dwords >> 16;
	sqe->cdw12 = (uint32_t)off;
	sqe->cdw13 = (uint32_t)(off >> 32);
}

void nvme_cmd_rw(struct nvme_sqe *sqe, bool is_write, uint32_t nsid,
		 uint64_t slba, uint32_t nlb)
{
	ASSERT(nlb >= 1 && nlb <= 65536);
	frame_init(sqe, is_write ? NVME_CMD_WRITE : NVME_CMD_READ, nsid);
	sqe->cdw10 = (uint32_t)slba;
	sqe->cdw11 = (uint32_t)(slba >> 32);
	sqe->cdw12 = nlb - 1;
}
