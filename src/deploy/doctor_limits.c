/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is worth saying of a target that answered: limits that cost speed, and
 * the health of its disk.  Pure judgement of a struct look.  Invariant: each
 * poor value has its own finding with what to change where.
 */
#include <inttypes.h>
#include <stdio.h>

#include "deploy/doctor_check.h"
#include "deploy/table.h"

#define MDTS_POOR    (128 * KiB)
#define ICD_POOR     (4 * KiB)
#define DEPTH_USUAL  128
#define KATO_DEFAULT 5000

/* One judgement: a table row that says itself whether it applies. */
struct judge {
	enum doctor_level level;
	bool is_of_ns; /* of one namespace, not of the whole target */
	/* Writes the finding; false = nothing to say. */
	bool (*is_poor)(const struct doctor *d, const struct look *look,
			struct strbuf *text);
	const char *advice;
};

static bool poor_mdts(const struct doctor *d, const struct look *look,
		      struct strbuf *text)
{
	if (look->info.max_transfer > MDTS_POOR ||
	    look->info.max_transfer >= d->vol.chunk_bytes)
		return false;
	strbuf_addf(text,
		    "a command carries at most %u KiB (MDTS), so a chunk of "
		    "%" PRIu64 " KiB takes several",
		    look->info.max_transfer / 1024, d->vol.chunk_bytes / 1024);
	return true;
}

static bool poor_icd(const struct doctor *d, const struct look *look,
		     struct strbuf *text)
{
	if (look->info.icd_bytes > ICD_POOR)
		return false;
	strbuf_addf(text,
		    "in-capsule data of %u bytes: small writes wait one more "
		    "round trip",
		    look->info.icd_bytes);
	return true;
}

static bool poor_queues(const struct doctor *d, const struct look *look,
			struct strbuf *text)
{
	if (look->info.io_queues >= d->vol.workers)
		return false;
	strbuf_addf(text,
		    "%u I/O queues granted, but this host has %u workers, "
		    "which share them",
		    look->info.io_queues, d->vol.workers);
	return true;
}

static bool poor_depth(const struct doctor *d, const struct look *look,
		       struct strbuf *text)
{
	unsigned want =
		d->vol.nvmf.io_depth ? d->vol.nvmf.io_depth : DEPTH_USUAL;

	if (look->info.mqes >= want)
		return false;
	strbuf_addf(text, "queues of %u entries at most, %u are wanted",
		    look->info.mqes, want);
	return true;
}

static bool poor_kato(const struct doctor *d, const struct look *look,
		      struct strbuf *text)
{
	uint64_t kato_ms =
		d->vol.nvmf.kato_ms ? d->vol.nvmf.kato_ms : KATO_DEFAULT;
	uint64_t unit_ms = look->info.kas_100ms * 100ull;

	if (!unit_ms)
		strbuf_adds(text, "no keep-alive, so a dead connection is "
				  "noticed late");
	else if (unit_ms > kato_ms)
		strbuf_addf(text,
			    "keep-alive counts in %" PRIu64 " ms, more than "
			    "the %" PRIu64 " ms asked for",
			    unit_ms, kato_ms);
	return text->n > 0;
}

static bool poor_block(const struct doctor *d, const struct look *look,
		       struct strbuf *text)
{
	if (!look->has_ns || look->ns.lba_bytes >= 4096)
		return false;
	strbuf_addf(text, "namespace %u has blocks of %u bytes", look->ns.nsid,
		    look->ns.lba_bytes);
	return true;
}

static bool has_metadata(const struct doctor *d, const struct look *look,
			 struct strbuf *text)
{
	if (!look->has_ns || !look->ns.metadata_bytes)
		return false;
	strbuf_addf(text, "namespace %u has %u bytes of metadata per block",
		    look->ns.nsid, look->ns.metadata_bytes);
	return true;
}

static bool has_write_cache(const struct doctor *d, const struct look *look,
			    struct strbuf *text)
{
	if (!look->info.has_write_cache)
		return false;
	strbuf_adds(text, "a volatile write cache: what was written last may "
			  "be lost when its power fails");
	return true;
}

static bool is_read_only(const struct doctor *d, const struct look *look,
			 struct strbuf *text)
{
	if (!look->has_ns || !look->ns.is_write_protected)
		return false;
	strbuf_addf(text, "namespace %u is write-protected", look->ns.nsid);
	return true;
}

static bool is_not_ready(const struct doctor *d, const struct look *look,
			 struct strbuf *text)
{
	if (!look->has_ns || !look->ns.is_not_ready)
		return false;
	strbuf_addf(text, "namespace %u is not ready", look->ns.nsid);
	return true;
}

static bool has_warning(const struct doctor *d, const struct look *look,
			struct strbuf *text)
{
	static const char *const bits[] = {
		"spare blocks are short",
		"it is too hot or too cold",
		"it has become unreliable",
		"it has become read-only",
		"its backup of volatile memory failed",
		"its persistent memory is read-only",
	};

	if (!look->has_smart)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		if (look->smart.critical_warning & 1u << i)
			strbuf_addf(text, "%s%s",
				    text->n ? ", " : "SMART: ", bits[i]);
	return text->n > 0;
}

