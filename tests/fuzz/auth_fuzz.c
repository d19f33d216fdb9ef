/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DH-HMAC-CHAP of both ends, with somebody on the wire between them.  First
 * byte: bit 0 the host wants a proof, too; bit 1 its key is not the target's;
 * bit 2 the target's own is not what the host knows; bit 3 a DH group.  Then,
 * for one message after the other, what happens to it (enum deed); those
 * behind the end pass.  Stands in for the connections of both ends.  Promise:
 * no memory error; an end after a few commands; nobody passes who does not
 * know the key; and when nothing is touched, all do who know it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/sim.h"
#include "nvmf/nt.h"
#include "target/auth.h"

#define NQN	     "nqn.2026-11.io.mooncake:fuzz"
#define COMMANDS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum deed {
	PASS,
	FLIP,	 /* count, then per byte: where (2 bytes), what */
	CUT,	 /* how many bytes are left (2) */
	REPLACE, /* length (2), bytes; the transaction stays */
	FORGE,	 /* the same, all of it */
	STATUS,	 /* the command ends with that status (2) instead */
	DEEDS
};

static struct {
	struct loop *loop;
	struct tgt *tgt;
	struct tgt_subsys *ss;
} world;

static struct {
	const uint8_t *data;
	size_t size, at;
	bool is_touched;
	struct nvmf_opts opts;
	struct nt_conn host;
	struct nt_cmd cmd, *sent; /* sent: to be answered */
	bool is_host_done, is_host_failed, is_target_passed;
	struct tgt_ctrl ctrl;
	struct tgt_conn conn;
	struct tgt_auth auth;
} f;

/* --- the host's connection --- */

struct nt_cmd *nt_cmd_take(struct nt_conn *conn)
{
	ASSERT(!f.sent);
	memset(&f.cmd, 0, sizeof(f.cmd));
	return &f.cmd;
}

void nt_cmd_submit(struct nt_conn *conn, struct nt_cmd *cmd)
{
	f.sent = cmd;
}

void nt_fail(struct nt_conn *conn, int code, const char *fmt, ...)
{
	ASSERT(code < 0);
	f.is_host_failed = true;
	conn->state = NT_CLOSING;
}

static void host_done(struct nt_conn *conn)
{
	f.is_host_done = true;
}

/* --- the wire --- */

static unsigned take(unsigned bytes)
{
	unsigned x = 0;

	for (unsigned i = 0; i < bytes && f.at < f.size; i++)
		x |= (unsigned)f.data[f.at++] << 8 * i;
	return x;
}

static void take_bytes(uint8_t *p, size_t n)
{
	size_t have = MIN(n, f.size - f.at);

	memset(p, 0, n);
	memcpy(p, f.data + f.at, have);
	f.at += have;
}

/* Changes the n bytes of p, which has room for AUTH_MSG_MAX; their number is
 * returned.  *sc: what becomes of the command. */
static size_t meddle(uint8_t *p, size_t n, uint16_t *sc)
{
	uint8_t t_id[2];
	unsigned deed = take(1) % DEEDS;

	f.is_touched |= deed != PASS;
	memcpy(t_id, p + 4, sizeof(t_id));
	if (deed == FLIP) {
		for (unsigned i = take(1) % 8; i; i--) {
			unsigned at = take(2) % n;

			p[at] ^= (uint8_t)take(1);
		}
	} else if (deed == CUT) {
		n = take(2) % (n + 1);
	} else if (deed == REPLACE || deed == FORGE) {
		n = take(2) % (AUTH_MSG_MAX + 1);
		take_bytes(p, n);
		if (deed == REPLACE && n >= 6)
			memcpy(p + 4, t_id, sizeof(t_id));
	} else if (deed == STATUS) {
		*sc = (uint16_t)take(2);
		if (!(*sc & NVME_SC_MASK)) /* as the connection does */
			*sc = NVME_SC_OK;
	}
	return n;
}

/* --- the target's connection --- */

static void target_passed(void)
{
	f.auth.state = AUTH_IDLE;
	f.is_target_passed = true;
}

static uint16_t target_send(const struct nt_cmd *cmd)
{
	uint8_t msg[AUTH_MSG_MAX] = {0};
	struct tgt_req req = {.len = cmd->bytes};
	uint16_t sc = NVME_SC_OK;

	ASSERT(cmd->bytes >= 6 && cmd->bytes <= sizeof(msg));
	memcpy(msg, cmd->data.iov->iov_base, cmd->bytes);
	req.len = (uint32_t)meddle(msg, cmd->bytes, &sc);
	if (f.auth.state == AUTH_FAILED || !req.len)
		return NVME_SC_CMD_SEQ_ERROR;
	if (sc)
		return sc;
	req.data = malloc(req.len);
	ASSERT(req.data);
	memcpy(req.data, msg, req.len);
	f.auth.req = &req;
	auth_judge(&f.auth);
	f.auth.req = NULL;
	free(req.data);
	ASSERT(f.auth.out_len <= sizeof(f.auth.out));
	if (f.auth.state == AUTH_PASSED)
		target_passed();
	return NVME_SC_OK;
}

