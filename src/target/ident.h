/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the target says about itself, as bytes: identify structures and log
 * pages.  Pure functions of plain values; every out buffer is cleared first.
 */
#ifndef TARGET_IDENT_H
#define TARGET_IDENT_H

#include "base/str.h"
#include "base/uuid.h"

#define IDENT_BYTES	 4096
#define IDENT_MODEL	 "Mooncake NVMe-oF target"
#define IDENT_VERSION	 0x00010400u /* NVMe 1.4 */
#define IDENT_KAS_100MS	 1	     /* keep-alive granularity: 100 ms */
#define IDENT_ACL	 3	     /* 0's based: four Aborts at a time */
#define IDENT_TEMP_HIGH	 343	     /* kelvin */
#define IDENT_AERL	 3	     /* 0's based: four parked requests */
#define IDENT_LOG_HEADER 1024	     /* of the discovery log */
#define IDENT_WZSL	 13	     /* Write Zeroes: 4 KiB << 13 = 32 MiB */

struct ident_ctrl {
	const char *nqn, *serial, *model;
	uint16_t cntlid;
	bool is_discovery, has_write_cache, has_ana;
	uint32_t ana_group_max;
	uint32_t max_transfer, in_capsule; /* bytes */
	uint16_t depth;			   /* entries of an I/O queue */
	uint32_t ns_max;
};
void ident_ctrl(const struct ident_ctrl *in, uint8_t out[IDENT_BYTES]);

struct ident_ns {
	uint64_t blocks;
	uint64_t used_bytes; /* above all of them: as many as there are */
	uint8_t lba_shift;
	struct uuid uuid, nguid;
	uint8_t eui64[8];  /* zero: none */
	uint32_t anagrpid; /* 0: no ANA */
	bool is_readonly, can_unmap, unmap_zeroes;
	bool keeps_resv; /* reservations can outlive the target */
	uint32_t write_unit, write_best, unmap_unit; /* bytes, 0 = unknown */
};
void ident_ns(const struct ident_ns *in, uint8_t out[IDENT_BYTES]);
/* CNS 03h: EUI-64 where there is one, NGUID, UUID, command set. */
void ident_ns_descs(const struct ident_ns *in, uint8_t out[IDENT_BYTES]);
/* CNS 06h: limits of the commands of the NVM command set. */
void ident_ctrl_nvm_set(uint32_t max_transfer, uint8_t out[IDENT_BYTES]);
/* CNS 08h: what does not depend on the command set. */
void ident_ns_common(const struct ident_ns *in, uint8_t out[IDENT_BYTES]);

/* Log pages; each returns its length.  out has room for IDENT_BYTES. */
struct ident_smart {
	uint64_t bytes_read, bytes_written, reads, writes, up_hours;
	uint64_t errors, media_errors;
};
size_t ident_log_smart(const struct ident_smart *in, uint8_t *out);
/* ANA: a header, then groups.  Lengths are what ident_ana_group() returns. */
#define IDENT_ANA_HEAD	16
#define IDENT_ANA_GROUP 32 /* and 4 for each namespace */
struct ident_ana {
	uint32_t grpid, count;
	uint64_t changes;
	uint8_t state;
	const uint32_t *nsids;
};
void ident_ana_header(uint64_t changes, uint16_t groups, uint8_t *out);
size_t ident_ana_group(const struct ident_ana *in, uint8_t *out);
size_t ident_log_supported(const uint8_t *lids, size_t count, uint8_t *out);
size_t ident_log_firmware(uint8_t *out);
size_t ident_log_changed_ns(const uint32_t *nsids, size_t count, uint8_t *out);
size_t ident_log_effects(uint8_t *out);

/* One record of the discovery log; out has 1024 bytes. */
struct ident_disc {
	const char *nqn, *traddr;
	uint16_t port, port_id, depth;
	bool is_ipv6;
	bool is_referral, is_secure; /* to another discovery service; TLS */
};
void ident_disc_header(uint64_t genctr, uint64_t count,
		       uint8_t out[IDENT_LOG_HEADER]);
void ident_disc_entry(const struct ident_disc *in, uint8_t *out);

/* Stable identity of a namespace: a name-based UUID of the texts. */
void ident_uuid(const char *nqn, uint32_t nsid, const char *medium,
		struct uuid *out);

#endif
