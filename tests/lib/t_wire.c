/* SPDX-License-Identifier: Apache-2.0 */
/* The byte-exact host and the target beside it; see t_wire.h. */
#include "t_wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc.h"

/* --- target --- */

static void target_create(void *arg)
{
	struct t_target *t = arg;
	struct err err = {0};
	int ret;

	ret = tgt_create(&t->opts, &t->tgt, &err);
	if (!ret)
		ret = tgt_subsys_add(
			t->tgt, &(struct tgt_subsys_opts){.nqn = T_WIRE_NQN},
			&t->ss, &err);
	if (!ret)
		ret = tgt_listen(t->tgt, &t->addr, &err);
	if (!ret)
		ret = tgt_listen_discovery(t->tgt, &t->disc_addr, &err);
	if (ret)
		print_error("%s\n", err.text);
	assert_int_equal(ret, 0);
}

void t_target_start(struct t_target *t, const struct tgt_opts *opts,
		    unsigned shard_count)
{
	struct loop *loops[ARRAY_SIZE(t->shards)];
	struct err err = {0};

	memset(t, 0, sizeof(*t));
	if (opts)
		t->opts = *opts;
	assert_int_equal(shard_start(&t->control, &(struct loop_opts){0}, &err),
			 0);
	for (unsigned i = 0; i < shard_count; i++) {
		assert_int_equal(shard_start(&t->shards[i],
					     &(struct loop_opts){0}, &err),
				 0);
		loops[i] = t->shards[i].loop;
	}
	t->shard_count = shard_count;
	/* Small, so that most writes ask for their R2T. */
	if (!t->opts.in_capsule)
		t->opts.in_capsule = 16384;
	t->opts.loop = t->control.loop;
	t->opts.shards = loops;
	t->opts.shard_count = shard_count;
	assert_int_equal(addr_parse("127.0.0.1", 0, &t->addr), 0);
	t->disc_addr = t->addr;
	shard_call(&t->control, target_create, t);
}

static void on_stopped(void *arg)
{
	gate_open(arg);
}

struct stop_args {
	struct t_target *t;
	struct gate gate;
};

static void target_stop(void *arg)
{
	struct stop_args *a = arg;

	tgt_stop(a->t->tgt, on_stopped, &a->gate);
}

void t_target_stop(struct t_target *t)
{
	struct stop_args a = {.t = t};

	gate_init(&a.gate);
	shard_call(&t->control, target_stop, &a);
	assert_true(gate_wait_for(&a.gate, 10ull * 1000 * 1000 * 1000));
	for (unsigned i = 0; i < t->shard_count; i++)
		shard_stop(&t->shards[i]);
	shard_stop(&t->control);
}

struct ns_args {
	struct t_target *t;
	struct bdev *bdev;
	int nsid;
};

static void target_add_ns(void *arg)
{
	struct ns_args *a = arg;
	struct err err = {0};

	a->nsid = tgt_ns_add(a->t->ss, a->bdev, NULL, &err);
}

uint32_t t_target_add_ns(struct t_target *t, struct bdev *bdev)
{
	struct ns_args a = {.t = t, .bdev = bdev};

	shard_call(&t->control, target_add_ns, &a);
	assert_true(a.nsid > 0);
	return (uint32_t)a.nsid;
}

/* --- bytes --- */

