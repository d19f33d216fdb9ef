/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bdev_get_bdevs and bdev_get_iostat.  Control loop.  Invariant: what is said
 * of a disk is what the target does with it, not what SPDK's would.
 */
#include <errno.h>
#include <string.h>

#include "base/time.h"
#include "control/methods.h"

struct get_args {
	const char *name;
	const json_t *names;
	uint64_t timeout;
	bool per_channel;
	const char *mode;
};
static const struct param get_params[] = {
	{"name", PARAM_STR, offsetof(struct get_args, name)},
	{"timeout", PARAM_U64, offsetof(struct get_args, timeout)},
};
static const struct param iostat_params[] = {
	{"name", PARAM_STR, offsetof(struct get_args, name)},
	{"names", PARAM_STRS, offsetof(struct get_args, names)},
	{"per_channel", PARAM_BOOL, offsetof(struct get_args, per_channel)},
	{"reset_mode", PARAM_STR, offsetof(struct get_args, mode)},
};

static json_t *io_types(const struct bdev *bdev)
{
	static const char *const never[] = {
		"nvme_admin",
		"nvme_io",
		"nvme_io_md",
		"zcopy",
		"get_zone_info",
		"zone_management",
		"zone_append",
		"abort",
		"seek_hole",
		"seek_data",
		"copy",
		"nvme_iov_md",
		"compare_and_write",
	};
	bool can_write = !bdev->is_readonly;
	json_t *out = json_pack(
		"{s:b, s:b, s:b, s:b, s:b, s:b, s:b}", "read", true, "write",
		can_write, "unmap", can_write && bdev->can_unmap, "flush", true,
		"reset", false, "write_zeroes", can_write, "compare", true);

	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		json_object_set_new(out, never[i], json_false());
	return out;
}

static json_t *describe(const struct disk *disk)
{
	const struct bdev *bdev = disk->bdev;
	json_t *details =
		disk->details ? json_incref(disk->details) : json_object();
	uint32_t block = bdev->block;
	char uuid[UUID_TEXT_LEN];

	uuid_format_hex(&disk->uuid, uuid);
	return json_pack(
		"{s:s, s:[s], s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s,"
		" s:{s:i, s:i, s:i, s:i}, s:b, s:b, s:o, s:o}",
		"name", disk->name, "aliases", uuid, "product_name",
		disk->kind->product_name, "block_size", (json_int_t)block,
		"num_blocks", (json_int_t)(bdev->size / block),
		"preferred_write_alignment",
		(json_int_t)(bdev->write_unit / block),
		"preferred_write_granularity",
		(json_int_t)(bdev->write_unit / block), "optimal_write_size",
		(json_int_t)(bdev->write_best / block),
		"preferred_unmap_alignment",
		(json_int_t)(bdev->unmap_unit / block),
		"preferred_unmap_granularity",
		(json_int_t)(bdev->unmap_unit / block), "uuid", uuid,
		"assigned_rate_limits", "rw_ios_per_sec", 0,
		"rw_mbytes_per_sec", 0, "r_mbytes_per_sec", 0,
		"w_mbytes_per_sec", 0, "claimed", disk->nsid != 0, "zoned",
		false, "supported_io_types", io_types(bdev), "driver_specific",
		details);
}

/* Counted by the namespace: bytes that hosts read and wrote since it is one. */
static json_t *iostat(const struct disk *disk)
{
	static const char *const zero[] = {
		"bytes_unmapped",
		"num_unmap_ops",
		"bytes_copied",
		"num_copy_ops",
		"read_latency_ticks",
		"max_read_latency_ticks",
		"min_read_latency_ticks",
		"write_latency_ticks",
		"max_write_latency_ticks",
		"min_write_latency_ticks",
		"unmap_latency_ticks",
		"max_unmap_latency_ticks",
		"min_unmap_latency_ticks",
		"copy_latency_ticks",
		"max_copy_latency_ticks",
		"min_copy_latency_ticks",
	};
	struct tgt_subsys *ss = NULL;
	struct tgt_ns_info info = {0};
	json_t *out;

	if (disk->nsid)
		ss = tgt_subsys_find(disk->reg->tgt, disk->nqn);
	if (!ss || !tgt_ns_info_get(ss, disk->nsid, &info) ||
	    info.bdev != disk->bdev)
		info = (struct tgt_ns_info){0};
	out = json_pack("{s:s, s:I, s:I, s:I, s:I}", "name", disk->name,
			"bytes_read", (json_int_t)info.stats.bytes_read,
			"num_read_ops", (json_int_t)info.stats.reads,
			"bytes_written", (json_int_t)info.stats.bytes_written,
			"num_write_ops", (json_int_t)info.stats.writes);
	for (size_t i = 0; i < ARRAY_SIZE(zero); i++)
		json_object_set_new(out, zero[i], json_integer(0));
	json_object_set_new(out, "io_error", json_object());
	return out;
}

static void list_all(struct registry *reg, json_t *out,
		     json_t *(*one)(const struct disk *disk))
{
	struct disk *disk;

	list_for_each (disk, &reg->disks, node) {
		if (!disk->is_deleting)
			json_array_append_new(out, one(disk));
	}
}

static void get_bdevs(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct get_args *a = args;
	struct disk *disk = a->name ? disk_find(&ctl->registry, a->name) : NULL;
	json_t *out = json_array();

	if (a->name && !disk) {
		json_decref(out);
		jrpc_fail_errno(call, -ENODEV);
		return;
	}
	if (disk)
		json_array_append_new(out, describe(disk));
	else
		list_all(&ctl->registry, out, describe);
	jrpc_result(call, out);
}

/* 0, or -ENODEV when a name is not known. */
static int iostat_some(struct registry *reg, const struct get_args *a,
		       json_t *out)
{
	size_t count = json_array_size(a->names);
	struct disk *disk = NULL;

	if (!a->name && !a->names)
		list_all(reg, out, iostat);
	if (a->name) {
		disk = disk_find(reg, a->name);
		if (!disk)
			return -ENODEV;
		json_array_append_new(out, iostat(disk));
	}
	for (size_t i = 0; i < count; i++) {
		disk = disk_find(
			reg, json_string_value(json_array_get(a->names, i)));
		if (!disk)
			return -ENODEV;
		json_array_append_new(out, iostat(disk));
	}
	return 0;
}

static void get_iostat(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	json_t *list = json_array();

	if (iostat_some(&ctl->registry, args, list)) {
		json_decref(list);
		jrpc_fail_errno(call, -ENODEV);
		return;
	}
	jrpc_result(call, json_pack("{s:I, s:I, s:o}", "tick_rate",
				    (json_int_t)NS_PER_S, "ticks",
				    (json_int_t)time_mono_ns(), "bdevs", list));
}

static const struct jrpc_method methods[] = {
	{.name = "bdev_get_bdevs",
	 .params = get_params,
	 .param_count = ARRAY_SIZE(get_params),
	 .args_size = sizeof(struct get_args),
	 .run = get_bdevs,
	 .attrs = JRPC_BDEV_STYLE},
	{.name = "bdev_get_iostat",
	 .params = iostat_params,
	 .param_count = ARRAY_SIZE(iostat_params),
	 .args_size = sizeof(struct get_args),
	 .run = get_iostat,
	 .attrs = JRPC_BDEV_STYLE},
};

const struct jrpc_table control_disk_info = {methods, ARRAY_SIZE(methods)};
