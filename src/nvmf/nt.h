/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One NVMe/TCP connection of a host: ICReq/ICResp, command slots, gathered
 * sending, a receive machine that puts payload where it belongs, deadlines.
 * The admin queue (ctrl.c) and I/O queues (qp.c) are built on it.
 *
 * Life: nt_init -> nt_connect -> on_ready -> commands … -> nt_fail or nt_close
 * -> on_down (once; every command has completed before it) -> nt_fini.
 *
 * A slot's buffers may be in the hands of the kernel, so a command completes
 * early never: neither while its bytes are being sent nor, when its deadline
 * passes, before it was answered or the socket has been closed.  Only a command
 * of which no byte has been sent may be given back at once.
 */
#ifndef NVMF_NT_H
#define NVMF_NT_H

#include "io/stream.h"
#include "nvme/pdu.h"
#include "nvmf/nvmf.h"

#define NT_CID_BITS	10 /* slot index; the rest counts reuses */
#define NT_DEPTH_MAX	(1u << NT_CID_BITS)
#define NT_TX_PDUS	64 /* PDUs in one gather */
#define NT_TX_IOVS	1024
#define NT_GATHERS	4 /* that the kernel may hold, and one to send */
#define NT_RX_IOVS	64
#define NT_RX_BUF	((size_t)64 << 10)
#define NT_PLEN_MAX	((uint32_t)64 << 20) /* what a C2HData may announce */
#define NT_MAXH2C_MIN	4096
#define NT_LINGER_MS	200 /* for a TermReq to be read by the target */
#define NT_NO_DEADLINE	UINT64_MAX
#define NT_LATE_MS	50 /* the loop was busy: look once more */
#define NT_R2TS		4  /* outstanding per command: MAXR2T 3 on the wire */
#define NT_ASKED	8  /* ranges of a write that R2Ts may leave apart */
#define NT_IDLE_PROBE_S 5  /* TCP keepalive of a connection without traffic */

struct nt_auth;
struct nt_conn;

/* Walks an iovec array that belongs to someone else. */
struct nt_cursor {
	const struct iovec *iov;
	unsigned cnt;
	size_t off; /* in iov[0] */
};

enum nt_dir {
	NT_NO_DATA,
	NT_READ,
	NT_WRITE
};

struct nt_r2t {
	uint16_t ttag;
	uint32_t off, len;
	uint32_t sent; /* gathered */
};

struct nt_range {
	uint32_t off, end;
};

/* A command slot.  Owner: the queue between nt_cmd_take and nt_cmd_submit, the
 * connection until done. */
struct nt_cmd {
	/* set by the queue */
	struct nvme_sqe sqe; /* all but cid and sgl */
	enum nt_dir dir;
	bool is_in_capsule;
	uint32_t bytes;
	struct nt_cursor data;
	uint32_t *crcs; /* NULL, or one of each crc_bytes of data */
	uint32_t crc_bytes;
	uint64_t deadline_ns;
	uint64_t stop_ns; /* 0, or from when on none of its bytes may leave */
	void (*done)(struct nt_cmd *cmd); /* may reuse no field after return */
	void *owner;
	/* result */
	uint16_t sc;
	struct nvme_cqe cqe;
	/* the connection's */
	struct nt_conn *conn;
	struct list node;    /* free or inflight, there by deadline */
	struct list tx_node; /* waiting to send */
	uint16_t cid;
	bool in_use, is_capsule_sent, has_response, is_last_seen;
	bool is_expired, is_cancelled, is_aborting, is_abort_sent;
	bool is_leaving, is_forgotten; /* forget.c */
	uint64_t kept_ns;	       /* deadline_ns after is_leaving */
	uint32_t seen;		       /* is_leaving: received, a while ago */
	unsigned tx_refs;	       /* PDUs in gathers, see tx.c */
	uint32_t received;	       /* C2HData bytes */
	uint32_t requested;	       /* sum of R2T lengths */
	uint32_t sent;		       /* H2CData bytes gathered */
	/* R2Ts not yet gathered, a ring; all that R2Ts ever asked for */
	struct nt_r2t r2ts[NT_R2TS];
	unsigned r2t_first, r2t_count;
	struct nt_range asked[NT_ASKED];
	unsigned asked_count;
	struct nt_cursor base; /* of a write's data: R2Ts come in any order */
	uint32_t data_off;     /* where data stands behind base */
};

