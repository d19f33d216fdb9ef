/* SPDX-License-Identifier: Apache-2.0 */
/* Fault rules: their text, and which commands they hit. */
#include "target/fault_rule.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "io/sim.h"
#include "target/subsys.h"

static struct io_sim *sim;
static struct loop *loop;
static struct tgt *tgt;

static int setup(void **state)
{
	struct tgt_opts opts = {0};
	struct err err = {0};

	sim = io_sim_create(1);
	assert_int_equal(
		loop_create(&(struct loop_opts){.backend = IO_BACKEND_SIM,
						.sim = sim,
						.name = "test"},
			    &loop, &err),
		0);
	opts.loop = loop;
	return tgt_create(&opts, &tgt, &err);
}

static int teardown(void **state)
{
	tgt_stop(tgt, NULL, NULL);
	loop_turn(loop, 0);
	loop_destroy(loop);
	io_sim_destroy(sim);
	return 0;
}

static uint32_t set(const char *text)
{
	struct err err = {0};
	uint32_t id = 0;

	if (tgt_fault_set(tgt, text, &id, &err))
		fail_msg("%s", err.text);
	assert_true(id > 0);
	return id;
}

static struct fault_plan ask(const struct fault_look *look)
{
	struct fault_look l = *look;
	struct fault_plan plan;

	l.nqn = l.nqn ? l.nqn : "nqn.one";
	l.host = l.host ? l.host : "nqn.host";
	l.now_ns = loop_now_ns(loop);
	fault_look(&tgt->faults, &l, &plan);
	return plan;
}

static bool is_hit(const struct fault_look *look)
{
	return ask(look).acts;
}

static void texts_are_judged(void **state)
{
	static const struct {
		const char *text, *word; /* NULL = good */
	} cases[] = {
		{"kind=error", NULL},
		{" kind=error , op=read , once ", NULL},
		{"op=write,kind=error,status=0x4281,p=0.5,seed=7", NULL},
		{"kind=delay,ms=0.5,every=100,nsid=1,qid=0,op=admin", NULL},
		{"kind=delay,p50=1,p99=50,for=30s", NULL},
		{"kind=rate,bytes_per_s=10m,iops=100", NULL},
		{"kind=torn,blocks=3,lba=10-20,after=5,after_bytes=1m", NULL},
		{"kind=stall,side=rx,for=2,host=nqn.h,nqn=nqn.s", NULL},
		{"kind=refuse,how=rst,count=3", NULL},
		{"", "kind= is missing"},
		{"op=read", "kind= is missing"},
		{"kind=", "one of"},
		{"kind=explode", "disconnect"},
		{"kind=error,nsid=0", "nsid"},
		{"kind=error,nsid=x", "'x'"},
		{"kind=error,nsid", "nsid"},
		{"kind=error,colour=red", "colour"},
		{"kind=error,ms=5", "means nothing"},
		{"kind=error,op=read,op=write", "twice"},
		{"kind=error,once,count=2", "twice"},
		{"kind=error,p=0", "'0'"},
		{"kind=error,p=1.5", "1.5"},
		{"kind=error,p=nan", "nan"},
		{"kind=error,p=0.5,every=2", "not both"},
		{"kind=error,status=0x", "0x"},
		{"kind=error,status=0x8000", "0x8000"},
		{"kind=error,status=0x12345", "0x12345"},
		{"kind=error,op=connect", "can't happen"},
		{"kind=delay", "ms="},
		{"kind=delay,ms=1,p50=1,p99=2", "ms="},
		{"kind=delay,p50=2,p99=1", "p99"},
		{"kind=delay,p99=1", "p99"},
		{"kind=delay,ms=-1", "-1"},
		{"kind=delay,ms=4000000", "4000000"},
		{"kind=rate", "iops"},
		{"kind=rate,iops=0", "'0'"},
		{"kind=torn,op=read", "can't happen"},
		{"kind=refuse,nsid=1", "means nothing"},
		{"kind=error,lba=20-10", "20-10"},
		{"kind=error,host=a\nb", "plain"},
		{"kind=error,,once", "unknown key"},
		{"kind=error,for=18446744073709551615", "for"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fault_rule rule;
		struct err err = {0};
		int ret = fault_parse(cases[i].text, &rule, &err);

		assert_int_equal(ret, cases[i].word ? -EINVAL : 0);
		if (cases[i].word && !strstr(err.text, cases[i].word))
			fail_msg("'%s' does not say '%s'", err.text,
				 cases[i].word);
	}
}

static void rules_choose_commands(void **state)
{
	struct fault_look read = {.op = FAULT_OP_READ,
				  .nsid = 2,
				  .qid = 3,
				  .slba = 100,
				  .blocks = 8,
				  .bytes = 4096};
	static const struct {
		const char *text;
		bool is_hit;
	} cases[] = {
		{"kind=error", true},
		{"kind=error,op=write", false},
		{"kind=error,op=all", true},
		{"kind=error,nsid=2,qid=3,nqn=nqn.one,host=nqn.host", true},
		{"kind=error,nsid=1", false},
		{"kind=error,qid=0", false},
		{"kind=error,nqn=nqn.two", false},
		{"kind=error,host=nqn.other", false},
		{"kind=error,lba=107", true},
		{"kind=error,lba=108-200", false},
		{"kind=error,lba=0-99", false},
		{"kind=error,lba=0-100", true},
		{"kind=hdgst", false}, /* no digest to spoil */
		{"kind=ddgst", false},
		{"kind=refuse", false},
		{"kind=torn", false},
	};

	assert_false(fault_is_on(&tgt->faults));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t id = set(cases[i].text);

		assert_true(fault_is_on(&tgt->faults));
		if (is_hit(&read) != cases[i].is_hit)
			fail_msg("%s", cases[i].text);
		assert_int_equal(tgt_fault_clear(tgt, id), 1);
	}
	assert_false(fault_is_on(&tgt->faults));
	assert_int_equal(tgt_fault_clear(tgt, 0), 0);
}

