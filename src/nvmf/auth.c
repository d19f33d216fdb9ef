/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DH-HMAC-CHAP of a host (NVMe Base 2.0 section 8.13.5) on one connection,
 * after its Connect; the connection's thread.
 *
 * Invariant: done() runs only when the target has accepted our response and,
 * with a controller key, has given the right one itself.  Everything else ends
 * the connection: there is no way to go on without.
 */
#include "nvmf/nt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "crypt/dhchap.h"
#include "nvme/auth.h"

enum step { /* the message under way */
	STEP_NEGOTIATE,
	STEP_CHALLENGE,
	STEP_REPLY,
	STEP_RESULT,
	STEP_SUCCESS2,
	STEP_FAILURE2,
};

/* Owner: the connection, from nt_auth_start() to its end or success. */
struct nt_auth {
	struct nt_conn *conn;
	const struct nvmf_opts *opts;
	void (*done)(struct nt_conn *conn);
	enum step step;
	bool is_pending; /* waits for a slot */
	uint16_t t_id;
	uint8_t hl;		       /* agreed on: bytes of a hash */
	uint8_t want[DHCHAP_HASH_MAX]; /* the controller's response */
	struct err err;		       /* told after FAILURE2 */
	uint8_t msg[AUTH_MSG_MAX];
	size_t len;
	struct iovec iov;
};

static const char *step_text(enum step step)
{
	static const char *const text[] = {
		[STEP_NEGOTIATE] = "negotiation",
		[STEP_CHALLENGE] = "challenge",
		[STEP_REPLY] = "reply",
		[STEP_RESULT] = "result",
		[STEP_SUCCESS2] = "confirmation",
		[STEP_FAILURE2] = "refusal",
	};

	return text[step];
}

void nt_auth_destroy(struct nt_auth *auth)
{
	if (!auth)
		return;
	secret_clear(auth, sizeof(*auth));
	free(auth);
}

/* Who lets whom in is a question of names: both are said, and cut so that the
 * reason still fits. */
static void fail(struct nt_auth *auth, const char *why)
{
	nt_fail(auth->conn, -EACCES,
		"subsystem '%.60s' at %s, host '%.80s': %s", auth->opts->subnqn,
		auth->conn->peer, auth->opts->host.nqn, why);
}

static void cmd_done(struct nt_cmd *cmd);

void nt_auth_pump(struct nt_auth *auth)
{
	struct nt_conn *conn = auth->conn;
	bool is_send =
		auth->step != STEP_CHALLENGE && auth->step != STEP_RESULT;
	struct nt_cmd *cmd = auth->is_pending ? nt_cmd_take(conn) : NULL;

	if (!cmd)
		return;
	auth->is_pending = false;
	if (!is_send)
		auth->len = sizeof(auth->msg);
	nvme_cmd_auth(&cmd->sqe, is_send, (uint32_t)auth->len);
	auth->iov = (struct iovec){auth->msg, auth->len};
	cmd->dir = is_send ? NT_WRITE : NT_READ;
	cmd->is_in_capsule = is_send;
	cmd->bytes = (uint32_t)auth->len;
	cmd->data = (struct nt_cursor){.iov = &auth->iov, .cnt = 1};
	cmd->done = cmd_done;
	cmd->owner = auth;
	cmd->deadline_ns = loop_now_ns(conn->loop) +
			   auth->opts->auth_timeout_ms * NS_PER_MS;
	nt_cmd_submit(conn, cmd);
}

static void go(struct nt_auth *auth, enum step step)
{
	auth->step = step;
	auth->is_pending = true;
	nt_auth_pump(auth);
}

/* Tells the target that we don't trust it, then ends. */
static void refuse(struct nt_auth *auth, enum auth_why why, const char *text)
{
	err_set(&auth->err, -EACCES, "%s", text);
	auth->len =
		auth_failure_encode(AUTH_FAILURE2, auth->t_id, why, auth->msg);
	go(auth, STEP_FAILURE2);
}

static void negotiate(struct nt_auth *auth)
{
	/* In order of preference, should the target look at that. */
	const struct auth_negotiate msg = {
		.t_id = auth->t_id,
		.hashes = {3, {DHCHAP_SHA256, DHCHAP_SHA384, DHCHAP_SHA512}},
		.groups = {6,
			   {DHCHAP_FFDHE2048, DHCHAP_FFDHE3072,
			    DHCHAP_FFDHE4096, DHCHAP_FFDHE6144,
			    DHCHAP_FFDHE8192, DHCHAP_GROUP_NULL}},
	};

	auth->len = auth_negotiate_encode(&msg, auth->msg);
	go(auth, STEP_NEGOTIATE);
}

