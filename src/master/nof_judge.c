/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judgement over namespaces that are to be mounted, on the metadata shard.
 * Invariant: nof_judge() leaves a superblock to be written only for a namespace
 * that is not mounted and on which nobody can still be writing.
 */
#include "master/nof_judge.h"

#include <errno.h>
#include <stdio.h>

#include "master/note.h"

int nof_found_init(struct nof_found *found, const char *cluster_id,
		   char *const *endpoints, size_t count, struct err *err)
{
	*found = (struct nof_found){.cluster_id = cluster_id};
	if (count == 0 || count > SEGMENT_PATHS)
		return err_set(err, -EINVAL,
			       "a namespace has 1 to %d endpoints, %zu given",
			       SEGMENT_PATHS, count);
	for (size_t i = 0; i < count; i++) {
		struct endpoint ep;

		if (endpoint_parse(str_of(endpoints[i]), &ep, err) < 0)
			return -EINVAL;
		if (ep.nsid == 0)
			return err_set(err, -EINVAL,
				       "'%.120s' names no namespace; add "
				       "\"ns:1\" or another number",
				       endpoints[i]);
		endpoint_format(&ep, found->paths[i]);
	}
	found->path_count = (unsigned)count;
	return 0;
}

void nof_found_of(const struct segment *seg, struct nof_found *out)
{
	*out = (struct nof_found){.path_count = seg->endpoint_count,
				  .sb.segment = seg->id};
	memcpy(out->identity, seg->identity, sizeof(out->identity));
	for (unsigned i = 0; i < seg->endpoint_count; i++)
		snprintf(out->paths[i], sizeof(out->paths[i]), "%s",
			 seg->endpoints[i]);
}

static enum mooncake_status check_ns(const struct nvmf_ns_info *ns,
				     const char *path, uint64_t *bytes,
				     struct err *err)
{
	if (ns->metadata_bytes) {
		err_set(err, -EINVAL,
			"%s has %u bytes of metadata per block; format it "
			"without",
			path, ns->metadata_bytes);
		return MOONCAKE_INVALID_PARAMS;
	}
	if (!IS_POW2(ns->lba_bytes) || ns->lba_bytes < 512 ||
	    ns->lba_bytes > 64 * KiB ||
	    mul_overflows(ns->size_lba, (uint64_t)ns->lba_bytes, bytes)) {
		err_set(err, -EINVAL,
			"%s has %llu blocks of %u bytes, which cannot be used",
			path, (unsigned long long)ns->size_lba, ns->lba_bytes);
		return MOONCAKE_INVALID_PARAMS;
	}
	if (*bytes < NOF_BYTES_MIN) {
		err_set(err, -EINVAL,
			"%s has only %llu bytes; a pool namespace needs %llu",
			path, (unsigned long long)*bytes,
			(unsigned long long)NOF_BYTES_MIN);
		return MOONCAKE_INVALID_PARAMS;
	}
	return MOONCAKE_OK;
}

bool nof_is_ours(const struct nof_found *found)
{
	return found->label == LABEL_OURS &&
	       strcmp(found->sb.cluster_id, found->cluster_id) == 0;
}

static bool is_named(const char *identity)
{
	return identity[0] && strcmp(identity, "none") != 0;
}

enum mooncake_status nof_found_path(struct nof_found *found, unsigned path,
				    const struct vol_probe *probe,
				    struct err *err)
{
	enum mooncake_status st;
	char identity[80];
	uint64_t bytes;

	if (probe->ret < 0) {
		/* Whoever asked knows the path if there is one only. */
		if (found->path_count > 1)
			err_set(err, probe->ret, "%s: %s", found->paths[path],
				probe->err.text);
		else
			*err = probe->err;
		return MOONCAKE_TRANSFER_FAIL;
	}
	st = check_ns(&probe->ns, found->paths[path], &bytes, err);
	if (st != MOONCAKE_OK)
		return st;
	vol_identity(&probe->ns, identity);
	found->latency_ns[path] = probe->latency_ns;
	if (probe->has_smart) {
		found->has_smart = true;
		found->smart = probe->smart;
	}
	if (path == 0) {
		found->ns_bytes = bytes;
		found->block_bytes = probe->ns.lba_bytes;
		found->label = probe->label;
		found->sb = probe->sb;
		found->owner = probe->owner;
		memcpy(found->identity, identity, sizeof(identity));
		memcpy(found->label_text, probe->label_text,
		       sizeof(found->label_text));
		return MOONCAKE_OK;
	}
	if (strcmp(identity, found->identity) != 0 ||
	    bytes != found->ns_bytes ||
	    probe->ns.lba_bytes != found->block_bytes ||
	    probe->label != found->label ||
	    (found->label == LABEL_OURS &&
	     !uuid_eq(&probe->sb.segment, &found->sb.segment))) {
		err_set(err, -EINVAL,
			"%s (%s) is not the same namespace as %s (%s)",
			found->paths[path], identity, found->paths[0],
			found->identity);
		return MOONCAKE_INVALID_PARAMS;
	}
	return MOONCAKE_OK;
}

