/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named back ends.  Control loop.  Invariant: nsid is not 0 from the moment a
 * namespace takes the back end until it has given it back, and the back end is
 * destroyed only in between.
 */
#include "control/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "target/ident.h"

const struct disk_kind disk_malloc = {"Malloc disk", "bdev_malloc_create",
				      "bdev_malloc_delete", "Malloc"};
const struct disk_kind disk_null = {"Null disk", "bdev_null_create",
				    "bdev_null_delete", "Null"};
const struct disk_kind disk_aio = {"AIO disk", "bdev_aio_create",
				   "bdev_aio_delete", "Aio"};
const struct disk_kind disk_uring = {"URING bdev", "bdev_uring_create",
				     "bdev_uring_delete", "Uring"};
const struct disk_kind disk_nvme = {"NVMe disk", "bdev_nvme_attach_controller",
				    "bdev_nvme_detach_controller", "Nvme"};

void registry_init(struct registry *reg, struct tgt *tgt)
{
	reg->tgt = tgt;
	list_init(&reg->disks);
}

static void disk_free(struct disk *disk)
{
	list_del(&disk->node);
	if (disk->bdev)
		disk->bdev->ops->destroy(disk->bdev);
	json_decref(disk->params);
	json_decref(disk->details);
	free(disk->name);
	free(disk->drive);
	free(disk);
}

void registry_fini(struct registry *reg)
{
	struct disk *disk, *tmp;

	list_for_each_safe (disk, tmp, &reg->disks, node) {
		ASSERT(!disk->nsid && !disk->is_deleting);
		disk_free(disk);
	}
}

/*
 * A file or device is the same one after a restart, whoever made it; memory
 * is not.  The machine is part of it: paths are alike on many.
 */
static void make_uuid(const struct bdev *bdev, struct uuid *out)
{
	char host[HOST_TEXT_LEN] = "";

	if (bdev->name[0] != '/') {
		uuid_make(out);
		return;
	}
	(void)gethostname(host, sizeof(host) - 1);
	ident_uuid(host, 0, bdev->name, out);
}

static bool is_taken(struct registry *reg, const char *name)
{
	struct disk *disk;

	list_for_each (disk, &reg->disks, node) {
		if (strcmp(disk->name, name) == 0)
			return true;
	}
	return false;
}

int disk_add(struct registry *reg, struct bdev *bdev,
	     const struct disk_opts *opts, struct disk **out)
{
	struct disk *disk = calloc(1, sizeof(*disk));
	int ret = -ENOMEM;

	if (!disk) {
		bdev->ops->destroy(bdev);
		json_decref(opts->params);
		json_decref(opts->details);
		return ret;
	}
	list_init(&disk->node);
	disk->reg = reg;
	disk->bdev = bdev;
	disk->kind = opts->kind;
	disk->params = opts->params;
	disk->details = opts->details;
	disk->uuid = opts->uuid;
	disk->name = str_dup(str_of(opts->name));
	if (!disk->name)
		goto fail;
	ret = -EEXIST;
	if (is_taken(reg, opts->name))
		goto fail;
	if (uuid_is_zero(&disk->uuid))
		make_uuid(bdev, &disk->uuid);
	list_add_tail(&reg->disks, &disk->node);
	*out = disk;
	return 0;
fail:
	disk_free(disk);
	return ret;
}

/* The lowest number that makes a name of it. */
void disk_pick_name(struct registry *reg, const struct disk_kind *kind,
		    char out[DISK_NAME_LEN])
{
	unsigned n = 0;

	do {
		snprintf(out, DISK_NAME_LEN, "%s%u", kind->prefix, n++);
	} while (is_taken(reg, out));
}

int disk_adopt(struct registry *reg, struct bdev *bdev, const struct uuid *uuid,
	       struct disk **out)
{
	struct disk_opts opts = {.kind = &disk_aio, .uuid = *uuid};
	char name[DISK_NAME_LEN], text[UUID_TEXT_LEN];
	struct disk *disk;
	int ret;

