/* SPDX-License-Identifier: Apache-2.0 */
/* Who this host is and how it proves that, from environment and files. */
#ifndef POOL_IDENTITY_H
#define POOL_IDENTITY_H

#include "nvmf/nvmf.h"

/*
 * Host NQN: MC_NVME_HOSTNQN, else ETC/nvme/hostnqn, else derived.  Host id:
 * MC_NVME_HOSTID, else ETC/nvme/hostid (with the NQN of the file or a derived
 * one), else derived from what NQN was given, else from ETC/machine-id.  Keys:
 * the files that MC_NVME_DHCHAP_KEY_FILE and MC_NVME_DHCHAP_CTRL_KEY_FILE name.
 * TLS: MC_NVME_TLS, MC_NVME_TLS_KEY_FILE and MC_NVME_TLS_IDENTITY.
 * What is there but not valid is refused with a sentence, -errno.
 */
int identity_read(const char *etc, struct nvmf_opts *out, struct err *err);

/* DH-HMAC-CHAP's keys alone, and TLS's. */
int identity_read_dhchap(struct nvmf_opts *out, struct err *err);
int identity_read_tls(struct nvmf_opts *out, struct err *err);

/* Where they come from: a variable, a file's path, or "" when what follows in
 * the list above was taken. */
struct identity_source {
	char nqn[256], id[256];
	bool has_machine_id; /* it counts, and is there */
};
/* The host alone, without keys; source may be NULL. */
int identity_read_host(const char *etc, struct host_id *out,
		       struct identity_source *source, struct err *err);
/* Is it one of the variables above? */
bool identity_has_var(const char *name);

/* The names of those files, for later: others may change the environment. */
#define IDENTITY_PATH_LEN 512
struct identity_files {
	char key[IDENTITY_PATH_LEN], ctrl_key[IDENTITY_PATH_LEN]; /* "" = no */
	char tls[IDENTITY_PATH_LEN];
	enum tls_form tls_form;
};
int identity_files_read(struct identity_files *out, struct err *err);
/* The keys in them now; those in out stay when one can't be read. */
int identity_keys_again(const struct identity_files *files,
			struct nvmf_opts *out, struct err *err);

#endif