/* By what it says of itself. */
static bool is_alike(const struct nof_found *found, const char *identity,
		     uint64_t ns_bytes)
{
	if (is_named(found->identity) || is_named(identity))
		return strcmp(found->identity, identity) == 0;
	return found->ns_bytes == ns_bytes;
}

static bool share_path(const struct nof_found *a, const struct nof_found *b)
{
	for (unsigned i = 0; i < a->path_count; i++)
		for (unsigned j = 0; j < b->path_count; j++)
			if (strcmp(a->paths[i], b->paths[j]) == 0)
				return true;
	return false;
}

bool nof_may_be_same(const struct nof_found *a, const struct nof_found *b)
{
	return is_alike(a, b->identity, b->ns_bytes) || share_path(a, b);
}

bool nof_is_same(const struct nof_found *a, const struct nof_found *b)
{
	if (!uuid_is_zero(&a->sb.segment) &&
	    uuid_eq(&a->sb.segment, &b->sb.segment))
		return true;
	if (is_named(a->identity) && strcmp(a->identity, b->identity) == 0)
		return true;
	return share_path(a, b);
}

bool nof_is_going(const struct core *core, const struct nof_found *found)
{
	const struct segment *seg;
	struct nof_found going;

	list_for_each (seg, &core->dying, node) {
		if (seg->kind != KIND_NOF)
			continue;
		nof_found_of(seg, &going);
		if (nof_is_same(&going, found))
			return true;
	}
	return false;
}

bool nof_is_outdated(const struct core *core, const struct nof_found *found,
		     uint64_t since_ns)
{
	struct segment *seg;

	list_for_each (seg, &core->segments, node) {
		if (seg->kind != KIND_NOF || seg->added_ns < since_ns)
			continue;
		if (is_alike(found, seg->identity, seg->ns_bytes))
			return true;
		for (unsigned i = 0; i < found->path_count; i++)
			if (segment_has_path(seg, found->paths[i]))
				return true;
	}
	return false;
}

static struct segment *find_mounted(struct core *core,
				    const struct nof_found *found)
{
	struct segment *seg = NULL;

	if (nof_is_ours(found))
		seg = segment_find(core, &found->sb.segment);
	if (!seg)
		seg = segment_find_identity(core, found->identity);
	for (unsigned i = 0; !seg && i < found->path_count; i++)
		seg = segment_find_path(core, found->paths[i]);
	return seg;
}

/*
 * The journal knows the disk, but has not seen it so late: it was cut, it is a
 * copy, or another master goes on from one.  By force it is what the journal
 * was of; what the disk holds since then is found out by the checksums.
 */
static bool go_on(struct core *core, struct segment *seg,
		  struct nof_found *found, bool is_forced, struct err *err)
{
	if (!seg->is_awaited || segment_has_epoch(seg, found->sb.epoch))
		return true;
	if (!is_forced) {
		err_set(err, -EEXIST,
			"it is fenced: its superblock has epoch %llu, the "
			"journal knows %llu; if no other master goes on with "
			"it, --force takes it over: %s",
			(unsigned long long)found->sb.epoch,
			(unsigned long long)seg->known_epoch, seg->name);
		return false;
	}
	seg->known_epoch = found->sb.epoch;
	seg->epoch = found->sb.epoch + core->epoch_step;
	note_segment(core, seg);
	found->is_taken_over = true;
	return true;
}