	if (strcmp(bdev->ops->kind, "ram") == 0)
		opts.kind = &disk_malloc;
	else if (strcmp(bdev->ops->kind, "null") == 0)
		opts.kind = &disk_null;
	disk_pick_name(reg, opts.kind, name);
	opts.name = name;
	ret = disk_add(reg, bdev, &opts, out);
	if (ret)
		return ret;
	disk = *out;
	disk->is_given = true;
	uuid_format_hex(&disk->uuid, text);
	disk->params = json_pack("{s:s, s:I, s:s}", "name", name, "block_size",
				 (json_int_t)bdev->block, "uuid", text);
	if (opts.kind == &disk_aio)
		json_object_set_new(disk->params, "filename",
				    json_string(bdev->name));
	else
		json_object_set_new(
			disk->params, "num_blocks",
			json_integer((json_int_t)(bdev->size / bdev->block)));
	return 0;
}

struct disk *disk_find(struct registry *reg, const char *name)
{
	struct disk *disk;
	struct uuid uuid;
	bool is_uuid = uuid_parse(str_of(name), &uuid) == 0;

	list_for_each (disk, &reg->disks, node) {
		if (disk->is_deleting)
			continue;
		if (strcmp(disk->name, name) == 0 ||
		    (is_uuid && uuid_eq(&uuid, &disk->uuid)))
			return disk;
	}
	return NULL;
}

struct disk *disk_of_bdev(struct registry *reg, const struct bdev *bdev)
{
	struct disk *disk;

	list_for_each (disk, &reg->disks, node) {
		if (disk->bdev == bdev)
			return disk;
	}
	return NULL;
}

static void disk_finish(struct disk *disk)
{
	void (*done)(void *arg) = disk->deleted;
	void *arg = disk->deleted_arg;

	log_info("disk deleted", "name=%s", disk->name);
	disk_free(disk);
	done(arg);
}

static void disk_given_back(struct bdev *bdev, void *arg)
{
	struct disk *disk = arg;

	ASSERT(disk->bdev == bdev && disk->nsid);
	disk->nsid = 0;
	if (disk->is_deleting)
		disk_finish(disk);
}

int disk_serve(struct disk *disk, struct tgt_subsys *ss,
	       const struct tgt_ns_opts *opts, struct err *err)
{
	struct tgt_ns_opts o = *opts;
	struct tgt_subsys_info info;
	int ret;

	if (disk->nsid)
		return err_set(err, -EPERM, "%s is namespace %u of %s already",
			       disk->name, disk->nsid, disk->nqn);
	if (uuid_is_zero(&o.uuid))
		o.uuid = disk->uuid;
	o.release = disk_given_back;
	o.release_arg = disk;
	ret = tgt_ns_add(ss, disk->bdev, &o, err);
	if (ret < 0)
		return ret;
	tgt_subsys_info_get(ss, &info);
	snprintf(disk->nqn, sizeof(disk->nqn), "%s", info.opts.nqn);
	disk->nsid = (uint32_t)ret;
	return ret;
}

void disk_delete(struct disk *disk, void (*done)(void *arg), void *arg)
{
	struct tgt_subsys *ss;
	struct tgt_ns_info info;
	struct err err = {0};

	ASSERT(!disk->is_deleting);
	disk->is_deleting = true;
	disk->deleted = done;
	disk->deleted_arg = arg;
	if (!disk->nsid) {
		disk_finish(disk);
		return;
	}
	/* It may be on its way out already, and the id be another's. */
	ss = tgt_subsys_find(disk->reg->tgt, disk->nqn);
	if (ss && tgt_ns_info_get(ss, disk->nsid, &info) &&
	    info.bdev == disk->bdev)
		tgt_ns_remove(ss, disk->nsid, NULL, NULL, &err);
}
