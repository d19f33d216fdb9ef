/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller's side of DH-HMAC-CHAP (NVMe Base 2.0 section 8.13.5): what a
 * message of the host leads to.  Control loop.  Invariant: a message that does
 * not fit the state, the transaction or the keys ends in AUTH_FAILED, and
 * nothing leads out of that.
 */
#include "target/auth.h"

#include <errno.h>

#include "base/log.h"
#include "base/time.h"
#include "target/keys.h"

#define TRANSACTION_NS (10 * NS_PER_S)
/* Each may cost us the making of a Diffie-Hellman key, on the control loop. */
#define BEGUN_MAX 4

static const struct tgt_keys *find_keys(const struct tgt_ctrl *ctrl)
{
	if (ctrl->ss->is_discovery)
		return NULL;
	return keyring_find(ctrl->tgt->keyring, ctrl->ss->nqn, ctrl->hostnqn);
}

bool auth_is_needed(const struct tgt_ctrl *ctrl)
{
	return find_keys(ctrl) != NULL;
}

/* The first of ours that the host has, too; -1 when there is none. */
static int pick(const struct auth_ids *ours, const struct auth_ids *theirs)
{
	for (unsigned i = 0; i < ours->count; i++) {
		if (memchr(theirs->ids, ours->ids[i], theirs->count))
			return ours->ids[i];
	}
	return -1;
}

static int make_challenge(struct tgt_auth *auth)
{
	uint8_t public[DHCHAP_GROUP_MAX];
	struct auth_challenge msg = {
		.t_id = auth->t_id,
		.hash = auth->hash,
		.group = auth->group,
		.hl = (uint8_t)dhchap_hash_len(auth->hash),
		.dhv_len = (uint16_t)dhchap_group_len(auth->group),
		.cval = auth->challenge,
		.dhv = public,
	};
	int ret = dhchap_random(auth->challenge, sizeof(auth->challenge));

	if (ret == 0)
		ret = dhchap_random(&auth->seqnum, sizeof(auth->seqnum));
	if (ret == 0 && msg.dhv_len)
		ret = dhchap_dh_create(auth->group, &auth->dh);
	if (ret == 0 && msg.dhv_len)
		ret = dhchap_dh_public(auth->dh, public);
	auth->seqnum |= !auth->seqnum; /* 0 means none */
	msg.seqnum = auth->seqnum;
	auth->out_len = auth_challenge_encode(&msg, auth->out);
	return ret;
}

static enum auth_why on_negotiate(struct tgt_auth *auth, const void *p,
				  size_t n)
{
	const struct tgt_ctrl *ctrl = auth->conn->ctrl;
	const struct tgt_keyring *ring = ctrl->tgt->keyring;
	struct auth_negotiate msg;
	enum auth_why why = auth_negotiate_decode(p, n, &msg);
	int hash, group;

	if (why)
		return why;
	if (auth->begun++ == BEGUN_MAX)
		return AUTH_WHY_MESSAGE;
	if (msg.sc_c)
		return AUTH_WHY_CONCAT;
	if (!find_keys(ctrl))
		return AUTH_WHY_FAILED;
	hash = pick(&ring->hashes, &msg.hashes);
	group = pick(&ring->groups, &msg.groups);
	if (hash < 0)
		return AUTH_WHY_HASH;
	if (group < 0)
		return AUTH_WHY_GROUP;
	dhchap_dh_destroy(TAKE(auth->dh)); /* of a transaction given up */
	auth->t_id = msg.t_id;
	auth->hash = (uint8_t)hash;
	auth->group = (uint8_t)group;
	auth->until_ns = loop_now_ns(ctrl->tgt->opts.loop) + TRANSACTION_NS;
	auth->state = AUTH_CHALLENGED;
	return make_challenge(auth) ? AUTH_WHY_FAILED : AUTH_OK;
}

