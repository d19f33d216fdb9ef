/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces: coming, changing, going.  Control loop, but for ns_visit() and
 * what it leads to.  Invariant: a namespace is complete before it is published
 * and is freed only after a message has met every shard with no command
 * holding it; after it was unpublished no shard finds it any more.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "target/conn.h"
#include "target/ident.h"

#define NS_WAIT_NS (5 * NS_PER_S) /* then connections that hold it end */

struct tgt_ns *tgt_ns_find(const struct tgt_subsys *ss, uint32_t nsid)
{
	if (nsid == 0 || nsid > TGT_NS_MAX)
		return NULL;
	return atomic_load_explicit(&ss->ns[nsid - 1], memory_order_acquire);
}

static uint32_t ns_pick_id(const struct tgt_subsys *ss, uint32_t want)
{
	uint32_t nsid = want ? want : 1;

	if (!want) {
		while (nsid <= ss->max_ns && tgt_ns_find(ss, nsid))
			nsid++;
	}
	return nsid > ss->max_ns ? 0 : nsid;
}

uint32_t tgt_ns_next(struct tgt_subsys *ss)
{
	return ns_pick_id(ss, 0);
}

uint32_t tgt_ns_after(const struct tgt_subsys *ss, uint32_t after)
{
	for (uint32_t nsid = after + 1; nsid && nsid <= TGT_NS_MAX; nsid++) {
		if (tgt_ns_find(ss, nsid))
			return nsid;
	}
	return 0;
}

static bool is_zero(const void *p, size_t n)
{
	static const uint8_t zeros[16];

	ASSERT(n <= sizeof(zeros));
	return memcmp(p, zeros, n) == 0;
}

static struct tgt_ns *ns_new(struct tgt_subsys *ss, struct bdev *bdev,
			     const struct tgt_ns_opts *opts, uint32_t nsid)
{
	unsigned shards = ss->tgt->shard_count;
	size_t bytes =
		sizeof(struct tgt_ns) + shards * sizeof(struct tgt_ns_use);
	struct tgt_ns *ns = aligned_alloc(_Alignof(struct tgt_ns),
					  ALIGN_UP(bytes, (size_t)64));

	if (!ns)
		return NULL;
	memset(ns, 0, bytes);
	ns->ss = ss;
	ns->bdev = bdev;
	ns->nsid = nsid;
	resv_init(&ns->resv);
	ns->anagrpid = opts->anagrpid ? opts->anagrpid : nsid;
	ns->lba_shift = (uint8_t)__builtin_ctz(bdev->block);
	ns->is_mapped = bdev->ops->map(bdev, 0, bdev->size) != NULL;
	ns->uuid = opts->uuid;
	if (uuid_is_zero(&ns->uuid))
		ident_uuid(ss->nqn, nsid, "", &ns->uuid);
	ns->nguid = is_zero(&opts->nguid, sizeof(opts->nguid)) ? ns->uuid
							       : opts->nguid;
	memcpy(ns->eui64, opts->eui64, sizeof(ns->eui64));
	ns->release = opts->release;
	ns->release_arg = opts->release_arg;
	return ns;
}

void ns_free(struct tgt_ns *ns)
{
	if (!ns)
		return;
	if (ns->release)
		ns->release(ns->bdev, ns->release_arg);
	else
		ns->bdev->ops->destroy(ns->bdev);
	free(ns);
}

static int ns_check_opts(struct tgt_subsys *ss, const struct tgt_ns_opts *opts,
			 uint32_t nsid, struct err *err)
{
	if (ss->is_leaving)
		return err_set(err, -ENOENT, "subsystem %s is being removed",
			       ss->nqn);
	if (!nsid)
		return err_set(err, -ENOSPC,
			       "namespace %u of %s: ids up to %u are possible",
			       opts->nsid, ss->nqn, ss->max_ns);
	if (tgt_ns_find(ss, nsid))
		return err_set(err, -EEXIST,
			       "namespace %u of %s: taken, remove it first",
			       nsid, ss->nqn);
	if (opts->anagrpid > TGT_NS_MAX)
		return err_set(err, -EINVAL, "ANA group %u: 1 to %d work",
			       opts->anagrpid, TGT_NS_MAX);
	return 0;
}

