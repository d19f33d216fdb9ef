/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bdev_*_create and bdev_*_delete.  Control loop.  Invariant: what is saved of
 * a disk is the call that made it, with the UUID it got.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "control/methods.h"

#define MEDIUM_MAX (1ull << 50) /* bytes; well within off_t */

struct create_args {
	const char *name, *uuid, *filename;
	uint64_t num_blocks;
	uint32_t block_size;
	bool readonly;
	/* taken for SPDK's sake: rpc.py sends them */
	uint32_t md_size, physical_block_size, dif_type, alignment;
	bool dif_is_head, fallocate, md_interleave, nowait;
	const json_t *ignored;
};

#define OFF(field) offsetof(struct create_args, field)
#define COMMON                                                                 \
	{"uuid", PARAM_STR, OFF(uuid)}, {"md_size", PARAM_U32, OFF(md_size)},  \
		{"dif_type", PARAM_U32, OFF(dif_type)},                        \
		{"dif_is_head_of_md", PARAM_BOOL, OFF(dif_is_head)},           \
		{"dif_pi_format", PARAM_U32, OFF(alignment)},                  \
		{"physical_block_size", PARAM_U32, OFF(physical_block_size)},  \
		{"preferred_write_granularity", PARAM_U32, OFF(alignment)},    \
		{"preferred_write_alignment", PARAM_U32, OFF(alignment)},      \
		{"optimal_write_size", PARAM_U32, OFF(alignment)},             \
		{"preferred_unmap_granularity", PARAM_U32, OFF(alignment)},    \
	{                                                                      \
		"preferred_unmap_alignment", PARAM_U32, OFF(alignment)         \
	}

static const struct param malloc_params[] = {
	{"name", PARAM_STR, OFF(name)},
	{"num_blocks", PARAM_U64, OFF(num_blocks), true},
	{"block_size", PARAM_U32, OFF(block_size), true},
	{"optimal_io_boundary", PARAM_U32, OFF(alignment)},
	{"md_interleave", PARAM_BOOL, OFF(md_interleave)},
	{"disable_accel_support", PARAM_BOOL, OFF(nowait)},
	{"numa_id", PARAM_JSON, OFF(ignored)},
	COMMON,
};
static const struct param null_params[] = {
	{"name", PARAM_STR, OFF(name), true},
	{"num_blocks", PARAM_U64, OFF(num_blocks), true},
	{"block_size", PARAM_U32, OFF(block_size), true},
	COMMON,
};
static const struct param file_params[] = {
	{"name", PARAM_STR, OFF(name), true},
	{"filename", PARAM_STR, OFF(filename), true},
	{"block_size", PARAM_U32, OFF(block_size)},
	{"readonly", PARAM_BOOL, OFF(readonly)},
	{"fallocate", PARAM_BOOL, OFF(fallocate)},
	{"nowait", PARAM_BOOL, OFF(nowait)},
	COMMON,
};

/* The sentence where it says more than the code. */
static void fail_err(struct jrpc_call *call, int code, const struct err *err)
{
	log_warn("disk refused", "method=%s reason=\"%s\"", call->method->name,
		 err->text);
	if (code == -ENOENT || code == -EINVAL || code == -EEXIST ||
	    !err->text[0])
		jrpc_fail_errno(call, code);
	else
		jrpc_fail(call, code, "%s", err->text);
}

static int check_common(const struct create_args *a, struct uuid *uuid,
			struct err *err)
{
	uint32_t block = a->block_size;

	if (a->name && !a->name[0])
		return err_set(err, -EINVAL, "the name is empty");
	if (a->uuid && uuid_parse(str_of(a->uuid), uuid))
		return err_set(err, -EINVAL, "'%.60s' is no UUID", a->uuid);
	if (a->md_size || a->dif_type)
		return err_set(err, -EINVAL, "there is no metadata here");
	if (block != 512 && block != 4096)
		return err_set(err, -EINVAL,
			       "a block of %u bytes: 512 and 4096 work", block);
	return 0;
}

static int medium_size(const struct create_args *a, uint64_t *out,
		       struct err *err)
{
	if (__builtin_mul_overflow(a->num_blocks, a->block_size, out) ||
	    !*out || *out > MEDIUM_MAX || *out % 4096)
		return err_set(err, -EINVAL,
			       "%llu blocks: the size must be a multiple of "
			       "4096 bytes and at most 1 PiB",
			       (unsigned long long)a->num_blocks);
	return 0;
}

/* The parameters as they came, with what was made up for those that did not. */
static json_t *saved_params(const struct jrpc_call *call,
			    const struct disk *disk)
{
	json_t *params = json_copy(json_object_get(call->request, "params"));
	char text[UUID_TEXT_LEN];

	uuid_format_hex(&disk->uuid, text);
	if (!params ||
	    json_object_set_new(params, "name", json_string(disk->name)) ||
	    json_object_set_new(params, "uuid", json_string(text))) {
		json_decref(params);
		return NULL;
	}
	return params;
}

static void finish(struct jrpc_call *call, struct bdev *bdev,
		   struct disk_opts *opts)
{
	struct control *ctl = jrpc_ctx(call);
	struct disk *disk;
	int ret = disk_add(&ctl->registry, bdev, opts, &disk);

