/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection is one queue pair: PDUs in, commands, PDUs out.
 *
 * Made on the control loop (accept), lives on its shard, and dies by
 * messages: shard "gone" -> control loop forgets it -> shard "bye" (nothing
 * is in its mailbox any more) -> control loop frees.  Memory is taken at
 * accept, at Connect, and when a queue is deeper than ever before; other
 * commands take none.
 */
#ifndef TARGET_CONN_H
#define TARGET_CONN_H

#include "io/stream.h"
#include "nvme/pdu.h"
#include "target/ctrl.h"

struct tgt_auth;

#define CONN_RX_BYTES  32768
#define CONN_ADMIN_ICD 8192 /* in-capsule data of the admin queue */
#define CONN_DATA_HEAD 128  /* most bytes in front of the data */
#define CONN_LINGER_MS 1000 /* last words, and what is under way */
#define CONN_GATHERS   4    /* that the kernel may hold, and one to send */

#define LOG_RETAIN_EVENT (1u << 15) /* CDW10 of Get Log Page */

enum req_state {
	REQ_FREE,
	REQ_RECV,    /* in-capsule data are coming */
	REQ_WAIT,    /* for a data buffer */
	REQ_R2T,     /* data of an R2T are coming */
	REQ_BUSY,    /* back end, or control loop, works on it */
	REQ_PARKED,  /* asynchronous event request */
	REQ_SENDING, /* answer on its way out */
	REQ_LOST,    /* a fault: never answered */
};

enum { /* what is to be sent for a request */
	TX_R2T = 1,
	TX_DATA = 2,
	TX_RESP = 4,
};

enum req_mem {
	MEM_NONE,
	MEM_MAPPED,
	MEM_BUFS,
	MEM_ICD,
	MEM_HEAP
};

struct tgt_req {
	struct list node; /* free list, tx queue, parked list */
	struct tgt_conn *conn;
	uint16_t index; /* our TTAG */
	uint8_t state;	/* enum req_state */
	uint8_t mem;	/* enum req_mem: whose data is */
	bool has_failed_digest;
	bool is_fua;
	bool is_aborted; /* ends when the host has sent what it was asked for */
	/* answer; set before tx_want */
	uint16_t sc;
	uint64_t result;
	/* transmit */
	uint8_t tx_want;
	bool is_in_tx; /* header bytes below are being sent, or held */
	bool is_final; /* the answer, not only an R2T */
	struct fault_plan fault;
	struct timer hold; /* while a fault holds the answer up */
	struct nvme_sqe sqe;
	struct tgt_ns *ns; /* held, see nvm_ns() */
	uint64_t off;	   /* in the back end */
	uint64_t span;	   /* bytes of the medium that it is about */
	uint8_t *data;
	uint32_t len;	   /* of data */
	uint32_t received; /* of an R2T's data */
	struct buf_wait wait;
	void (*has_buffer)(struct buf_wait *wait); /* what follows the wait */
	struct bdev_io io;
	struct iovec iov;
	unsigned range;		/* dataset management: the next one */
	struct mbox_msg msg;	/* to the control loop and back */
	struct tgt_conn *other; /* abort: the queue that has the command */
	struct {		/* header with room for its digest */
		union {
			struct pdu_data data;
			struct pdu_r2t r2t;
		};
		uint32_t hdgst;
	} head;
	uint32_t ddgst;
	struct {
		struct pdu_resp pdu;
		uint32_t hdgst;
	} resp;
};

enum conn_state {
	CONN_IC,      /* waits for ICReq */
	CONN_NEW,     /* waits for Connect */
	CONN_CONNECT, /* control loop decides */
	CONN_LIVE,
	CONN_TERM,  /* TermReq sent or being sent; input is thrown away */
	CONN_DRAIN, /* told to stop: finishes what is under way */
	CONN_CLOSED,
};

enum rx_stage {
	RX_HEAD,
	RX_DATA,
	RX_DDGST,
	RX_STALL
};

struct tgt_gather { /* what leaves in one send */
	struct tgt_conn *conn;
	struct list reqs;
	bool is_held; /* the kernel may still read it */
	struct stream_hold hold;
};

