/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk of another host, looked at before it is given to a target: is it in
 * use there, what does it hold.  The same judge as the pool's own
 * (label_judge), on the first and last bytes of the disk.
 */
#ifndef DEPLOY_DISK_H
#define DEPLOY_DISK_H

#include "deploy/remote.h"
#include "pool/superblock.h"

enum disk_state {
	DISK_FREE,    /* empty and used by nobody */
	DISK_OURS,    /* carries a pool superblock: data of some cluster */
	DISK_FOREIGN, /* holds something else: why says what */
	DISK_IN_USE,  /* mounted, partitioned, member of something, swap */
	DISK_ABSENT,  /* no such file */
};

struct disk {
	char path[256];
	char name[64]; /* kernel name, "nvme0n1"; "" for a file */
	char pci[16];  /* "0000:81:00.0" of its controller, or "" */
	bool is_block, is_read_only;
	uint64_t bytes;
	uint32_t block_bytes;
	enum disk_state state;
	char why[200];
	struct superblock sb; /* DISK_OURS */
};

/* Looks at the disk or file at path there, without changing anything.  0, or
 * -errno when the host could not be asked. */
int disk_look(struct remote *r, const char *path, struct disk *out,
	      struct err *err);
const char *disk_state_text(enum disk_state state);

#endif
