/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subsystems coming and going.  Control loop.  Invariant: a
 * subsystem that leaves is out of tgt->subsys at once, and freed when its last
 * controller and its last namespace have gone.
 */
#include "target/subsys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "target/conn.h"
#include "target/ident.h"

#define CNTLID_MAX 0xffef

void subsys_free(struct tgt_subsys *ss)
{
	struct tgt_host *host, *tmp;

	if (!ss)
		return;
	ASSERT(list_is_empty(&ss->ctrls) && !ss->ns_leaving);
	for (unsigned n = 0; n < TGT_NS_MAX; n++)
		ns_free(atomic_load(&ss->ns[n]));
	list_for_each_safe (host, tmp, &ss->hosts, node)
		host_free(host);
	free(ss->ana);
	free(ss);
}

static void subsys_ana_init(struct tgt_subsys *ss)
{
	for (unsigned l = 0; l < TGT_LISTENER_MAX; l++) {
		for (unsigned g = 0; g < TGT_NS_MAX; g++)
			atomic_init(&ss->ana->state[l][g], TGT_ANA_OPTIMIZED);
	}
}

struct tgt_subsys *subsys_new(struct tgt *tgt, unsigned slot,
			      const struct tgt_subsys_opts *opts)
{
	struct tgt_subsys *ss = calloc(1, sizeof(*ss));

	if (!ss)
		return NULL;
	list_init(&ss->ctrls);
	list_init(&ss->hosts);
	ss->tgt = tgt;
	snprintf(ss->nqn, sizeof(ss->nqn), "%s", opts->nqn);
	if (opts->serial)
		snprintf(ss->serial, sizeof(ss->serial), "%s", opts->serial);
	else
		snprintf(ss->serial, sizeof(ss->serial), "MC%016llX",
			 (unsigned long long)hash_str(str_of(opts->nqn)));
	snprintf(ss->model, sizeof(ss->model), "%s",
		 opts->model ? opts->model : IDENT_MODEL);
	ss->max_ns = opts->max_namespaces ? opts->max_namespaces : TGT_NS_MAX;
	ss->min_cntlid = MAX(opts->min_cntlid, (uint16_t)1);
	ss->max_cntlid = opts->max_cntlid ? opts->max_cntlid : CNTLID_MAX;
	ss->next_cntlid = ss->min_cntlid;
	ss->is_host_list = opts->is_host_list;
	ss->is_listener_list = opts->is_listener_list;
	if (opts->ana_reporting) {
		ss->ana = malloc(sizeof(*ss->ana));
		if (!ss->ana) {
			subsys_free(ss);
			return NULL;
		}
		subsys_ana_init(ss);
	}
	tgt->subsys[slot] = ss;
	return ss;
}

static bool is_ascii(const char *text)
{
	for (; *text; text++) {
		if (*text < 0x20 || *text > 0x7e)
			return false;
	}
	return true;
}

/* Serial and model number as identify can carry them. */
static int text_check(const char *what, const char *text, size_t max,
		      struct err *err)
{
	if (!text || (strlen(text) <= max && text[0] && is_ascii(text)))
		return 0;
	return err_set(err, -EINVAL,
		       "%s '%.64s': 1 to %zu printable ASCII characters work",
		       what, text, max);
}

static int subsys_check_opts(struct tgt *tgt, const struct tgt_subsys_opts *o,
			     struct err *err)
{
	int ret = nqn_check(str_of(o->nqn), err);
	uint16_t max = o->max_cntlid ? o->max_cntlid : CNTLID_MAX;

