/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set of fault rules.  Changed on the control loop, asked by every shard
 * under one lock: a target with faults is not a fast one, and one without never
 * gets here.  Invariant: active is the number of rules that may still hit.
 */
#include "target/fault.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/str.h"
#include "base/time.h"
#include "target/fault_rule.h"
#include "target/subsys.h"

#define REMIND_NS (60 * NS_PER_S)

static bool is_over(const struct fault_rule *r, uint64_t now_ns)
{
	return (r->count && r->injected >= r->count) ||
	       (r->expires_ns && now_ns >= r->expires_ns);
}

static void count_active(struct fault_set *fs, uint64_t now_ns)
{
	unsigned active = 0;

	for (unsigned i = 0; i < fs->count; i++)
		active += !is_over(fs->rules[i], now_ns);
	atomic_store(&fs->active, active);
}

static void rule_free(struct fault_rule *r)
{
	if (r)
		free(r->text);
	free(r);
}

void fault_set_init(struct fault_set *fs)
{
	pthread_mutex_init(&fs->lock, NULL);
}

void fault_set_fini(struct fault_set *fs)
{
	for (unsigned i = 0; i < fs->count; i++)
		rule_free(TAKE(fs->rules[i]));
	fs->count = 0;
	pthread_mutex_destroy(&fs->lock);
}

void fault_set_stop(struct fault_set *fs, struct loop *loop)
{
	timer_cancel(loop, &fs->timer);
}

/* --- the question --- */

static bool is_for(const struct fault_rule *r, const struct fault_look *l)
{
	if (!(r->ops & l->op) || (r->nsid && r->nsid != l->nsid) ||
	    (r->qid != UINT32_MAX && r->qid != l->qid) ||
	    (r->nqn[0] && strcmp(r->nqn, l->nqn)) ||
	    (r->host[0] && strcmp(r->host, l->host)))
		return false;
	if (r->has_lba && (!l->blocks || l->slba > r->lba_last ||
			   l->slba + l->blocks - 1 < r->lba_first))
		return false;
	return (r->kind != FAULT_HDGST || l->hdgst) &&
	       (r->kind != FAULT_DDGST || l->ddgst);
}

/* In [0, 1). */
static double random_part(struct rng *rng)
{
	return (double)(rng_u64(rng) >> 11) / (double)((uint64_t)1 << 53);
}

/* Counted as seen; true: it is this one's turn. */
static bool is_hit(struct fault_rule *r, const struct fault_look *l)
{
	uint64_t nth = ++r->seen;

	r->seen_bytes += l->bytes;
	if (nth <= r->after ||
	    (r->after_bytes && r->seen_bytes <= r->after_bytes))
		return false;
	if (r->p > 0 && random_part(&r->rng) >= r->p)
		return false;
	return !r->every || (nth - r->after) % r->every == 0;
}

/*
 * A curve through the two points that were asked for: half of them between
 * p50/2 and p50, rising steeply to p99, and one in a hundred beyond that.
 */
static uint64_t pick_delay(struct fault_rule *r)
{
	double u = random_part(&r->rng), t;
	double p50 = (double)r->p50_ns, span = (double)(r->p99_ns - r->p50_ns);

	if (!r->p50_ns)
		return r->delay_ns;
	if (u < 0.5)
		return (uint64_t)(p50 / 2 + u * p50);
	if (u < 0.99) {
		t = (u - 0.5) / 0.49;
		return (uint64_t)(p50 + span * t * t * t * t);
	}
	return (uint64_t)(p50 + span * (1 + (u - 0.99) / 0.01));
}

static uint64_t rate_until(struct fault_rule *r, const struct fault_look *l)
{
	double cost_s = 0;

	if (r->iops)
		cost_s = 1.0 / (double)r->iops;
	if (r->bytes_per_s)
		cost_s = MAX(cost_s, (double)l->bytes / (double)r->bytes_per_s);
	r->next_ns = MAX(r->next_ns, l->now_ns) +
		     (uint64_t)(cost_s * (double)NS_PER_S);
	return r->next_ns;
}

