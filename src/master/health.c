/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judgement over pool segments, on the metadata shard.  Invariant: a segment is
 * ONLINE only if the last finished probe of it found the superblock with its
 * id, epoch, size and blocks, and fewer than offline_failures failed since.
 */
#include "master/health.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "master/segment.h"

static void set_offline(struct core *core, struct segment *seg, const char *why)
{
	if (seg->state == SEG_ONLINE) {
		core->stats.went_offline++;
		log_warn("segment is OFFLINE",
			 "segment=\"%s\" failures=%u reports=%u: %s", seg->name,
			 seg->failures, seg->reports, why);
	}
	segment_set_state(core, seg, SEG_OFFLINE, why);
}

/* An awaited one is taken over, if its superblock lets us. */
static bool is_others(const struct segment *seg, const struct vol_probe *probe)
{
	return seg->key && !seg->is_awaited && probe->owner.hold == HOLD_OTHER;
}

static void say_others(const struct vol_probe *probe, char *why, size_t len)
{
	char text[OWNER_TEXT_LEN];

	owner_text(&probe->owner, text);
	snprintf(why, len,
		 "fenced: the target has the namespace reserved for another "
		 "owner, %s",
		 text);
}

static void say_fenced(const struct segment *seg, const struct vol_probe *probe,
		       char *why, size_t len)
{
	unsigned long long found = probe->sb.epoch;

	if (seg->is_awaited)
		snprintf(why, len,
			 "fenced: the superblock has epoch %llu, the journal "
			 "knows %llu; if no other master goes on with it: "
			 "mooncake_ssd_register --force",
			 found, (unsigned long long)seg->known_epoch);
	else
		snprintf(why, len,
			 "fenced: the superblock has epoch %llu, expected %llu",
			 found, (unsigned long long)seg->epoch);
}

/* What speaks against the namespace that answered; "" = nothing. */
static void judge(const struct segment *seg, const struct vol_probe *probe,
		  char *why, size_t len)
{
	uint64_t bytes = probe->ns.size_lba * probe->ns.lba_bytes;
	char identity[80];

	why[0] = '\0';
	vol_identity(&probe->ns, identity);
	if (probe->label != LABEL_OURS)
		snprintf(why, len, "no superblock there any more, but %s",
			 probe->label == LABEL_EMPTY ? "zeros"
						     : probe->label_text);
	else if (!uuid_eq(&probe->sb.segment, &seg->id))
		snprintf(why, len,
			 "the superblock there belongs to another "
			 "segment");
	else if (!segment_has_epoch(seg, probe->sb.epoch))
		say_fenced(seg, probe, why, len);
	else if (bytes != seg->ns_bytes)
		snprintf(why, len,
			 "the namespace has %llu bytes now, it had %llu",
			 (unsigned long long)bytes,
			 (unsigned long long)seg->ns_bytes);
	else if (probe->ns.lba_bytes != seg->block_bytes ||
		 probe->ns.metadata_bytes)
		snprintf(why, len,
			 "its blocks have %u bytes and %u of metadata now, the "
			 "segment was registered with %u",
			 probe->ns.lba_bytes, probe->ns.metadata_bytes,
			 seg->block_bytes);
	else if (strcmp(identity, seg->identity) != 0)
		snprintf(why, len, "another namespace answers there: %s",
			 identity);
	else if (is_others(seg, probe))
		say_others(probe, why, len);
}

static enum seg_error error_of(int ret)
{
	switch (-ret) {
	case ETIMEDOUT:
		return SEG_ERROR_TIMEOUT;
	case ECONNREFUSED:
	case ECONNRESET:
	case ENOTCONN:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EPIPE:
		return SEG_ERROR_UNREACHABLE;
	default:
		return SEG_ERROR_IO;
	}
}

void health_path_probed(struct core *core, struct segment *seg, unsigned path,
			const struct vol_probe *probe)
{
	struct seg_path *p = &seg->paths[path];

	ASSERT(path < SEGMENT_PATHS);
	if (probe->ret < 0) {
		p->failed_ns = core->now_ns;
		seg->errors[error_of(probe->ret)]++;
		return;
	}
	p->ok_ns = core->now_ns;
	p->latency_ns = probe->latency_ns;
	seg->last_path = path;
	if (probe->has_smart) {
		seg->smart = probe->smart;
		seg->smart_ns = core->now_ns;
	}
}

