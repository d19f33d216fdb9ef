/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state machine of reservations.  One thread changes it, any may ask.
 * Invariant: a reservation is held by a registrant, or by all of them; with
 * the last one that holds it goes the reservation.
 */
#include "target/resv.h"

#include <errno.h>
#include <string.h>

#include "nvme/cmd.h"

#define CONFLICT  (NVME_SC_RESV_CONFLICT | NVME_SC_DNR)
#define BAD_FIELD (NVME_SC_BAD_FIELD | NVME_SC_DNR)

enum { /* CPTPL of Register */
	PERSIST_KEEP = 0,
	PERSIST_OFF = 2,
	PERSIST_ON = 3,
};

static bool is_all(uint8_t type)
{
	return type == RESV_WRITE_EXCL_ALL || type == RESV_EXCL_ALL;
}

/* Types that are of interest to registrants other than the holder. */
static bool is_shared(uint8_t type)
{
	return type >= RESV_WRITE_EXCL_REG;
}

static bool is_same(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a, b, RESV_HOSTID_LEN) == 0;
}

static struct resv_host *find(struct resv *r, const uint8_t *hostid)
{
	for (unsigned i = 0; i < r->count; i++) {
		if (is_same(r->hosts[i].id, hostid))
			return &r->hosts[i];
	}
	return NULL;
}

static bool is_holder(struct resv *r, const uint8_t *hostid)
{
	if (is_all(r->type))
		return find(r, hostid) != NULL;
	return r->type && is_same(r->holder, hostid);
}

static void note(struct resv_notes *notes, const uint8_t *hostid,
		 enum resv_event event)
{
	struct resv_note *n = &notes->notes[notes->count++];

	ASSERT(notes->count <= ARRAY_SIZE(notes->notes));
	memcpy(n->hostid, hostid, sizeof(n->hostid));
	n->event = event;
}

/* Every registrant but one is told. */
static void note_others(struct resv *r, const uint8_t *but,
			enum resv_event event, struct resv_notes *notes)
{
	for (unsigned i = 0; i < r->count; i++) {
		if (!is_same(r->hosts[i].id, but))
			note(notes, r->hosts[i].id, event);
	}
}

static void begin(struct resv *r, struct resv_notes *notes)
{
	notes->count = 0;
	pthread_mutex_lock(&r->lock);
}

/* What shards have kept is void from here on. */
static uint16_t end(struct resv *r, uint16_t sc)
{
	static _Atomic uint64_t versions;
	uint64_t next = r->type ? atomic_fetch_add(&versions, 1) + 1 : 0;

	if (sc == NVME_SC_OK)
		atomic_store_explicit(&r->version, next, memory_order_release);
	pthread_mutex_unlock(&r->lock);
	return sc;
}

void resv_init(struct resv *r)
{
	memset(r, 0, sizeof(*r));
	pthread_mutex_init(&r->lock, NULL);
}

/* --- Register --- */

static void hold(struct resv *r, const uint8_t *hostid, uint8_t type)
{
	r->type = type;
	memcpy(r->holder, hostid, sizeof(r->holder));
}

static void forget(struct resv *r, struct resv_host *host)
{
	*host = r->hosts[--r->count];
}

static uint16_t add_host(struct resv *r, const struct resv_cmd *cmd)
{
	const struct resv_host *host = find(r, cmd->hostid);
	struct resv_host *new;

	if (cmd->other_key == 0)
		return BAD_FIELD;
	if (host)
		return host->key == cmd->other_key ? NVME_SC_OK : CONFLICT;
	if (r->count == RESV_HOST_MAX)
		return NVME_SC_CAP_EXCEEDED | NVME_SC_DNR;
	new = &r->hosts[r->count++];
	memcpy(new->id, cmd->hostid, sizeof(new->id));
	new->key = cmd->other_key;
	return NVME_SC_OK;
}

static void remove_host(struct resv *r, struct resv_host *host,
			struct resv_notes *notes)
{
	uint8_t id[RESV_HOSTID_LEN];
	bool is_end;

	memcpy(id, host->id, sizeof(id));
	is_end = is_all(r->type) ? r->count == 1 : is_holder(r, id);
	if (is_end) {
		if (is_shared(r->type))
			note_others(r, id, RESV_EVENT_RELEASED, notes);
		r->type = RESV_NONE;
	}
	forget(r, host);
}

static uint16_t do_register(struct resv *r, const struct resv_cmd *cmd,
			    struct resv_notes *notes)
{
	struct resv_host *host = find(r, cmd->hostid);

