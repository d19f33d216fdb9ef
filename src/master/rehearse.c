/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a journal into metadata of its own, which nobody serves.  Blocks; the
 * caller's thread.  Invariant: what it refuses is what a start refuses, in the
 * same words, because the same functions look at it.
 */
#include "master/rehearse.h"

#include <errno.h>

#include "base/shell.h"
#include "master/recover.h"

struct stage {
	struct recovery *rec;
	const struct rehearsal *r;
};

static int apply(const struct jr_frame *frame, void *arg, struct err *err)
{
	struct stage *stage = arg;
	int ret = recovery_apply(frame, stage->rec, err);

	if (ret == 0 && stage->r->see)
		ret = stage->r->see(frame, stage->r->arg, err);
	return ret;
}

static int rehearse_in(struct core *core, int dir_fd, struct rehearsal *r,
		       struct jr_report *report, struct err *err)
{
	struct stage stage = {.r = r};
	int ret = recovery_create(core, &stage.rec);

	if (ret < 0)
		return err_set(err, ret, "out of memory");
	ret = jr_walk(dir_fd, NULL, apply, &stage, report, err);
	if (ret == 0) {
		ret = recovery_finish(stage.rec, err);
	} else {
		core->is_replaying = false;
		recovery_destroy(stage.rec);
	}
	r->objects = core->objects.count;
	r->segments = core->segment_count;
	return ret;
}

int rehearse(int dir_fd, struct rehearsal *r, struct jr_report *report,
	     struct err *err)
{
	struct core_opts opts;
	struct core *core;
	int ret;

	*report = (struct jr_report){0};
	core_opts_default(&opts);
	ret = core_create(&opts, &core);
	if (ret < 0)
		return err_set(err, ret, "out of memory");
	core_enter(core, time_mono_ns());
	ret = rehearse_in(core, dir_fd, r, report, err);
	core_destroy(core);
	return ret;
}

void rehearse_advise(struct strbuf *out, const char *dir,
		     const struct jr_report *report, uint64_t objects,
		     unsigned segments)
{
	if (!report->fault.text[0])
		return;
	strbuf_adds(out, "mooncakectl journal cut ");
	shell_quote(out, dir);
	strbuf_addf(out, " keeps %llu objects, %u segments",
		    (unsigned long long)objects, segments);
	strbuf_adds(out, segments ? "; namespaces that are fenced afterwards "
				    "need mooncake_ssd_register --force"
				  : "; register the namespaces again then");
}
