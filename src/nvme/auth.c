/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of DH-HMAC-CHAP.  Pure functions, any thread.  Invariant: nothing of
 * a message is read beyond the n bytes given.
 */
#include "nvme/auth.h"

#include <string.h>

#define GROUPS_AT 30 /* in idlist */

struct head {
	uint8_t type, id;
	uint16_t rsvd;
	uint16_t t_id;
};

struct wire_negotiate {
	struct head head;
	uint8_t sc_c;
	uint8_t napd; /* descriptors that follow */
};
static_assert(sizeof(struct wire_negotiate) == 8, "AUTH_Negotiate");

struct wire_protocol {
	uint8_t authid, rsvd;
	uint8_t halen, dhlen;
	uint8_t idlist[60];
};
static_assert(sizeof(struct wire_protocol) == 64, "protocol descriptor");

struct wire_challenge { /* then cval[hl], dhv[dhv_len] */
	struct head head;
	uint8_t hl, rsvd7;
	uint8_t hash, group;
	uint16_t dhv_len;
	uint32_t seqnum;
};
static_assert(sizeof(struct wire_challenge) == 16, "DH-HMAC-CHAP_Challenge");

struct wire_reply { /* then rval[hl], cval[hl], dhv[dhv_len] */
	struct head head;
	uint8_t hl, rsvd7;
	uint8_t cvalid, rsvd9;
	uint16_t dhv_len;
	uint32_t seqnum;
};
static_assert(sizeof(struct wire_reply) == 16, "DH-HMAC-CHAP_Reply");

struct wire_success { /* then rval[hl] in Success1 */
	struct head head;
	uint8_t hl, rsvd7;
	uint8_t rvalid, rsvd9[7];
};
static_assert(sizeof(struct wire_success) == 16, "DH-HMAC-CHAP_Success1");

struct wire_failure {
	struct head head;
	uint8_t reason, why;
};
static_assert(sizeof(struct wire_failure) == 8, "AUTH_Failure1");

const char *auth_why_text(unsigned why)
{
	static const char *const text[] = {
		[AUTH_OK] = "no reason given",
		[AUTH_WHY_FAILED] = "authentication failed",
		[AUTH_WHY_NOT_USABLE] = "authentication protocol not usable",
		[AUTH_WHY_CONCAT] = "secure channel concatenation mismatch",
		[AUTH_WHY_HASH] = "hash function not usable",
		[AUTH_WHY_GROUP] = "Diffie-Hellman group not usable",
		[AUTH_WHY_PAYLOAD] = "incorrect payload",
		[AUTH_WHY_MESSAGE] = "incorrect protocol message",
	};

	return why < ARRAY_SIZE(text) ? text[why] : "unknown reason";
}

void nvme_cmd_auth(struct nvme_sqe *sqe, bool is_send, uint32_t len)
{
	*sqe = (struct nvme_sqe){
		.opcode = NVME_OP_FABRICS,
		.flags = NVME_SQE_PSDT_SGL,
		.nsid = is_send ? NVME_FCTYPE_AUTH_SEND : NVME_FCTYPE_AUTH_RECV,
		.cdw10 = (uint32_t)AUTH_SECP_NVME << 24 | AUTH_SPSP << 8,
		.cdw11 = len,
	};
}

bool auth_is_sqe_ok(const struct nvme_sqe *sqe)
{
	return sqe->cdw10 >> 8 == (AUTH_SECP_NVME << 16 | AUTH_SPSP);
}

int auth_peek(const void *msg, size_t n, uint16_t *t_id)
{
	struct head head;

	if (n < sizeof(head))
		return -1;
	memcpy(&head, msg, sizeof(head));
	*t_id = head.t_id;
	return head.type << 8 | head.id;
}

static struct head head_of(enum auth_kind kind, uint16_t t_id)
{
	return (struct head){
		.type = (uint8_t)(kind >> 8),
		.id = (uint8_t)kind,
		.t_id = t_id,
	};
}

/* Copies the fixed part out; AUTH_OK when it is there and of that kind. */
static enum auth_why take(const void *msg, size_t n, enum auth_kind kind,
			  void *out, size_t len)
{
	uint16_t t_id;

	if (auth_peek(msg, n, &t_id) != (int)kind)
		return AUTH_WHY_MESSAGE;
	if (n < len)
		return AUTH_WHY_PAYLOAD;
	memcpy(out, msg, len);
	return AUTH_OK;
}

