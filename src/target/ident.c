/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identify structures and log pages as bytes.  Pure, any thread.  Invariant:
 * nothing is claimed here that the rest of the target does not do.
 */
#include "target/ident.h"

#include <stdio.h>

#include "base/flag.h"
#include "base/hash.h"
#include "nvme/cmd.h"
#include "nvme/id.h"
#include "target/errlog.h"
#include "target/resv.h"

static_assert(sizeof(struct nvme_id_ctrl) == IDENT_BYTES, "identify");
static_assert(sizeof(struct nvme_id_ns) == IDENT_BYTES, "identify");
static_assert(offsetof(struct nvmf_discovery_log, entries) == IDENT_LOG_HEADER,
	      "discovery log header");

/* Compare, Dataset Management, Write Zeroes, Select, reservations, Verify */
#define ONCS 0xbd

/* Optimized, non-optimized, inaccessible, change; groups don't change while a
 * namespace is attached. */
#define ANA_STATES	 0x57
#define ANA_TRANSITION_S 10

/* ASCII fields of identify and discovery are padded with blanks. */
static void put_padded(char *out, size_t size, const char *text)
{
	size_t n = strlen(text);

	memset(out, ' ', size);
	memcpy(out, text, MIN(n, size));
}

static void put_text(char *out, size_t size, const char *text)
{
	size_t n = strlen(text);

	memcpy(out, text, MIN(n, size - 1));
}

/* Largest n with 4 KiB << n not above bytes. */
static uint8_t mdts_of(uint32_t bytes)
{
	uint8_t n = 0;

	while (n < 19 && ((uint64_t)4096 << (n + 1)) <= bytes)
		n++;
	return n;
}

static void ident_ctrl_nvm(const struct ident_ctrl *in, struct nvme_id_ctrl *id)
{
	id->cntrltype = 1;
	id->cmic = 0x3; /* several ports, several controllers */
	id->acl = IDENT_ACL;
	id->frmw = 0x3; /* one slot, read-only */
	id->lpa = 0x6;	/* effects log, extended get log page */
	id->sqes = 0x66;
	id->cqes = 0x44;
	id->nn = in->ns_max;
	id->mnan = in->ns_max;
	id->oaes = 0x100; /* namespace attribute notices */
	id->oncs = ONCS;
	id->vwc = 0x4 | in->has_write_cache; /* no broadcast flush */
	if (in->has_ana) {
		id->cmic |= 0x8;
		id->oaes |= 1u << 11;
		id->anatt = ANA_TRANSITION_S;
		id->anacap = ANA_STATES;
		id->anagrpmax = in->ana_group_max;
		id->nanagrpid = in->ana_group_max;
	}
	id->ioccsz = (in->in_capsule + sizeof(struct nvme_sqe)) / 16;
	id->iorcsz = sizeof(struct nvme_cqe) / 16;
	id->msdbd = 1;
}

void ident_ctrl(const struct ident_ctrl *in, uint8_t out[IDENT_BYTES])
{
	struct nvme_id_ctrl id = {
		.cntlid = in->cntlid,
		.ver = IDENT_VERSION,
		.mdts = mdts_of(in->max_transfer),
		.aerl = IDENT_AERL,
		.kas = IDENT_KAS_100MS,
		.maxcmd = in->depth,
		.ctratt = 0x41, /* 128-bit host id, traffic keeps alive */
		/* SGLs, no alignment asked; transport and offset forms */
		.sgls = 0x100005,
		.elpe = ERRLOG_ENTRIES - 1,
		.wctemp = IDENT_TEMP_HIGH,
		.cctemp = 353,
	};

	put_padded(id.sn, sizeof(id.sn), in->serial);
	put_padded(id.mn, sizeof(id.mn), in->model);
	put_padded(id.fr, sizeof(id.fr), mooncake_version);
	put_text(id.subnqn, sizeof(id.subnqn), in->nqn);
	if (in->is_discovery) {
		id.cntrltype = 2;
		id.lpa = 0x4;
		id.oaes = 1u << 31; /* discovery log change */
	} else {
		ident_ctrl_nvm(in, &id);
	}
	memcpy(out, &id, sizeof(id));
}

/* 0's based blocks; one when nothing is known. */
static uint16_t blocks_of(uint32_t bytes, uint8_t lba_shift)
{
	uint32_t n = bytes >> lba_shift;

	return (uint16_t)(n ? MIN(n, 65536u) - 1 : 0);
}

/* Bit 0 zeros (0: not told), bit 3 Write Zeroes deallocates on request. */
static uint8_t dlfeat_of(const struct ident_ns *in)
{
	return in->unmap_zeroes ? 0x9 : 0;
}

static uint8_t nsfeat_of(const struct ident_ns *in)
{
	return (uint8_t)((in->can_unmap ? 0x01 : 0) |  /* thin provisioning */
			 (in->write_unit ? 0x10 : 0)); /* NPWG and so on */
}