/* Is there anything that a flush is for? */
static void ns_update_cache(struct tgt_subsys *ss)
{
	bool has = false;
	uint32_t nsid = 0;

	while ((nsid = tgt_ns_after(ss, nsid)))
		has |= !tgt_ns_find(ss, nsid)->is_mapped;
	atomic_store(&ss->has_write_cache, has);
}

int tgt_ns_add(struct tgt_subsys *ss, struct bdev *bdev,
	       const struct tgt_ns_opts *opts, struct err *err)
{
	static const struct tgt_ns_opts none;
	uint32_t nsid;
	struct tgt_ns *ns;
	int ret;

	opts = opts ? opts : &none;
	ASSERT(!ss->is_discovery && bdev->size % bdev->block == 0);
	nsid = ns_pick_id(ss, opts->nsid);
	ret = ns_check_opts(ss, opts, nsid, err);
	if (ret)
		return ret;
	ns = ns_new(ss, bdev, opts, nsid);
	if (!ns)
		return err_set(err, -ENOMEM, "out of memory");
	atomic_store_explicit(&ss->ns[nsid - 1], ns, memory_order_release);
	ns_update_cache(ss);
	ctrl_announce_ns(ss, nsid);
	return (int)nsid;
}

void tgt_ns_resized(struct tgt_subsys *ss, uint32_t nsid)
{
	if (tgt_ns_find(ss, nsid))
		ctrl_announce_ns(ss, nsid);
}

static void on_size(struct mbox_msg *msg)
{
	struct tgt_ns *ns = container_of(msg, struct tgt_ns, size_msg);

	atomic_store(&ns->is_size_noted, false);
	if (tgt_ns_find(ns->ss, ns->nsid) == ns)
		tgt_ns_resized(ns->ss, ns->nsid);
}

/* The message is before the end of ns: that goes through this shard, and from
 * there to the control loop, later. */
bool tgt_ns_refresh(struct tgt_ns *ns)
{
	struct bdev *bdev = ns->bdev;

	if (!bdev->ops->refresh || !bdev->ops->refresh(bdev))
		return false;
	log_info("namespace has another size", "subnqn=%s nsid=%u bytes=%llu",
		 ns->ss->nqn, ns->nsid, (unsigned long long)bdev->size);
	if (!atomic_exchange(&ns->is_size_noted, true)) {
		ns->size_msg.run = on_size;
		loop_post(ns->ss->tgt->opts.loop, &ns->size_msg);
	}
	return true;
}

/* --- what was done --- */

void tgt_ns_counters_sum(const struct tgt_ns *ns, struct tgt_counters *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < ns->ss->tgt->shard_count; i++)
		counters_add(out, &ns->use[i].counters);
}

void subsys_counters_sum(const struct tgt_subsys *ss, struct tgt_counters *out)
{
	struct tgt_counters one;
	uint32_t nsid = 0;

	memset(out, 0, sizeof(*out));
	counters_add(out, &ss->gone);
	while ((nsid = tgt_ns_after(ss, nsid))) {
		tgt_ns_counters_sum(tgt_ns_find(ss, nsid), &one);
		counters_add(out, &one);
	}
}

/* Of a namespace that nobody finds any more; once more when it has gone, for
 * the commands that it still had. */
static void counters_keep(struct tgt_ns *ns)
{
	struct tgt_counters now, *kept = &ns->kept, *gone = &ns->ss->gone;

	tgt_ns_counters_sum(ns, &now);
	gone->commands += now.commands - kept->commands;
	gone->errors += now.errors - kept->errors;
	gone->reads += now.reads - kept->reads;
	gone->writes += now.writes - kept->writes;
	gone->bytes_read += now.bytes_read - kept->bytes_read;
	gone->bytes_written += now.bytes_written - kept->bytes_written;
	memset(kept, 0, sizeof(*kept));
	counters_add(kept, &now);
}

