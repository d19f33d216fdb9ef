/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DH-HMAC-CHAP of a connection.  The shard takes the fabrics commands; what
 * they say is judged on the control loop, where the keys are and where
 * Diffie-Hellman holds up no I/O.  While one Authentication Send is being
 * judged (req is set) all of this is the control loop's, else the shard's.
 */
#ifndef TARGET_AUTH_H
#define TARGET_AUTH_H

#include "crypt/dhchap.h"
#include "nvme/auth.h"
#include "target/conn.h"

enum auth_state {
	AUTH_IDLE,	 /* no transaction */
	AUTH_CHALLENGED, /* out is a challenge, or the host has got it */
	AUTH_ANSWERED,	 /* out is Success1, the last message */
	AUTH_PROVING,	 /* out is Success1, or the host judges our response */
	AUTH_PASSED,	 /* Success2 came in */
	AUTH_FAILED,	 /* out is Failure1; or the host has failed us */
};

/* Owner: the connection, from its first Authentication Send. */
struct tgt_auth {
	struct tgt_conn *conn;
	struct mbox_msg msg;
	struct tgt_req *req; /* being judged */
	enum auth_state state;
	uint16_t t_id;
	uint8_t hash, group;
	uint8_t begun; /* transactions since one has passed */
	uint32_t seqnum;
	uint64_t until_ns; /* a reply that comes later is not taken */
	uint8_t challenge[DHCHAP_HASH_MAX];
	struct dhchap_dh *dh;
	uint8_t out[AUTH_MSG_MAX]; /* for the next Authentication Receive */
	size_t out_len;		   /* 0 = nothing */
};

/* Control loop: takes the message in auth->req on to the next state. */
void auth_judge(struct tgt_auth *auth);

/* Control loop: must this host authenticate? */
bool auth_is_needed(const struct tgt_ctrl *ctrl);

/* --- shard --- */
void auth_send_start(struct tgt_req *req, uint32_t icd_len);
void auth_send_ready(struct tgt_req *req);
void auth_recv_start(struct tgt_req *req);
void auth_destroy(struct tgt_auth *auth); /* NULL is fine */

#endif
