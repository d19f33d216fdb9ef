/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A start: the records of a journal become the service's metadata, and the log
 * says how that goes.  On the metadata shard before it serves; blocks.
 */
#include "master/replay.h"

#include "base/log.h"
#include "master/recover.h"
#include "master/rehearse.h"
#include "master/service.h"

#define PROGRESS_NS   (1 * NS_PER_S)
#define PROGRESS_LOOK 65536

struct progress {
	struct recovery *rec;
	uint64_t records, next_ns;
};

static int apply(const struct jr_frame *frame, void *arg, struct err *err)
{
	struct progress *p = arg;

	if (++p->records % PROGRESS_LOOK == 0 && time_mono_ns() >= p->next_ns) {
		log_info("reading the journal", "records=%llu",
			 (unsigned long long)p->records);
		p->next_ns = time_mono_ns() + PROGRESS_NS;
	}
	return recovery_apply(frame, p->rec, err);
}

static void advise(const struct core *core, const char *dir,
		   const struct jr_report *report)
{
	struct strbuf text = {0};

	rehearse_advise(&text, dir, report, core->objects.count,
			core->segment_count);
	if (text.n && !text.failed)
		log_err("the journal is refused",
			"what can be done without a copy: %s", text.p);
	strbuf_fini(&text);
}

int replay(struct service *svc, struct journal *journal, const char *dir,
	   struct err *err)
{
	struct core *core = svc->core;
	uint64_t start_ns = time_mono_ns();
	struct progress p = {.next_ns = start_ns + PROGRESS_NS};
	struct jr_report report = {0};
	int ret = recovery_create(core, &p.rec);

	if (ret < 0)
		return err_set(err, ret, "out of memory");
	ret = journal->ops->recover(journal, apply, &p, &report, err);
	if (ret < 0) {
		advise(core, dir, &report);
		core->is_replaying = false;
		recovery_destroy(p.rec);
		return ret;
	}
	ret = recovery_finish(p.rec, err);
	svc->recovery_ns = time_mono_ns() - start_ns;
	if (ret == 0 && p.records)
		log_info(
			"journal read",
			"dir=%s objects=%llu segments=%u snapshot_records=%llu "
			"log_records=%llu ms=%llu",
			dir, (unsigned long long)core->objects.count,
			core->segment_count,
			(unsigned long long)report.snapshot_records,
			(unsigned long long)report.log_records,
			(unsigned long long)(svc->recovery_ns / NS_PER_MS));
	return ret;
}
