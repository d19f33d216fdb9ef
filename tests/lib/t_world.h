/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real service with a journal, its clients over RPC, and a disk that is slow,
 * full or broken when the test says so.
 */
#ifndef T_WORLD_H
#define T_WORLD_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/backend.h"
#include "io/thread.h"
#include "master/note.h"
#include "master/object.h"
#include "master/service.h"
#include "rpc/client.h"
#include "t_dir.h"

/* --- the disk --- */

static struct {
	_Atomic bool is_slow, is_full, is_broken;
	_Atomic bool is_nearly_full; /* there is room for headers */
	_Atomic bool has_no_files;   /* nor can one be made */
	struct gate begun, goes_on;  /* of a slow sync */
} disk;

int fdatasync(int fd)
{
	if (atomic_exchange(&disk.is_slow, false)) {
		gate_open(&disk.begun);
		gate_wait(&disk.goes_on);
	}
	return (int)syscall(SYS_fdatasync, disk.is_broken ? -1 : fd);
}

int fsync(int fd)
{
	return (int)syscall(SYS_fsync, disk.is_broken ? -1 : fd);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	bool is_full = disk.is_full || (disk.is_nearly_full && at > 0);

	return syscall(SYS_pwrite64, is_full ? -1 : fd, p, n, at);
}

int openat(int dir_fd, const char *name, int flags, ...)
{
	bool fails = disk.has_no_files && (flags & O_CREAT);

	return (int)syscall(SYS_openat, fails ? -1 : dir_fd, name, flags, 0600);
}

/* --- the master --- */

struct world {
	struct t_dir dir;
	enum keep_sync sync;
	uint64_t sync_interval_ns, snapshot_bytes;
	struct shard meta, net;
	struct vol_set *vols; /* NULL: nobody looks at the pool */
	struct service *svc;
	struct rpc_server *server;
	struct addr addr;
	struct rpc_sync *rs;
	struct gate gate;
	/* world_look() */
	uint64_t failures, syncs, failed_snapshots;
	bool is_watched; /* the first segment */
	/* what is to be */
	bool fills_up; /* the disk, while the journal is opened */
	bool has_news_at_the_end, is_mended_at_the_end;
	/* at the end of the last life */
	uint32_t timers_left;
	bool has_parked_left;
	uint64_t evicted; /* replicas in memory */
};

static uint8_t world_client[16] = {1}, world_segment[16] = {2};

static inline void world_open_service(void *arg)
{
	struct world *w = arg;
	struct keeper_opts keeper = {
		.dir = w->dir.path,
		.sync = w->sync,
		.sync_interval_ns = w->sync_interval_ns,
		.snapshot_bytes = w->snapshot_bytes,
		.snapshot_interval_ns = 3600 * NS_PER_S,
	};
	struct service_opts opts = {.cluster_id = "test",
				    .probe_interval_ns = NS_PER_S,
				    .journal = &keeper};
	struct err err = {0};

	core_opts_default(&opts.core);
	opts.core.high_watermark[KIND_MEM] = 1;
	opts.core.generation = 1000;
	disk.is_nearly_full = w->fills_up;
	if (service_open(w->meta.loop, &opts, w->vols, &w->svc, &err) < 0)
		fail_msg("%s", err.text);
	disk.is_full = w->fills_up;
}

static inline void world_open_server(void *arg)
{
	struct world *w = arg;
	struct err err = {0};

	ASSERT(addr_parse("127.0.0.1", 0, &w->addr) == 0);
	ASSERT(rpc_server_open(
		       &(struct rpc_server_opts){.loop = w->net.loop,
						 .addr = w->addr,
						 .handler = service_handle,
						 .arg = w->svc},
		       &w->addr, &w->server, &err) == 0);
}

static inline struct rpc_sync *world_connect(struct world *w)
{
	struct rpc_sync *rs;
	struct err err = {0};

	ASSERT(rpc_sync_open(&w->addr, 60000, &rs, &err) == 0);
	return rs;
}

static inline void world_start(struct world *w)
{
	struct err err = {0};

	ASSERT(shard_start(&w->meta, &(struct loop_opts){.name = "meta"},
			   &err) == 0);
	ASSERT(shard_start(&w->net, &(struct loop_opts){.name = "net"}, &err) ==
	       0);
	shard_call(&w->meta, world_open_service, w);
	shard_call(&w->net, world_open_server, w);
	w->rs = world_connect(w);
}

static inline void world_opened(void *arg)
{
	struct world *w = arg;

	gate_open(&w->gate);
}

static inline void world_stopped(void *arg)
{
	struct world *w = arg;

	w->has_parked_left = !list_is_empty(&w->svc->parked);
	w->evicted = w->svc->core->stats.evicted_keys_mem;
	gate_open(&w->gate);
}

static inline void world_stop_service(void *arg)
{
	struct world *w = arg;
	struct notes *notes = w->svc->core->notes;

	if (w->has_news_at_the_end)
		notes->has_news(notes->arg);
	if (w->is_mended_at_the_end)
		disk.is_broken = false;
	service_stop(w->svc, world_stopped, w);
}

static inline void world_destroy_service(void *arg)
{
	struct world *w = arg;

	service_destroy(w->svc);
	w->timers_left = w->meta.loop->heap_len;
}

static inline void world_stop_server(void *arg)
{
	struct world *w = arg;

	rpc_server_close(w->server, world_opened, w);
}