static void probe_failed(struct core *core, struct segment *seg,
			 const struct vol_probe *probe)
{
	seg->failures++;
	core->stats.probe_failed++;
	core->stats.probe_timeout += probe->ret == -ETIMEDOUT;
	if (seg->state == SEG_OFFLINE) {
		segment_set_state(core, seg, SEG_OFFLINE, probe->err.text);
		return;
	}
	/* A report and a failed probe agree; no need to wait for more. */
	if (seg->reports > 0 || seg->failures >= core->opts.offline_failures)
		set_offline(core, seg, probe->err.text);
}

void health_probed(struct core *core, struct segment *seg,
		   const struct vol_probe *probe)
{
	char why[256];

	ASSERT(seg->kind == KIND_NOF);
	if (seg->state == SEG_UNMOUNTING)
		return;
	if (probe->ret < 0) {
		probe_failed(core, seg, probe);
		return;
	}
	core->stats.probe_ok++;
	hist_add(&core->stats.probe_ms, probe->latency_ns / NS_PER_MS);
	seg->failures = 0;
	seg->is_disputed = seg->reports > 0;
	seg->reports = 0;
	seg->ok_ns = core->now_ns;
	seg->latency_ns = probe->latency_ns;
	seg->owner = probe->owner;
	judge(seg, probe, why, sizeof(why));
	if (why[0]) {
		seg->errors[is_others(seg, probe) ? SEG_ERROR_OWNER
						  : SEG_ERROR_IDENTITY]++;
		set_offline(core, seg, why);
		return;
	}
	if (seg->is_awaited)
		return; /* its superblock comes first */
	if (seg->state == SEG_OFFLINE) {
		core->stats.came_back++;
		log_info("segment is ONLINE again",
			 "segment=\"%s\" replicas=%llu", seg->name,
			 (unsigned long long)seg->replicas);
		segment_set_state(core, seg, SEG_ONLINE, "");
	}
}

bool health_is_well(const struct segment *seg, const struct vol_probe *probe)
{
	char why[256];

	if (seg->state != SEG_ONLINE || seg->failures || probe->ret < 0)
		return false;
	judge(seg, probe, why, sizeof(why));
	return !why[0];
}

bool health_is_awaited(const struct segment *seg, const struct vol_probe *probe,
		       struct superblock *sb)
{
	char why[256];

	if (!seg->is_awaited || seg->state == SEG_UNMOUNTING || probe->ret < 0)
		return false;
	judge(seg, probe, why, sizeof(why));
	if (why[0])
		return false;
	/* Another master may go on from a copy of the same journal, and have
	 * seen the same: whoever writes last has it, and the other one sees
	 * that, since no two lives write the same epoch.  Writers look again
	 * right before (seen_epoch), and who has written is ONLINE only when
	 * a probe some time later finds it (watch.c, labeled()): so hardly
	 * anybody who was ONLINE is the other one. */
	*sb = probe->sb;
	sb->epoch = seg->epoch;
	return true;
}

bool health_is_unheld(const struct segment *seg, const struct vol_probe *probe,
		      struct superblock *sb)
{
	if (seg->state != SEG_ONLINE || seg->is_awaited || !seg->key ||
	    probe->ret < 0 || probe->owner.hold != HOLD_FREE)
		return false;
	*sb = probe->sb;
	return true;
}

void health_adopted(struct segment *seg, const struct vol_label *label)
{
	seg->is_awaited = false;
	seg->owner = label->owner;
	seg->key = label->owner.hold == HOLD_OURS ? label->key : 0;
}

void health_not_adopted(struct core *core, struct segment *seg,
			const struct vol_label *label)
{
	if (label->ret == -EBUSY)
		seg->errors[SEG_ERROR_OWNER]++;
	if (seg->is_awaited && seg->state == SEG_OFFLINE)
		segment_set_state(core, seg, SEG_OFFLINE, label->err.text);
}

static bool has_reported(const struct segment *seg, const struct uuid *client)
{
	for (unsigned i = 0; i < seg->reports; i++)
		if (uuid_eq(&seg->reporters[i], client))
			return true;
	return false;
}

bool health_reported(struct core *core, struct segment *seg,
		     const struct uuid *client, const char *text)
{
	core->stats.unreachable_reports++;
	seg->errors[SEG_ERROR_REPORT]++;
	if (seg->kind != KIND_NOF || seg->state != SEG_ONLINE)
		return false;
	if (seg->reports < HEALTH_REPORTS && !has_reported(seg, client))
		seg->reporters[seg->reports++] = *client;
	/* Where the last probe knew better, the next one decides: else it would
	 * come and go for as long as they can't reach it. */
	if (seg->reports == HEALTH_REPORTS && !seg->is_disputed)
		set_offline(core, seg,
			    text[0] ? text : "clients cannot reach it");
	return true;
}
