/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An NVMe/TCP host made of a blocking socket, for tests that say exactly which
 * bytes go out and which must come back; and a target in this process.  All
 * calls fail the cmocka test when something is not as it must be; every wait
 * ends after T_WIRE_TIMEOUT_S.
 */
#ifndef T_WIRE_H
#define T_WIRE_H

#include "io/thread.h"
#include "nvme/pdu.h"
#include "target/target.h"

#define T_WIRE_TIMEOUT_S 5
#define T_WIRE_NQN	 "nqn.2026-11.io.mooncake:test"
#define T_WIRE_HOSTNQN	 "nqn.2026-11.io.mooncake:host"

/* --- target on its own thread(s) --- */
struct t_target {
	struct shard control, shards[2];
	unsigned shard_count;
	struct tgt_opts opts;
	struct tgt *tgt;
	struct tgt_subsys *ss;
	struct addr addr, disc_addr;
};
/* opts: what differs from the defaults, or NULL.  One subsystem T_WIRE_NQN. */
void t_target_start(struct t_target *t, const struct tgt_opts *opts,
		    unsigned shard_count);
void t_target_stop(struct t_target *t);
uint32_t t_target_add_ns(struct t_target *t, struct bdev *bdev);

/* --- host --- */
struct t_wire {
	int fd;
	bool hdgst, ddgst;
	uint32_t pda;  /* asked of the target, bytes */
	uint8_t cattr; /* of Connect */
	uint16_t next_cid;
	uint32_t kato_ms;
	uint8_t host; /* tells host ids apart */
	uint16_t cntlid;
	struct pdu_ic icresp;
};
void tw_open(struct t_wire *w, const struct addr *addr);
void tw_close(struct t_wire *w);
/* TCP, ICReq, ICResp with w->hdgst, ddgst, pda. */
void tw_start(struct t_wire *w, const struct addr *addr);
void tw_send_raw(struct t_wire *w, const void *p, size_t n);
/* A header made by the caller, as it is, with digests and data added. */
void tw_send_pdu(struct t_wire *w, struct pdu_ch *ch, const void *data,
		 uint32_t len);
/* sgl is set for the data: offset form when there are some. */
void tw_send_cmd(struct t_wire *w, struct nvme_sqe *sqe, const void *data,
		 uint32_t len);
/* Next PDU; digests checked; payload copied to data (cap bytes at most).
 * Returns its payload length. */
uint32_t tw_recv(struct t_wire *w, union pdu_hdr *hdr, void *data,
		 uint32_t cap);
/* The connection ends here, with nothing before. */
void tw_expect_eof(struct t_wire *w);
/* The target sends C2HTermReq with that FES, then ends. */
void tw_expect_term(struct t_wire *w, uint16_t fes);
/* … and with that offset, echoing the type of PDU it complains about. */
void tw_expect_term_at(struct t_wire *w, uint16_t fes, uint32_t fei,
		       uint8_t type);
/* Sends, then receives the answer; data-in goes to data. Returns the status
 * without the phase bit. */
uint16_t tw_admin(struct t_wire *w, struct nvme_sqe *sqe, void *data,
		  uint32_t len, struct nvme_cqe *cqe);
/* Same, with data in the capsule. */
uint16_t tw_admin_out(struct t_wire *w, struct nvme_sqe *sqe, const void *data,
		      uint32_t len);
/* Status of a Connect; cntlid 0xffff for an admin queue.  On success
 * w->cntlid is set. */
uint16_t tw_connect(struct t_wire *w, const char *nqn, uint16_t qid,
		    uint16_t cntlid, struct nvme_cqe *cqe);
void tw_enable(struct t_wire *w);
/* All of the above: admin queue, enabled; then an I/O queue. */
void tw_admin_queue(struct t_wire *w, const struct addr *addr);
void tw_io_queue(struct t_wire *w, const struct addr *addr,
		 const struct t_wire *admin, uint16_t qid);
/* Whole commands. */
uint16_t tw_read(struct t_wire *w, uint32_t nsid, uint64_t slba, void *data,
		 uint32_t len);
/* Any command with data for the target; follows R2Ts unless in_capsule. */
uint16_t tw_data_out(struct t_wire *w, struct nvme_sqe *sqe, const void *data,
		     uint32_t len, bool in_capsule);
uint16_t tw_write(struct t_wire *w, uint32_t nsid, uint64_t slba,
		  const void *data, uint32_t len, bool in_capsule);

#endif