void tw_open(struct t_wire *w, const struct addr *addr)
{
	struct timeval tv = {.tv_sec = T_WIRE_TIMEOUT_S};

	w->fd = socket(addr->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(w->fd >= 0);
	assert_int_equal(
		connect(w->fd, (const struct sockaddr *)&addr->ss, addr->len),
		0);
	setsockopt(w->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(w->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

void tw_close(struct t_wire *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
}

void tw_send_raw(struct t_wire *w, const void *p, size_t n)
{
	const char *q = p;

	while (n) {
		ssize_t ret = send(w->fd, q, n, MSG_NOSIGNAL);

		if (ret < 0 && errno == EINTR)
			continue; /* io_uring's doing, in this process */
		assert_true(ret > 0);
		q += ret;
		n -= (size_t)ret;
	}
}

static void recv_all(struct t_wire *w, void *p, size_t n)
{
	char *q = p;

	while (n) {
		ssize_t ret = recv(w->fd, q, n, 0);

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret <= 0)
			fail_msg("%s while %zu bytes were expected",
				 ret ? strerror(errno) : "end of stream", n);
		q += ret;
		n -= (size_t)ret;
	}
}

void tw_send_pdu(struct t_wire *w, struct pdu_ch *ch, const void *data,
		 uint32_t len)
{
	static const uint8_t zeros[128];
	size_t head = pdu_finish(ch, len, w->hdgst, w->ddgst, 0);
	size_t sent = ch->hlen;
	uint32_t crc;

	tw_send_raw(w, ch, ch->hlen);
	if (w->hdgst) {
		crc = crc32c(0, ch, ch->hlen);
		tw_send_raw(w, &crc, sizeof(crc));
		sent += sizeof(crc);
	}
	if (!len)
		return;
	tw_send_raw(w, zeros, head - sent);
	tw_send_raw(w, data, len);
	if (w->ddgst) {
		crc = crc32c(0, data, len);
		tw_send_raw(w, &crc, sizeof(crc));
	}
}

uint32_t tw_recv(struct t_wire *w, union pdu_hdr *hdr, void *data, uint32_t cap)
{
	uint8_t skip[128];
	uint32_t crc, len, at;

	recv_all(w, &hdr->ch, sizeof(hdr->ch));
	at = hdr->ch.hlen;
	assert_int_equal(at, pdu_hlen(hdr->ch.type));
	recv_all(w, (char *)hdr + sizeof(hdr->ch), at - sizeof(hdr->ch));
	if (hdr->ch.flags & PDU_F_HDGST) {
		assert_true(w->hdgst);
		recv_all(w, &crc, sizeof(crc));
		assert_int_equal(crc, crc32c(0, hdr, at));
		at += PDU_DIGEST_LEN;
	}
	if (hdr->ch.plen == at)
		return 0;
	if (hdr->ch.type != PDU_C2H_TERM) {
		assert_true(hdr->ch.pdo >= at);
		recv_all(w, skip, hdr->ch.pdo - at);
		at = hdr->ch.pdo;
	}
	len = hdr->ch.plen - at;
	if (hdr->ch.flags & PDU_F_DDGST)
		len -= PDU_DIGEST_LEN;
	assert_true(len <= cap);
	recv_all(w, data, len);
	if (hdr->ch.flags & PDU_F_DDGST) {
		recv_all(w, &crc, sizeof(crc));
		assert_int_equal(crc, crc32c(0, data, len));
	}
	return len;
}

void tw_expect_eof(struct t_wire *w)
{
	char c;
	ssize_t ret;

	do {
		ret = recv(w->fd, &c, 1, 0);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0 && errno != ECONNRESET)
		fail_msg("no end of the connection: %s", strerror(errno));
	assert_true(ret <= 0);
}

static void expect_term(struct t_wire *w, uint16_t fes, union pdu_hdr *hdr,
			uint8_t echo[PDU_TERM_MAX])
{
	tw_recv(w, hdr, echo, PDU_TERM_MAX);
	assert_int_equal(hdr->ch.type, PDU_C2H_TERM);
	assert_int_equal(hdr->term.fes, fes);
	shutdown(w->fd, SHUT_WR);
	tw_expect_eof(w);
}

void tw_expect_term(struct t_wire *w, uint16_t fes)
{
	uint8_t echo[PDU_TERM_MAX];
	union pdu_hdr hdr;

	expect_term(w, fes, &hdr, echo);
}

void tw_expect_term_at(struct t_wire *w, uint16_t fes, uint32_t fei,
		       uint8_t type)
{
	uint8_t echo[PDU_TERM_MAX];
	union pdu_hdr hdr;
	uint32_t got;

	expect_term(w, fes, &hdr, echo);
	memcpy(&got, hdr.term.fei, sizeof(got));
	assert_int_equal(got, fei);
	assert_true(hdr.ch.plen > sizeof(hdr.term));
	assert_int_equal(echo[0], type);
}

/* --- connecting --- */

void tw_start(struct t_wire *w, const struct addr *addr)
{
	struct pdu_ic ic;
	uint8_t hpda = (uint8_t)(w->pda ? w->pda / 4 - 1 : 0);

	tw_open(w, addr);
	pdu_icreq(&ic, hpda, (uint8_t)(w->hdgst | w->ddgst << 1), 0);
	tw_send_raw(w, &ic, sizeof(ic));
	recv_all(w, &w->icresp, sizeof(w->icresp));
	assert_int_equal(w->icresp.ch.type, PDU_ICRESP);
	assert_int_equal(w->icresp.dgst, ic.dgst);
}

void tw_send_cmd(struct t_wire *w, struct nvme_sqe *sqe, const void *data,
		 uint32_t len)
{
	struct pdu_cmd pdu = {.ch = {.type = PDU_CAPSULE_CMD}};

	sqe->cid = w->next_cid++;
	if (len)
		sqe->sgl = (struct nvme_sgl){.len = len,
					     .type = NVME_SGL_DATA_OFFSET};
	pdu.sqe = *sqe;
	tw_send_pdu(w, &pdu.ch, data, len);
}

static uint16_t recv_answer(struct t_wire *w, const struct nvme_sqe *sqe,
			    void *data, uint32_t len, struct nvme_cqe *cqe)
{
	union pdu_hdr hdr;

	memset(cqe, 0, sizeof(*cqe));
	tw_recv(w, &hdr, data, len);
	if (hdr.ch.type == PDU_C2H_DATA) {
		assert_int_equal(hdr.data.cccid, sqe->cid);
		assert_int_equal(hdr.data.datal, len);
		assert_int_equal(hdr.data.datao, 0);
		assert_true(hdr.ch.flags & PDU_F_LAST);
		if (w->pda)
			assert_int_equal(hdr.ch.pdo % w->pda, 0);
		if (hdr.ch.flags & PDU_F_SUCCESS) {
			assert_true(w->cattr & 4);
			return NVME_SC_OK;
		}
		tw_recv(w, &hdr, NULL, 0);
	}
	assert_int_equal(hdr.ch.type, PDU_CAPSULE_RESP);
	assert_int_equal(hdr.resp.cqe.cid, sqe->cid);
	*cqe = hdr.resp.cqe;
	return cqe->status >> 1;
}

uint16_t tw_admin(struct t_wire *w, struct nvme_sqe *sqe, void *data,
		  uint32_t len, struct nvme_cqe *cqe)
{
	struct nvme_cqe none;

	if (len)
		sqe->sgl = (struct nvme_sgl){.len = len,
					     .type = NVME_SGL_TRANSPORT};
	tw_send_cmd(w, sqe, NULL, 0);
	return recv_answer(w, sqe, data, len, cqe ? cqe : &none);
}

uint16_t tw_admin_out(struct t_wire *w, struct nvme_sqe *sqe, const void *data,
		      uint32_t len)
{
	struct nvme_cqe cqe;

	tw_send_cmd(w, sqe, data, len);
	return recv_answer(w, sqe, NULL, 0, &cqe);
}

uint16_t tw_connect(struct t_wire *w, const char *nqn, uint16_t qid,
		    uint16_t cntlid, struct nvme_cqe *cqe)
{
	struct nvme_connect_data d = {.cntlid = cntlid,
				      .hostid = {1, 2, 3, w->host}};
	struct nvme_cqe own;
	struct nvme_sqe sqe;
	uint16_t sc;

	cqe = cqe ? cqe : &own;
	memcpy(d.subnqn, nqn, strlen(nqn));
	memcpy(d.hostnqn, T_WIRE_HOSTNQN, sizeof(T_WIRE_HOSTNQN));
	nvme_cmd_connect(&sqe, qid, 31, w->kato_ms);
	sqe.cdw11 |= (uint32_t)w->cattr << 16;
	tw_send_cmd(w, &sqe, &d, sizeof(d));
	sc = recv_answer(w, &sqe, NULL, 0, cqe);
	if (sc == NVME_SC_OK)
		w->cntlid = (uint16_t)cqe->result;
	return sc;
}

void tw_enable(struct t_wire *w)
{
	struct nvme_sqe sqe;
	struct nvme_cqe cqe;

	nvme_cmd_prop_set(&sqe, NVME_PROP_CC, false, 0x460001);
	assert_int_equal(tw_admin(w, &sqe, NULL, 0, NULL), NVME_SC_OK);
	nvme_cmd_prop_get(&sqe, NVME_PROP_CSTS, false);
	assert_int_equal(tw_admin(w, &sqe, NULL, 0, &cqe), NVME_SC_OK);
	assert_int_equal(cqe.result, 1);
}

void tw_admin_queue(struct t_wire *w, const struct addr *addr)
{
	tw_start(w, addr);
	assert_int_equal(tw_connect(w, T_WIRE_NQN, 0, 0xffff, NULL),
			 NVME_SC_OK);
	tw_enable(w);
}

void tw_io_queue(struct t_wire *w, const struct addr *addr,
		 const struct t_wire *admin, uint16_t qid)
{
	tw_start(w, addr);
	assert_int_equal(tw_connect(w, T_WIRE_NQN, qid, admin->cntlid, NULL),
			 NVME_SC_OK);
}

/* --- I/O --- */

uint16_t tw_read(struct t_wire *w, uint32_t nsid, uint64_t slba, void *data,
		 uint32_t len)
{
	struct nvme_sqe sqe;

	nvme_cmd_rw(&sqe, false, nsid, slba, len / 4096);
	return tw_admin(w, &sqe, data, len, NULL);
}

static void answer_r2t(struct t_wire *w, const struct nvme_sqe *sqe,
		       const union pdu_hdr *hdr, const uint8_t *data)
{
	uint32_t left = hdr->r2t.r2tl, off = hdr->r2t.r2to;

	assert_int_equal(hdr->r2t.cccid, sqe->cid);
	while (left) {
		uint32_t n = MIN(left, w->icresp.max);
		struct pdu_data pdu = {
			.ch = {.type = PDU_H2C_DATA,
			       .flags = n == left ? PDU_F_LAST : 0},
			.cccid = sqe->cid,
			.ttag = hdr->r2t.ttag,
			.datao = off,
			.datal = n,
		};

		tw_send_pdu(w, &pdu.ch, data + off, n);
		off += n;
		left -= n;
	}
}

uint16_t tw_data_out(struct t_wire *w, struct nvme_sqe *sqe, const void *data,
		     uint32_t len, bool in_capsule)
{
	union pdu_hdr hdr;

	if (in_capsule) {
		tw_send_cmd(w, sqe, data, len);
	} else {
		sqe->sgl = (struct nvme_sgl){.len = len,
					     .type = NVME_SGL_TRANSPORT};
		tw_send_cmd(w, sqe, NULL, 0);
	}
	for (;;) {
		tw_recv(w, &hdr, NULL, 0);
		if (hdr.ch.type == PDU_CAPSULE_RESP)
			break;
		assert_int_equal(hdr.ch.type, PDU_R2T);
		answer_r2t(w, sqe, &hdr, data);
	}
	assert_int_equal(hdr.resp.cqe.cid, sqe->cid);
	return hdr.resp.cqe.status >> 1;
}

uint16_t tw_write(struct t_wire *w, uint32_t nsid, uint64_t slba,
		  const void *data, uint32_t len, bool in_capsule)
{
	struct nvme_sqe sqe;

	nvme_cmd_rw(&sqe, true, nsid, slba, len / 4096);
	return tw_data_out(w, &sqe, data, len, in_capsule);
}
