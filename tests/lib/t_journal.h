/* SPDX-License-Identifier: Apache-2.0 */
/* A journal in memory: what was appended, in order, and one snapshot. */
#ifndef T_JOURNAL_H
#define T_JOURNAL_H

#include <stdlib.h>

#include "journal/journal.h"

#define T_RECORDS 65536

struct t_record {
	enum jr_type type;
	uint8_t *body;
	uint32_t len;
};

struct t_journal {
	struct journal j;
	struct t_record log[T_RECORDS], snap[T_RECORDS];
	size_t log_count, snap_count;
	size_t snap_at; /* records that the snapshot makes unnecessary */
};

static inline struct t_journal *t_journal_of(struct journal *j)
{
	return container_of(j, struct t_journal, j);
}

static inline void t_record_set(struct t_record *r, enum jr_type type,
				const struct strbuf *body)
{
	ASSERT(!body->failed);
	r->type = type;
	r->len = (uint32_t)body->n;
	r->body = malloc(body->n + 1);
	ASSERT(r->body);
	memcpy(r->body, body->p, body->n);
}

static inline void t_journal_append(struct journal *j, enum jr_type type,
				    const struct strbuf *body)
{
	struct t_journal *t = t_journal_of(j);

	ASSERT(t->log_count < T_RECORDS);
	t_record_set(&t->log[t->log_count++], type, body);
}

static inline void t_journal_snap_add(struct journal *j, enum jr_type type,
				      const struct strbuf *body)
{
	struct t_journal *t = t_journal_of(j);

	ASSERT(t->snap_count < T_RECORDS);
	t_record_set(&t->snap[t->snap_count++], type, body);
}

static inline void t_journal_forget_snap(struct t_journal *t)
{
	while (t->snap_count > 0)
		free(t->snap[--t->snap_count].body);
	t->snap_at = 0;
}

static inline struct t_journal *t_journal_create(void)
{
	static const struct journal_ops ops = {
		.append = t_journal_append,
		.snap_add = t_journal_snap_add,
	};
	struct t_journal *t = calloc(1, sizeof(*t));

	ASSERT(t);
	t->j.ops = &ops;
	return t;
}

static inline void t_journal_destroy(struct t_journal *t)
{
	t_journal_forget_snap(t);
	while (t->log_count > 0)
		free(t->log[--t->log_count].body);
	free(t);
}

/* The snapshot (if it is said to be whole) and the first count records. */
static inline void t_journal_replay(const struct t_journal *t, bool has_snap,
				    size_t count, jr_record_fn fn, void *arg)
{
	size_t at = has_snap ? t->snap_at : 0;
	struct err err = {0};

	for (size_t i = 0; has_snap && i < t->snap_count; i++) {
		struct jr_frame f = {.type = t->snap[i].type,
				     .body = t->snap[i].body,
				     .len = t->snap[i].len};

		ASSERT(fn(&f, arg, &err) == 0);
	}
	for (; at < count; at++) {
		struct jr_frame f = {.type = t->log[at].type,
				     .sequence = at + 1,
				     .body = t->log[at].body,
				     .len = t->log[at].len};

		ASSERT(fn(&f, arg, &err) == 0);
	}
}

#endif
