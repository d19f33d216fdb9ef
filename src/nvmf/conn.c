/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host's NVMe/TCP connection from TCP connect to on_down; its loop's thread.
 *
 * Invariant: the state only moves forward (enum nt_state), and leaves NT_READY
 * once; after the socket is closed, and not before, commands that were in
 * flight complete and on_down is called.
 */
#include "nvmf/nt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"

static void conn_closed(struct stream *stream)
{
	struct nt_conn *conn = stream->arg;

	timer_cancel(conn->loop, &conn->timer);
	loop_undefer(conn->loop, &conn->tx_task);
	conn->state = NT_DOWN;
	if (conn->err.code)
		nt_stat_add(conn->lim.is_ready ? NT_STAT_DISCONNECTS
					       : NT_STAT_CONNECT_FAILURES,
			    1);
	nt_cmds_abort(conn);
	conn->opts.on_down(conn);
}

static void start_closing(struct nt_conn *conn)
{
	conn->state = NT_CLOSING;
	timer_cancel(conn->loop, &conn->timer);
	loop_undefer(conn->loop, &conn->tx_task);
	stream_close(&conn->stream, conn_closed);
}

void nt_fail(struct nt_conn *conn, int code, const char *fmt, ...)
{
	char text[sizeof(conn->err.text)];
	va_list ap;

	if (conn->state >= NT_LINGER)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(&conn->err, code, "%s", text);
	start_closing(conn);
}

void nt_close(struct nt_conn *conn)
{
	if (conn->state < NT_CLOSING)
		start_closing(conn);
}

/* --- the TermReq that says goodbye --- */

static void linger_recv(struct stream *stream, int res)
{
	nt_linger_received(stream->arg, res);
}

static void linger_read(struct nt_conn *conn)
{
	conn->rx_iov[0] = (struct iovec){conn->rx_buf, NT_RX_BUF};
	stream_recv(&conn->stream, conn->rx_iov, 1, linger_recv);
}

/*
 * Closing with unread bytes in the socket would reset the connection and could
 * take the TermReq away from the target, so they are read and dropped.
 */
void nt_linger_received(struct nt_conn *conn, int res)
{
	if (conn->state != NT_LINGER)
		return;
	if (res <= 0)
		start_closing(conn);
	else
		linger_read(conn);
}

static void term_sent(struct stream *stream, int res)
{
	struct nt_conn *conn = stream->arg;

	if (conn->state == NT_LINGER && res < 0)
		start_closing(conn);
}

void nt_term_send(struct nt_conn *conn)
{
	struct iovec iov = {conn->term, conn->term_len};

	ASSERT(conn->state == NT_LINGER);
	stream_send(&conn->stream, &iov, 1, term_sent);
}

void nt_protocol_error(struct nt_conn *conn, int fes, uint32_t fei,
		       const void *hdr, size_t hdr_len)
{
	if (conn->state >= NT_LINGER)
		return;
	err_set(&conn->err, -EPROTO,
		"%s sent a PDU that breaks the protocol (type %02xh, error %d, "
		"offset %u)",
		conn->peer, *(const uint8_t *)hdr, fes, fei);
	log_warn("nvme/tcp protocol error",
		 "peer=%s pdu_type=0x%02x fes=%d fei=%u", conn->peer,
		 *(const uint8_t *)hdr, fes, fei);
	conn->term_len = pdu_termreq(conn->term, false, (uint16_t)fes, fei, hdr,
				     hdr_len);
	loop_undefer(conn->loop, &conn->tx_task);
	conn->state = NT_LINGER;
	/* Not inside what is being sent: gather_done() or ic_sent() does it. */
	if (!conn->stream.tx_busy)
		nt_term_send(conn);
	if (!conn->stream.rx_busy)
		linger_read(conn);
	timer_set(conn->loop, &conn->timer, NT_LINGER_MS * NS_PER_MS);
}

/* --- opening --- */

static void ic_sent(struct stream *stream, int res)
{
	struct nt_conn *conn = stream->arg;

	if (conn->state == NT_LINGER)
		nt_term_send(conn);
	else if (res < 0)
		nt_fail(conn, res, "connect to %s: sending ICReq: %s",
			conn->peer, strerror(-res));
}

static void greet(struct nt_conn *conn)
{
	uint8_t dgst = (uint8_t)(conn->opts.hdgst | conn->opts.ddgst << 1);
	uint8_t *head = conn->gathers[0].heads[0].bytes;
	struct pdu_ic *ic = (struct pdu_ic *)(void *)head;
	struct iovec iov = {ic, sizeof(*ic)};

	static_assert(PDU_HEAD_MAX >= sizeof(*ic), "ICReq");
	pdu_icreq(ic, 0, dgst, NT_R2TS - 1);
	conn->state = NT_GREETING;
	stream_send(&conn->stream, &iov, 1, ic_sent);
	nt_rx_start(conn);
}