struct tgt_conn {
	/* constant */
	struct tgt *tgt;
	struct tgt_shard *shard;
	struct tgt_listener *tl;
	struct addr local, peer;
	bool is_surplus; /* beyond max_connections: Connect gets "busy" */
	/* control loop */
	struct list node;      /* tgt->conns */
	struct list ctrl_node; /* ctrl->conns */
	struct mbox_msg kill_msg, note_msg;
	bool is_killed;	      /* kill_msg has been posted */
	uint32_t linger_ms;   /* goes with it */
	uint16_t depth;	      /* entries, once connected */
	atomic_bool is_noted; /* note_msg is under way */
	/* shard writes, control loop reads: enum tgt_auth_state, then (bits 8
	 * and 16) hash and group */
	_Atomic uint32_t auth_told;
	/* travels: start, connect, gone, bye, free */
	struct mbox_msg msg;
	/* given to the control loop in CONN_CONNECT */
	struct nvme_connect_data cdata;
	struct tgt_req *creq;
	struct tgt_ctrl *ctrl; /* NULL until connected */
	bool needs_auth;       /* until then only authentication is served */
	/* shard */
	struct list shard_node; /* shard->conns */
	struct stream s;
	int fd; /* until the stream has it */
	enum conn_state state;
	struct timer timer;   /* handshake, then last words */
	uint16_t qid, sqsize; /* sqsize: entries */
	uint16_t sqhd;
	bool is_no_flow_control;
	bool hdgst, ddgst;
	bool is_leaving;       /* LIVE, but takes no new commands */
	uint32_t pda;	       /* the host's, in bytes */
	struct tgt_auth *auth; /* NULL: never tried; owned */
	/* Slots: one from the start, the rest as commands come that find none
	 * free.  TTAG 0 is first. */
	struct tgt_req first;
	struct tgt_req **reqs; /* in chunks, as many as it took */
	unsigned req_max;
	unsigned req_count, busy_count; /* busy: back end or control loop */
	unsigned abort_count;
	struct resv_rights rights; /* the last that were asked for */
	struct list free, parked;
	/* receive */
	uint8_t *rx_buf;
	uint32_t rx_head, rx_tail;
	enum rx_stage rx_stage;
	struct tgt_req *rx_req; /* whose data come, NULL = thrown away */
	uint8_t *rx_dst;
	uint32_t rx_left, rx_total, rx_crc; /* of the data of this PDU */
	bool rx_has_ddgst, is_rx_posted, is_rx_direct, is_rx_running;
	struct iovec rx_iov[2];
	/* For one command with data in its capsule when buffers are short; the
	 * second half is for what a Compare reads. */
	uint8_t *icd_buf;
	bool is_icd_busy;
	struct tgt_req *icd_wait;
	/* transmit */
	struct list txq;
	struct loop_task tx_task;
	struct tgt_gather gathers[CONN_GATHERS];
	struct tgt_gather *tx; /* the last that was begun */
	bool is_tx_busy;       /* it is on its way */
	struct pdu_ic icresp;
	uint8_t term[PDU_TERM_MAX];
	struct iovec ctl; /* one of these, sent before all else; len 0: none */
	bool is_stream_closed, is_gone;
	/* a fault: FAULT_RX, FAULT_TX */
	uint8_t stall_sides;
	uint32_t stall_id;
	uint64_t stall_end_ns;
	struct timer stall_timer;
};

/* Control loop: takes fd over. */
int conn_create(struct tgt *tgt, struct tgt_listener *tl, int fd,
		const struct addr *peer);
/* Control loop: lets it finish what is under way, for ms at most, then close.
 * The first call counts. */
void conn_kill(struct tgt_conn *conn);
void conn_kill_within(struct tgt_conn *conn, uint32_t ms);
/* Control loop: there is something to tell (ctrl->aer_due). */
void conn_note(struct tgt_conn *conn);
/* Control loop: its Connect has been decided. */
void conn_attached(struct tgt_conn *conn);

/* --- shard --- */
/* Closes those on which a command holds ns. */
void conn_close_users(struct tgt_shard *shard, const struct tgt_ns *ns);
void conn_close(struct tgt_conn *conn, const char *why);
/* Fatal transport error: C2HTermReq with the PDU hdr that it was found in, then
 * close. */
void conn_term(struct tgt_conn *conn, uint16_t fes, uint32_t fei,
	       const void *hdr, size_t hdr_len);
/* Something that held up the end has ended. */
void conn_check(struct tgt_conn *conn);
struct tgt_req *conn_req_take(struct tgt_conn *conn);
void conn_req_release(struct tgt_req *req); /* data and slot */
void req_free_data(struct tgt_req *req);    /* data alone */
/* Slots and the in-capsule buffer of a queue of that many entries; the slots
 * come into being by conn_reqs_grow(). */