/* Checks R1 and, when asked to, makes R2. */
static enum auth_why check_reply(struct tgt_auth *auth,
				 const struct auth_reply *msg,
				 const uint8_t *secret,
				 uint8_t response[DHCHAP_HASH_MAX])
{
	const struct tgt_ctrl *ctrl = auth->conn->ctrl;
	const struct tgt_keys *keys = find_keys(ctrl);
	struct dhchap_response in = {
		.hash = auth->hash,
		.challenge = auth->challenge,
		.secret = msg->dhv_len ? secret : NULL,
		.secret_len = msg->dhv_len,
		.seqnum = auth->seqnum,
		.t_id = auth->t_id,
		.hostnqn = ctrl->hostnqn,
		.subnqn = ctrl->ss->nqn,
	};

	if (!keys)
		return AUTH_WHY_FAILED;
	in.key = &keys->host;
	if (dhchap_respond(&in, response) ||
	    !dhchap_is_equal(response, msg->rval, msg->hl))
		return AUTH_WHY_FAILED;
	if (!msg->cval)
		return AUTH_OK;
	/* One that sends our challenge back wants us to answer it for him. */
	if (!keys->ctrl.len ||
	    dhchap_is_equal(msg->cval, auth->challenge, msg->hl))
		return AUTH_WHY_FAILED;
	in.key = &keys->ctrl;
	in.is_controller = true;
	in.challenge = msg->cval;
	in.seqnum = msg->seqnum;
	return dhchap_respond(&in, response) ? AUTH_WHY_FAILED : AUTH_OK;
}

static enum auth_why on_reply(struct tgt_auth *auth, const void *p, size_t n)
{
	uint64_t now = loop_now_ns(auth->conn->tgt->opts.loop);
	uint8_t secret[DHCHAP_GROUP_MAX], response[DHCHAP_HASH_MAX];
	struct auth_success1 success = {.t_id = auth->t_id};
	struct auth_reply msg;
	enum auth_why why = auth_reply_decode(p, n, &msg);

	/* out_len: the challenge was not even asked for */
	if (auth->state != AUTH_CHALLENGED || auth->out_len ||
	    now > auth->until_ns)
		return AUTH_WHY_MESSAGE;
	if (why)
		return why;
	if (msg.t_id != auth->t_id || msg.hl != dhchap_hash_len(auth->hash) ||
	    msg.dhv_len != dhchap_group_len(auth->group))
		return AUTH_WHY_PAYLOAD;
	if (auth->dh &&
	    dhchap_dh_secret(auth->dh, msg.dhv, msg.dhv_len, secret))
		return AUTH_WHY_PAYLOAD;
	dhchap_dh_destroy(TAKE(auth->dh));
	why = check_reply(auth, &msg, secret, response);
	secret_clear(secret, sizeof(secret));
	if (why)
		return why;
	success.hl = msg.hl;
	success.rval = msg.cval ? response : NULL;
	auth->out_len = auth_success1_encode(&success, auth->out);
	auth->state = msg.cval ? AUTH_PROVING : AUTH_ANSWERED;
	return AUTH_OK;
}

static enum auth_why on_success2(struct tgt_auth *auth, const void *p, size_t n)
{
	if (auth->state != AUTH_PROVING || auth->out_len)
		return AUTH_WHY_MESSAGE;
	auth->state = AUTH_PASSED;
	return auth_success2_decode(p, n);
}

static void say_failed(struct tgt_auth *auth, enum auth_why why)
{
	struct tgt_ctrl *ctrl = auth->conn->ctrl;
	uint32_t held_back;

	if (log_rate_take(&ctrl->tgt->auth_rate,
			  loop_now_ns(ctrl->tgt->opts.loop), &held_back))
		log_warn("host not authenticated",
			 "host=%s subnqn=%s qid=%u reason=\"%s\" held_back=%u",
			 ctrl->hostnqn, ctrl->ss->nqn, auth->conn->qid,
			 find_keys(ctrl) ? auth_why_text(why)
					 : "no key for this host",
			 held_back);
}

void auth_judge(struct tgt_auth *auth)
{
	const void *p = auth->req->data;
	size_t n = auth->req->len;
	uint16_t t_id = 0;
	int kind = auth_peek(p, n, &t_id);
	bool is_failure2 = kind == AUTH_FAILURE2;
	enum auth_why why = AUTH_WHY_MESSAGE;
	struct auth_failure failure;

	if (kind != AUTH_NEGOTIATE && t_id != auth->t_id)
		why = AUTH_WHY_PAYLOAD;
	else if (kind == AUTH_NEGOTIATE)
		why = on_negotiate(auth, p, n);
	else if (kind == AUTH_REPLY)
		why = on_reply(auth, p, n);
	else if (kind == AUTH_SUCCESS2)
		why = on_success2(auth, p, n);
	if (is_failure2) {
		auth_failure_decode(p, n, &failure);
		why = failure.why ? failure.why : AUTH_WHY_FAILED;
	}
	if (!why)
		return;
	say_failed(auth, why);
	auth->state = AUTH_FAILED;
	/* A host that has failed us waits for nothing. */
	auth->out_len = is_failure2 ? 0
				    : auth_failure_encode(AUTH_FAILURE1, t_id,
							  why, auth->out);
}