/* --- what the target says --- */

/* The target's AUTH_Failure1. */
static void got_failure(struct nt_auth *auth)
{
	struct auth_failure msg;

	auth_failure_decode(auth->msg, auth->len, &msg);
	nt_fail(auth->conn, -EACCES,
		"subsystem '%.60s' at %s refused this host, '%.80s' (%s): "
		"check the key of MC_NVME_DHCHAP_KEY_FILE",
		auth->opts->subnqn, auth->conn->peer, auth->opts->host.nqn,
		auth_why_text(msg.why));
}

static enum auth_why check_challenge(struct nt_auth *auth,
				     const struct auth_challenge *msg)
{
	if (msg->t_id != auth->t_id)
		return AUTH_WHY_PAYLOAD;
	if (!dhchap_hash_len(msg->hash))
		return AUTH_WHY_HASH;
	if (!dhchap_group_name(msg->group))
		return AUTH_WHY_GROUP;
	if (msg->hl != dhchap_hash_len(msg->hash) ||
	    msg->dhv_len != dhchap_group_len(msg->group))
		return AUTH_WHY_PAYLOAD;
	return AUTH_OK;
}

/* Our half of Diffie-Hellman: fills both values; 0 or -errno. */
static int exchange(const struct auth_challenge *msg, uint8_t *public,
		    uint8_t *secret)
{
	struct dhchap_dh *dh = NULL;
	int ret = dhchap_dh_create(msg->group, &dh);

	if (ret == 0)
		ret = dhchap_dh_public(dh, public);
	if (ret == 0)
		ret = dhchap_dh_secret(dh, msg->dhv, msg->dhv_len, secret);
	dhchap_dh_destroy(dh);
	return ret;
}

/* What we answer, and what the controller is to answer to our challenge. */
static int respond(struct nt_auth *auth, const struct auth_challenge *msg,
		   struct auth_reply *reply, const uint8_t *secret)
{
	struct dhchap_response in = {
		.key = &auth->opts->dhchap_key,
		.hash = msg->hash,
		.challenge = msg->cval,
		.secret = msg->dhv_len ? secret : NULL,
		.secret_len = msg->dhv_len,
		.seqnum = msg->seqnum,
		.t_id = auth->t_id,
		.hostnqn = auth->opts->host.nqn,
		.subnqn = auth->opts->subnqn,
	};
	uint8_t response[DHCHAP_HASH_MAX], challenge[DHCHAP_HASH_MAX];
	int ret = dhchap_respond(&in, response);

	if (ret == 0 && auth->opts->dhchap_ctrl_key.len) {
		ret = dhchap_random(challenge, sizeof(challenge));
		if (ret == 0)
			ret = dhchap_random(&reply->seqnum,
					    sizeof(reply->seqnum));
		if (ret)
			return ret;
		reply->seqnum |= !reply->seqnum; /* 0 means none */
		reply->cval = challenge;
		in.key = &auth->opts->dhchap_ctrl_key;
		in.is_controller = true;
		in.challenge = challenge;
		in.seqnum = reply->seqnum;
		ret = dhchap_respond(&in, auth->want);
	}
	if (ret)
		return ret;
	reply->rval = response;
	auth->len = auth_reply_encode(reply, auth->msg);
	return 0;
}

static void got_challenge(struct nt_auth *auth)
{
	uint8_t public[DHCHAP_GROUP_MAX], secret[DHCHAP_GROUP_MAX];
	struct auth_challenge msg;
	enum auth_why why = auth_challenge_decode(auth->msg, auth->len, &msg);
	struct auth_reply reply = {.t_id = auth->t_id};
	int ret = 0;

	if (!why)
		why = check_challenge(auth, &msg);
	if (!why && msg.dhv_len)
		ret = exchange(&msg, public, secret);
	if (ret == -EINVAL)
		why = AUTH_WHY_PAYLOAD;
	if (why) {
		refuse(auth, why, "its authentication challenge is not valid");
		return;
	}
	auth->hl = reply.hl = msg.hl;
	reply.dhv_len = msg.dhv_len;
	reply.dhv = public;
	if (ret == 0)
		ret = respond(auth, &msg, &reply, secret);
	secret_clear(secret, sizeof(secret));
	if (ret)
		fail(auth, "the cryptographic library failed");
	else
		go(auth, STEP_REPLY);
}