	/* Where nothing is kept when the target ends, nobody may believe so. */
	if (cmd->persist != PERSIST_KEEP && cmd->persist != PERSIST_OFF &&
	    !(cmd->persist == PERSIST_ON && cmd->can_persist))
		return BAD_FIELD;
	if (cmd->action > RESV_REPLACE)
		return BAD_FIELD;
	if (cmd->action == RESV_REGISTER)
		return add_host(r, cmd);
	if (cmd->action == RESV_REPLACE && cmd->other_key == 0)
		return BAD_FIELD;
	if (!host || (!cmd->is_key_ignored && host->key != cmd->key))
		return CONFLICT;
	if (cmd->action == RESV_REPLACE)
		host->key = cmd->other_key;
	else
		remove_host(r, host, notes);
	return NVME_SC_OK;
}

uint16_t resv_register(struct resv *r, const struct resv_cmd *cmd,
		       struct resv_notes *notes)
{
	uint16_t sc;

	begin(r, notes);
	sc = do_register(r, cmd, notes);
	if (sc == NVME_SC_OK) {
		r->gen++;
		if (cmd->persist != PERSIST_KEEP)
			r->is_persistent = cmd->persist == PERSIST_ON;
	}
	return end(r, sc);
}

/* --- Acquire --- */

static uint16_t take(struct resv *r, const struct resv_cmd *cmd)
{
	if (r->type == RESV_NONE) {
		hold(r, cmd->hostid, cmd->type);
		return NVME_SC_OK;
	}
	if (is_holder(r, cmd->hostid) && r->type == cmd->type)
		return NVME_SC_OK;
	return CONFLICT;
}

/* Removes the registrants that have the key, or with key 0 all; never the one
 * who preempts.  How many there were, that one included. */
static unsigned expel(struct resv *r, const struct resv_cmd *cmd,
		      struct resv_notes *notes)
{
	unsigned found = 0, i = 0;

	while (i < r->count) {
		struct resv_host *host = &r->hosts[i];

		if (cmd->other_key && host->key != cmd->other_key) {
			i++;
			continue;
		}
		found++;
		if (is_same(host->id, cmd->hostid)) {
			i++;
			continue;
		}
		note(notes, host->id, RESV_EVENT_REGISTRATION_PREEMPTED);
		forget(r, host);
	}
	return found;
}

/* Does the command aim at who holds the reservation? */
static bool is_takeover(struct resv *r, const struct resv_cmd *cmd)
{
	const struct resv_host *host;

	if (is_all(r->type))
		return cmd->other_key == 0;
	host = r->type ? find(r, r->holder) : NULL;
	return host && host->key == cmd->other_key;
}

static uint16_t preempt(struct resv *r, const struct resv_cmd *cmd,
			struct resv_notes *notes)
{
	uint8_t old_type = r->type, old_holder[RESV_HOSTID_LEN];
	bool takes = is_takeover(r, cmd);
	unsigned found;

	if (cmd->other_key == 0 && !takes)
		return BAD_FIELD;
	memcpy(old_holder, r->holder, sizeof(old_holder));
	found = expel(r, cmd, notes);
	if (!found)
		return CONFLICT;
	r->gen++;
	if (!takes)
		return NVME_SC_OK;
	hold(r, cmd->hostid, cmd->type);
	if (!is_all(old_type) && !is_same(old_holder, cmd->hostid))
		note(notes, old_holder, RESV_EVENT_PREEMPTED);
	if (is_shared(old_type) && old_type != cmd->type)
		note_others(r, cmd->hostid, RESV_EVENT_RELEASED, notes);
	return NVME_SC_OK;
}

static uint16_t do_acquire(struct resv *r, const struct resv_cmd *cmd,
			   struct resv_notes *notes)
{
	const struct resv_host *host = find(r, cmd->hostid);

	if (cmd->is_key_ignored || cmd->action > RESV_PREEMPT_ABORT ||
	    cmd->type == RESV_NONE || cmd->type >= RESV_TYPES)
		return BAD_FIELD;
	if (!host || host->key != cmd->key)
		return CONFLICT;
	return cmd->action == RESV_ACQUIRE ? take(r, cmd)
					   : preempt(r, cmd, notes);
}

uint16_t resv_acquire(struct resv *r, const struct resv_cmd *cmd,
		      struct resv_notes *notes)
{
	begin(r, notes);
	return end(r, do_acquire(r, cmd, notes));
}

/* --- Release --- */

static uint16_t do_release(struct resv *r, const struct resv_cmd *cmd,
			   struct resv_notes *notes)
{
	const struct resv_host *host = find(r, cmd->hostid);

	if (cmd->is_key_ignored || cmd->action > RESV_CLEAR)
		return BAD_FIELD;
	if (!host || host->key != cmd->key)
		return CONFLICT;
	if (cmd->action == RESV_CLEAR) {
		note_others(r, cmd->hostid, RESV_EVENT_PREEMPTED, notes);
		r->count = 0;
		r->type = RESV_NONE;
		r->gen++;
		return NVME_SC_OK;
	}
	if (!is_holder(r, cmd->hostid))
		return NVME_SC_OK; /* nothing to give back */
	if (cmd->type != r->type)
		return BAD_FIELD;
	if (is_shared(r->type))
		note_others(r, cmd->hostid, RESV_EVENT_RELEASED, notes);
	r->type = RESV_NONE;
	return NVME_SC_OK;
}

