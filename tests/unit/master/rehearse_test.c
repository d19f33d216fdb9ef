/* SPDX-License-Identifier: Apache-2.0 */
/* What a start refuses, a rehearsal refuses, and a cut gives up. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../journal/life.h"
#include "base/log.h"
#include "master/recover.h"
#include "master/rehearse.h"
#include "t_core.h"

static void append_body(struct life *life, enum jr_type type,
			struct strbuf *body)
{
	life->j->ops->append(life->j, type, body);
	strbuf_fini(body);
}

static void append_segment(struct life *life)
{
	struct jr_segment r = {
		.no = 1,
		.kind = KIND_NOF,
		.base = MiB,
		.size = 16 * MiB,
		.ns_bytes = 17 * MiB,
		.block_bytes = 4096,
		.epoch = 1,
		.identity = STR("uuid:1"),
		.name = STR("a"),
		.host_id = STR("h"),
		.path_count = 1,
		.paths = {STR("traddr:10.0.0.1 subnqn:nqn.2024-01.t:a ns:1")},
	};
	struct strbuf body = {0};

	r.id.b[0] = 1;
	jr_segment_encode(&r, &body);
	append_body(life, JR_SEGMENT, &body);
}

/* allocated: 4096 is right. */
static void append_object(struct life *life, const char *key, uint64_t off,
			  uint64_t allocated)
{
	static struct jr_object r;
	struct strbuf body = {0};

	r = (struct jr_object){
		.generation = 1 + off,
		.size = 100,
		.key = str_of(key),
		.crcs = {"abcd", 4},
		.replica_count = 1,
		.wanted = {0, 1},
	};
	r.replicas[0] =
		(struct jr_replica){.kind = KIND_NOF, .extent_count = 1};
	r.replicas[0].extents[0] = (struct jr_extent){
		.segment = 1, .off = MiB + off, .len = allocated, .bytes = 100};
	jr_object_encode(&r, &body);
	append_body(life, JR_OBJECT, &body);
}

static int rehearse_dir(int dir_fd, struct jr_report *report, struct err *err)
{
	struct rehearsal r = {0};

	return rehearse(dir_fd, &r, report, err);
}

/* A start, as far as its records go. */
static int start(struct t_dir *d, struct err *err)
{
	struct core *core = t_core(NULL);
	struct jr_report report;
	struct recovery *rec;
	int ret;

	*err = (struct err){0};
	assert_int_equal(recovery_create(core, &rec), 0);
	ret = jr_walk(d->fd, "c", recovery_apply, rec, &report, err);
	if (ret == 0)
		ret = recovery_finish(rec, err);
	else
		recovery_destroy(rec);
	core->is_replaying = false;
	core_destroy(core);
	return ret;
}

static void assert_refused(struct t_dir *d, int code, const char *text)
{
	struct jr_report report;
	struct err err, same = {0};

	assert_int_equal(start(d, &err), code);
	assert_non_null(strstr(err.text, text));
	assert_int_equal(rehearse_dir(d->fd, &report, &same), code);
	assert_string_equal(same.text, err.text);
}

/* What is said of a journal that is refused. */
static void assert_advice(struct t_dir *d, const char *dir, const char *text)
{
	struct strbuf advice = {0};
	struct rehearsal r = {0};
	struct jr_report report;
	struct err err = {0};

	assert_true(rehearse(d->fd, &r, &report, &err) < 0);
	rehearse_advise(&advice, dir, &report, r.objects, r.segments);
	if (text)
		assert_non_null(strstr(advice.p, text));
	else
		assert_int_equal(advice.n, 0);
	strbuf_fini(&advice);
}

static void test_whole(void **state)
{
	struct rehearsal r = {0};
	struct jr_report report;
	struct err err = {0};
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	assert_int_equal(rehearse(d.fd, &r, &report, &err), 0);
	assert_int_equal(r.objects, 0);
	begin(&life, &d);
	append_segment(&life);
	append_object(&life, "a", 0, 4096);
	append_object(&life, "b", 4096, 4096);
	end(&life);
	assert_int_equal(start(&d, &err), 0);
	assert_int_equal(rehearse(d.fd, &r, &report, &err), 0);
	assert_int_equal(r.objects, 2);
	assert_int_equal(r.segments, 1);
	assert_string_equal(report.cluster_id, "c");
	t_dir_close(&d);
}

