/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncakectl inside: each command has an option table and a function.
 */
#ifndef CMD_CTL_H
#define CMD_CTL_H

#include <jansson.h>

#include "base/flag.h"
#include "base/uuid.h"
#include "rpc/client.h"

#define CTL_NAME "mooncakectl"

struct ctl_config {
	char *master, *output, *regex, *rpc_socket, *hash;
	char *admin, *store_config;
	struct flag_list endpoints, discover;
	bool json, force, any_host;
	uint64_t limit, timeout_ms, length;
	int64_t replica_num, nof_replica_num;
};

struct ctl {
	struct ctl_config config;
	const struct flag_list *args;
	struct rpc_sync *master;
	struct strbuf out; /* printed to stdout at the end */
};

struct ctl_command {
	struct flag_prog prog;
	/* 0, -errno with a sentence, or 1: failed, and out says how */
	int (*run)(struct ctl *ctl, struct err *err);
	/* What the option table can't check; may be NULL.  -EINVAL with a
	 * sentence: exit status 2. */
	int (*check)(const struct ctl_config *config, struct err *err);
	bool is_without_master;
};

extern const struct ctl_command ctl_status, ctl_segments,
	ctl_ls;						  /* ctl_list.c */
extern const struct ctl_command ctl_get, ctl_put, ctl_rm; /* ctl_object.c */
extern const struct ctl_command ctl_pool;		  /* ctl_pool.c */
extern const struct ctl_command ctl_target;		  /* ctl_target.c */
extern const struct ctl_command ctl_key, ctl_tls_key;	  /* ctl_key.c */
extern const struct ctl_command ctl_journal;		  /* ctl_journal.c */
extern const struct ctl_command ctl_doctor;		  /* ctl_doctor.c */

/* A method over the control socket; takes params. */
int ctl_target_call(struct ctl *ctl, const char *method, json_t *params,
		    json_t **result, struct err *err);
int ctl_fault(struct ctl *ctl, struct err *err); /* target fault: ctl_fault.c */

/* clang-format off */
#define CTL_COMMON_FLAGS						\
	{.name = "master",						\
	 .alias = "master_server_address",				\
	 .type = FLAG_STR,						\
	 .off = offsetof(struct ctl_config, master),			\
	 .def = "127.0.0.1:50051",					\
	 .env = "MOONCAKE_MASTER",					\
	 .arg = "HOST:PORT",						\
	 .group = "For every command",					\
	 .help = "The master."},					\
	{.name = "json",						\
	 .type = FLAG_BOOL,						\
	 .off = offsetof(struct ctl_config, json),			\
	 .help = "Print JSON instead of text for people."},		\
	{.name = "timeout",						\
	 .type = FLAG_MS,						\
	 .off = offsetof(struct ctl_config, timeout_ms),		\
	 .def = "10s",							\
	 .min = 100,							\
	 .max = 3600000,						\
	 .arg = "TIME",							\
	 .help = "Patience with the master."}
/* clang-format on */

/* The answer of a call to the master lives until the next one. */
int ctl_call(struct ctl *ctl, uint16_t method, const ProtobufCMessage *req,
	     const ProtobufCMessage **rsp, struct err *err);
/* Takes root over; -ENOMEM when it is NULL. */
int ctl_print_json(struct ctl *ctl, json_t *root, struct err *err);
/* "online", "draining", …; the id in hex, "" when it is none. */
const char *ctl_segment_state(const Mc__Segment *seg);
void ctl_segment_id(const Mc__Segment *seg, char out[UUID_TEXT_LEN]);
/* Printable: what is no UTF-8 text becomes \xNN. */
void ctl_add_key(struct strbuf *out, struct str key);
/* -EINVAL unless it has 1 to 4096 bytes. */
int ctl_check_key(const char *key, struct err *err);

#endif
