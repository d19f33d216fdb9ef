/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing one SSD node to where it serves its disks: rounds of looking and
 * adding steps until a look finds nothing missing.  A second run therefore
 * changes nothing.
 */
#ifndef DEPLOY_DEPLOYMENT_H
#define DEPLOY_DEPLOYMENT_H

#include "deploy/disk.h"
#include "deploy/hostkey.h"
#include "deploy/node.h"
#include "deploy/plan.h"
#include "deploy/registered.h"
#include "deploy/relay.h"

#define DEPLOY_FOLDER "/etc/mooncake"

struct deploy_opts {
	const char *core_mask;
	const char *trtype; /* "TCP", "RDMA", NULL = as the back end has it */
	json_t *transport;  /* parameters of nvmf_create_transport */
	/* End a target that runs already and start it anew. */
	bool is_replacing;
	/* Take away what is there, in place of making it. */
	bool is_removing;
	/* Take disks that hold something else; take away what serves. */
	bool is_forced;
	/* What must not be taken away; NULL: it is not known. */
	const struct registered *registered;
	bool is_dry_run;
	const char *program; /* mooncake_nof_target to copy, or NULL */
};

struct deployment {
	const struct node *node;
	const struct deploy_opts *opts;
	struct remote *remote;
	struct fleet_host *host; /* progress, or NULL */
	struct hostkeys keys;
	struct plan plan;
	size_t done; /* steps that have been applied */
	/* what the node says of itself */
	char name[64]; /* its host name, for NQNs */
	bool has_systemd;
	const char *trtype; /* "TCP" or "RDMA" */
	char nqn[NVME_NQN_LEN];
	char serial[21];
	char socket[108]; /* of the target's JSON-RPC */
	/* When the target ends, what this plan told it is forgotten. */
	bool is_forgetful;
};

struct backend {
	/* Looks, and adds the steps that can be said now.  Asked again after
	 * they were applied, until it adds none. */
	int (*look)(struct deployment *d, struct err *err);
	/* The same for what is to go. */
	int (*look_away)(struct deployment *d, struct err *err);
};
extern const struct backend backend_spdk, backend_nvmet, backend_mooncake;

/* A session must be open, and the keys loaded.  On failure everything has been
 * taken back, or err says what was not.  With opts->is_dry_run only the first
 * round is made. */
int deployment_run(struct deployment *d, struct err *err);
void deployment_fini(struct deployment *d);

/* --- for back ends --- */
/* key=value lines that script prints, one call each. */
int deployment_facts(struct deployment *d, const char *script,
		     void (*take)(void *arg, struct str key, struct str value),
		     void *arg, struct err *err);
/* What the file at path there holds, "" when it is absent, as root; res is to
 * be given back whatever comes of it. */
int deployment_read(struct deployment *d, const char *path,
		    struct remote_result *res, struct err *err);
/* May path be given to a target?  -EBUSY or -EEXIST with the reason. */
int deployment_check_disk(struct deployment *d, const char *path,
			  struct disk *out, struct err *err);
struct relay deployment_relay(const struct deployment *d);
/*
 * A program that the node keeps running: FOLDER/name.sh holds its command,
 * a unit of systemd (or, without that, a process of its own) runs it.  Waits
 * until socket is there.
 */
void deployment_service(struct deployment *d, const char *name,
			const char *text, const char *script);
/* Steps: the unit name.service, and start, the script that enables it.  Taken
 * back by stop; a unit that was there before stays enabled. */
void deployment_unit(struct deployment *d, const char *name, const char *text,
		     const char *start, const char *stop);
/* A step that makes a file of that size, which must not be there then. */
void deployment_make_file(struct deployment *d, const char *path,
			  uint64_t bytes);

#endif