/* It is mounted: the same thing by the same or by another address? */
static enum mooncake_status judge_mounted(struct core *core,
					  struct segment *seg,
					  struct nof_found *found,
					  bool is_forced, struct err *err)
{
	if (!nof_is_ours(found) || !uuid_eq(&found->sb.segment, &seg->id)) {
		err_set(err, -EEXIST,
			"%s is mounted, but its superblock is not there any "
			"more (%s); unregister it first",
			seg->name,
			found->label == LABEL_FOREIGN ? found->label_text
						      : "another or none");
		return MOONCAKE_SEGMENT_ALREADY_EXISTS;
	}
	if (strcmp(seg->identity, found->identity) != 0) {
		err_set(err, -EEXIST,
			"%s (%s) carries the superblock of %s (%s): a copy of "
			"that disk? unregister one of them",
			found->paths[0], found->identity, seg->name,
			seg->identity);
		return MOONCAKE_SEGMENT_ALREADY_EXISTS;
	}
	if (seg->ns_bytes != found->ns_bytes) {
		err_set(err, -EEXIST,
			"%s was mounted with %llu bytes and has %llu now; "
			"unregister it, then register it again",
			seg->name, (unsigned long long)seg->ns_bytes,
			(unsigned long long)found->ns_bytes);
		return MOONCAKE_SEGMENT_ALREADY_EXISTS;
	}
	if (seg->block_bytes != found->block_bytes) {
		err_set(err, -EEXIST,
			"%s was mounted with blocks of %u bytes, they have %u "
			"now; unregister it, then register it again",
			seg->name, seg->block_bytes, found->block_bytes);
		return MOONCAKE_SEGMENT_ALREADY_EXISTS;
	}
	if (!go_on(core, seg, found, is_forced, err))
		return MOONCAKE_SEGMENT_ALREADY_EXISTS;
	for (unsigned i = 0; i < found->path_count; i++) {
		if (segment_has_path(seg, found->paths[i]))
			continue;
		if (segment_add_path(core, seg, found->paths[i]) < 0) {
			err_set(err, -ENOSPC, "%s has %d endpoints already",
				seg->name, SEGMENT_PATHS);
			return MOONCAKE_INVALID_PARAMS;
		}
	}
	return MOONCAKE_OK;
}

bool nof_is_others(const struct nof_found *found)
{
	return found->owner.hold == HOLD_OTHER &&
	       !owner_key_is_of(found->owner.key, found->cluster_id);
}

/* As part of a sentence; "" = for nobody else. */
#define RESERVED_LEN (OWNER_TEXT_LEN + 64)
static const char *reserved(const struct nof_found *found,
			    char out[RESERVED_LEN])
{
	char owner[OWNER_TEXT_LEN];

	out[0] = '\0';
	if (nof_is_others(found)) {
		owner_text(&found->owner, owner);
		snprintf(out, RESERVED_LEN,
			 " is reserved at its target for another owner, %s",
			 owner);
	}
	return out;
}

/* Why an unmounted disk must not be touched without force.  What to do is not
 * to be cut off, the path may be: whoever asked knows it. */
static void objection(const struct nof_found *found, struct err *err)
{
	const struct superblock *sb = &found->sb;
	const char *path = found->paths[0];
	char text[RESERVED_LEN];
	const char *held = reserved(found, text), *and = *held ? " and" : "";

	if (found->label == LABEL_FOREIGN)
		err_set(err, -EEXIST,
			"it holds %.80s%s%s; --force overwrites it: %s",
			found->label_text, and, held, path);
	else if (found->label == LABEL_OURS && !nof_is_ours(found))
		err_set(err, -EEXIST,
			"it belongs to cluster '%.40s', this is '%.40s'%s%s; "
			"--force takes it over: %s",
			sb->cluster_id, found->cluster_id, and, held, path);
	else if (found->label == LABEL_OURS && sb->ns_bytes != found->ns_bytes)
		err_set(err, -EEXIST,
			"it had %llu bytes when it was registered and has "
			"%llu now%s%s; --force starts afresh: %s",
			(unsigned long long)sb->ns_bytes,
			(unsigned long long)found->ns_bytes, and, held, path);
	else if (found->label == LABEL_OURS &&
		 sb->block_bytes != found->block_bytes)
		err_set(err, -EEXIST,
			"it had blocks of %u bytes when it was registered, "
			"they have %u now%s%s; --force starts afresh: %s",
			sb->block_bytes, found->block_bytes, and, held, path);
	else if (found->label == LABEL_OURS &&
		 strcmp(sb->identity, found->identity) != 0)
		err_set(err, -EEXIST,
			"it is %s, but its superblock was written for %s%s%s: "
			"a copied disk? --force starts afresh: %s",
			found->identity, sb->identity, and, held, path);
	else if (*held)
		err_set(err, -EBUSY, "it%s; --force takes it over: %s", held,
			path);
}

