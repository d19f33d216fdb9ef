/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's keeper: what the service does so that no answer says more than
 * the journal can keep.
 *
 * An answer leaves when all that was noted before it is written (so that it
 * outlives this process); with KEEP_ALWAYS one that changes something leaves
 * when it is on disk.  A journal that fails makes the master refuse changes
 * until a snapshot of everything is on disk again; it goes on being read.
 */
#ifndef MASTER_KEEPER_H
#define MASTER_KEEPER_H

#include "base/err.h"
#include "base/str.h"
#include "rpc/server.h"

struct keeper;
struct service;

enum keep_sync {
	KEEP_INTERVAL,
	KEEP_ALWAYS,
	KEEP_NEVER
};

struct keeper_opts {
	const char *dir;
	enum keep_sync sync;
	uint64_t sync_interval_ns;
	uint64_t snapshot_bytes; /* of log that make one worth while */
	uint64_t snapshot_interval_ns;
};

/* Reads the journal into svc's core, which is empty.  Blocks. */
int keeper_open(struct service *svc, const struct keeper_opts *opts,
		struct keeper **out, struct err *err);
/* The end is near: what is open is written.  keeper_is_idle() then, soon. */
void keeper_stop(struct keeper *k);
bool keeper_is_idle(const struct keeper *k);
void keeper_close(struct keeper *k); /* idle, or never ran; NULL is fine */

/* Pool segments of a former life have been looked at, each once. */
bool keeper_is_settled(const struct keeper *k);

/* As rpc_reply(), when it is time. */
void keeper_reply(struct keeper *k, struct rpc_req *req, int32_t status,
		  const ProtobufCMessage *rsp);
/* It would change something, and that could not be kept. */
bool keeper_refuses(const struct keeper *k, const struct rpc_req *req);
bool keeper_is_broken(const struct keeper *k);
/* SNAPSHOT: answered when one that is begun now, or is under way, is on disk.
 */
void keeper_rpc_snapshot(struct service *svc, struct rpc_req *req);

/* Zeros when k is NULL. */
struct keeper_stats {
	bool is_broken;
	uint64_t records, bytes; /* written in this life */
	uint64_t log_bytes;	 /* behind the last snapshot */
	uint64_t snapshot_bytes;
};
void keeper_stats(const struct keeper *k, struct keeper_stats *out);

#endif
