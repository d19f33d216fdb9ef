/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON-RPC on a Unix stream socket, mode 0600: who may open the file may
 * command the target.  One loop's thread.
 */
#ifndef CONTROL_SERVER_H
#define CONTROL_SERVER_H

#include "base/log.h"
#include "control/session.h"
#include "io/listener.h"
#include "io/stream.h"

#define SERVER_CLIENTS_MAX 64

struct server_opts {
	uint32_t request_ms; /* for a request to be complete, 0 = 10 s */
	uint32_t send_ms;    /* for an answer to be read, 0 = 30 s */
};

struct server {
	struct loop *loop;
	struct jrpc *rpc;
	struct server_opts opts;
	char *path;
	uint64_t inode; /* of the socket file, to unlink no other one */
	struct listener listener;
	bool is_listening, is_closing;
	struct list clients;
	unsigned client_count;
	struct log_rate refused;
	void (*done)(void *arg);
	void *done_arg;
	struct loop_task done_task;
};

/*
 * Listens on path.  A socket that a dead program has left there is replaced;
 * one that somebody answers on, or a file that is no socket, is refused with
 * a sentence.  0 or -errno; after an error nothing is to be closed.
 */
int server_open(struct server *srv, struct loop *loop, struct jrpc *rpc,
		const char *path, const struct server_opts *opts,
		struct err *err);
/* Lets calls that are under way end, then done runs from the loop.  A zeroed
 * or never opened server is fine: done runs inside. */
void server_close(struct server *srv, void (*done)(void *arg), void *arg);

#endif
