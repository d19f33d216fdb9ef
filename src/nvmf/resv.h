/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reservations of a namespace (Base 2.0 section 8.19), seen from a host: who
 * is registered, who holds one, and changing that.  Commands of an I/O queue;
 * the host is the one that the queue's controller was told (host id).
 */
#ifndef NVMF_RESV_H
#define NVMF_RESV_H

#include "nvmf/nvmf.h"

#define NVMF_RESV_PAGE	4096
#define NVMF_RESV_HOSTS 63 /* that fit into the page */

enum nvmf_resv_op {
	NVMF_RESV_REPORT,
	NVMF_RESV_REGISTER, /* with key; again with the same one is fine */
	NVMF_RESV_UNREGISTER,
	NVMF_RESV_ACQUIRE,
	/* Those who have other_key are registered no more, and nothing that
	 * they have sent is executed after done.  The reservation is taken over
	 * when one of them held it. */
	NVMF_RESV_PREEMPT,
};

struct nvmf_resv_host {
	uint8_t id[16];
	uint64_t key;
	bool is_holder;
};

struct nvmf_resv_report {
	uint8_t type; /* 0: nobody holds one */
	bool is_persistent;
	unsigned count; /* in hosts; what does not fit is left out */
	struct nvmf_resv_host hosts[NVMF_RESV_HOSTS];
};

/* One command.  Owner: the queue pair until done. */
struct nvmf_resv {
	void (*done)(struct nvmf_resv *resv);
	enum nvmf_resv_op op;
	uint32_t nsid;
	uint8_t type; /* enum nvme_reservation_rtype of Acquire and Preempt */
	/* Register: registrations and the reservation outlive a restart of the
	 * target.  Only where RESCAP says that they can. */
	bool is_persistent;
	uint64_t key, other_key;
	/* result */
	uint16_t sc;
	struct nvmf_resv_report report;
	/* private */
	struct nvmf_io io;
	struct iovec iov;
	struct nvme_sqe sqe;
	_Alignas(8) uint8_t page[NVMF_RESV_PAGE];
};
void nvmf_resv_submit(struct nvmf_qp *qp, struct nvmf_resv *resv);

#endif