struct nt_opts {
	struct addr addr;
	unsigned depth; /* queue entries; depth - 1 commands at a time */
	uint32_t connect_timeout_ms, ack_timeout_ms, abort_timeout_ms;
	bool hdgst, ddgst;
	uint32_t zerocopy_bytes; /* 0 = never */
	struct tls_psk psk;	 /* len 0: without TLS */
	void *arg;
	/* Sends an Abort for a command that is late or cancelled; it has
	 * abort_timeout_ms to come back.  NULL: the connection fails. */
	void (*on_late)(struct nt_conn *conn, struct nt_cmd *cmd);
	void (*on_ready)(struct nt_conn *conn);
	void (*on_slot)(struct nt_conn *conn); /* a slot became free */
	void (*on_down)(struct nt_conn *conn);
};

enum nt_state {
	NT_IDLE,
	NT_CONNECTING, /* TCP */
	NT_SECURING,   /* TLS */
	NT_GREETING,   /* ICReq sent */
	NT_READY,
	NT_LINGER, /* TermReq on its way out */
	NT_CLOSING,
	NT_DOWN,
};

struct nt_tx_head { /* header of one PDU as sent, and its data digest */
	uint8_t bytes[PDU_HEAD_MAX];
	uint32_t ddgst;
};

struct nt_gather { /* what leaves in one send */
	struct nt_conn *conn;
	struct nt_tx_head *heads;
	struct nt_cmd **cmds;
	unsigned pdus;
	uint64_t bytes, summed; /* payload; of which with a digest */
	bool is_held;		/* the kernel may still read it */
	struct stream_hold hold;
};

struct nt_conn {
	struct nt_opts opts; /* constant */
	struct loop *loop;
	char peer[ADDR_TEXT_LEN];
	struct stream stream;
	void (*tls_go_on)(struct nt_conn *conn);
	enum nt_state state;
	struct err err; /* why it went down; code 0 when closed on request */
	struct timer timer; /* connecting, command deadlines, linger */
	bool is_second_look;
	struct pdu_limits lim;
	uint32_t pda, maxh2c; /* the target's */
	uint64_t opened_ns;
	/* commands */
	struct nt_cmd *slots;
	unsigned slot_count, inflight_count;
	struct list free, inflight;
	struct nt_auth *auth; /* under way (auth.c), else NULL; owned */
	/* sending */
	struct list tx_queue;
	struct loop_task tx_task;
	bool is_tx_gather; /* tx is on its way */
	struct nt_gather gathers[NT_GATHERS];
	struct nt_gather *tx; /* the last that was begun */
	struct iovec *tx_iov; /* of what is being gathered */
	unsigned tx_iovs;
	uint8_t term[PDU_TERM_MAX];
	size_t term_len;
	/* receiving */
	uint8_t *rx_buf;
	size_t rx_pos, rx_end;
	struct nt_cmd *rx_cmd; /* whose payload comes next, or NULL */
	struct nt_cursor rx_cur;
	uint32_t rx_left;   /* payload bytes of this PDU */
	uint32_t rx_direct; /* of which the receive under way may take */
	uint32_t rx_crc, rx_last_len;
	uint8_t rx_flags;	/* of this PDU */
	bool is_rx_digest;	/* a data digest comes next */
	struct nt_trash *trash; /* forget.c; NULL until needed */
	struct iovec rx_iov[NT_RX_IOVS + 1];
};

/* tls.c: TCP is up; then go_on(), unless the connection fails. */
void nt_tls_start(struct nt_conn *conn, void (*go_on)(struct nt_conn *conn));
/* What has come instead of an ICResp is a TLS alert, or the end. */
bool nt_tls_is_alert(const struct nt_conn *conn, const uint8_t *p, size_t n);
/* Derives the key for opts; 0, -ENAMETOOLONG, -EIO. */
int nt_tls_derive(const struct nvmf_opts *opts, struct tls_psk *out);

/* conn.c */
int nt_init(struct nt_conn *conn, struct loop *loop,
	    const struct nt_opts *opts);