static void tcp_connected(struct stream *stream, int res)
{
	struct nt_conn *conn = stream->arg;

	if (conn->state != NT_CONNECTING)
		return;
	if (res == 0 && conn->opts.psk.len)
		nt_tls_start(conn, greet);
	else if (res == 0)
		greet(conn);
	else if (res == -ECONNREFUSED)
		nt_fail(conn, res,
			"connect to %s: connection refused; is the target "
			"running?",
			conn->peer);
	else if (res == -ETIMEDOUT)
		nt_fail(conn, res,
			"connect to %s: no answer within %u ms; is the address "
			"right and the way there open?",
			conn->peer, conn->opts.connect_timeout_ms);
	else
		nt_fail(conn, res, "connect to %s: %s", conn->peer,
			strerror(-res));
}

void nt_greet_done(struct nt_conn *conn, const struct pdu_ic *ic)
{
	uint8_t want = (uint8_t)(conn->opts.hdgst | conn->opts.ddgst << 1);
	uint32_t fei = 0;

	ASSERT(conn->state == NT_GREETING);
	if (ic->pfv != 0) {
		nt_protocol_error(conn, PDU_FES_UNSUPPORTED,
				  offsetof(struct pdu_ic, pfv), ic,
				  sizeof(*ic));
		return;
	}
	if (ic->pda > 31)
		fei = offsetof(struct pdu_ic, pda);
	else if (ic->dgst & ~want)
		fei = offsetof(struct pdu_ic, dgst);
	else if (ic->max < NT_MAXH2C_MIN || ic->max % 4)
		fei = offsetof(struct pdu_ic, max);
	if (fei) {
		nt_protocol_error(conn, PDU_FES_HEADER_FIELD, fei, ic,
				  sizeof(*ic));
		return;
	}
	if (ic->dgst != want) {
		nt_fail(conn, -EOPNOTSUPP,
			"connect to %s: the target does not do the digests "
			"that were asked for",
			conn->peer);
		return;
	}
	conn->pda = (ic->pda + 1u) * 4;
	conn->maxh2c = ic->max;
	conn->lim.is_ready = true;
	conn->lim.hdgst = conn->opts.hdgst;
	conn->lim.ddgst = conn->opts.ddgst;
	conn->state = NT_READY;
	timer_cancel(conn->loop, &conn->timer);
	nt_stat_add(NT_STAT_CONNECTS, 1);
	conn->opts.on_ready(conn);
}

static void conn_timer(struct timer *timer)
{
	struct nt_conn *conn = container_of(timer, struct nt_conn, timer);

	switch (conn->state) {
	case NT_SECURING:
		nt_fail(conn, -ETIMEDOUT,
			"connect to %s: no TLS handshake within %u ms; is this "
			"an NVMe/TCP port with TLS?",
			conn->peer, conn->opts.connect_timeout_ms);
		break;
	case NT_CONNECTING:
	case NT_GREETING:
		nt_fail(conn, -ETIMEDOUT,
			"connect to %s: no ICResp within %u ms; is this an "
			"NVMe/TCP port?",
			conn->peer, conn->opts.connect_timeout_ms);
		break;
	case NT_READY:
		nt_cmds_expire(conn);
		break;
	case NT_LINGER:
		start_closing(conn);
		break;
	default:
		UNREACHABLE();
	}
}

void nt_connect(struct nt_conn *conn)
{
	struct io_sockopts so = {
		.user_timeout_ms = conn->opts.ack_timeout_ms,
		.keepalive_s = NT_IDLE_PROBE_S,
	};

	ASSERT(conn->state == NT_IDLE);
	conn->state = NT_CONNECTING;
	conn->opened_ns = loop_now_ns(conn->loop);
	stream_connect(&conn->stream, &conn->opts.addr,
		       conn->opts.connect_timeout_ms, &so, tcp_connected);
	/* The same moment: if TCP is up by then, ICResp is what is missing. */
	timer_set(conn->loop, &conn->timer,
		  (conn->opts.connect_timeout_ms + 1) * NS_PER_MS);
}

int nt_init(struct nt_conn *conn, struct loop *loop, const struct nt_opts *opts)
{
	memset(conn, 0, sizeof(*conn));
	conn->opts = *opts;
	conn->loop = loop;
	conn->timer.fire = conn_timer;
	conn->lim.plen_max = NT_PLEN_MAX;
	addr_format(&opts->addr, conn->peer);
	stream_init(&conn->stream, loop, conn);
	conn->rx_buf = malloc(NT_RX_BUF);
	if (nt_tx_init(conn) || !conn->rx_buf || nt_slots_init(conn)) {
		nt_fini(conn);
		return -ENOMEM;
	}
	return 0;
}

void nt_fini(struct nt_conn *conn)
{
	ASSERT(conn->state == NT_IDLE || conn->state == NT_DOWN);
	ASSERT(!conn->inflight_count);
	nt_auth_destroy(conn->auth);
	nt_tx_fini(conn);
	free(conn->rx_buf);
	free(conn->slots);
	nt_trash_free(conn);
	secret_clear(conn, sizeof(*conn));
}
