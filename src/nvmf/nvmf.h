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
 * A queue pair that is given the controller has commands that miss their
 * deadline aborted there first; such a queue pair is closed (done has run)
 * before the controller is.  A controller is never repaired: when it or a queue
 * pair fails, its owner closes it and opens another, whose info may differ
 * (nvmf_ctrl_info_differs).
 *
 * Payload goes straight from and into the caller's iovecs.  A queue pair takes
 * any number of commands: what exceeds the queue depth waits inside in order.
 */
#ifndef NVMF_NVMF_H
#define NVMF_NVMF_H

#include "crypt/key.h"
#include "crypt/tlskey.h"
#include "io/loop.h"
#include "nvme/cmd.h"
#include "nvme/endpoint.h"

struct nvmf_ctrl;
struct nvmf_qp;

/* --- events, on the controller's loop while it is LIVE --- */
enum nvmf_event_kind {
	NVMF_EVENT_NS_CHANGED,	/* nsids; the target's list has been read */
	NVMF_EVENT_ANA_CHANGED, /* read it: nvmf_ana_get() */
	NVMF_EVENT_DISCOVERY_CHANGED, /* read it: nvmf_discover() */
	NVMF_EVENT_FIRMWARE,
	NVMF_EVENT_ERROR,
	NVMF_EVENT_SMART,
	NVMF_EVENT_OTHER,
};
struct nvmf_event {
	enum nvmf_event_kind kind;
	uint8_t type, info, log_page; /* Base 2.0 figure 145 */
	/* NS_CHANGED; count 0: the target does not say which */
	const uint32_t *nsids;
	size_t nsid_count;
	const char *text; /* a sentence for people */
};
/* ev is valid inside the call only, which may close the controller. */
typedef void (*nvmf_event_fn)(struct nvmf_ctrl *ctrl,
			      const struct nvmf_event *ev, void *arg);

struct nvmf_opts {
	struct addr addr; /* resolved by the caller, off the loop */
	char subnqn[NVME_NQN_LEN];
	struct host_id host;
	/* DH-HMAC-CHAP (len 0 = none): with a key of its own the host always
	 * authenticates, with the controller's as well the target must, too.
	 * Copies are cleared when their object goes. */
	struct dhchap_key dhchap_key, dhchap_ctrl_key;
	/* TLS (len 0 = none): with a key every connection is encrypted or
	 * fails.  Needs stream_tls_is_built().  Cleared likewise. */
	struct tls_key tls_key;
	enum tls_form tls_form;
	uint32_t kato_ms;	     /* 0 = 5000; NVMF_KATO_OFF = none */
	uint32_t connect_timeout_ms; /* 0 = 3000: TCP + ICReq + Connect */
	uint32_t command_timeout_ms; /* 0 = 5000: each I/O command */
	uint32_t admin_timeout_ms;   /* 0 = 5000 */
	/* 0 = 30000, or connect_timeout_ms where that is longer: each message
	 * of DH-HMAC-CHAP, for which the target may have to compute for long */
	uint32_t auth_timeout_ms;
	/* 0 = 1000: what a command that is late or cancelled gets to come back
	 * after its Abort before the queue is reset */
	uint32_t abort_timeout_ms;
	/* 0 = 1000: what commands in flight get when a queue is closed, and the
	 * shutdown when a controller is */
	uint32_t close_timeout_ms;
	/* 0 = as long as a command: bytes of ours that are not acknowledged for
	 * so long end the connection (TCP_USER_TIMEOUT) */
	uint32_t ack_timeout_ms;
	uint16_t admin_depth; /* 0 = 32 */
	uint16_t io_depth;    /* 0 = 128; cut to CAP.MQES */
	uint16_t io_queues;   /* asked of the controller, 0 = 4 */
	bool hdgst, ddgst;
	/* From so much payload in one send on it is not copied, where the
	 * kernel can; 0 = all is copied.  The memory of a write is then read
	 * until the target has acknowledged it, and the write is not done
	 * before. */
	uint32_t zerocopy_bytes;
	/* NULL: events are logged only.  arg is nvmf_ctrl_open()'s.  With it a
	 * discovery controller is a persistent one: keep-alive is on. */
	nvmf_event_fn on_event;
};
#define NVMF_KATO_OFF	    UINT32_MAX
#define NVMF_ZEROCOPY_BYTES 262144 /* where it pays, docs/performance.md */