	if (!ret)
		ret = text_check("serial number", o->serial, TGT_SERIAL_LEN - 1,
				 err);
	if (!ret)
		ret = text_check("model number", o->model, TGT_MODEL_LEN - 1,
				 err);
	if (ret)
		return ret;
	if (tgt_subsys_find(tgt, o->nqn))
		return err_set(err, -EEXIST, "subsystem %s exists already",
			       o->nqn);
	if (o->max_namespaces > TGT_NS_MAX)
		return err_set(err, -EINVAL, "%u namespaces: at most %d work",
			       o->max_namespaces, TGT_NS_MAX);
	if (max > CNTLID_MAX || o->min_cntlid > max)
		return err_set(err, -EINVAL,
			       "controller ids %u to %u: must lie within 1"
			       " and %u",
			       o->min_cntlid, max, CNTLID_MAX);
	return 0;
}

int tgt_subsys_add(struct tgt *tgt, const struct tgt_subsys_opts *opts,
		   struct tgt_subsys **out, struct err *err)
{
	int ret = subsys_check_opts(tgt, opts, err);
	unsigned slot = 1;

	*out = NULL;
	if (ret)
		return ret;
	while (slot < TGT_SUBSYS_MAX && tgt->subsys[slot])
		slot++;
	if (slot == TGT_SUBSYS_MAX)
		return err_set(err, -ENOSPC, "more than %d subsystems",
			       TGT_SUBSYS_MAX - 1);
	*out = subsys_new(tgt, slot, opts);
	if (!*out)
		return err_set(err, -ENOMEM, "out of memory");
	disc_changed(tgt);
	return 0;
}

struct tgt_subsys *tgt_subsys_find(struct tgt *tgt, const char *nqn)
{
	struct tgt_subsys *ss = NULL;

	while ((ss = tgt_subsys_next(tgt, ss))) {
		if (!strcmp(ss->nqn, nqn))
			break;
	}
	return ss;
}

struct tgt_subsys *tgt_subsys_next(struct tgt *tgt,
				   const struct tgt_subsys *prev)
{
	unsigned slot = 0;

	while (prev && tgt->subsys[slot++] != prev)
		ASSERT(slot < TGT_SUBSYS_MAX);
	while (slot < TGT_SUBSYS_MAX && !tgt->subsys[slot])
		slot++;
	return slot < TGT_SUBSYS_MAX ? tgt->subsys[slot] : NULL;
}

static void subsys_finish(struct loop_task *task)
{
	struct tgt_subsys *ss =
		container_of(task, struct tgt_subsys, removed_task);
	struct tgt *tgt = ss->tgt;
	tgt_done_fn done = ss->removed;
	void *arg = ss->removed_arg;

	log_info("subsystem removed", "subnqn=%s", ss->nqn);
	subsys_free(ss);
	tgt->pending--;
	if (done)
		done(arg);
	tgt_stop_check(tgt);
}

void subsys_check(struct tgt_subsys *ss)
{
	uint32_t nsid;

	if (!ss->is_leaving || !list_is_empty(&ss->ctrls))
		return;
	while ((nsid = tgt_ns_after(ss, 0)))
		ASSERT(tgt_ns_remove(ss, nsid, NULL, NULL, NULL) == 0);
	if (ss->ns_leaving)
		return;
	ss->removed_task.run = subsys_finish;
	loop_defer(ss->tgt->opts.loop, &ss->removed_task);
}

int tgt_subsys_remove(struct tgt_subsys *ss, tgt_done_fn done, void *arg,
		      struct err *err)
{
	struct tgt *tgt = ss->tgt;
	struct tgt_ctrl *ctrl;
	unsigned slot = 1;

	ASSERT(!ss->is_discovery);
	if (ss->is_leaving)
		return err_set(err, -EALREADY,
			       "subsystem %s is being removed already",
			       ss->nqn);
	while (tgt->subsys[slot] != ss)
		slot++;
	tgt->subsys[slot] = NULL;
	tgt_keys_drop(tgt, ss->nqn);
	tgt->pending++;
	ss->is_leaving = true;
	ss->removed = done;
	ss->removed_arg = arg;
	list_for_each (ctrl, &ss->ctrls, node)
		ctrl_kill(ctrl);
	disc_changed(tgt);
	subsys_check(ss);
	return 0;
}