static void finish(struct nt_auth *auth)
{
	struct nt_conn *conn = auth->conn;
	void (*done)(struct nt_conn * conn) = auth->done;

	conn->auth = NULL;
	nt_auth_destroy(auth);
	done(conn);
}

static void got_result(struct nt_auth *auth)
{
	bool is_mutual = auth->opts->dhchap_ctrl_key.len;
	struct auth_success1 msg;
	enum auth_why why = auth_success1_decode(auth->msg, auth->len, &msg);

	if (!why && (msg.t_id != auth->t_id || msg.hl != auth->hl))
		why = AUTH_WHY_PAYLOAD;
	if (why) {
		refuse(auth, why,
		       "its answer to the authentication is not "
		       "valid");
	} else if (!is_mutual) {
		finish(auth);
	} else if (!msg.rval ||
		   !dhchap_is_equal(msg.rval, auth->want, auth->hl)) {
		refuse(auth, AUTH_WHY_FAILED,
		       "it did not prove that it has the key of "
		       "MC_NVME_DHCHAP_CTRL_KEY_FILE");
	} else {
		auth->len = auth_success2_encode(auth->t_id, auth->msg);
		go(auth, STEP_SUCCESS2);
	}
}

static void cmd_failed(struct nt_auth *auth, uint16_t sc)
{
	if ((sc & NVME_SC_MASK) == NVME_SC_BAD_OPCODE)
		fail(auth, "it does not know authentication: give the target "
			   "keys, or unset MC_NVME_DHCHAP_KEY_FILE");
	else
		nt_fail(auth->conn, nvme_sc_errno(sc),
			"subsystem '%.100s' at %s: authentication, %s: %s",
			auth->opts->subnqn, auth->conn->peer,
			step_text(auth->step), nvme_sc_text(sc));
}

static void cmd_done(struct nt_cmd *cmd)
{
	struct nt_auth *auth = cmd->owner;
	uint16_t t_id;

	if (auth->conn->state != NT_READY)
		return; /* the connection says why */
	if (auth->step == STEP_FAILURE2) {
		fail(auth, auth->err.text);
	} else if (cmd->sc != NVME_SC_OK) {
		cmd_failed(auth, cmd->sc);
	} else if (cmd->dir == NT_READ &&
		   auth_peek(auth->msg, auth->len, &t_id) == AUTH_FAILURE1) {
		got_failure(auth);
	} else if (auth->step == STEP_NEGOTIATE) {
		go(auth, STEP_CHALLENGE);
	} else if (auth->step == STEP_CHALLENGE) {
		got_challenge(auth);
	} else if (auth->step == STEP_REPLY) {
		go(auth, STEP_RESULT);
	} else if (auth->step == STEP_RESULT) {
		got_result(auth);
	} else {
		finish(auth);
	}
}

void nt_auth_start(struct nt_conn *conn, const struct nvmf_opts *opts,
		   uint32_t dw0, void (*done)(struct nt_conn *conn))
{
	bool is_asked = dw0 & (AUTH_REQ_ATR | AUTH_REQ_ASCR);
	bool is_discovery = strcmp(opts->subnqn, NVME_DISC_NQN) == 0;
	struct nt_auth *auth;

	ASSERT(!conn->auth);
	/* Discovery services ask for no keys, and those that do say so. */
	if (!is_asked && (is_discovery || !opts->dhchap_key.len)) {
		done(conn);
		return;
	}
	auth = calloc(1, sizeof(*auth));
	if (!auth || dhchap_random(&auth->t_id, sizeof(auth->t_id))) {
		free(auth);
		nt_fail(conn, -ENOMEM, "no memory for the authentication");
		return;
	}
	auth->conn = conn;
	auth->opts = opts;
	auth->done = done;
	conn->auth = auth;
	if (dw0 & AUTH_REQ_ASCR)
		fail(auth, "it asks for a TLS channel made of the "
			   "authentication, which is not supported");
	else if (!opts->dhchap_key.len)
		fail(auth, "it asks for authentication: put this host's key "
			   "into a file and set MC_NVME_DHCHAP_KEY_FILE to it");
	else
		negotiate(auth);
}