static inline void world_stop(struct world *w)
{
	gate_init(&w->gate);
	shard_call(&w->meta, world_stop_service, w);
	gate_wait(&w->gate);
	gate_init(&w->gate);
	shard_call(&w->net, world_stop_server, w);
	gate_wait(&w->gate);
	rpc_sync_close(w->rs);
	shard_stop(&w->net);
	shard_call(&w->meta, world_destroy_service, w);
	shard_stop(&w->meta);
}

static inline int world_setup(void **state, enum keep_sync sync,
			      uint64_t interval_ns)
{
	struct world *w = calloc(1, sizeof(*w));

	ASSERT(w);
	/* As the test before may have left it. */
	disk.is_full = disk.is_nearly_full = disk.is_broken = false;
	disk.has_no_files = false;
	w->sync = sync;
	w->sync_interval_ns = interval_ns;
	w->snapshot_bytes = GiB;
	t_dir_open(&w->dir);
	world_start(w);
	*state = w;
	return 0;
}

static inline int world_teardown(void **state)
{
	struct world *w = *state;

	world_stop(w);
	t_dir_close(&w->dir);
	free(w);
	return 0;
}

static inline void world_look(void *arg)
{
	struct world *w = arg;
	const struct core *core = w->svc->core;

	w->failures = core->stats.journal_failures;
	w->syncs = core->stats.journal_syncs;
	w->failed_snapshots = core->stats.snapshots_failed;
	w->is_watched =
		!list_is_empty(&core->segments) &&
		list_first(&core->segments, struct segment, node)->watch;
}

static inline bool world_has_failed(struct world *w)
{
	shard_call(&w->meta, world_look, w);
	return w->failures > 0;
}

/* --- its clients --- */

/* NULL: refused. */
static inline const void *world_call(struct rpc_sync *rs, uint16_t method,
				     const void *req, int *ret)
{
	const ProtobufCMessage *rsp = NULL;
	struct err err = {0};

	*ret = rpc_sync_call(rs, method, req, &rsp, &err);
	return *ret < 0 ? NULL : rsp;
}

static inline ProtobufCBinaryData world_bytes(const char *text)
{
	return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static inline bool world_mount_by(struct world *w, const char *name,
				  const char *host, bool is_again)
{
	char *paths[] = {"traddr:127.0.0.1 subnqn:nqn.2024-01.t:m ns:1"};
	Mc__Segment seg = MC__SEGMENT__INIT;
	Mc__MountReq req = MC__MOUNT_REQ__INIT;
	const Mc__MountRsp *rsp;
	int ret;

	req.client_id = (ProtobufCBinaryData){16, world_client};
	req.segment = &seg;
	req.again = is_again;
	seg.id = (ProtobufCBinaryData){16, world_segment};
	seg.name = (char *)(uintptr_t)name;
	seg.host_id = (char *)(uintptr_t)host;
	seg.size = 16 * MiB;
	seg.endpoints = paths;
	seg.n_endpoints = 1;
	rsp = world_call(w->rs, METHOD_MOUNT, &req, &ret);
	return rsp && rsp->status == 0;
}

static inline bool world_mount_as(struct world *w, const char *name,
				  const char *host)
{
	return world_mount_by(w, name, host, false);
}

static inline bool world_mount(struct world *w)
{
	return world_mount_as(w, "host:1", "");
}

/* By a node that has lived on. */
static inline bool world_mount_again(struct world *w)
{
	return world_mount_by(w, "host:1", "", true);
}

/* Was it acknowledged? */
static inline bool world_put(struct rpc_sync *rs, const char *key)
{
	Mc__PutItem item = MC__PUT_ITEM__INIT, *items[] = {&item};
	Mc__PutStartReq req = MC__PUT_START_REQ__INIT;
	Mc__PutEndItem last = MC__PUT_END_ITEM__INIT, *lasts[] = {&last};
	Mc__PutEndReq end = MC__PUT_END_REQ__INIT;
	const Mc__PutStartRsp *rsp;
	const Mc__StatusRsp *st;
	int ret;

	item.key = last.key = world_bytes(key);
	item.size = 4096;
	req.client_id = end.client_id = (ProtobufCBinaryData){16, world_client};
	req.items = items;
	end.items = lasts;
	req.n_items = end.n_items = 1;
	rsp = world_call(rs, METHOD_PUT_START, &req, &ret);
	if (!rsp || !rsp->n_grants || rsp->grants[0]->status)
		return false;
	last.generation = rsp->grants[0]->generation;
	last.crcs = world_bytes("1234");
	st = world_call(rs, METHOD_PUT_END, &end, &ret);
	return st && st->n_status && st->status[0] == 0;
}

static inline int world_get(struct rpc_sync *rs, const char *key)
{
	Mc__GetReq req = MC__GET_REQ__INIT;
	ProtobufCBinaryData keys[] = {world_bytes(key)};
	const Mc__GetRsp *rsp;
	int ret;

	req.keys = keys;
	req.n_keys = 1;
	rsp = world_call(rs, METHOD_GET, &req, &ret);
	assert_non_null(rsp);
	return rsp->objects[0]->status;
}

static inline int world_snapshot(struct world *w)
{
	Mc__StatsReq req = MC__STATS_REQ__INIT;
	const Mc__CountRsp *rsp;
	int ret;

	rsp = world_call(w->rs, METHOD_SNAPSHOT, &req, &ret);
	assert_non_null(rsp);
	return rsp->status;
}

/* The disk works again.  A snapshot that was begun before may still fail. */
static inline void world_expect_mended(struct world *w)
{
	uint64_t until_ns = time_mono_ns() + 60 * NS_PER_S;

	while (world_snapshot(w) != 0)
		assert_true(time_mono_ns() < until_ns);
}

#endif
