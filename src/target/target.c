/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target: subsystems, namespaces, listeners, and the end.  Control loop,
 * or before it runs.  Invariant: what shards can see (subsystems, namespaces,
 * listeners) is complete before its count or pointer is published.
 */
#include "target/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/time.h"
#include "target/conn.h"
#include "target/ident.h"
#include "target/keys.h"

#define MIN_TRANSFER	8192u /* MDTS 0, 4 KiB, would mean "no limit" */
#define MIN_H2CDATA	4096u
#define MAX_TRANSFER	(32u << 20)
#define MAX_IN_CAPSULE	(128u << 10)
#define MIN_BUFFER_CMDS 4 /* commands of the largest size per shard */

static uint32_t floor_pow2(uint32_t x)
{
	return 1u << (31 - __builtin_clz(x));
}

static int opts_default(struct tgt_opts *o, struct err *err)
{
	o->max_transfer = o->max_transfer ? o->max_transfer : 1u << 20;
	o->in_capsule = o->in_capsule ? o->in_capsule : 16u << 10;
	o->max_h2cdata = o->max_h2cdata ? o->max_h2cdata : 1u << 20;
	o->max_queues = o->max_queues ? o->max_queues : 64;
	o->queue_depth = o->queue_depth ? o->queue_depth : 128;
	o->max_connections = o->max_connections ? o->max_connections : 4096;
	o->buffer_bytes = o->buffer_bytes ? o->buffer_bytes : 64 * MiB;
	if (o->max_transfer < MIN_TRANSFER || o->max_transfer > MAX_TRANSFER)
		return err_set(err, -EINVAL,
			       "largest transfer of %u bytes: %u to %u work",
			       o->max_transfer, MIN_TRANSFER, MAX_TRANSFER);
	if (o->in_capsule > MAX_IN_CAPSULE || o->in_capsule % 16)
		return err_set(err, -EINVAL,
			       "in-capsule data of %u bytes: multiples of 16 up"
			       " to %u work",
			       o->in_capsule, MAX_IN_CAPSULE);
	if (o->max_h2cdata < MIN_H2CDATA || o->max_h2cdata % 4)
		return err_set(err, -EINVAL,
			       "MAXH2CDATA of %u bytes: multiples of 4 from"
			       " 4096 work",
			       o->max_h2cdata);
	if (o->queue_depth < 2 || o->queue_depth > 4096)
		return err_set(err, -EINVAL,
			       "queue depth of %u: 2 to 4096 work",
			       o->queue_depth);
	o->max_transfer = floor_pow2(o->max_transfer);
	return 0;
}

static void tgt_free(struct tgt *tgt)
{
	struct tgt_ns *ns;

	for (unsigned i = 0; i < TGT_LISTENER_MAX; i++)
		free(tgt->listeners[i]);
	for (unsigned i = 0; i < TGT_SUBSYS_MAX; i++) {
		for (unsigned n = 0; tgt->subsys[i] && n < TGT_NS_MAX; n++) {
			ns = atomic_load(&tgt->subsys[i]->ns[n]);
			if (ns)
				ns->bdev->ops->destroy(ns->bdev);
			free(ns);
		}
		free(tgt->subsys[i]);
	}
	fault_set_fini(&tgt->faults);
	for (unsigned i = 0; tgt->shards && i < tgt->shard_count; i++)
		bufs_fini(&tgt->shards[i].bufs);
	keyring_destroy(tgt->keyring);
	free(tgt->shards);
	free(tgt);
}

static int shards_init(struct tgt *tgt, struct err *err)
{
	uint64_t least = (uint64_t)tgt->opts.max_transfer * MIN_BUFFER_CMDS;
	uint64_t bytes;

	tgt->shard_count = MAX(tgt->opts.shard_count, 1u);
	tgt->shards = calloc(tgt->shard_count, sizeof(*tgt->shards));
	if (!tgt->shards)
		return err_set(err, -ENOMEM, "out of memory");
	bytes = MAX(tgt->opts.buffer_bytes / tgt->shard_count, least);
	for (unsigned i = 0; i < tgt->shard_count; i++) {
		struct tgt_shard *shard = &tgt->shards[i];

		shard->tgt = tgt;
		shard->loop = tgt->opts.shard_count ? tgt->opts.shards[i]
						    : tgt->opts.loop;
		if (bufs_init(&shard->bufs, bytes))
			return err_set(err, -ENOMEM,
				       "can't map %llu bytes of data buffers",
				       (unsigned long long)bytes);
	}
	return 0;
}