static uint16_t target_recv(const struct nt_cmd *cmd)
{
	uint8_t msg[AUTH_MSG_MAX] = {0};
	uint16_t sc = NVME_SC_OK;
	size_t n;

	ASSERT(cmd->bytes == sizeof(msg));
	if (!f.auth.out_len)
		return NVME_SC_CMD_SEQ_ERROR;
	memcpy(msg, f.auth.out, f.auth.out_len);
	f.auth.out_len = 0;
	if (f.auth.state == AUTH_ANSWERED)
		target_passed();
	n = meddle(msg, sizeof(msg), &sc);
	memset(msg + n, 0, sizeof(msg) - n);
	memcpy(cmd->data.iov->iov_base, msg, sizeof(msg));
	return sc;
}

/* --- all of it --- */

static struct dhchap_key key(uint8_t seed, uint8_t hash)
{
	struct dhchap_key key = {.hash = hash, .len = 32};

	memset(key.bytes, seed, key.len);
	return key;
}

static void world_create(void)
{
	struct loop_opts lo = {.backend = IO_BACKEND_SIM, .name = "fuzz"};
	struct tgt_opts opts = {0};
	struct err err = {0};

	lo.sim = io_sim_create(1);
	ASSERT(!loop_create(&lo, &world.loop, &err));
	opts.loop = world.loop;
	ASSERT(!tgt_create(&opts, &world.tgt, &err));
	ASSERT(!tgt_subsys_add(world.tgt, &(struct tgt_subsys_opts){.nqn = NQN},
			       &world.ss, &err));
}

static void start(uint8_t how)
{
	struct tgt_keys keys = {key(1, DHCHAP_SHA256), key(2, 0)};
	struct auth_ids group = {1, {how & 8 ? DHCHAP_FFDHE2048 : 0}};

	if (!world.loop)
		world_create();
	ASSERT(!tgt_keys_set(world.tgt, NULL, NULL, &keys));
	ASSERT(!tgt_auth_set(world.tgt, NULL, &group));
	f.ctrl.tgt = f.conn.tgt = world.tgt;
	f.ctrl.ss = world.ss;
	memcpy(f.ctrl.hostnqn, NQN, sizeof(NQN));
	f.conn.ctrl = &f.ctrl;
	f.auth.conn = &f.conn;
	memcpy(f.opts.subnqn, NQN, sizeof(NQN));
	memcpy(f.opts.host.nqn, NQN, sizeof(NQN));
	f.opts.dhchap_key = how & 2 ? key(3, DHCHAP_SHA256) : keys.host;
	if (how & 1)
		f.opts.dhchap_ctrl_key = how & 4 ? key(4, 0) : keys.ctrl;
	f.host.loop = world.loop;
	f.host.state = NT_READY;
	nt_auth_start(&f.host, &f.opts, AUTH_REQ_ATR, host_done);
}

static void check(uint8_t how)
{
	bool is_mutual = how & 1, is_stranger = how & 2;
	bool is_impostor = is_mutual && how & 4;

	ASSERT(f.is_host_done != f.is_host_failed);
	ASSERT(!(is_stranger && f.is_target_passed));
	ASSERT(!(is_impostor && f.is_host_done));
	ASSERT(!(is_stranger && is_mutual && f.is_host_done));
	if (!f.is_touched) {
		ASSERT(f.is_host_done == !(is_stranger || is_impostor));
		ASSERT(f.is_target_passed == f.is_host_done);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned commands = 0;

	log_level_max = LOG_ERROR;
	if (size < 1)
		return 0;
	memset(&f, 0, sizeof(f));
	f.data = data + 1;
	f.size = size - 1;
	start(data[0]);
	while (f.sent) {
		struct nt_cmd *cmd = f.sent;

		f.sent = NULL;
		ASSERT(++commands < COMMANDS_MAX);
		cmd->sc = cmd->dir == NT_WRITE ? target_send(cmd)
					       : target_recv(cmd);
		cmd->done(cmd);
	}
	check(data[0]);
	nt_auth_destroy(f.host.auth);
	dhchap_dh_destroy(f.auth.dh);
	return 0;
}
