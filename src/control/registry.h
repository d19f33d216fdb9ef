/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back ends by name.  A disk is made by a bdev_*_create call (or by the
 * program's options), serves at most one namespace at a time, and goes by
 * bdev_*_delete, which takes the namespace out first.  Control loop.
 */
#ifndef CONTROL_REGISTRY_H
#define CONTROL_REGISTRY_H

#include <jansson.h>

#include "base/list.h"
#include "target/target.h"

/* What SPDK calls such a device, and how it is made and deleted. */
struct disk_kind {
	const char *product_name;
	const char *create, *remove; /* methods */
	const char *prefix;	     /* of names that are made up */
};
extern const struct disk_kind disk_malloc, disk_null, disk_aio, disk_uring,
	disk_nvme;

/* Owner: the registry; bdev is the namespace's while there is one. */
struct disk {
	struct list node;
	struct registry *reg;
	char *name;
	char *drive; /* the controller whose namespace it is, or NULL */
	const struct disk_kind *kind;
	struct bdev *bdev;
	struct uuid uuid;
	json_t *params;	 /* that made it, or would */
	bool is_given;	 /* the program's options made it */
	json_t *details; /* "driver_specific" of bdev_get_bdevs, or NULL */
	/* the namespace, nsid 0 = none */
	char nqn[NVME_NQN_LEN];
	uint32_t nsid;
	/* being deleted: who waits for it */
	bool is_deleting;
	void (*deleted)(void *arg);
	void *deleted_arg;
};

#define DISK_NAME_LEN 32 /* of a name that is made up */

struct registry {
	struct tgt *tgt; /* NULL once it has been stopped */
	struct list disks;
};

void registry_init(struct registry *reg, struct tgt *tgt);
/* The target has stopped: no namespace holds a back end any more. */
void registry_fini(struct registry *reg);

struct disk_opts {
	const char *name;
	const struct disk_kind *kind;
	struct uuid uuid; /* zero: made up, the same for the same medium */
	json_t *params, *details; /* taken over, also after an error */
};
/* Takes bdev over (destroyed after an error).  -EEXIST, -ENOMEM. */
int disk_add(struct registry *reg, struct bdev *bdev,
	     const struct disk_opts *opts, struct disk **out);
/* One that the program's options made: gets a name and parameters as if it
 * had been made by a call.  uuid zero: made up.  As disk_add() else. */
int disk_adopt(struct registry *reg, struct bdev *bdev, const struct uuid *uuid,
	       struct disk **out);
void disk_pick_name(struct registry *reg, const struct disk_kind *kind,
		    char out[DISK_NAME_LEN]);
/* By name or by UUID; not one that is being deleted. */
struct disk *disk_find(struct registry *reg, const char *name);
/* NULL when it is none of ours. */
struct disk *disk_of_bdev(struct registry *reg, const struct bdev *bdev);
/* As tgt_ns_add(); -EPERM: it serves a namespace already. */
int disk_serve(struct disk *disk, struct tgt_subsys *ss,
	       const struct tgt_ns_opts *opts, struct err *err);
/* Takes its namespace out first.  done runs inside or later. */
void disk_delete(struct disk *disk, void (*done)(void *arg), void *arg);

#endif