static uint8_t rescap_of(const struct ident_ns *in)
{
	return RESV_CAPABILITIES | (in->keeps_resv ? RESV_CAP_PERSIST : 0);
}

void ident_ns(const struct ident_ns *in, uint8_t out[IDENT_BYTES])
{
	struct nvme_id_ns id = {
		.nsze = in->blocks,
		.ncap = in->blocks,
		.nuse = MIN(in->blocks, in->used_bytes >> in->lba_shift),
		.nsfeat = nsfeat_of(in),
		.dlfeat = dlfeat_of(in),
		.nsattr = in->is_readonly,
		.anagrpid = in->anagrpid,
		.rescap = rescap_of(in),
		.nmic = 1, /* may be reached through several controllers */
	};

	if (in->write_unit) {
		id.npwg = id.npwa = blocks_of(in->write_unit, in->lba_shift);
		id.npdg = id.npda = blocks_of(in->unmap_unit, in->lba_shift);
		id.nows =
			MAX(blocks_of(in->write_best, in->lba_shift), id.npwg);
	}
	id.lbaf[0].ds = in->lba_shift;
	memcpy(id.nguid, in->nguid.b, sizeof(id.nguid));
	memcpy(id.eui64, in->eui64, sizeof(id.eui64));
	memcpy(out, &id, sizeof(id));
}

void ident_ctrl_nvm_set(uint32_t max_transfer, uint8_t out[IDENT_BYTES])
{
	struct nvme_id_ctrl_nvm id = {
		.vsl = mdts_of(max_transfer),
		.wzsl = IDENT_WZSL,
	};

	static_assert(sizeof(id) == IDENT_BYTES, "identify");
	memcpy(out, &id, sizeof(id));
}

static uint8_t *put_desc(uint8_t *p, uint8_t type, const void *id, uint8_t len)
{
	p[0] = type;
	p[1] = len;
	memcpy(p + 4, id, len);
	return p + 4 + len;
}

void ident_ns_descs(const struct ident_ns *in, uint8_t out[IDENT_BYTES])
{
	static const uint8_t none[sizeof(in->eui64)];
	uint8_t csi = 0; /* the NVM command set */
	uint8_t *p = out;

	memset(out, 0, IDENT_BYTES);
	if (memcmp(in->eui64, none, sizeof(none)))
		p = put_desc(p, 1, in->eui64, sizeof(in->eui64));
	p = put_desc(p, 2, in->nguid.b, sizeof(in->nguid.b));
	p = put_desc(p, 3, in->uuid.b, sizeof(in->uuid.b));
	put_desc(p, 4, &csi, sizeof(csi));
}

void ident_ns_common(const struct ident_ns *in, uint8_t out[IDENT_BYTES])
{
	memset(out, 0, IDENT_BYTES);
	out[0] = nsfeat_of(in) & 0x01;
	out[1] = 1; /* NMIC: shared */
	out[2] = rescap_of(in);
	memcpy(out + 4, &in->anagrpid, sizeof(in->anagrpid));
	out[8] = in->is_readonly;
	out[14] = 1; /* NSTAT: ready */
}

static void put_u64(uint8_t *out, uint64_t value)
{
	memcpy(out, &value, sizeof(value));
}

size_t ident_log_smart(const struct ident_smart *in, uint8_t *out)
{
	struct nvme_smart_log log = {
		.avail_spare = 100,
		.spare_thresh = 10,
		.temperature = {300 & 0xff, 300 >> 8}, /* kelvin */
	};
	uint64_t unit = 512 * 1000; /* a part of one counts as one */

	put_u64(log.data_units_read, (in->bytes_read + unit - 1) / unit);
	put_u64(log.data_units_written, (in->bytes_written + unit - 1) / unit);
	put_u64(log.host_reads, in->reads);
	put_u64(log.host_writes, in->writes);
	put_u64(log.power_cycles, 1); /* this run */
	put_u64(log.power_on_hours, in->up_hours);
	put_u64(log.media_errors, in->media_errors);
	put_u64(log.num_err_log_entries, in->errors);
	memcpy(out, &log, sizeof(log));
	return sizeof(log);
}

void ident_ana_header(uint64_t changes, uint16_t groups, uint8_t *out)
{
	struct nvme_ana_log log = {.chgcnt = changes, .ngrps = groups};

	static_assert(sizeof(log) == IDENT_ANA_HEAD, "ANA log");
	memcpy(out, &log, sizeof(log));
}

size_t ident_ana_group(const struct ident_ana *in, uint8_t *out)
{
	struct nvme_ana_group_desc desc = {
		.grpid = in->grpid,
		.nnsids = in->count,
		.chgcnt = in->changes,
		.state = in->state,
	};

	static_assert(sizeof(desc) == IDENT_ANA_GROUP, "ANA group");
	memcpy(out, &desc, sizeof(desc));
	memcpy(out + sizeof(desc), in->nsids, in->count * sizeof(*in->nsids));
	return sizeof(desc) + in->count * sizeof(*in->nsids);
}