static struct tgt_subsys *subsys_new(struct tgt *tgt, const char *nqn,
				     const char *serial)
{
	unsigned count = atomic_load(&tgt->subsys_count);
	struct tgt_subsys *ss = calloc(1, sizeof(*ss));

	ASSERT(count < TGT_SUBSYS_MAX);
	if (!ss)
		return NULL;
	ss->tgt = tgt;
	snprintf(ss->nqn, sizeof(ss->nqn), "%s", nqn);
	if (serial)
		snprintf(ss->serial, sizeof(ss->serial), "%s", serial);
	else
		snprintf(ss->serial, sizeof(ss->serial), "MC%016llX",
			 (unsigned long long)hash_str(str_of(nqn)));
	tgt->subsys[count] = ss;
	atomic_store(&tgt->subsys_count, count + 1);
	atomic_fetch_add(&tgt->genctr, 1);
	return ss;
}

int tgt_create(const struct tgt_opts *opts, struct tgt **out, struct err *err)
{
	struct tgt *tgt = calloc(1, sizeof(*tgt));
	struct tgt_subsys *disc;
	int ret;

	*out = NULL;
	if (!tgt)
		return err_set(err, -ENOMEM, "out of memory");
	ASSERT(opts->loop);
	tgt->opts = *opts;
	list_init(&tgt->ctrls);
	list_init(&tgt->conns);
	tgt->next_cntlid = 1;
	tgt->start_ns = time_mono_ns();
	fault_set_init(&tgt->faults);
	ret = opts_default(&tgt->opts, err);
	if (!ret)
		ret = shards_init(tgt, err);
	if (ret)
		goto fail;
	tgt->opts.shards = NULL; /* the caller's array */
	disc = subsys_new(tgt, NVME_DISC_NQN, NULL);
	if (!disc) {
		ret = err_set(err, -ENOMEM, "out of memory");
		goto fail;
	}
	disc->is_discovery = true;
	*out = tgt;
	return 0;
fail:
	tgt_free(tgt);
	return ret;
}

struct tgt_subsys *tgt_subsys_find(struct tgt *tgt, const char *nqn)
{
	unsigned count = atomic_load(&tgt->subsys_count);

	for (unsigned i = 0; i < count; i++) {
		if (!strcmp(tgt->subsys[i]->nqn, nqn))
			return tgt->subsys[i];
	}
	return NULL;
}

int tgt_subsys_add(struct tgt *tgt, const char *nqn, const char *serial,
		   struct tgt_subsys **out, struct err *err)
{
	int ret = nqn_check(str_of(nqn), err);

	*out = NULL;
	if (ret)
		return ret;
	if (tgt_subsys_find(tgt, nqn))
		return err_set(err, -EEXIST, "subsystem %s exists already",
			       nqn);
	if (atomic_load(&tgt->subsys_count) == TGT_SUBSYS_MAX)
		return err_set(err, -EINVAL, "more than %d subsystems",
			       TGT_SUBSYS_MAX - 1);
	*out = subsys_new(tgt, nqn, serial);
	return *out ? 0 : err_set(err, -ENOMEM, "out of memory");
}

struct tgt_ns *tgt_ns_find(struct tgt_subsys *ss, uint32_t nsid)
{
	if (nsid == 0 || nsid > TGT_NS_MAX)
		return NULL;
	return atomic_load_explicit(&ss->ns[nsid - 1], memory_order_acquire);
}

static uint32_t ns_pick_id(struct tgt_subsys *ss, uint32_t want)
{
	uint32_t nsid = want ? want : 1;

	if (!want) {
		while (nsid <= TGT_NS_MAX && tgt_ns_find(ss, nsid))
			nsid++;
	}
	return nsid > TGT_NS_MAX || tgt_ns_find(ss, nsid) ? 0 : nsid;
}

uint32_t tgt_ns_next(struct tgt_subsys *ss)
{
	return ns_pick_id(ss, 0);
}

int tgt_ns_add(struct tgt_subsys *ss, struct bdev *bdev,
	       const struct tgt_ns_opts *opts, struct err *err)
{
	static const struct tgt_ns_opts none;
	uint32_t nsid;
	struct tgt_ns *ns;

	opts = opts ? opts : &none;
	ASSERT(!ss->is_discovery && bdev->size % bdev->block == 0);
	nsid = ns_pick_id(ss, opts->nsid);
	if (!nsid)
		return err_set(err, -EEXIST,
			       "namespace %u of %s: taken, or beyond %d",
			       opts->nsid, ss->nqn, TGT_NS_MAX);
	ns = calloc(1, sizeof(*ns));
	if (!ns)
		return err_set(err, -ENOMEM, "out of memory");
	ns->bdev = bdev;
	ns->nsid = nsid;
	ns->lba_shift = (uint8_t)__builtin_ctz(bdev->block);
	ns->is_mapped = bdev->ops->map(bdev, 0, bdev->size) != NULL;
	ns->uuid = opts->uuid;
	if (uuid_is_zero(&ns->uuid))
		ident_uuid(ss->nqn, nsid, "", &ns->uuid);
	if (!ns->is_mapped)
		atomic_store(&ss->has_write_cache, true);
	atomic_store_explicit(&ss->ns[nsid - 1], ns, memory_order_release);
	ctrl_announce(ss, nsid);
	return (int)nsid;
}