void nt_fini(struct nt_conn *conn); /* NT_IDLE or NT_DOWN; zeroed is fine */
void nt_connect(struct nt_conn *conn);
/* First cause wins; harmless once closing. */
void nt_fail(struct nt_conn *conn, int code, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* As nt_fail, without a cause: commands still complete, on_down comes. */
void nt_close(struct nt_conn *conn);
/* Tells the target why by a TermReq, then fails the connection. */
void nt_protocol_error(struct nt_conn *conn, int fes, uint32_t fei,
		       const void *hdr, size_t hdr_len);
void nt_term_send(struct nt_conn *conn);
void nt_greet_done(struct nt_conn *conn, const struct pdu_ic *ic);
void nt_linger_received(struct nt_conn *conn, int res);

/* slots.c */
int nt_slots_init(struct nt_conn *conn);
/* NULL when the queue is full or not ready. */
struct nt_cmd *nt_cmd_take(struct nt_conn *conn);
void nt_cmd_submit(struct nt_conn *conn, struct nt_cmd *cmd);
/* The command in flight with this id, or NULL. */
struct nt_cmd *nt_cmd_find(struct nt_conn *conn, uint16_t cid);
/* Answered: completes now, or as soon as its bytes have left. */
void nt_cmd_answer(struct nt_cmd *cmd, uint16_t sc);
void nt_cmd_settle(struct nt_cmd *cmd);
void nt_cmds_abort(struct nt_conn *conn);
/* Ends it early, if it has been sent by an Abort; done comes from the loop. */
void nt_cmd_cancel(struct nt_cmd *cmd);
/* Its PDU may pause for abort_timeout_ms at most, and has that much longer than
 * its deadline in all; and the deadline that it had counts again. */
void nt_cmd_hurry(struct nt_cmd *cmd);
void nt_cmd_no_hurry(struct nt_cmd *cmd);
/* Acts on deadlines that have passed, then sets the timer. */
void nt_cmds_expire(struct nt_conn *conn);

/* forget.c */
/*
 * The memory of a read is its caller's again, while the command goes on without
 * it; done does not run.  -EBUSY: payload is arriving there now; done comes
 * with NVME_SC_ABORT_REQUESTED behind it, or behind the end of the connection
 * when none of it comes for abort_timeout_ms.  -EINVAL (no read, too large, the
 * connection is going down), -ENOMEM: it stays as it is.
 */
int nt_cmd_forget(struct nt_cmd *cmd);
/* That payload is complete. */
void nt_cmd_leave(struct nt_cmd *cmd);
void nt_trash_free(struct nt_conn *conn);

/* auth.c */
/*
 * The Connect was answered with this dword 0.  Authenticates when the target
 * asks for it or opts has a key, and fails the connection with a sentence when
 * that does not succeed.  done runs once, perhaps inside the call, unless the
 * connection fails.  opts is the caller's and stays as it is until then.
 */
void nt_auth_start(struct nt_conn *conn, const struct nvmf_opts *opts,
		   uint32_t dw0, void (*done)(struct nt_conn *conn));
void nt_auth_pump(struct nt_auth *auth);    /* a slot came free */
void nt_auth_destroy(struct nt_auth *auth); /* NULL is fine */

/* tx.c */
int nt_tx_init(struct nt_conn *conn); /* 0 or -ENOMEM */
void nt_tx_fini(struct nt_conn *conn);
void nt_tx_queue(struct nt_conn *conn, struct nt_cmd *cmd);

/* rx.c */
void nt_rx_start(struct nt_conn *conn);
/* Consumes what is in rx_buf[rx_pos, rx_end). */
void nt_rx_parse(struct nt_conn *conn);
/* One whole PDU header; false when the connection is no longer ready. */
bool nt_rx_dispatch(struct nt_conn *conn, const union pdu_hdr *hdr);

/* cursor.c */
void nt_cursor_skip(struct nt_cursor *cur, size_t n);
/* Adds up to n bytes from the cursor as at most max entries; returns how many
 * entries and leaves in *n what they cover.  The cursor stays. */
unsigned nt_cursor_map(const struct nt_cursor *cur, size_t *n,
		       struct iovec *out, unsigned max);
void nt_cursor_write(struct nt_cursor *cur, const void *p, size_t n);
uint32_t nt_cursor_crc(const struct nt_cursor *cur, uint32_t crc, size_t n);

/* stats.c */
enum nt_stat {
#define NVMF_STAT(NAME, name, help) NT_STAT_##NAME,
#include "nvmf/tbl/stats.h"
#undef NVMF_STAT
	NT_STAT_COUNT
};
void nt_stat_add(enum nt_stat stat, uint64_t n);

#endif