int conn_reqs_create(struct tgt_conn *conn, unsigned count);
/* More free slots.  -ENOSPC: the queue has all it may have. */
int conn_reqs_grow(struct tgt_conn *conn);
/* NULL when ttag is none of ours. */
struct tgt_req *conn_req_at(struct tgt_conn *conn, uint16_t ttag);

/* tls.c: the handshake, then conn_rx_start(). */
void conn_tls_start(struct tgt_conn *conn);
/* The names that its key was derived for are these, or it has none. */
bool conn_tls_is_for(const struct tgt_conn *conn, const char *hostnqn,
		     const char *subnqn);

/* conn_rx.c */
void conn_rx_start(struct tgt_conn *conn);
/* In-capsule data of req go to req->data; with NULL, to the connection's own
 * buffer as soon as that is free. */
void rx_into(struct tgt_req *req);
/* Goes on after a stall. */
void conn_rx_resume(struct tgt_conn *conn);
/* Goes on after a fault has let go. */
void conn_rx_go(struct tgt_conn *conn);

/* conn_tx.c */
void conn_tx_init(struct tgt_conn *conn);
void conn_tx_kick(struct tgt_conn *conn);
/* Nothing waits, is on its way or held. */
bool conn_tx_is_idle(const struct tgt_conn *conn);
/* Answers the request: sc, result and (for success) its data. */
void req_complete(struct tgt_req *req, uint16_t sc);
/* Same, with len bytes of req->data going to the host. */
void req_complete_data(struct tgt_req *req);
void req_send_r2t(struct tgt_req *req);
/* The last step of these three: want (TX_*) waits for its turn. */
void tx_queue(struct tgt_req *req, uint8_t want);

/* fault_conn.c: behind fault_is_on(), or acts of the request's plan. */
/* A command has come, a Connect with its data; true: it is dealt with. */
bool fault_command(struct tgt_req *req);
bool fault_connect(struct tgt_req *req);
/* req->io, ready to be submitted. */
void fault_submit(struct bdev *bdev, struct tgt_req *req);
/* true: want must not be queued (now). */
bool fault_answer(struct tgt_req *req, uint8_t want);
/* PDUs in iov[0..n), with room for as many again; returns the new n. */
unsigned fault_pdus(struct tgt_req *req, uint8_t want, struct iovec *iov,
		    unsigned n);
void fault_conn_closed(struct tgt_conn *conn);

/* --- commands; each ends in req_complete*() sooner or later --- */
/* icd_len: bytes that stand behind the command in its capsule.  They are
 * thrown away unless the command asks for them by rx_into(). */
void cmd_start(struct tgt_req *req, uint32_t icd_len);
/* All data of the command are in req->data. */
void cmd_data_ready(struct tgt_req *req);
void fabrics_start(struct tgt_req *req, uint32_t icd_len);
void fabrics_connect(struct tgt_req *req);
void fabrics_connect_done(struct tgt_conn *conn);
void admin_start(struct tgt_req *req);
void nvm_start(struct tgt_req *req, uint32_t icd_len);
void nvm_data_ready(struct tgt_req *req);
void abort_start(struct tgt_req *req);
void log_page_start(struct tgt_req *req);
void identify_start(struct tgt_req *req);
void feature_get(struct tgt_req *req);
void feature_set(struct tgt_req *req);
void feature_init(struct tgt_ctrl *ctrl);
/* The controller is disabled: features as at the start, events forgotten. */
void admin_reset(struct tgt_conn *conn);
void aer_start(struct tgt_req *req);
/* Sends the notices that are due and may be sent. */
void aer_check(struct tgt_conn *admin);
/* The log page that belongs to the notice is read: the next one may be sent,
 * unless the host asks to retain it. */
void aer_read(struct tgt_req *req, enum aer_kind kind);
/* len bytes of the discovery log from off on. */
/* Set Features 83h: answered when it is kept. */
void resv_persist_start(struct tgt_req *req);
void disc_start(struct tgt_req *req, uint64_t off, uint32_t len);
/* Memory for an admin answer, zeroed; false: answered with an error. */
bool admin_data(struct tgt_req *req, uint32_t len);
/* Where SGL 1 points: 0 or a status.  Out: offset in the capsule's data. */
uint16_t sgl_in_capsule(const struct nvme_sgl *sgl, uint32_t icd_len);

#endif