static void on_accept(struct listener *l, int fd, const struct addr *peer)
{
	struct tgt_listener *tl = l->arg;
	int ret = conn_create(tl->tgt, tl, fd, peer);

	if (ret) {
		log_warn("connection refused", "reason=%s connections=%u",
			 strerror(-ret), tl->tgt->conn_count);
		io_close(l->loop, fd);
	}
}

static int listen_at(struct tgt *tgt, struct addr *addr, bool is_discovery,
		     struct err *err)
{
	unsigned count = atomic_load(&tgt->listener_count);
	struct tgt_listener *tl;
	int ret;

	if (count == TGT_LISTENER_MAX)
		return err_set(err, -EINVAL, "more than %d listeners",
			       TGT_LISTENER_MAX);
	tl = calloc(1, sizeof(*tl));
	if (!tl)
		return err_set(err, -ENOMEM, "out of memory");
	tl->tgt = tgt;
	tl->is_discovery = is_discovery;
	ret = listener_open(&tl->l, tgt->opts.loop, addr, on_accept, tl, err);
	if (ret) {
		free(tl);
		return ret;
	}
	*addr = tl->l.local;
	tgt->listeners[count] = tl;
	tgt->listeners_open++;
	atomic_store(&tgt->listener_count, count + 1);
	atomic_fetch_add(&tgt->genctr, 1);
	return 0;
}

int tgt_listen(struct tgt *tgt, struct addr *addr, struct err *err)
{
	return listen_at(tgt, addr, false, err);
}

int tgt_listen_discovery(struct tgt *tgt, struct addr *addr, struct err *err)
{
	return listen_at(tgt, addr, true, err);
}

void tgt_counters_sum(const struct tgt *tgt, struct tgt_counters *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < tgt->shard_count; i++) {
		const struct tgt_counters *c = &tgt->shards[i].counters;

		out->commands += c->commands;
		out->errors += c->errors;
		out->reads += c->reads;
		out->writes += c->writes;
		out->bytes_read += c->bytes_read;
		out->bytes_written += c->bytes_written;
	}
}

void tgt_stats_get(const struct tgt *tgt, struct tgt_stats *out)
{
	struct tgt_counters sum;

	tgt_counters_sum(tgt, &sum);
	*out = (struct tgt_stats){
		.connections = tgt->stat_conns,
		.controllers = tgt->stat_ctrls,
		.commands = sum.commands,
		.errors = sum.errors,
		.bytes_read = sum.bytes_read,
		.bytes_written = sum.bytes_written,
	};
}

static void stop_finish(struct loop_task *task)
{
	struct tgt *tgt = container_of(task, struct tgt, stop_task);
	void (*done)(void *arg) = tgt->stop_done;
	void *arg = tgt->stop_arg;

	ASSERT(list_is_empty(&tgt->ctrls) && list_is_empty(&tgt->conns));
	tgt_free(tgt);
	if (done)
		done(arg);
}

void tgt_stop_check(struct tgt *tgt)
{
	if (!tgt->is_stopping || tgt->listeners_open || tgt->conn_count)
		return;
	tgt->stop_task.run = stop_finish;
	loop_defer(tgt->opts.loop, &tgt->stop_task);
}

static void on_listener_closed(struct listener *l)
{
	struct tgt_listener *tl = l->arg;

	tl->tgt->listeners_open--;
	tgt_stop_check(tl->tgt);
}

void tgt_stop(struct tgt *tgt, void (*done)(void *arg), void *arg)
{
	unsigned count = atomic_load(&tgt->listener_count);
	struct tgt_conn *conn;

	ASSERT(!tgt->is_stopping);
	tgt->is_stopping = true;
	fault_set_stop(&tgt->faults, tgt->opts.loop);
	tgt->stop_done = done;
	tgt->stop_arg = arg;
	for (unsigned i = 0; i < count; i++)
		listener_close(&tgt->listeners[i]->l, on_listener_closed);
	list_for_each (conn, &tgt->conns, node)
		conn_kill(conn);
	tgt_stop_check(tgt);
}
