/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of mooncake_nof_target share: its options, and what it is
 * made of while it runs.  Main thread (the control loop).
 */
#ifndef CMD_NOF_TARGET_H
#define CMD_NOF_TARGET_H

#include "base/flag.h"
#include "control/control.h"
#include "io/signals.h"
#include "io/thread.h"
#include "target/target.h"

#define NOF_THREADS_MAX	 64
#define NOF_LISTEN_MAX	 16
#define NOF_DEFAULT_PORT 4420

struct nof_config {
	struct flag_list listen, namespaces, subsystems, faults, hosts;
	struct flag_list dhchap_keys, dhchap_ctrl_keys;
	struct flag_list tls_keys;
	char *dhchap_hash, *dhchap_dhgroup;
	char *nqn, *discovery, *log_level, *rpc_socket, *json_config, *state;
	uint64_t threads, max_io_size, in_capsule, depth, queues, buffers;
	uint64_t io_unit, spin_us, drain_seconds, zerocopy_bytes;
};

extern const struct flag_prog nof_prog; /* fills a struct nof_config */

struct nof_program {
	const struct nof_config *config;
	struct loop *loop;
	struct signals signals;
	struct timer stop_timer;
	bool is_leaving; /* a signal has come */
	struct shard shards[NOF_THREADS_MAX];
	struct loop *shard_loops[NOF_THREADS_MAX];
	unsigned shard_count;
	struct tgt *tgt;
	struct control control;
	const char *rpc_path; /* NULL: no control socket */
	struct addr addrs[NOF_LISTEN_MAX];
	bool is_tls[NOF_LISTEN_MAX]; /* of addrs */
	unsigned addr_count;
	struct strbuf out; /* what is printed when all is well */
};

/* The listeners that the options name; p->addrs gets their addresses. */
int nof_listen_all(struct nof_program *p, struct err *err);
/* The subsystems and namespaces that the options name; p->out says how to
 * reach them.  -errno with a sentence. */
int nof_serve_all(struct nof_program *p, struct err *err);
/* The keys that the options name, all or none; again after SIGHUP. */
int nof_keys_all(struct nof_program *p, struct err *err);
void nof_keys_again(struct nof_program *p);
/* The faults that the options name. */
int nof_fault_all(struct nof_program *p, struct err *err);

/* What --json_config and --state say, then the socket of --rpc_socket. */
int nof_control_open(struct nof_program *p, struct err *err);
/* Whether the options name namespaces; a target that serves nothing waits for
 * JSON-RPC. */
bool nof_has_namespaces(const struct nof_program *p);

#endif