static bool is_worn(const struct doctor *d, const struct look *look,
		    struct strbuf *text)
{
	const struct nvmf_smart *smart = &look->smart;

	if (!look->has_smart ||
	    (smart->used_percent < 100 &&
	     smart->spare_percent >= smart->spare_threshold))
		return false;
	strbuf_addf(text,
		    "SMART: %u %% of its life is used, %u %% spare (warns "
		    "below %u %%)",
		    smart->used_percent, smart->spare_percent,
		    smart->spare_threshold);
	return true;
}

static bool has_media_errors(const struct doctor *d, const struct look *look,
			     struct strbuf *text)
{
	if (!look->has_smart || !look->smart.media_errors)
		return false;
	strbuf_addf(text, "SMART: %" PRIu64 " media errors so far",
		    look->smart.media_errors);
	return true;
}

static const struct judge judges[] = {
	{DOCTOR_NOTE, false, poor_mdts,
	 "Give the target larger commands (SPDK: --max-io-size of "
	 "spdk_tgt_create; ours: --max_io_size), where its disks take them."},
	{DOCTOR_NOTE, false, poor_icd,
	 "Give the target more (--in-capsule-data-size of spdk_tgt_create, "
	 "--in_capsule_data_size of ours; 128 KiB is ours by default)."},
	{DOCTOR_WARN, false, poor_queues,
	 "Let the target grant more (--max-io-qpairs-per-ctrlr of "
	 "spdk_tgt_create), or set MC_NOF_WORKERS to that number."},
	{DOCTOR_NOTE, false, poor_depth,
	 "Raise --max-queue-depth of spdk_tgt_create, or lower "
	 "MC_NVME_IO_QUEUE_SIZE to that number."},
	{DOCTOR_NOTE, false, poor_kato,
	 "MC_NVME_KEEP_ALIVE_MS chooses the time; I/O has deadlines of its "
	 "own (MC_NVME_COMMAND_TIMEOUT_MS)."},
	{DOCTOR_NOTE, true, poor_block,
	 "Blocks of 4096 bytes cost less on most disks (nvme format -l, which "
	 "erases)."},
	{DOCTOR_FAIL, true, has_metadata,
	 "Format it without metadata (nvme format, which erases)."},
	{DOCTOR_NOTE, false, has_write_cache,
	 "Nothing wrong is ever read (checksums), it is a miss; disks with "
	 "power-loss protection have no such cache."},
	{DOCTOR_FAIL, true, is_read_only,
	 "Objects on it can be read, new ones can't be written: allow writing "
	 "at the target, or unregister it."},
	{DOCTOR_FAIL, true, is_not_ready,
	 "Wait for the disk to become ready, or look at its node."},
	{DOCTOR_WARN, false, has_warning,
	 "Look at the disk on its node (nvme smart-log); drain and replace "
	 "it."},
	{DOCTOR_WARN, false, is_worn,
	 "Plan to replace the disk: mooncake_ssd_unregister takes it out."},
	{DOCTOR_NOTE, false, has_media_errors,
	 "Watch whether they grow (nvme smart-log on its node)."},
};

static void judge_all(struct doctor *d, const struct look *look, bool is_of_ns)
{
	const struct doctor_check *check = doctor_find_check("limits");
	struct strbuf name = {0}, found = {0};
	char text[ENDPOINT_TEXT_LEN];
	struct endpoint ep = look->ep;

	ep.nsid = is_of_ns ? ep.nsid : 0;
	endpoint_format(&ep, text);
	add_endpoint_name(&name, text);
	for (size_t i = 0; i < ARRAY_SIZE(judges); i++) {
		const struct judge *judge = &judges[i];

		strbuf_reset(&found);
		if (judge->is_of_ns != is_of_ns ||
		    !judge->is_poor(d, look, &found))
			continue;
		doctor_add(d, check, judge->level, name.p ? name.p : text, "%s",
			   found.p ? found.p : "");
		doctor_advise(d, "%s", judge->advice);
	}
	strbuf_fini(&name);
	strbuf_fini(&found);
}

void doctor_judge_namespace(struct doctor *d, const struct look *look)
{
	judge_all(d, look, true);
}

void doctor_judge_target(struct doctor *d, const struct look *look)
{
	const struct nvmf_opts *nvmf = &d->vol.nvmf;
	const struct nvmf_ctrl_info *info = &look->info;
	char text[ENDPOINT_TEXT_LEN];
	struct strbuf name = {0};
	struct endpoint ep = look->ep;

	ep.nsid = 0;
	endpoint_format(&ep, text);
	add_endpoint_name(&name, text);
	doctor_add(d, doctor_find_check("limits"), DOCTOR_OK,
		   name.p ? name.p : text,
		   "commands of %u KiB, in-capsule %u KiB, %u queues of %u, "
		   "digests %s",
		   info->max_transfer / 1024, info->icd_bytes / 1024,
		   info->io_queues, info->mqes,
		   nvmf->hdgst && nvmf->ddgst ? "of headers and data"
		   : nvmf->hdgst	      ? "of headers"
		   : nvmf->ddgst	      ? "of data"
					      : "off");
	strbuf_fini(&name);
	judge_all(d, look, false);
}