size_t ident_log_supported(const uint8_t *lids, size_t count, uint8_t *out)
{
	struct nvme_supported_log_pages log = {0};

	for (size_t i = 0; i < count; i++)
		log.lid_support[lids[i]] = 1; /* LSUPP */
	memcpy(out, &log, sizeof(log));
	return sizeof(log);
}

size_t ident_log_firmware(uint8_t *out)
{
	struct nvme_firmware_slot log = {.afi = 1};

	put_padded(log.frs[0], sizeof(log.frs[0]), mooncake_version);
	memcpy(out, &log, sizeof(log));
	return sizeof(log);
}

size_t ident_log_changed_ns(const uint32_t *nsids, size_t count, uint8_t *out)
{
	ASSERT(count <= IDENT_BYTES / sizeof(*nsids));
	memset(out, 0, IDENT_BYTES);
	if (count)
		memcpy(out, nsids, count * sizeof(*nsids));
	return IDENT_BYTES;
}

enum { /* command effects */
	CSUPP = 1,
	LBCC = 2, /* changes the contents */
};

size_t ident_log_effects(uint8_t *out)
{
	static const uint8_t admin[] = {
		NVME_ADM_GET_LOG,      NVME_ADM_IDENTIFY,     NVME_ADM_ABORT,
		NVME_ADM_SET_FEATURES, NVME_ADM_GET_FEATURES, NVME_ADM_AER,
		NVME_ADM_KEEP_ALIVE,
	};
	static const uint8_t reading[] = {
		NVME_CMD_FLUSH,		NVME_CMD_READ,
		NVME_CMD_COMPARE,	NVME_CMD_VERIFY,
		NVME_CMD_RESV_REGISTER, NVME_CMD_RESV_REPORT,
		NVME_CMD_RESV_ACQUIRE,	NVME_CMD_RESV_RELEASE,
	};
	static const uint8_t writing[] = {
		NVME_CMD_WRITE,
		NVME_CMD_WRITE_ZEROES,
		NVME_CMD_DSM,
	};

	memset(out, 0, IDENT_BYTES);
	static_assert(sizeof(struct nvme_cmd_effects_log) == IDENT_BYTES,
		      "effects log");
	for (size_t i = 0; i < ARRAY_SIZE(admin); i++)
		out[admin[i] * 4] = CSUPP;
	out += offsetof(struct nvme_cmd_effects_log, iocs);
	for (size_t i = 0; i < ARRAY_SIZE(reading); i++)
		out[reading[i] * 4] = CSUPP;
	for (size_t i = 0; i < ARRAY_SIZE(writing); i++)
		out[writing[i] * 4] = CSUPP | LBCC;
	return IDENT_BYTES;
}

void ident_disc_header(uint64_t genctr, uint64_t count,
		       uint8_t out[IDENT_LOG_HEADER])
{
	memset(out, 0, IDENT_LOG_HEADER);
	put_u64(out, genctr);
	put_u64(out + 8, count);
}

void ident_disc_entry(const struct ident_disc *in, uint8_t *out)
{
	struct nvmf_disc_log_entry e = {
		.trtype = 3, /* TCP */
		.adrfam = in->is_ipv6 ? 2 : 1,
		.subtype = in->is_referral ? 1 : 2, /* 2: NVM subsystem */
		.treq = 0x4, /* SQ flow control may be disabled */
		.portid = in->port_id,
		.cntlid = 0xffff,
		.asqsz = 32,
	};
	char port[8];

	if (in->is_secure)
		e.treq |= 1; /* secure channel required */
	if (in->is_secure && !in->is_referral)
		e.tsas.tcp.sectype = 2; /* TLS 1.3 */
	static_assert(sizeof(e) == 1024, "discovery record");
	snprintf(port, sizeof(port), "%u", in->port);
	put_padded(e.trsvcid, sizeof(e.trsvcid), port);
	put_padded(e.traddr, sizeof(e.traddr), in->traddr);
	put_text(e.subnqn, sizeof(e.subnqn), in->nqn);
	memcpy(out, &e, sizeof(e));
}

void ident_uuid(const char *nqn, uint32_t nsid, const char *medium,
		struct uuid *out)
{
	struct strbuf sb = {0};
	uint64_t half[2];

	/* The leading character makes two independent hashes of one text. */
	strbuf_addf(&sb, "0%s\n%u\n%s", nqn, nsid, medium);
	ASSERT(!sb.failed);
	half[0] = hash_bytes(sb.p, sb.n);
	sb.p[0] = '1';
	half[1] = hash_bytes(sb.p, sb.n);
	strbuf_fini(&sb);
	memcpy(out->b, half, sizeof(half));
	out->b[6] = (out->b[6] & 0x0f) | 0x80; /* version 8: custom */
	out->b[8] = (out->b[8] & 0x3f) | 0x80; /* RFC variant */
}