/* p NULL adds zeros. */
static size_t put(uint8_t *out, size_t at, const void *p, size_t n)
{
	ASSERT(at <= AUTH_MSG_MAX && n <= AUTH_MSG_MAX - at);
	if (p)
		memcpy(out + at, p, n);
	else
		memset(out + at, 0, n);
	return at + n;
}

/* --- AUTH_Negotiate --- */

size_t auth_negotiate_encode(const struct auth_negotiate *in,
			     uint8_t out[AUTH_MSG_MAX])
{
	struct wire_negotiate msg = {
		.head = head_of(AUTH_NEGOTIATE, in->t_id),
		.sc_c = in->sc_c,
		.napd = 1,
	};
	struct wire_protocol proto = {
		.authid = AUTH_ID_DHCHAP,
		.halen = in->hashes.count,
		.dhlen = in->groups.count,
	};

	ASSERT(in->hashes.count <= AUTH_IDS_MAX &&
	       in->groups.count <= AUTH_IDS_MAX);
	memcpy(proto.idlist, in->hashes.ids, in->hashes.count);
	memcpy(proto.idlist + GROUPS_AT, in->groups.ids, in->groups.count);
	return put(out, put(out, 0, &msg, sizeof(msg)), &proto, sizeof(proto));
}

static void take_ids(struct auth_ids *out, const uint8_t *ids, uint8_t count)
{
	out->count = count;
	memcpy(out->ids, ids, count);
}

enum auth_why auth_negotiate_decode(const void *msg, size_t n,
				    struct auth_negotiate *out)
{
	struct wire_negotiate head;
	struct wire_protocol proto = {0};
	enum auth_why why = take(msg, n, AUTH_NEGOTIATE, &head, sizeof(head));
	const uint8_t *at = (const uint8_t *)msg + sizeof(head);

	if (why)
		return why;
	*out = (struct auth_negotiate){.t_id = head.head.t_id,
				       .sc_c = head.sc_c};
	if (n - sizeof(head) < head.napd * sizeof(proto))
		return AUTH_WHY_PAYLOAD;
	for (unsigned i = 0; i < head.napd; i++, at += sizeof(proto)) {
		memcpy(&proto, at, sizeof(proto));
		if (proto.authid == AUTH_ID_DHCHAP)
			break;
	}
	if (proto.authid != AUTH_ID_DHCHAP)
		return AUTH_WHY_NOT_USABLE;
	if (!proto.halen || proto.halen > AUTH_IDS_MAX || !proto.dhlen ||
	    proto.dhlen > AUTH_IDS_MAX)
		return AUTH_WHY_PAYLOAD;
	take_ids(&out->hashes, proto.idlist, proto.halen);
	take_ids(&out->groups, proto.idlist + GROUPS_AT, proto.dhlen);
	return AUTH_OK;
}

/* --- DH-HMAC-CHAP_Challenge --- */

size_t auth_challenge_encode(const struct auth_challenge *in,
			     uint8_t out[AUTH_MSG_MAX])
{
	struct wire_challenge msg = {
		.head = head_of(AUTH_CHALLENGE, in->t_id),
		.hl = in->hl,
		.hash = in->hash,
		.group = in->group,
		.dhv_len = in->dhv_len,
		.seqnum = in->seqnum,
	};
	size_t n = put(out, 0, &msg, sizeof(msg));

	n = put(out, n, in->cval, in->hl);
	return put(out, n, in->dhv, in->dhv_len);
}

static bool is_sized(uint8_t hl, uint16_t dhv_len, size_t values, size_t left)
{
	return hl && hl <= AUTH_HASH_MAX && dhv_len <= AUTH_DHV_MAX &&
	       left >= values * hl + dhv_len;
}

enum auth_why auth_challenge_decode(const void *msg, size_t n,
				    struct auth_challenge *out)
{
	struct wire_challenge head;
	const uint8_t *rest = (const uint8_t *)msg + sizeof(head);
	enum auth_why why = take(msg, n, AUTH_CHALLENGE, &head, sizeof(head));

