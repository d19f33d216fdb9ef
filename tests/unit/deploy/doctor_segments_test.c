/* SPDX-License-Identifier: Apache-2.0 */
/* What the doctor advises where a segment or its namespace is not as it should
 * be: nothing that costs objects which could be kept. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "deploy/doctor_check.h"

static const struct flag_list none;
static const struct doctor_facts facts = {.cpus = 64};

static struct doctor *make(void)
{
	struct doctor_opts opts = {
		.root = "/nonexistent",
		.facts = &facts,
		.master = "",
		.admin = "",
		.config = "",
		.endpoints = &none,
		.discover = &none,
		.timeout_ms = 100,
	};
	struct err err = {0};
	struct doctor *d;

	if (doctor_create(&opts, &d, &err))
		fail_msg("%s", err.text);
	return d;
}

static char fenced[] = "fenced: the superblock has epoch 4, the journal knows "
		       "1; if no other master goes on with it: "
		       "mooncake_ssd_register --force";
static char others[] = "fenced: the target has the namespace reserved for "
		       "another owner, x";
static char gone[] = "no answer";

/* Of the last finding; unregistering destroys what force keeps. */
static void expect_advice(struct doctor *d, const char *text, const char *todo)
{
	const struct doctor_finding *f = &d->findings[d->count - 1];

	if (!strstr(f->text, text) || !strstr(f->advice, todo))
		fail_msg("'%s', advice '%s'", f->text, f->advice);
	if (strstr(f->text, "epoch"))
		assert_null(strstr(f->advice, "mooncake_ssd_unregister"));
}

static void test_segments(void **state)
{
	const struct doctor_check *check = doctor_find_check("segments");
	struct doctor *d = make();
	Mc__Segment seg = MC__SEGMENT__INIT;

	seg.kind = MC__KIND__NOF_SSD;
	seg.state = MC__SEGMENT_STATE__SEGMENT_ONLINE;
	seg.message = fenced;
	assert_false(doctor_judge_segment(d, check, &seg));
	assert_int_equal(d->count, 0);
	seg.state = MC__SEGMENT_STATE__SEGMENT_OFFLINE;
	assert_true(doctor_judge_segment(d, check, &seg));
	expect_advice(d, fenced, "if no other master goes on with it: "
				 "mooncake_ssd_register --force. Don't "
				 "unregister it");
	seg.message = others;
	assert_true(doctor_judge_segment(d, check, &seg));
	expect_advice(d, others, "run only one of the two masters. Don't "
				 "unregister it");
	seg.message = gone;
	assert_true(doctor_judge_segment(d, check, &seg));
	expect_advice(d, "offline: no answer", "for good, with the objects");
	seg.kind = MC__KIND__MEMORY;
	assert_true(doctor_judge_segment(d, check, &seg));
	expect_advice(d, "offline", "--client_ttl");
	doctor_destroy(d);
}

static void test_superblocks(void **state)
{
	const struct doctor_check *check = doctor_find_check("superblock");
	struct doctor *d = make();
	struct doctor_segment owner = {.is_nof = true, .epoch = 2};
	struct vol_probe probe = {.label = LABEL_OURS};

	probe.sb.epoch = 2;
	doctor_judge_superblock(d, check, "a", &probe, &owner);
	assert_int_equal(doctor_worst(d), DOCTOR_OK);
	/* Somebody went on with it; the master has seen it, or not yet. */
	probe.sb.epoch = 4;
	doctor_judge_superblock(d, check, "a", &probe, &owner);
	expect_advice(d, "epoch 4, the master's is 2",
		      "look again in a minute, 'mooncakectl segments' says "
		      "what to do then. Don't unregister it");
	snprintf(owner.fenced, sizeof(owner.fenced), "%s", fenced);
	doctor_judge_superblock(d, check, "a", &probe, &owner);
	expect_advice(d, "epoch 4, the master's is 2",
		      ": mooncake_ssd_register --force. Don't unregister it");
	/* Each life takes a step of its own: theirs was the smaller one. */
	owner.epoch = 5;
	doctor_judge_superblock(d, check, "a", &probe, &owner);
	expect_advice(d, "epoch 4, the master's is 5",
		      ": mooncake_ssd_register --force. Don't unregister it");
	owner.epoch = 2;
	owner.fenced[0] = '\0';
	probe.sb.epoch = 1;
	doctor_judge_superblock(d, check, "a", &probe, &owner);
	expect_advice(d, "epoch 1, the master's is 2", "older copy");
	probe.sb.segment.b[0] = 1;
	doctor_judge_superblock(d, check, "a", &probe, &owner);
	expect_advice(d, "another segment", "the right namespace?");
	assert_int_equal(doctor_worst(d), DOCTOR_FAIL);
	/* What can't be read says nothing of what is there. */
	probe.ret = err_set(&probe.err, -ETIMEDOUT, "no answer");
	doctor_judge_superblock(d, check, "a", &probe, &owner);
	expect_advice(d, "no answer", "Nothing is known");
	doctor_destroy(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_superblocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