	if (ret) {
		jrpc_fail_errno(call, ret);
		return;
	}
	disk->params = saved_params(call, disk);
	jrpc_result(call, json_string(disk->name));
}

static void create_memory(struct jrpc_call *call, const struct create_args *a,
			  const struct disk_kind *kind)
{
	struct control *ctl = jrpc_ctx(call);
	struct disk_opts opts = {.name = a->name, .kind = kind};
	struct bdev *bdev = NULL;
	struct err err = {0};
	uint64_t size = 0;
	char name[DISK_NAME_LEN];
	int ret = check_common(a, &opts.uuid, &err);

	if (!ret && a->name && disk_find(&ctl->registry, a->name))
		ret = -EEXIST;
	if (!ret)
		ret = medium_size(a, &size, &err);
	if (!ret && kind == &disk_malloc)
		ret = bdev_ram_create(NULL, size, &bdev, &err);
	else if (!ret)
		ret = bdev_null_create(size, a->block_size, &bdev, &err);
	if (ret) {
		fail_err(call, ret, &err);
		return;
	}
	bdev->block = a->block_size;
	if (!a->name)
		disk_pick_name(&ctl->registry, kind, name);
	opts.name = a->name ? a->name : name;
	finish(call, bdev, &opts);
}

static void create_malloc(struct jrpc_call *call, void *args)
{
	create_memory(call, args, &disk_malloc);
}

static void create_null(struct jrpc_call *call, void *args)
{
	create_memory(call, args, &disk_null);
}

static json_t *file_details(const struct create_args *a,
			    const struct disk_kind *kind)
{
	if (kind == &disk_uring)
		return json_pack("{s:{s:s}}", "uring", "filename", a->filename);
	return json_pack("{s:{s:s, s:b, s:b, s:b, s:b}}", "aio", "filename",
			 a->filename, "block_size_override", a->block_size != 0,
			 "readonly", a->readonly, "fallocate", a->fallocate,
			 "nowait", a->nowait);
}

/* A device says itself how large its blocks are; a file has to be told. */
static int check_file(const struct create_args *a, struct uuid *uuid,
		      struct err *err)
{
	struct create_args any = *a;
	struct stat st;

	if (!a->block_size) {
		any.block_size = 4096;
		if (stat(a->filename, &st) == 0 && S_ISREG(st.st_mode))
			return err_set(err, -EINVAL,
				       "%s is a file: give it a block_size",
				       a->filename);
	}
	return check_common(&any, uuid, err);
}

static void create_on_file(struct jrpc_call *call, const struct create_args *a,
			   const struct disk_kind *kind)
{
	struct control *ctl = jrpc_ctx(call);
	struct bdev_file_opts file = {
		.path = a->filename,
		.block = a->block_size,
		.is_readonly = a->readonly,
	};
	struct disk_opts opts = {.name = a->name, .kind = kind};
	struct bdev *bdev = NULL;
	struct err err = {0};
	int ret = check_file(a, &opts.uuid, &err);

	if (!ret && disk_find(&ctl->registry, a->name))
		ret = -EEXIST;
	if (!ret)
		ret = bdev_file_create(&file, &bdev, &err);
	if (ret) {
		fail_err(call, ret, &err);
		return;
	}
	opts.details = file_details(a, kind);
	finish(call, bdev, &opts);
}

static void create_aio(struct jrpc_call *call, void *args)
{
	create_on_file(call, args, &disk_aio);
}

static void create_uring(struct jrpc_call *call, void *args)
{
	create_on_file(call, args, &disk_uring);
}

struct delete_args {
	const char *name;
};
static const struct param delete_params[] = {
	{"name", PARAM_STR, offsetof(struct delete_args, name), true},
};

static void on_deleted(void *arg)
{
	jrpc_true(arg);
}

/* Each kind has its own method, and none deletes another kind. */
static void delete_disk(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct delete_args *a = args;
	struct disk *disk = disk_find(&ctl->registry, a->name);

	if (!disk || strcmp(disk->kind->remove, call->method->name) != 0)
		jrpc_fail_errno(call, -ENODEV);
	else
		disk_delete(disk, on_deleted, call);
}

#define CREATE(name_, params_, run_)                                           \
	{                                                                      \
		.name = name_, .params = params_,                              \
		.param_count = ARRAY_SIZE(params_),                            \
		.args_size = sizeof(struct create_args), .run = run_,          \
		.attrs = JRPC_BDEV_STYLE | JRPC_CHANGES                        \
	}
#define DELETE(name_)                                                          \
	{                                                                      \
		.name = name_, .params = delete_params,                        \
		.param_count = ARRAY_SIZE(delete_params),                      \
		.args_size = sizeof(struct delete_args), .run = delete_disk,   \
		.attrs = JRPC_BDEV_STYLE | JRPC_CHANGES                        \
	}

static const struct jrpc_method methods[] = {
	CREATE("bdev_malloc_create", malloc_params, create_malloc),
	DELETE("bdev_malloc_delete"),
	CREATE("bdev_null_create", null_params, create_null),
	DELETE("bdev_null_delete"),
	CREATE("bdev_aio_create", file_params, create_aio),
	DELETE("bdev_aio_delete"),
	CREATE("bdev_uring_create", file_params, create_uring),
	DELETE("bdev_uring_delete"),
};

const struct jrpc_table control_disks = {methods, ARRAY_SIZE(methods)};
