/* SPDX-License-Identifier: Apache-2.0 */
/* A master's life with a journal, for tests: what it reads at its start, what
 * it appends, and which events came. */
#ifndef TESTS_UNIT_JOURNAL_LIFE_H
#define TESTS_UNIT_JOURNAL_LIFE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "base/time.h"
#include "journal/dir.h"
#include "journal/files.h"
#include "t_dir.h"

struct life {
	struct loop *loop;
	struct journal *j;
	unsigned synced, pushed, ended;
	int ret; /* of the last event */
	uint64_t count, sum;
	struct jr_report report;
};

static inline void on_synced(int ret, void *arg)
{
	struct life *life = arg;

	life->synced++;
	life->ret = ret;
}

static inline void on_pushed(int ret, void *arg)
{
	struct life *life = arg;

	life->pushed++;
	life->ret = ret;
}

static inline void on_ended(int ret, void *arg)
{
	struct life *life = arg;

	life->ended++;
	life->ret = ret;
}

static inline int see(const struct jr_frame *frame, void *arg, struct err *err)
{
	struct life *life = arg;

	life->count++;
	life->sum = life->sum * 31 + frame->body[0];
	return 0;
}

/* For files_cut(). */
static inline int read_any(int dir_fd, struct jr_report *report,
			   struct err *err)
{
	struct life life = {0};

	return jr_walk(dir_fd, NULL, see, &life, report, err);
}

static inline int try_begin_as(struct life *life, struct t_dir *d,
			       const char *cluster, bool never_sync)
{
	struct err err = {0};
	struct files_opts opts = {
		.path = d->path,
		.cluster_id = cluster,
		.events = {on_synced, on_pushed, on_ended, life},
		.never_sync = never_sync,
	};
	int ret;

	*life = (struct life){0};
	assert_int_equal(loop_create(&(struct loop_opts){.name = "t"},
				     &life->loop, &err),
			 0);
	opts.loop = life->loop;
	ret = files_open(&opts, &life->j, &err);
	if (ret < 0) {
		loop_destroy(life->loop);
		return ret;
	}
	ret = life->j->ops->recover(life->j, see, life, &life->report, &err);
	if (ret < 0) {
		life->j->ops->close(life->j);
		loop_destroy(life->loop);
	}
	return ret;
}

static inline int try_begin(struct life *life, struct t_dir *d,
			    const char *cluster)
{
	return try_begin_as(life, d, cluster, false);
}

static inline void begin(struct life *life, struct t_dir *d)
{
	assert_int_equal(try_begin(life, d, "c"), 0);
}

static inline void settle(struct life *life)
{
	while (life->j->busy)
		loop_turn(life->loop, NS_PER_S);
}

static inline void end(struct life *life)
{
	settle(life);
	life->j->ops->close(life->j);
	loop_destroy(life->loop);
}

/* The next life. */
static inline void again(struct life *life, struct t_dir *d)
{
	end(life);
	begin(life, d);
}

static inline void append_bytes(struct life *life, const void *p, size_t n)
{
	struct strbuf sb = {0};

	strbuf_add(&sb, p, n);
	life->j->ops->append(life->j, JR_OBJECT, &sb);
	strbuf_fini(&sb);
}

static inline void append(struct life *life, char c)
{
	append_bytes(life, &c, 1);
}

static inline void save_record(struct life *life, char c)
{
	struct strbuf sb = {0};

	strbuf_addc(&sb, c);
	life->j->ops->snap_add(life->j, JR_OBJECT, &sb);
	strbuf_fini(&sb);
}

static inline unsigned count_files(struct t_dir *d)
{
	struct jr_list list;
	struct err err = {0};
	unsigned n;

	assert_int_equal(jr_dir_list(d->fd, &list, &err), 0);
	n = (unsigned)list.count;
	jr_list_fini(&list);
	return n;
}

static inline void limit_files(rlim_t bytes)
{
	struct rlimit rl;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &rl), 0);
	rl.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &rl), 0);
}

/* One record is written, and no other one. */
static inline void fill_disk(struct life *life)
{
	char big[4096] = {9};

	append(life, 1);
	assert_int_equal(life->j->ops->commit(life->j), 0);
	limit_files(1024);
	append_bytes(life, big, sizeof(big));
	assert_int_equal(life->j->ops->commit(life->j), -EFBIG);
	assert_true(life->j->is_failed);
}

#endif
