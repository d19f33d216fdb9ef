/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe-oF initiator.
 *
 * A controller (struct nvmf_ctrl) lives on one loop: its admin queue, its
 * keep-alive, its state machine.  I/O queue pairs (struct nvmf_qp) are objects
 * of their own and may live on other loops: each is a connection that presents
 * the controller's id.  All calls on an object are made on its loop.
 *
 *	nvmf_ctrl_open -> on_state(LIVE) -> nvmf_qp_open (any loop) -> submit …
 *
 * A "namespace changed" event of the target is logged, nothing more: users of a
 * namespace check its identity whenever they connect.
 *
 * Payload goes straight from and into the caller's iovecs.  A queue pair takes
 * any number of commands: what exceeds the queue depth waits inside in order.
 */
#ifndef NVMF_NVMF_H
#define NVMF_NVMF_H

#include "io/loop.h"
#include "nvme/cmd.h"
#include "nvme/endpoint.h"

struct nvmf_ctrl;
struct nvmf_qp;

struct nvmf_opts {
	struct addr addr; /* resolved by the caller, off the loop */
	char subnqn[NVME_NQN_LEN];
	struct host_id host;
	uint32_t kato_ms;	     /* 0 = 5000; NVMF_KATO_OFF = none */
	uint32_t connect_timeout_ms; /* 0 = 3000: TCP + ICReq + Connect */
	uint32_t command_timeout_ms; /* 0 = 5000: each I/O command */
	uint32_t admin_timeout_ms;   /* 0 = 5000 */
	uint16_t admin_depth;	     /* 0 = 32 */
	uint16_t io_depth;	     /* 0 = 128; cut to CAP.MQES */
	uint16_t io_queues;	     /* asked of the controller, 0 = 4 */
	bool hdgst, ddgst;
};
#define NVMF_KATO_OFF UINT32_MAX

/* What the controller said; constant while LIVE. */
struct nvmf_ctrl_info {
	uint16_t cntlid;
	uint16_t io_queues;    /* granted */
	uint16_t mqes;	       /* most entries of a queue */
	uint32_t max_transfer; /* bytes per command: MDTS, or a limit of ours
				*/
	uint32_t icd_bytes;    /* in-capsule data of an I/O command */
	uint32_t nn;
	uint16_t kas_100ms;
	bool is_discovery, has_write_cache;
	char serial[21], model[41], firmware[9];
};

struct nvmf_ns_info {
	uint32_t nsid;
	uint64_t size_lba;
	uint32_t lba_bytes;
	uint16_t metadata_bytes; /* > 0: refuse, we don't do metadata */
	uint8_t nguid[16], eui64[8], uuid[16]; /* zero when not reported */
};

enum nvmf_state {
	NVMF_CONNECTING,
	NVMF_LIVE,
	NVMF_FAILED, /* err says why; close it, open a new one */
	NVMF_CLOSED,
};

/* state is LIVE or FAILED; called once for each, FAILED may follow LIVE. */
typedef void (*nvmf_ctrl_state_fn)(struct nvmf_ctrl *ctrl,
				   enum nvmf_state state, const struct err *err,
				   void *arg);
typedef void (*nvmf_qp_state_fn)(struct nvmf_qp *qp, enum nvmf_state state,
				 const struct err *err, void *arg);

/* -ENOMEM or 0; everything else is told by on_state. opts is copied. */
int nvmf_ctrl_open(struct loop *loop, const struct nvmf_opts *opts,
		   nvmf_ctrl_state_fn on_state, void *arg,
		   struct nvmf_ctrl **out);
/* From any state, also inside on_state.  done runs once, then ctrl is gone. */
void nvmf_ctrl_close(struct nvmf_ctrl *ctrl, void (*done)(void *arg),
		     void *arg);
const struct nvmf_ctrl_info *nvmf_ctrl_info(const struct nvmf_ctrl *ctrl);

/* --- admin requests, on the controller's loop --- */
struct nvmf_admin {
	void (*done)(struct nvmf_admin *req);
	struct nvme_sqe sqe;
	void *data; /* read into; 4 KiB for identify */
	uint32_t data_len;
	/* result */
	uint16_t sc; /* NVMe status, NVME_SC_OK on success */
	struct nvme_cqe cqe;
	/* private */
	struct list node;
	uint64_t deadline_ns;
	struct iovec iov;
};
void nvmf_admin_submit(struct nvmf_ctrl *ctrl, struct nvmf_admin *req);

/* All active namespaces with their ids, read by as many admin commands as it
 * takes.  done(0, array, count) or done(-errno, NULL, 0); the array is valid
 * inside done only. */
typedef void (*nvmf_ns_list_fn)(int ret, const struct nvmf_ns_info *ns,
				size_t count, void *arg);
int nvmf_ns_list(struct nvmf_ctrl *ctrl, nvmf_ns_list_fn done, void *arg);
/* One namespace; -ENODEV when it is not active. */
int nvmf_ns_get(struct nvmf_ctrl *ctrl, uint32_t nsid, nvmf_ns_list_fn done,
		void *arg);

/* Discovery log of a discovery controller. */
struct nvmf_disc_entry {
	struct endpoint ep;
	uint8_t subtype; /* 1 referral, 2 NVM subsystem, 3 this service */
};
typedef void (*nvmf_disc_fn)(int ret, const struct nvmf_disc_entry *entries,
			     size_t count, void *arg);
int nvmf_discover(struct nvmf_ctrl *ctrl, nvmf_disc_fn done, void *arg);

/* --- I/O queue pairs --- */
struct nvmf_qp_opts {
	uint16_t qid; /* 1.. of the controller, unique per controller */
	const struct nvmf_opts *opts; /* as the controller's; copied */
	struct nvmf_ctrl_info info;   /* of the live controller */
};
int nvmf_qp_open(struct loop *loop, const struct nvmf_qp_opts *opts,
		 nvmf_qp_state_fn on_state, void *arg, struct nvmf_qp **out);
void nvmf_qp_close(struct nvmf_qp *qp, void (*done)(void *arg), void *arg);

enum nvmf_io_op {
	NVMF_READ,
	NVMF_WRITE,
	NVMF_FLUSH
};

/*
 * One I/O: any length that is a multiple of the block size, any iovec; cut
 * into commands of at most max_transfer inside.  iov and buffers are the
 * queue's until done; done runs once, also when the queue fails or is closed
 * (NVME_SC_HOST_PATH_ERROR) or a command's deadline passes
 * (NVME_SC_HOST_ABORTED; the queue then fails, so that a late answer can't
 * touch the buffers).
 */
struct nvmf_io {
	void (*done)(struct nvmf_io *io);
	enum nvmf_io_op op;
	uint32_t nsid;
	uint32_t lba_bytes;
	uint64_t slba;
	uint64_t bytes;
	const struct iovec *iov; /* covers exactly bytes */
	unsigned iovcnt;
	/* result */
	uint16_t sc;
	/* private */
	struct list node;
	uint64_t issued, completed; /* bytes */
	unsigned iov_index;
	size_t iov_off;
	uint32_t cmds;
};
void nvmf_io_submit(struct nvmf_qp *qp, struct nvmf_io *io);

/* Process-wide counters for metrics (relaxed atomics). */
struct nvmf_stats {
#define NVMF_STAT(NAME, name, help) uint64_t name;
#include "nvmf/tbl/stats.h"
#undef NVMF_STAT
};
void nvmf_stats_get(struct nvmf_stats *out);

#endif