	if (why)
		return why;
	if (!is_sized(head.hl, head.dhv_len, 1, n - sizeof(head)))
		return AUTH_WHY_PAYLOAD;
	*out = (struct auth_challenge){
		.t_id = head.head.t_id,
		.hash = head.hash,
		.group = head.group,
		.hl = head.hl,
		.dhv_len = head.dhv_len,
		.seqnum = head.seqnum,
		.cval = rest,
		.dhv = head.dhv_len ? rest + head.hl : NULL,
	};
	return AUTH_OK;
}

/* --- DH-HMAC-CHAP_Reply --- */

size_t auth_reply_encode(const struct auth_reply *in, uint8_t out[AUTH_MSG_MAX])
{
	struct wire_reply msg = {
		.head = head_of(AUTH_REPLY, in->t_id),
		.hl = in->hl,
		.cvalid = in->cval != NULL,
		.dhv_len = in->dhv_len,
		.seqnum = in->seqnum,
	};
	size_t n = put(out, 0, &msg, sizeof(msg));

	n = put(out, n, in->rval, in->hl);
	n = put(out, n, in->cval, in->hl); /* there also when not valid */
	return put(out, n, in->dhv, in->dhv_len);
}

enum auth_why auth_reply_decode(const void *msg, size_t n,
				struct auth_reply *out)
{
	struct wire_reply head;
	const uint8_t *rest = (const uint8_t *)msg + sizeof(head);
	enum auth_why why = take(msg, n, AUTH_REPLY, &head, sizeof(head));

	if (why)
		return why;
	if (head.cvalid > 1 ||
	    !is_sized(head.hl, head.dhv_len, 2, n - sizeof(head)))
		return AUTH_WHY_PAYLOAD;
	*out = (struct auth_reply){
		.t_id = head.head.t_id,
		.hl = head.hl,
		.dhv_len = head.dhv_len,
		.seqnum = head.seqnum,
		.rval = rest,
		.cval = head.cvalid ? rest + head.hl : NULL,
		.dhv = head.dhv_len ? rest + 2 * head.hl : NULL,
	};
	return AUTH_OK;
}

/* --- Success1, Success2, Failure1, Failure2 --- */

size_t auth_success1_encode(const struct auth_success1 *in,
			    uint8_t out[AUTH_MSG_MAX])
{
	struct wire_success msg = {
		.head = head_of(AUTH_SUCCESS1, in->t_id),
		.hl = in->hl,
		.rvalid = in->rval != NULL,
	};

	return put(out, put(out, 0, &msg, sizeof(msg)), in->rval, in->hl);
}

enum auth_why auth_success1_decode(const void *msg, size_t n,
				   struct auth_success1 *out)
{
	struct wire_success head;
	enum auth_why why = take(msg, n, AUTH_SUCCESS1, &head, sizeof(head));

	if (why)
		return why;
	if (head.rvalid > 1 ||
	    !is_sized(head.hl, 0, head.rvalid, n - sizeof(head)))
		return AUTH_WHY_PAYLOAD;
	*out = (struct auth_success1){.t_id = head.head.t_id, .hl = head.hl};
	if (head.rvalid)
		out->rval = (const uint8_t *)msg + sizeof(head);
	return AUTH_OK;
}

size_t auth_success2_encode(uint16_t t_id, uint8_t out[AUTH_MSG_MAX])
{
	struct wire_success msg = {.head = head_of(AUTH_SUCCESS2, t_id)};

	return put(out, 0, &msg, sizeof(msg));
}

enum auth_why auth_success2_decode(const void *msg, size_t n)
{
	struct wire_success head;

	return take(msg, n, AUTH_SUCCESS2, &head, sizeof(head));
}

size_t auth_failure_encode(enum auth_kind kind, uint16_t t_id,
			   enum auth_why why, uint8_t out[AUTH_MSG_MAX])
{
	struct wire_failure msg = {
		.head = head_of(kind, t_id),
		.reason = 1, /* the only one: authentication failure */
		.why = (uint8_t)why,
	};

	return put(out, 0, &msg, sizeof(msg));
}

void auth_failure_decode(const void *msg, size_t n, struct auth_failure *out)
{
	struct wire_failure head = {.why = AUTH_WHY_FAILED};

	memcpy(&head, msg, MIN(n, sizeof(head)));
	*out = (struct auth_failure){
		.t_id = head.head.t_id,
		.reason = head.reason,
		.why = head.why,
	};
}
