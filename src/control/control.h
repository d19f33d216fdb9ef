/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control of a target that runs, by JSON-RPC 2.0 with SPDK's methods: what
 * drives SPDK's nvmf_tgt drives this.  On the target's control loop.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "control/keyring.h"
#include "control/registry.h"
#include "control/server.h"
#include "target/target.h"

/* As nvmf_create_transport was told them; what the target has no use for is
 * only repeated. */
struct transport_opts {
	uint32_t max_queue_depth, max_io_qpairs_per_ctrlr;
	uint32_t in_capsule_data_size, max_io_size, io_unit_size;
	uint32_t max_aq_depth, num_shared_buffers, buf_cache_size;
	uint32_t sock_priority, abort_timeout_sec;
	bool c2h_success, zcopy, dif_insert_or_strip;
};

struct control {
	struct loop *loop;
	struct tgt *tgt;
	struct registry registry;
	const char *sysfs_root, *dev_root; /* others in tests */
	uint64_t load_call_ns;		   /* for one call of config_load() */
	struct keyring keyring;
	struct list host_keys; /* of hosts.c */
	json_t *auth_config;   /* what nvmf_set_config was told, or NULL */
	struct transport_opts transport;
	bool has_transport;
	/* what the program's options made is not remembered */
	bool is_transport_given;
	struct addr given_discovery;
	json_t *not_loaded; /* by section: calls of --state that failed */
	struct state *state;
	struct jrpc rpc;
	struct server server;
};

/* tgt is the caller's.  Nothing can fail; no file is touched. */
void control_init(struct control *ctl, struct loop *loop, struct tgt *tgt);
/* The program's options have made the transport: nobody else can. */
void transport_given(struct control *ctl);
/* --state: makes what the file remembers, and keeps it up to date. */
int control_remember(struct control *ctl, const char *path, struct err *err);
/* The socket; 0 or -errno with a sentence. */
int control_listen(struct control *ctl, const char *path, struct err *err);
/* The target is about to drain, or to stop: from now on nothing is changed, and
 * nothing is remembered, for what is there is not what was asked for. */
void control_leave(struct control *ctl);
/* Calls that are under way end; then done runs. */
void control_close(struct control *ctl, void (*done)(void *arg), void *arg);
/* After the target has stopped.  A zeroed control is fine. */
void control_fini(struct control *ctl);

#endif