/* --- leaving --- */

static void ns_visit(struct mbox_msg *msg);

static void on_gone(struct mbox_msg *msg)
{
	struct tgt_ns *ns = container_of(msg, struct tgt_ns, msg);
	struct tgt_subsys *ss = ns->ss;
	struct tgt *tgt = ss->tgt;
	tgt_done_fn done = ns->removed;
	void *arg = ns->removed_arg;

	counters_keep(ns);
	ns_free(ns);
	ss->ns_leaving--;
	tgt->pending--;
	if (done)
		done(arg);
	subsys_check(ss);
	tgt_stop_check(tgt);
}

/* Shard: the next one, or back to the control loop after the last. */
static void ns_travel(struct tgt_ns *ns)
{
	struct tgt *tgt = ns->ss->tgt;
	bool is_last = ns->at_shard == tgt->shard_count;

	ns->msg.run = is_last ? on_gone : ns_visit;
	loop_post(is_last ? tgt->opts.loop : tgt->shards[ns->at_shard].loop,
		  &ns->msg);
}

/* Shard: what holds it has had its time. */
static void ns_evict(struct timer *timer)
{
	struct tgt_ns *ns = container_of(timer, struct tgt_ns, timer);
	struct tgt_shard *shard = &ns->ss->tgt->shards[ns->at_shard];
	unsigned busy = ns->use[ns->at_shard].busy;

	log_warn("namespace to be removed is still in use",
		 "subnqn=%s nsid=%u medium=%s commands=%u: the connections "
		 "that use it are closed",
		 ns->ss->nqn, ns->nsid, ns->bdev->name, busy);
	timer_set(shard->loop, timer, NS_WAIT_NS);
	conn_close_users(shard, ns);
}

static void ns_visit(struct mbox_msg *msg)
{
	struct tgt_ns *ns = container_of(msg, struct tgt_ns, msg);
	struct tgt_ns_use *use = &ns->use[ns->at_shard];
	struct tgt_shard *shard = &ns->ss->tgt->shards[ns->at_shard];

	if (use->busy) {
		use->is_awaited = true;
		ns->timer.fire = ns_evict;
		timer_set(shard->loop, &ns->timer, NS_WAIT_NS);
		return;
	}
	ns->at_shard++;
	ns_travel(ns);
}

void tgt_ns_drop(struct tgt_ns *ns, const struct tgt_shard *shard)
{
	struct tgt_ns_use *use = &ns->use[shard->index];

	ASSERT(use->busy);
	if (--use->busy || !use->is_awaited)
		return;
	use->is_awaited = false;
	timer_cancel(shard->loop, &ns->timer);
	ns->at_shard++;
	ns_travel(ns);
}

int tgt_ns_remove(struct tgt_subsys *ss, uint32_t nsid, tgt_done_fn done,
		  void *arg, struct err *err)
{
	struct tgt_ns *ns = tgt_ns_find(ss, nsid);

	if (!ns)
		return err_set(err, -ENOENT, "no namespace %u in %s", nsid,
			       ss->nqn);
	atomic_store_explicit(&ss->ns[nsid - 1], NULL, memory_order_release);
	counters_keep(ns);
	ns_update_cache(ss);
	ns->removed = done;
	ns->removed_arg = arg;
	ss->ns_leaving++;
	ss->tgt->pending++;
	ctrl_announce_ns(ss, nsid);
	ns_travel(ns);
	return 0;
}

bool tgt_ns_resv_get(const struct tgt_subsys *ss, uint32_t nsid,
		     struct resv_state *out)
{
	struct tgt_ns *ns = tgt_ns_find(ss, nsid);

	return ns && resv_state_get(&ns->resv, out);
}

int tgt_ns_resv_set(struct tgt_subsys *ss, uint32_t nsid,
		    const struct resv_state *in)
{
	struct tgt_ns *ns = tgt_ns_find(ss, nsid);

	return ns ? resv_state_set(&ns->resv, in) : -ENOENT;
}
