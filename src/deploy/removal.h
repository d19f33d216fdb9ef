/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --remove: what a deployment has made goes again, and nothing else.  What is
 * on the disks stays.
 */
#ifndef DEPLOY_REMOVAL_H
#define DEPLOY_REMOVAL_H

#include "deploy/deployment.h"

#define REMOVAL_DISKS_MAX 256

/* A disk as a target has it: a bdev, or a controller with its bdevs. */
struct removal_disk {
	char name[64], at[256]; /* at: its path or PCI address */
	bool goes;
};

/* Of a target that speaks SPDK's JSON-RPC. */
struct removal {
	const char *service; /* of ours: its unit and its files */
	bool is_ours;	     /* that service keeps the target at d->socket */
	/* Shell: a function "one" that prints the processes that are meant. */
	const char *find;
	const char *with_service; /* shell: what else goes with it */
	const char *method;	  /* that lets go of a disk */
	bool (*has)(const char *disk, const char *bdev);
	/* Does the node's text name it? */
	bool (*names)(const struct node *node, const char *at);
	/* More steps, after those that let go of disks; or NULL. */
	void (*let_go)(struct deployment *d, const struct removal *r);
	struct removal_disk disks[REMOVAL_DISKS_MAX];
	size_t count;
};

/* -EBUSY when the master has it registered, unless it is forced. */
int removal_check_pool(const struct deployment *d,
		       const struct registered_ns *ns, struct err *err);

/*
 * Steps that take the node's subsystem from the target: all of it, or only the
 * disks that the node's text names; and the service when nothing is left.
 * -EBUSY while hosts are connected, -EEXIST when no deployment made it; both
 * are overruled by --force.
 */
int removal_plan(struct deployment *d, struct removal *r, struct err *err);
/* The target does not run.  What its service is to start with is not known to
 * be only what is to go: -ENOTCONN without --force. */
int removal_plan_stopped(struct deployment *d, const struct removal *r,
			 struct err *err);

#endif
