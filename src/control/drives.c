/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bdev_nvme_attach_controller and friends for drives of this machine.  Control
 * loop.  Invariant: a drive is attached with all of its namespaces or not at
 * all, and they go together.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "control/methods.h"
#include "control/pci.h"

struct drive_args {
	const char *name, *trtype, *traddr;
};

#define OFF(field) offsetof(struct drive_args, field)
static const struct param attach_params[] = {
	{"name", PARAM_STR, OFF(name), true},
	{"trtype", PARAM_STR, OFF(trtype), true},
	{"traddr", PARAM_STR, OFF(traddr), true},
};
static const struct param name_params[] = {
	{"name", PARAM_STR, OFF(name), true},
};
static const struct param get_params[] = {
	{"name", PARAM_STR, OFF(name)},
};

/* The next disk of the drive, behind prev; name NULL: of any drive. */
static struct disk *next_of(struct registry *reg, struct disk *prev,
			    const char *name)
{
	struct list *at = prev ? prev->node.next : reg->disks.next;

	for (; at != &reg->disks; at = at->next) {
		struct disk *disk = list_entry(at, struct disk, node);

		if (disk->drive && !disk->is_deleting &&
		    (!name || strcmp(disk->drive, name) == 0))
			return disk;
	}
	return NULL;
}

static void nothing(void *arg)
{
}

static int attach_one(struct control *ctl, const struct drive_args *a,
		      const struct pci_ns *ns, struct err *err)
{
	struct disk_opts opts = {.kind = &disk_nvme};
	struct bdev_file_opts file = {0};
	char path[128], name[64];
	struct bdev *bdev;
	struct disk *disk;
	int ret;

	snprintf(path, sizeof(path), "%.80s/%.31s", ctl->dev_root, ns->dev);
	snprintf(name, sizeof(name), "%.40sn%u", a->name, ns->nsid);
	ret = pci_ns_check_unused(ctl->sysfs_root, ns, path, err);
	if (ret)
		return ret;
	file.path = path;
	ret = bdev_file_create(&file, &bdev, err);
	if (ret)
		return ret;
	opts.name = name;
	opts.details = json_pack("{s:[{s:s, s:{s:s, s:s}}]}", "nvme",
				 "pci_address", a->traddr, "trid", "trtype",
				 "PCIe", "traddr", a->traddr);
	ret = disk_add(&ctl->registry, bdev, &opts, &disk);
	if (ret)
		return err_set(err, ret, "%s: %s", name, strerror(-ret));
	disk->drive = str_dup(str_of(a->name));
	if (disk->drive)
		return 0;
	disk_delete(disk, nothing, NULL);
	return err_set(err, -ENOMEM, "out of memory");
}

/* Those that serve nothing yet: inside. */
static void detach_now(struct control *ctl, const char *name)
{
	struct disk *disk;

	while ((disk = next_of(&ctl->registry, NULL, name)))
		disk_delete(disk, nothing, NULL);
}

/* The first disk has the call that makes all of them. */
static json_t *attached(struct control *ctl, const struct drive_args *a)
{
	struct disk *disk = next_of(&ctl->registry, NULL, a->name);
	json_t *names = json_array();

	disk->params = json_pack("{s:s, s:s, s:s}", "name", a->name, "trtype",
				 "PCIe", "traddr", a->traddr);
	for (; disk; disk = next_of(&ctl->registry, disk, a->name))
		json_array_append_new(names, json_string(disk->name));
	return names;
}

static void attach(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct drive_args *a = args;
	struct pci_ns ns[PCI_NS_MAX];
	struct err err = {0};
	int count, ret;

	if (next_of(&ctl->registry, NULL, a->name)) {
		jrpc_fail(call, -EALREADY,
			  "A controller named %s already exists with the "
			  "specified network path",
			  a->name);
		return;
	}
	if (strcasecmp(a->trtype, "PCIe") != 0) {
		log_warn("drive refused", "trtype=%s: only PCIe", a->trtype);
		jrpc_fail_errno(call, -ENODEV);
		return;
	}
	count = pci_namespaces(ctl->sysfs_root, a->traddr, ns, &err);
	ret = MIN(count, 0);
	for (int i = 0; !ret && i < count; i++)
		ret = attach_one(ctl, a, &ns[i], &err);
	if (ret == 0) {
		jrpc_result(call, attached(ctl, a));
		return;
	}
	log_warn("drive refused", "reason=\"%s\"", err.text);
	detach_now(ctl, a->name);
	if (ret == -ENODEV)
		jrpc_fail_errno(call, ret);
	else
		jrpc_fail(call, ret, "%s", err.text);
}

/* Whoever counts: the call is answered when the last disk has gone. */
struct detach {
	struct jrpc_call *call;
	unsigned left;
};

static void on_detached(void *arg)
{
	struct detach *d = arg;

	if (--d->left)
		return;
	jrpc_true(d->call);
	free(d);
}

static void detach(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct drive_args *a = args;
	struct disk *disk = next_of(&ctl->registry, NULL, a->name);
	struct detach *d;

	if (!disk) {
		jrpc_fail_errno(call, -ENODEV);
		return;
	}
	d = calloc(1, sizeof(*d));
	if (!d) {
		jrpc_fail_errno(call, -ENOMEM);
		return;
	}
	/* One for this loop, so that it does not end inside. */
	*d = (struct detach){.call = call, .left = 1};
	for (; disk; disk = next_of(&ctl->registry, NULL, a->name)) {
		d->left++;
		disk_delete(disk, on_detached, d);
	}
	on_detached(d);
}

static void get(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct drive_args *a = args;
	json_t *out = json_array();
	struct disk *disk = NULL;

	while ((disk = next_of(&ctl->registry, disk, a->name))) {
		if (!disk->params)
			continue;
		json_array_append_new(
			out,
			json_pack("{s:s, s:[{s:s, s:{s:s, s:O}}]}", "name",
				  disk->drive, "ctrlrs", "state", "enabled",
				  "trid", "trtype", "PCIe", "traddr",
				  json_object_get(disk->params, "traddr")));
	}
	if (a->name && !json_array_size(out)) {
		json_decref(out);
		jrpc_fail(call, -EINVAL, "Controller %s does not exist",
			  a->name);
		return;
	}
	jrpc_result(call, out);
}

#define METHOD(name_, params_, run_, attrs_)                                   \
	{                                                                      \
		.name = name_, .params = params_,                              \
		.param_count = ARRAY_SIZE(params_),                            \
		.args_size = sizeof(struct drive_args), .run = run_,           \
		.attrs = JRPC_BDEV_STYLE | (attrs_)                            \
	}

static const struct jrpc_method methods[] = {
	METHOD("bdev_nvme_attach_controller", attach_params, attach,
	       JRPC_CHANGES | JRPC_RELAXED),
	METHOD("bdev_nvme_detach_controller", name_params, detach,
	       JRPC_CHANGES | JRPC_RELAXED),
	METHOD("bdev_nvme_get_controllers", get_params, get, 0),
};

const struct jrpc_table control_drives = {methods, ARRAY_SIZE(methods)};
