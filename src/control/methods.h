/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of src/control: the tables of methods, one per file.  A new method
 * is a row in one of them; a new file is a table here and in control.c.
 */
#ifndef CONTROL_METHODS_H
#define CONTROL_METHODS_H

#include "control/control.h"
#include "control/jrpc.h"

extern const struct jrpc_table control_config;	     /* config.c */
extern const struct jrpc_table control_disk_info;    /* disk_info.c */
extern const struct jrpc_table control_disks;	     /* disk_methods.c */
extern const struct jrpc_table control_drives;	     /* drives.c */
extern const struct jrpc_table control_faults;	     /* faults.c */
extern const struct jrpc_table control_framework;    /* framework.c */
extern const struct jrpc_table control_hosts;	     /* hosts.c */
extern const struct jrpc_table control_keyring;	     /* keyring.c */
extern const struct jrpc_table control_listeners;    /* listeners.c */
extern const struct jrpc_table control_nvmf_info;    /* nvmf_info.c */
extern const struct jrpc_table control_referrals;    /* referrals.c */
extern const struct jrpc_table control_reservations; /* reservations.c */
extern const struct jrpc_table control_subsystem;    /* subsystem.c */
extern const struct jrpc_table control_transport;    /* transport.c */
extern const struct jrpc_table control_tuning;	     /* tuning.c */

/* What every method of a subsystem is told; first in its struct. */
struct nqn_args {
	const char *nqn, *tgt_name;
};
#define NQN_PARAMS                                                             \
	{"nqn", PARAM_STR, offsetof(struct nqn_args, nqn), true},              \
	{                                                                      \
		"tgt_name", PARAM_STR, offsetof(struct nqn_args, tgt_name)     \
	}

/* NULL when there is none of that name. */
struct tgt_subsys *subsys_of(struct control *ctl, const struct nqn_args *args);

/* --- as JSON, for answers and for configurations; NULL: no memory --- */
json_t *keyring_json(struct keyring *ring);
json_t *transport_json(const struct control *ctl);
/* The subsystem goes, and with it the keys for it; NULL: all, at the end. */
void hosts_forget(struct control *ctl, const char *nqn);
json_t *hosts_json(struct control *ctl, const struct tgt_subsys *ss);
/* The call that makes what hosts have reserved again; NULL: there is nothing
 * that outlives the target. */
json_t *reservation_call(const char *nqn, const struct tgt_subsys *ss,
			 const struct tgt_ns_info *ns);
json_t *referral_json(const struct tgt_referral *ref);
const char *ana_name(enum tgt_ana state);
/* The ANA groups that have a namespace, each once, by their first one; returns
 * how many. */
size_t ana_groups(const struct tgt_subsys *ss, uint32_t out[TGT_NS_MAX + 1]);
/* Adds nguid, uuid and (where there is one) eui64. */
void ns_ids_json(const struct tgt_ns_info *info, json_t *out);

#endif
