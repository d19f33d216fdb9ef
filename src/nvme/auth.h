/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of DH-HMAC-CHAP as bytes (NVMe Base 2.0 section 8.13.5), carried by
 * the fabrics commands Authentication Send and Receive.
 *
 *	host                                    controller
 *	AUTH_NEGOTIATE   hashes, groups  ------>
 *	                 <------  AUTH_CHALLENGE  C1, g^x
 *	AUTH_REPLY       R1, g^y, C2     ------>
 *	                 <------  AUTH_SUCCESS1   R2
 *	AUTH_SUCCESS2    (only after C2) ------>
 *
 * A decoder checks everything that can be judged without knowing what was said
 * before, and returns 0 or the reason to be told in a failure message.  Views
 * in what it fills point into the message.
 */
#ifndef NVME_AUTH_H
#define NVME_AUTH_H

#include "nvme/cmd.h"

#define AUTH_SECP_NVME 0xe9 /* NVMe protocols of the security commands */
#define AUTH_SPSP      0x0101
#define AUTH_ID_DHCHAP 1
#define AUTH_IDS_MAX   30
#define AUTH_HASH_MAX  64
#define AUTH_DHV_MAX   1024
#define AUTH_MSG_MAX   (16 + 2 * AUTH_HASH_MAX + AUTH_DHV_MAX)
/* Connect response, dword 0: authentication is required, by itself or with a
 * secure channel made of it. */
#define AUTH_REQ_ATR  (1u << 17)
#define AUTH_REQ_ASCR (1u << 18)

/* Type and id of a message in one number. */
enum auth_kind {
	AUTH_NEGOTIATE = 0x0000,
	AUTH_FAILURE2 = 0x00f0,
	AUTH_FAILURE1 = 0x00f1,
	AUTH_CHALLENGE = 0x0101,
	AUTH_REPLY = 0x0102,
	AUTH_SUCCESS1 = 0x0103,
	AUTH_SUCCESS2 = 0x0104,
};

enum auth_why { /* reason code explanation of a failure */
	AUTH_OK = 0,
	AUTH_WHY_FAILED = 1,
	AUTH_WHY_NOT_USABLE = 2, /* no common protocol */
	AUTH_WHY_CONCAT = 3,	 /* secure channel concatenation mismatch */
	AUTH_WHY_HASH = 4,	 /* no common hash */
	AUTH_WHY_GROUP = 5,	 /* no common DH group */
	AUTH_WHY_PAYLOAD = 6,	 /* incorrect payload */
	AUTH_WHY_MESSAGE = 7,	 /* incorrect protocol message */
};
const char *auth_why_text(unsigned why);

struct auth_ids { /* in the sender's order */
	uint8_t count;
	uint8_t ids[AUTH_IDS_MAX];
};

struct auth_negotiate {
	uint16_t t_id;
	uint8_t sc_c;
	struct auth_ids hashes, groups;
};

struct auth_challenge {
	uint16_t t_id;
	uint8_t hash, group;
	uint8_t hl;	  /* bytes of cval */
	uint16_t dhv_len; /* bytes of dhv, 0 for the null group */
	uint32_t seqnum;
	const uint8_t *cval, *dhv;
};

struct auth_reply {
	uint16_t t_id;
	uint8_t hl; /* bytes of rval and cval */
	uint16_t dhv_len;
	uint32_t seqnum;
	const uint8_t *rval;
	const uint8_t *cval; /* NULL: the controller need not answer */
	const uint8_t *dhv;
};

struct auth_success1 {
	uint16_t t_id;
	uint8_t hl;
	const uint8_t *rval; /* NULL: none was asked for */
};

struct auth_failure {
	uint16_t t_id;
	uint8_t reason, why;
};

/* The command around a message of len bytes, or room for one. */
void nvme_cmd_auth(struct nvme_sqe *sqe, bool is_send, uint32_t len);
/* Is it one of ours? */
bool auth_is_sqe_ok(const struct nvme_sqe *sqe);

/* Of any message: its kind and transaction; -1 when it is too short. */
int auth_peek(const void *msg, size_t n, uint16_t *t_id);

/* Each fills out and returns the length of the message. */
size_t auth_negotiate_encode(const struct auth_negotiate *in,
			     uint8_t out[AUTH_MSG_MAX]);
size_t auth_challenge_encode(const struct auth_challenge *in,
			     uint8_t out[AUTH_MSG_MAX]);
size_t auth_reply_encode(const struct auth_reply *in,
			 uint8_t out[AUTH_MSG_MAX]);
size_t auth_success1_encode(const struct auth_success1 *in,
			    uint8_t out[AUTH_MSG_MAX]);
size_t auth_success2_encode(uint16_t t_id, uint8_t out[AUTH_MSG_MAX]);
/* kind is AUTH_FAILURE1 or AUTH_FAILURE2. */
size_t auth_failure_encode(enum auth_kind kind, uint16_t t_id,
			   enum auth_why why, uint8_t out[AUTH_MSG_MAX]);

/* n bytes were received; there may be more than the message. */
enum auth_why auth_negotiate_decode(const void *msg, size_t n,
				    struct auth_negotiate *out);
enum auth_why auth_challenge_decode(const void *msg, size_t n,
				    struct auth_challenge *out);
enum auth_why auth_reply_decode(const void *msg, size_t n,
				struct auth_reply *out);
enum auth_why auth_success1_decode(const void *msg, size_t n,
				   struct auth_success1 *out);
enum auth_why auth_success2_decode(const void *msg, size_t n);
/* Either failure message; what makes no sense reads as AUTH_WHY_FAILED. */
void auth_failure_decode(const void *msg, size_t n, struct auth_failure *out);

#endif
