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
 * What is there but not valid is refused with a sentence, -errno.
 */
int identity_read(const char *etc, struct nvmf_opts *out, struct err *err);

#endif