static uint16_t status_of(const struct fault_rule *r,
			  const struct fault_look *l)
{
	if (r->sc || r->kind == FAULT_TORN)
		return (uint16_t)r->sc;
	if (r->kind == FAULT_REFUSE)
		return NVME_SC_CONNECT_CTRL_BUSY;
	if (l->op == FAULT_OP_READ)
		return NVME_SC_READ_ERROR;
	return l->op == FAULT_OP_ADMIN ? NVME_SC_INTERNAL : NVME_SC_WRITE_FAULT;
}

static void hold(struct fault_plan *plan, uint32_t id, uint64_t until_ns)
{
	if (until_ns <= plan->until_ns)
		return;
	plan->until_ns = until_ns;
	plan->hold_id = id;
}

static void hit(struct fault_rule *r, const struct fault_look *l,
		struct fault_plan *plan)
{
	r->injected++;
	plan->acts |= FAULT_BIT(r->kind);
	switch (r->kind) {
	case FAULT_DELAY:
		hold(plan, r->id, l->now_ns + pick_delay(r));
		break;
	case FAULT_RATE:
		hold(plan, r->id, rate_until(r, l));
		break;
	case FAULT_STALL:
		plan->stall_id = r->id;
		plan->stall_ns = r->delay_ns;
		plan->sides = (uint8_t)r->sides;
		break;
	case FAULT_ERROR:
	case FAULT_REFUSE:
	case FAULT_TORN:
		plan->sc = status_of(r, l);
		plan->blocks = r->blocks;
		plan->is_rst = r->is_rst;
		break;
	case FAULT_DISCONNECT:
		plan->is_rst = r->is_rst;
		break;
	case FAULT_MISDIRECT:
		plan->shift = r->shift;
		break;
	case FAULT_CORRUPT:
		plan->random = rng_u64(&r->rng);
		break;
	default:
		break;
	}
}

void fault_look(struct fault_set *fs, const struct fault_look *look,
		struct fault_plan *plan)
{
	struct fault_rule *r;

	*plan = (struct fault_plan){0};
	pthread_mutex_lock(&fs->lock);
	for (unsigned i = 0; i < fs->count; i++) {
		r = fs->rules[i];
		if (is_over(r, look->now_ns) || !is_for(r, look) ||
		    !is_hit(r, look))
			continue;
		hit(r, look, plan);
		if (is_over(r, look->now_ns))
			count_active(fs, look->now_ns);
	}
	pthread_mutex_unlock(&fs->lock);
}

bool fault_is_set(struct fault_set *fs, uint32_t id, uint64_t now_ns)
{
	bool is_set = false;

	pthread_mutex_lock(&fs->lock);
	for (unsigned i = 0; i < fs->count; i++) {
		const struct fault_rule *r = fs->rules[i];

		is_set |= r->id == id &&
			  !(r->expires_ns && now_ns >= r->expires_ns);
	}
	pthread_mutex_unlock(&fs->lock);
	return is_set;
}

/* --- control loop --- */

static void tell(const char *what, const struct fault_rule *r)
{
	log_warn("fault injection", "%s id=%u rule=\"%s\" seed=%llu hits=%llu",
		 what, r->id, r->text, (unsigned long long)r->seed,
		 (unsigned long long)r->injected);
}

static void timer_next(struct tgt *tgt)
{
	struct fault_set *fs = &tgt->faults;
	uint64_t at = fs->remind_ns;

	timer_cancel(tgt->opts.loop, &fs->timer);
	if (!fs->count)
		return;
	for (unsigned i = 0; i < fs->count; i++) {
		const struct fault_rule *r = fs->rules[i];

		if (r->expires_ns && !r->is_told)
			at = MIN(at, r->expires_ns);
	}
	timer_set_at(tgt->opts.loop, &fs->timer, at);
}