/* What the controller said; constant while LIVE. */
struct nvmf_ctrl_info {
	uint16_t cntlid;
	uint16_t io_queues;    /* granted */
	uint16_t mqes;	       /* most entries of a queue */
	uint32_t max_transfer; /* bytes per command: MDTS, or a limit of ours
				*/
	uint32_t icd_bytes;    /* in-capsule data of an I/O command */
	uint32_t nn;
	uint32_t version; /* VS, 0x00010400 = 1.4 */
	uint16_t kas_100ms;
	uint16_t abort_limit;	  /* Aborts at a time, from 1 */
	uint8_t ana_transition_s; /* ANATT, 0 without ANA */
	uint32_t ana_groups;	  /* NANAGRPID, 0 without ANA */
	bool is_discovery, has_write_cache, has_ana;
	bool has_reservations; /* the commands; a namespace says which */
	char serial[21], model[41], firmware[9];
};

struct nvmf_ns_info {
	uint32_t nsid;
	uint64_t size_lba;
	uint32_t lba_bytes;
	uint16_t metadata_bytes; /* > 0: refuse, we don't do metadata */
	uint8_t nguid[16], eui64[8], uuid[16]; /* zero when not reported */
	uint32_t ana_group;		       /* ANAGRPID, 0 without ANA */
	/* In blocks, 0 when not reported: optimal boundary (NOIOB), preferred
	 * write granularity and alignment (NPWG, NPWA), optimal write (NOWS) */
	uint32_t opt_boundary_lba, write_granularity_lba, write_align_lba;
	uint32_t opt_write_lba;
	uint8_t reservations;	 /* RESCAP: NVME_NS_RESCAP_*, 0 = none */
	bool is_shared;		 /* NMIC: other controllers may have it */
	bool is_write_protected; /* NSATTR */
	bool is_not_ready;	 /* NSTAT.NRDY is 0 though NVMe 2.0 has it */
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
/* From any state, also inside on_state.  done runs once, then ctrl is gone: at
 * most close_timeout_ms later, however dead the target is.  A live controller
 * is shut down in order (CC.SHN, then CSTS.SHST is awaited). */
void nvmf_ctrl_close(struct nvmf_ctrl *ctrl, void (*done)(void *arg),
		     void *arg);
const struct nvmf_ctrl_info *nvmf_ctrl_info(const struct nvmf_ctrl *ctrl);
/* What a user of the old controller has to adapt to, named in text with both
 * values: queues, depth, transfer and in-capsule size, identity.  False when
 * nothing of that differs. */
bool nvmf_ctrl_info_differs(const struct nvmf_ctrl_info *old,
			    const struct nvmf_ctrl_info *now, struct err *text);

/* --- admin requests, on the controller's loop --- */
struct nvmf_admin {
	void (*done)(struct nvmf_admin *req);
	struct nvme_sqe sqe;
	void *data; /* read into; 4 KiB for identify */
	uint32_t data_len;
	/* result */
	uint16_t sc; /* NVMe status, NVME_SC_OK on success */
	struct nvme_cqe cqe;
	void *arg; /* the caller's */
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

/* Discovery log of a discovery controller, read until its generation stays the
 * same meanwhile.  A referral names another discovery service. */
struct nvmf_disc_entry {
	struct endpoint ep;
	uint8_t subtype; /* 1 referral, 2 NVM subsystem, 3 this service */
	uint8_t treq;	 /* secure channel: 0, 1 required, 2 not required */
	uint16_t port_id, cntlid, eflags;
};
typedef void (*nvmf_disc_fn)(int ret, const struct nvmf_disc_entry *entries,
			     size_t count, void *arg);
int nvmf_discover(struct nvmf_ctrl *ctrl, nvmf_disc_fn done, void *arg);

/*
 * Log pages.  Each runs one or more admin commands, then done, once; ret is
 * -errno when they failed (-ENOTCONN when the controller did), and what else
 * is handed over is valid inside done only.  Reading a page allows the next
 * event of its kind.  -ENOMEM or 0, as above.
 */
struct nvmf_smart {		  /* counters are cut to 64 bits */
	uint8_t critical_warning; /* Base 2.0 figure 207, bits 0..5 */
	uint16_t temperature_k;
	uint8_t spare_percent, spare_threshold, used_percent;
	uint64_t read_bytes, written_bytes; /* the page counts 512000 each */
	uint64_t reads, writes, busy_minutes;
	uint64_t power_cycles, power_on_hours, unsafe_shutdowns;
	uint64_t media_errors, error_entries;
};
typedef void (*nvmf_smart_fn)(int ret, const struct nvmf_smart *smart,
			      void *arg);
int nvmf_smart_get(struct nvmf_ctrl *ctrl, nvmf_smart_fn done, void *arg);

/* Namespaces that changed since it was read; count 0 and is_many: more than
 * the page can name. */
typedef void (*nvmf_changed_ns_fn)(int ret, const uint32_t *nsids, size_t count,
				   bool is_many, void *arg);
int nvmf_changed_ns_get(struct nvmf_ctrl *ctrl, nvmf_changed_ns_fn done,
			void *arg);

struct nvmf_ana_group {
	uint32_t id;
	uint8_t state; /* enum nvme_ana_state */
	uint64_t change_count;
	const uint32_t *nsids;
	uint32_t nsid_count;
};
typedef void (*nvmf_ana_fn)(int ret, const struct nvmf_ana_group *groups,
			    size_t count, void *arg);
int nvmf_ana_get(struct nvmf_ctrl *ctrl, nvmf_ana_fn done, void *arg);

/* --- I/O queue pairs --- */
struct nvmf_qp_opts {
	uint16_t qid; /* 1.. of the controller, unique per controller */
	const struct nvmf_opts *opts; /* as the controller's; copied */
	struct nvmf_ctrl_info info;   /* of the live controller */
	/* Where late commands are aborted; it outlives the queue pair.  NULL:
	 * the queue fails when a deadline passes. */
	struct nvmf_ctrl *ctrl;
};
int nvmf_qp_open(struct loop *loop, const struct nvmf_qp_opts *opts,
		 nvmf_qp_state_fn on_state, void *arg, struct nvmf_qp **out);
/* What has not been sent is given back; commands in flight get
 * close_timeout_ms to end, unless the controller has failed. */
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
 * (NVME_SC_HOST_PATH_ERROR).  When a command's deadline passes it is aborted;
 * if it comes back within abort_timeout_ms the queue lives on, if not the queue
 * fails, so that a late answer can't touch the buffers.  The I/O ends with
 * NVME_SC_HOST_ABORTED either way, unless the command succeeded after all.
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
	/* Not NULL: this very command with data as op says, all in one piece of
	 * at most 4096 bytes; slba and nsid are not looked at. */
	const struct nvme_sqe *sqe;
	/* 0 = none.  What still waits for a slot then is not sent any more and
	 * ends with NVME_SC_HOST_ABORTED; what was sent has its own time. */
	uint64_t deadline_ns;
	/*
	 * Optional: CRC-32C of each crc_bytes of the payload (the last may be
	 * shorter), as many as it takes, so that what digests compute anyway is
	 * computed once.  crc_bytes is a multiple of lba_bytes.  A write: the
	 * caller's, valid when submitted; digests are made of them.  A read:
	 * the queue's, of the bytes as they came; valid when sc is OK and
	 * has_crcs (max_transfer may be too small for a block).
	 */
	uint32_t *crcs;
	uint32_t crc_bytes;
	/* result */
	uint16_t sc;
	bool has_crcs;
	/* private */
	struct list node;
	uint64_t issued, completed; /* bytes */
	unsigned iov_index;
	size_t iov_off;
	uint32_t cmds;
	bool is_cancelled, is_late;
};
void nvmf_io_submit(struct nvmf_qp *qp, struct nvmf_io *io);
/*
 * A request: done still comes, from the loop, with what was faster or
 * NVME_SC_ABORT_REQUESTED.  A read ends soon: what the target still sends of it
 * goes to the trash, and it occupies its slot until the target has answered.
 * A write is aborted.  A target that does not let go of a write, or sends
 * nothing of a read's PDU that it has begun, within abort_timeout_ms costs the
 * queue, as with a deadline; so does a PDU that is not complete when the read
 * would have cost it anyway.
 */
void nvmf_io_cancel(struct nvmf_qp *qp, struct nvmf_io *io);

/* Process-wide counters for metrics (relaxed atomics). */
struct nvmf_stats {
#define NVMF_STAT(NAME, name, help) uint64_t name;
#include "nvmf/tbl/stats.h"
#undef NVMF_STAT
};
void nvmf_stats_get(struct nvmf_stats *out);

#endif
