/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to many targets at once.  The caller's thread, which turns its
 * loop.  Invariant: a glance that has begun ends by closing its controller,
 * and the loop is stopped when the last one has.
 */
#include "deploy/look.h"

#include <errno.h>
#include <stdlib.h>

#include "base/time.h"

/* More connections at a time only wait for each other. */
#define AT_A_TIME 64
#define CLOSE_MS  1000u

struct glance {
	struct look *look;
	struct stare *all;
	struct nvmf_ctrl *ctrl;
	struct timer timer;
	uint64_t start_ns;
	bool is_closing, is_done;
};

struct stare {
	struct loop *loop;
	const struct look_opts *opts;
	struct look *looks;
	size_t count, next, running;
	struct glance *glances; /* AT_A_TIME */
};

static void start_more(struct stare *all);

static void on_closed(void *arg)
{
	struct glance *g = arg;

	g->is_done = true;
	g->all->running--;
	start_more(g->all);
	if (!g->all->running)
		loop_stop(g->all->loop);
}

static void glance_end(struct glance *g)
{
	if (g->is_closing)
		return;
	g->is_closing = true;
	timer_cancel(g->all->loop, &g->timer);
	nvmf_ctrl_close(g->ctrl, on_closed, g);
}

static void glance_fail(struct glance *g, int code, const char *why)
{
	err_set(&g->look->err, code, "%s", why);
	glance_end(g);
}

static void on_timeout(struct timer *timer)
{
	struct glance *g = container_of(timer, struct glance, timer);

	err_set(&g->look->err, -ETIMEDOUT, "no answer within %u ms",
		g->all->opts->timeout_ms);
	glance_end(g);
}

/* A target without the log is not worse for it. */
static void on_smart(int ret, const struct nvmf_smart *smart, void *arg)
{
	struct glance *g = arg;

	if (g->is_closing)
		return;
	if (ret == 0) {
		g->look->smart = *smart;
		g->look->has_smart = true;
	}
	glance_end(g);
}

static void on_namespace(int ret, const struct nvmf_ns_info *ns, size_t count,
			 void *arg)
{
	struct glance *g = arg;

	if (g->is_closing)
		return;
	if (ret == 0 && count > 0) {
		g->look->ns = ns[0];
		g->look->has_ns = true;
	} else if (ret == -ENODEV) {
		glance_fail(g, ret, "the target has no such namespace");
		return;
	} else {
		glance_fail(g, ret ? ret : -EIO,
			    "reading the namespace failed");
		return;
	}
	if (nvmf_smart_get(g->ctrl, on_smart, g) < 0)
		glance_end(g);
}

static void on_state(struct nvmf_ctrl *ctrl, enum nvmf_state state,
		     const struct err *err, void *arg)
{
	struct glance *g = arg;

	g->ctrl = ctrl;
	if (g->is_closing)
		return;
	if (state != NVMF_LIVE) {
		glance_fail(g, err && err->code ? err->code : -EIO,
			    err && err->code ? err->text
					     : "the connection was lost");
		return;
	}
	g->look->info = *nvmf_ctrl_info(ctrl);
	g->look->connect_ns = time_mono_ns() - g->start_ns;
	if (g->look->is_discovery)
		glance_end(g);
	else if (nvmf_ns_get(ctrl, g->look->ep.nsid, on_namespace, g) < 0)
		glance_fail(g, -ENOMEM, "out of memory");
}

static void glance_start(struct glance *g, struct look *look)
{
	struct stare *all = g->all;
	struct nvmf_opts opts = all->opts->nvmf;

	*g = (struct glance){.look = look, .all = all};
	look->err = (struct err){0};
	if (addr_parse(look->ep.traddr, look->ep.trsvcid, &opts.addr) < 0) {
		err_set(&look->err, -EINVAL, "'%s' is no address",
			look->ep.traddr);
		g->is_done = true;
		return;
	}
	memcpy(opts.subnqn, look->ep.subnqn, sizeof(opts.subnqn));
	if (look->is_discovery)
		opts.kato_ms = NVMF_KATO_OFF;
	/* Who does not answer does not say good-bye either. */
	opts.close_timeout_ms = MIN(all->opts->timeout_ms, CLOSE_MS);
	g->start_ns = time_mono_ns();
	g->timer.fire = on_timeout;
	if (nvmf_ctrl_open(all->loop, &opts, on_state, g, &g->ctrl) < 0) {
		err_set(&look->err, -ENOMEM, "out of memory");
		g->is_done = true;
	} else {
		timer_set(all->loop, &g->timer,
			  all->opts->timeout_ms * NS_PER_MS);
		all->running++;
	}
	secret_clear(&opts, sizeof(opts));
}

static void start_more(struct stare *all)
{
	for (size_t i = 0; i < AT_A_TIME; i++) {
		struct glance *g = &all->glances[i];

		while (g->is_done && all->next < all->count)
			glance_start(g, &all->looks[all->next++]);
	}
}

int look_at_all(struct loop *loop, const struct look_opts *opts,
		struct look *looks, size_t count)
{
	struct stare all = {
		.loop = loop,
		.opts = opts,
		.looks = looks,
		.count = count,
		.glances = calloc(AT_A_TIME, sizeof(*all.glances)),
	};

	if (!all.glances)
		return -ENOMEM;
	for (size_t i = 0; i < AT_A_TIME; i++)
		all.glances[i] = (struct glance){.all = &all, .is_done = true};
	start_more(&all);
	if (all.running)
		loop_run(loop);
	free(all.glances);
	return 0;
}