/* Whole, but no master can take it. */
static void test_record_in_a_log(void **state)
{
	struct rehearsal r = {0};
	struct jr_report report;
	struct err err = {0};
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	append_segment(&life);
	append_object(&life, "a", 0, 4096);
	append_object(&life, "b", 4096, 8192);
	append_object(&life, "c", 12288, 4096);
	end(&life);
	assert_refused(&d, -EBADMSG, "record 3 (object) cannot be applied");
	assert_refused(&d, -EBADMSG, "'mooncakectl journal cut'");
	assert_advice(&d, "it's",
		      "mooncakectl journal cut 'it'\\''s' keeps 1 objects, "
		      "1 segments; namespaces");
	assert_int_equal(files_cut(d.path, rehearse_dir, &report, &err), 1);
	assert_int_equal(report.next, 3);
	assert_int_equal(files_cut(d.path, rehearse_dir, &report, &err), 0);
	assert_int_equal(start(&d, &err), 0);
	assert_int_equal(rehearse(d.fd, &r, &report, &err), 0);
	assert_int_equal(r.objects, 1);
	t_dir_close(&d);
}

/* Headers are read first, and still all that is before is counted. */
static void test_header_of_a_log(void **state)
{
	static const char log[] = "journal-0000000000000005.log";
	struct rehearsal r = {0};
	struct jr_report report;
	struct err err = {0};
	struct life life;
	struct t_dir d;
	uint8_t *bytes;
	size_t n;

	t_dir_open(&d);
	begin(&life, &d);
	append_segment(&life);
	append_object(&life, "a", 0, 4096);
	append_object(&life, "b", 4096, 4096);
	append_object(&life, "c", 8192, 4096);
	end(&life);
	begin(&life, &d);
	append_object(&life, "d", 12288, 4096);
	end(&life);
	bytes = t_dir_read(&d, log, &n);
	bytes[100] ^= 1;
	t_dir_write(&d, log, bytes, n);
	free(bytes);
	assert_refused(&d, -EBADMSG, "its header is damaged");
	assert_advice(&d, d.path, "keeps 3 objects, 1 segments");
	assert_int_equal(files_cut(d.path, rehearse_dir, &report, &err), 1);
	assert_int_equal(rehearse(d.fd, &r, &report, &err), 0);
	assert_int_equal(r.objects, 3);
	t_dir_close(&d);
}

static void test_record_in_a_snapshot(void **state)
{
	struct strbuf body = {0};
	struct jr_report report;
	struct err err = {0};
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	append(&life, 1);
	assert_int_equal(life.j->ops->snap_begin(life.j), 0);
	strbuf_adds(&body, "no object");
	life.j->ops->snap_add(life.j, JR_OBJECT, &body);
	strbuf_fini(&body);
	life.j->ops->snap_end(life.j);
	settle(&life);
	assert_int_equal(life.ret, 0);
	end(&life);
	assert_refused(&d, -EBADMSG, "begin an empty directory");
	assert_advice(&d, d.path, NULL);
	assert_int_equal(files_cut(d.path, rehearse_dir, &report, &err),
			 -EBADMSG);
	t_dir_close(&d);
}

/* Nothing that a newer program wrote is given up. */
static void test_newer_record(void **state)
{
	struct strbuf body = {0};
	struct jr_report report;
	struct err err = {0};
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	append_segment(&life);
	strbuf_adds(&body, "new");
	append_body(&life, (enum jr_type)200, &body);
	end(&life);
	assert_refused(&d, -EPROTONOSUPPORT, "type 200");
	assert_advice(&d, d.path, NULL);
	assert_int_equal(files_cut(d.path, rehearse_dir, &report, &err),
			 -EPROTONOSUPPORT);
	assert_refused(&d, -EPROTONOSUPPORT, "use the newer one");
	t_dir_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_record_in_a_log),
		cmocka_unit_test(test_header_of_a_log),
		cmocka_unit_test(test_record_in_a_snapshot),
		cmocka_unit_test(test_newer_record),
	};

	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