/* A pure function of the cluster id's text. */
static struct uuid cluster_uuid(const char *cluster_id)
{
	uint64_t half[2] = {hash_str(str_of(cluster_id))};
	struct uuid uuid;

	half[1] = hash_bytes(half, sizeof(half[0]));
	memcpy(uuid.b, half, sizeof(uuid.b));
	return uuid;
}

static void make_superblock(const struct core *core, struct nof_found *found,
			    bool is_adopted)
{
	struct superblock *sb = &found->sb;

	if (is_adopted) {
		snprintf(found->note, sizeof(found->note),
			 "taken over with a superblock of epoch %llu; objects "
			 "of earlier lives are not known any more",
			 (unsigned long long)sb->epoch);
		sb->epoch += core->epoch_step;
		return;
	}
	*sb = (struct superblock){
		.cluster = cluster_uuid(found->cluster_id),
		.ns_bytes = found->ns_bytes,
		.block_bytes = found->block_bytes,
		.epoch = 1,
		.created_s = time_wall_ns() / NS_PER_S,
	};
	uuid_make(&sb->segment);
	snprintf(sb->cluster_id, sizeof(sb->cluster_id), "%s",
		 found->cluster_id);
	memcpy(sb->identity, found->identity, sizeof(sb->identity));
}

enum mooncake_status nof_judge(struct core *core, struct nof_found *found,
			       bool is_forced, struct segment **mounted,
			       struct err *err)
{
	struct err why = {0};
	uint64_t until;

	*mounted = find_mounted(core, found);
	if (*mounted)
		return judge_mounted(core, *mounted, found, is_forced, err);
	until = segment_tomb(core, &found->sb.segment, found->identity);
	until = MAX(until, found->until_ns);
	if (until > core->now_ns) {
		err_set(err, -EAGAIN,
			"%s was unregistered while it was written to; try "
			"again in %llu s",
			found->paths[0],
			(unsigned long long)((until - core->now_ns) / NS_PER_S +
					     1));
		return MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS;
	}
	objection(found, &why);
	if (why.code && !is_forced) {
		*err = why;
		return MOONCAKE_INVALID_PARAMS;
	}
	make_superblock(core, found, found->label == LABEL_OURS && !why.code);
	return MOONCAKE_OK;
}

/* What the probes of the mount have told already. */
static void note_probes(struct core *core, const struct nof_found *found,
			struct segment *seg)
{
	for (unsigned i = 0; i < found->path_count; i++) {
		seg->paths[i].ok_ns = core->now_ns;
		seg->paths[i].latency_ns = found->latency_ns[i];
	}
	seg->latency_ns = found->latency_ns[0];
	if (found->has_smart) {
		seg->smart_ns = core->now_ns;
		seg->smart = found->smart;
	}
}

int nof_add_segment(struct core *core, const struct nof_found *found,
		    struct segment **out, struct err *err)
{
	char *paths[SEGMENT_PATHS];
	struct segment_desc desc = {
		.id = found->sb.segment,
		.kind = KIND_NOF,
		.name = found->paths[0],
		.endpoints = paths,
		.endpoint_count = found->path_count,
		.base = POOL_DATA_OFFSET,
		.size = found->ns_bytes - POOL_DATA_OFFSET,
		.ns_bytes = found->ns_bytes,
		.block_bytes = found->block_bytes,
		.epoch = found->sb.epoch,
		.identity = found->identity,
	};
	int ret;

	/* segment_add() copies them. */
	for (unsigned i = 0; i < found->path_count; i++)
		paths[i] = (char *)(uintptr_t)found->paths[i];
	ret = segment_add(core, &desc, out, err);
	if (ret < 0)
		return ret;
	(*out)->owner = found->owner;
	(*out)->key = found->key;
	segment_set_state(core, *out, SEG_ONLINE, found->note);
	note_probes(core, found, *out);
	return 0;
}