/* A rule is over, or it is time to remind people. */
static void on_timer(struct timer *timer)
{
	struct tgt *tgt = container_of(timer, struct tgt, faults.timer);
	struct fault_set *fs = &tgt->faults;
	uint64_t now_ns = loop_now_ns(tgt->opts.loop);
	bool is_due = now_ns >= fs->remind_ns;

	pthread_mutex_lock(&fs->lock);
	count_active(fs, now_ns);
	for (unsigned i = 0; i < fs->count; i++) {
		struct fault_rule *r = fs->rules[i];

		if (!is_over(r, now_ns)) {
			if (is_due)
				tell("active", r);
		} else if (!r->is_told) {
			r->is_told = true;
			tell("over", r);
		}
	}
	pthread_mutex_unlock(&fs->lock);
	if (is_due)
		fs->remind_ns = now_ns + REMIND_NS;
	timer_next(tgt);
}

static int rule_new(const char *text, uint64_t now_ns, struct fault_rule **out,
		    struct err *err)
{
	struct fault_rule *r = calloc(1, sizeof(*r));
	int ret = r ? fault_parse(text, r, err)
		    : err_set(err, -ENOMEM, "out of memory");

	*out = NULL;
	if (ret)
		goto fail;
	r->text = str_dup(str_trim(str_of(text)));
	if (!r->text) {
		ret = err_set(err, -ENOMEM, "out of memory");
		goto fail;
	}
	if (!r->has_seed)
		rand_fill_os(&r->seed, sizeof(r->seed));
	rng_seed(&r->rng, r->seed);
	if (r->for_ms)
		r->expires_ns = now_ns + r->for_ms * NS_PER_MS;
	*out = r;
	return 0;
fail:
	rule_free(r);
	return ret;
}

int tgt_fault_set(struct tgt *tgt, const char *text, uint32_t *id,
		  struct err *err)
{
	struct fault_set *fs = &tgt->faults;
	uint64_t now_ns = loop_now_ns(tgt->opts.loop);
	struct fault_rule *r;
	int ret;

	if (fs->count == TGT_FAULT_MAX)
		return err_set(err, -ENOSPC,
			       "more than %d faults: clear some first",
			       TGT_FAULT_MAX);
	ret = rule_new(text, now_ns, &r, err);
	if (ret)
		return ret;
	pthread_mutex_lock(&fs->lock);
	*id = r->id = ++fs->next_id;
	fs->rules[fs->count++] = r;
	tell("set", r);
	count_active(fs, now_ns);
	pthread_mutex_unlock(&fs->lock);
	if (fs->count == 1) {
		fs->remind_ns = now_ns + REMIND_NS;
		fs->timer.fire = on_timer;
	}
	timer_next(tgt);
	return 0;
}

unsigned tgt_fault_clear(struct tgt *tgt, uint32_t id)
{
	struct fault_set *fs = &tgt->faults;
	struct fault_rule *r;
	unsigned kept = 0, cleared;

	pthread_mutex_lock(&fs->lock);
	for (unsigned i = 0; i < fs->count; i++) {
		r = fs->rules[i];
		if (id && r->id != id) {
			fs->rules[kept++] = r;
			continue;
		}
		tell("cleared", r);
		rule_free(r);
	}
	cleared = fs->count - kept;
	fs->count = kept;
	count_active(fs, loop_now_ns(tgt->opts.loop));
	pthread_mutex_unlock(&fs->lock);
	timer_next(tgt);
	return cleared;
}

void tgt_fault_list(struct tgt *tgt, tgt_fault_fn fn, void *arg)
{
	struct fault_set *fs = &tgt->faults;
	uint64_t now_ns = loop_now_ns(tgt->opts.loop);
	struct tgt_fault_info info;

	for (unsigned i = 0; i < fs->count; i++) {
		const struct fault_rule *r = fs->rules[i];

		pthread_mutex_lock(&fs->lock);
		info = (struct tgt_fault_info){
			.id = r->id,
			.text = r->text,
			.seed = r->seed,
			.seen = r->seen,
			.injected = r->injected,
			.is_active = !is_over(r, now_ns),
		};
		if (r->expires_ns > now_ns)
			info.left_ms = (r->expires_ns - now_ns) / NS_PER_MS;
		pthread_mutex_unlock(&fs->lock);
		fn(&info, arg);
	}
}
