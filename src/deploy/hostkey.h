/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DH-HMAC-CHAP keys of the hosts that a node lets in: from files of this
 * machine to files there, of mode 0600 in a folder of root's.  Their text is
 * nowhere else but in what ssh carries; plans and sentences don't show it.
 */
#ifndef DEPLOY_HOSTKEY_H
#define DEPLOY_HOSTKEY_H

#include "crypt/key.h"
#include "deploy/node.h"

struct deployment;

enum hostkey_kind {
	HOSTKEY_HOST, /* the host proves itself by it */
	HOSTKEY_CTRL, /* the target does */
	HOSTKEY_KINDS
};

struct hostkey {
	char text[DHCHAP_KEY_TEXT_LEN]; /* "" = none is wanted */
	bool is_there, is_same; /* the file there, as of the last look */
};

/* In the order of node->allow; the deployment's own. */
struct hostkeys {
	struct hostkey of[NODE_HOSTS_MAX][HOSTKEY_KINDS];
	bool is_empty;
};

/* Reads the files that the node's text names.  -errno with a sentence. */
int hostkeys_load(const struct node *node, struct hostkeys *out,
		  struct err *err);
void hostkeys_fini(struct hostkeys *keys);

#define HOSTKEY_FOLDER "/etc/mooncake/keys" /* there */

/* Its name in a target's keyring, and its file there: the same for all
 * subsystems of a node, as the kernel has one key for a host. */
#define HOSTKEY_NAME_LEN 40
#define HOSTKEY_PATH_LEN 96
void hostkey_name(const char *hostnqn, enum hostkey_kind kind,
		  char out[HOSTKEY_NAME_LEN]);
void hostkey_path(const char *hostnqn, enum hostkey_kind kind,
		  char out[HOSTKEY_PATH_LEN]);

/* Looks at d->keys' files there and adds the steps that write them. */
int hostkeys_plan(struct deployment *d, struct err *err);

#endif