static void expect_hits(const char *text, const char *want)
{
	struct fault_look io = {.op = FAULT_OP_WRITE, .bytes = 1000};

	set(text);
	for (const char *c = want; *c; c++) {
		if (is_hit(&io) != (*c == 'x'))
			fail_msg("%s at %zu", text, (size_t)(c - want));
	}
	tgt_fault_clear(tgt, 0);
}

static void rules_take_turns(void **state)
{
	expect_hits("kind=error,every=3", "..x..x..x");
	expect_hits("kind=error,every=2,after=3", "....x.x.x");
	expect_hits("kind=error,after=2", "..xxx");
	expect_hits("kind=error,after_bytes=2500b", "..xxx");
	expect_hits("kind=error,once", "x....");
	expect_hits("kind=error,every=2,count=2", ".x.x....");
	expect_hits("kind=error,p=1", "xxxx");
}

static void seeds_repeat(void **state)
{
	struct fault_look io = {.op = FAULT_OP_WRITE};
	uint64_t hits[3] = {0};
	unsigned count = 0;

	for (int run = 0; run < 3; run++) {
		set(run < 2 ? "kind=error,p=0.3,seed=11"
			    : "kind=error,p=0.3,seed=12");
		for (int i = 0; i < 64; i++)
			hits[run] |= (uint64_t)is_hit(&io) << i;
		tgt_fault_clear(tgt, 0);
	}
	count = (unsigned)__builtin_popcountll(hits[0]);
	assert_true(hits[0] == hits[1] && hits[0] != hits[2]);
	assert_true(count > 8 && count < 34);
}

/* Half of the delays below p50, 99 of a hundred below p99. */
static void delays_follow_their_points(void **state)
{
	struct fault_look io = {.op = FAULT_OP_READ};
	unsigned below_50 = 0, below_99 = 0;
	uint64_t delay;

	set("kind=delay,p50=2,p99=40,seed=1");
	for (int i = 0; i < 20000; i++) {
		delay = ask(&io).until_ns - loop_now_ns(loop);
		assert_true(delay >= NS_PER_MS && delay <= 80 * NS_PER_MS);
		below_50 += delay <= 2 * NS_PER_MS;
		below_99 += delay <= 40 * NS_PER_MS;
	}
	tgt_fault_clear(tgt, 0);
	assert_true(below_50 > 9700 && below_50 < 10300);
	assert_true(below_99 > 19750 && below_99 < 19850);
}

static void rates_add_up(void **state)
{
	struct fault_look io = {.op = FAULT_OP_WRITE, .bytes = 1000};
	uint64_t start = loop_now_ns(loop);
	struct fault_plan plan;

	set("kind=rate,iops=1000,bytes_per_s=100000b");
	for (int i = 0; i < 10; i++)
		plan = ask(&io); /* 10 ms each by bytes, 1 ms by number */
	assert_int_equal(plan.until_ns - start, 100 * NS_PER_MS);
	tgt_fault_clear(tgt, 0);
}

static struct tgt_fault_info listed[TGT_FAULT_MAX];
static unsigned list_count;

static void on_listed(const struct tgt_fault_info *info, void *arg)
{
	listed[list_count++] = *info;
}

static void time_runs_out(void **state)
{
	struct fault_look io = {.op = FAULT_OP_WRITE};
	uint32_t id = set("kind=error,for=2,seed=9");

	assert_true(is_hit(&io));
	while (io_sim_step(sim, loop_now_ns(loop) + 3 * NS_PER_S))
		;
	assert_false(fault_is_on(&tgt->faults));
	assert_false(is_hit(&io));
	list_count = 0;
	tgt_fault_list(tgt, on_listed, NULL);
	assert_int_equal(list_count, 1);
	assert_int_equal(listed[0].id, id);
	assert_string_equal(listed[0].text, "kind=error,for=2,seed=9");
	assert_int_equal(listed[0].seed, 9);
	assert_int_equal(listed[0].seen, 1);
	assert_int_equal(listed[0].injected, 1);
	assert_false(listed[0].is_active);
	tgt_fault_clear(tgt, 0);
}

static void there_is_a_limit(void **state)
{
	struct err err = {0};
	uint32_t id;

	for (unsigned i = 0; i < TGT_FAULT_MAX; i++)
		set("kind=error,op=flush");
	assert_int_equal(tgt_fault_set(tgt, "kind=error", &id, &err), -ENOSPC);
	assert_int_equal(tgt_fault_clear(tgt, 0), TGT_FAULT_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_judged),
		cmocka_unit_test(rules_choose_commands),
		cmocka_unit_test(rules_take_turns),
		cmocka_unit_test(seeds_repeat),
		cmocka_unit_test(delays_follow_their_points),
		cmocka_unit_test(rates_add_up),
		cmocka_unit_test(time_runs_out),
		cmocka_unit_test(there_is_a_limit),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