uint16_t resv_release(struct resv *r, const struct resv_cmd *cmd,
		      struct resv_notes *notes)
{
	begin(r, notes);
	return end(r, do_release(r, cmd, notes));
}

/* --- what outlives the target --- */

void resv_persist_set(struct resv *r, bool is_persistent)
{
	pthread_mutex_lock(&r->lock);
	r->is_persistent = is_persistent;
	pthread_mutex_unlock(&r->lock);
}

bool resv_is_persistent(struct resv *r)
{
	bool is_persistent;

	pthread_mutex_lock(&r->lock);
	is_persistent = r->is_persistent;
	pthread_mutex_unlock(&r->lock);
	return is_persistent;
}

bool resv_state_get(struct resv *r, struct resv_state *out)
{
	bool is_persistent;

	pthread_mutex_lock(&r->lock);
	is_persistent = r->is_persistent;
	*out = (struct resv_state){
		.gen = r->gen, .type = r->type, .count = r->count};
	memcpy(out->holder, r->holder, sizeof(out->holder));
	memcpy(out->hosts, r->hosts, r->count * sizeof(r->hosts[0]));
	pthread_mutex_unlock(&r->lock);
	return is_persistent;
}

static bool is_possible(const struct resv_state *in)
{
	bool has_holder = in->type == RESV_NONE;

	if (in->count > RESV_HOST_MAX || in->type >= RESV_TYPES)
		return false;
	for (unsigned i = 0; i < in->count; i++) {
		const struct resv_host *host = &in->hosts[i];

		if (!host->key)
			return false;
		for (unsigned k = 0; k < i; k++) {
			if (is_same(host->id, in->hosts[k].id))
				return false;
		}
		has_holder |= is_all(in->type) || is_same(host->id, in->holder);
	}
	return has_holder;
}

int resv_state_set(struct resv *r, const struct resv_state *in)
{
	struct resv_notes none;

	if (!is_possible(in))
		return -EINVAL;
	begin(r, &none);
	if (r->count) {
		end(r, NVME_SC_RESV_CONFLICT);
		return -EEXIST;
	}
	r->gen = in->gen;
	r->type = in->type;
	memcpy(r->holder, in->holder, sizeof(r->holder));
	r->count = in->count;
	memcpy(r->hosts, in->hosts, in->count * sizeof(r->hosts[0]));
	r->is_persistent = true;
	end(r, NVME_SC_OK);
	return 0;
}

/* --- asking --- */

size_t resv_report(struct resv *r, uint8_t *out)
{
	struct nvme_resv_status head = {0};

	static_assert(sizeof(head) == RESV_REPORT_HEAD, "report");
	static_assert(sizeof(struct nvme_registered_ctrl_ext) ==
			      RESV_REPORT_ENTRY,
		      "report");
	memset(out, 0, RESV_REPORT_MAX);
	pthread_mutex_lock(&r->lock);
	head.gen = r->gen;
	head.rtype = r->type;
	head.regctl[0] = (uint8_t)r->count;
	head.ptpls = r->is_persistent;
	memcpy(out, &head, sizeof(head));
	for (unsigned i = 0; i < r->count; i++) {
		struct nvme_registered_ctrl_ext e = {
			.cntlid = 0xffff, /* dynamic controllers */
			.rcsts = is_holder(r, r->hosts[i].id),
			.rkey = r->hosts[i].key,
		};

		memcpy(e.hostid, r->hosts[i].id, sizeof(e.hostid));
		memcpy(out + RESV_REPORT_HEAD + i * RESV_REPORT_ENTRY, &e,
		       sizeof(e));
	}
	pthread_mutex_unlock(&r->lock);
	return RESV_REPORT_HEAD + (size_t)head.regctl[0] * RESV_REPORT_ENTRY;
}

struct resv_rights resv_rights(struct resv *r, const uint8_t *hostid)
{
	struct resv_rights rights;
	bool is_in;

	pthread_mutex_lock(&r->lock);
	is_in = is_holder(r, hostid) ||
		(is_shared(r->type) && find(r, hostid) != NULL);
	rights.version = atomic_load(&r->version);
	rights.may_write = !r->type || is_in;
	rights.may_read = rights.may_write || r->type == RESV_WRITE_EXCL ||
			  r->type == RESV_WRITE_EXCL_REG ||
			  r->type == RESV_WRITE_EXCL_ALL;
	pthread_mutex_unlock(&r->lock);
	return rights;
}
