/* SPDX-License-Identifier: Apache-2.0 */
/* Probe and label: what they find, and the sentences when they can't. */
#include "vol_env.h"

#include <limits.h>
#include <unistd.h>

#include "target/fault.h"

struct seen {
	struct vol_probe probe;
	struct vol_label label;
	struct gate gate;
};

static void probe_done(struct vol_probe *probe)
{
	gate_open(&container_of(probe, struct seen, probe)->gate);
}

static void label_done(struct vol_label *label)
{
	gate_open(&container_of(label, struct seen, label)->gate);
}

static const struct vol_probe *probe(struct env *env, const char *endpoint,
				     bool sb_only, uint32_t timeout_ms)
{
	static struct seen s;

	s = (struct seen){.probe = {.done = probe_done,
				    .timeout_ms = timeout_ms,
				    .sb_only = sb_only}};
	snprintf(s.probe.endpoint, sizeof(s.probe.endpoint), "%s", endpoint);
	gate_init(&s.gate);
	vol_probe_submit(env->set, &s.probe);
	if (!gate_wait_for(&s.gate, 20 * NS_PER_S))
		fail_msg("the probe has not ended");
	return &s.probe;
}

static const struct vol_probe *probe_ns(struct env *env, uint32_t nsid,
					bool sb_only)
{
	char text[ENDPOINT_TEXT_LEN];

	env_endpoint(env, nsid, text);
	return probe(env, text, sb_only, 5000);
}

static int label(struct env *env, uint32_t nsid, const struct superblock *sb)
{
	static struct seen s;

	s = (struct seen){
		.label = {.done = label_done, .timeout_ms = 5000, .sb = *sb}};
	env_endpoint(env, nsid, s.label.endpoint);
	gate_init(&s.gate);
	vol_label_submit(env->set, &s.label);
	if (!gate_wait_for(&s.gate, 20 * NS_PER_S))
		fail_msg("the label has not ended");
	return s.label.ret;
}

static void test_label_and_probe(void **state)
{
	struct env *env = *state;
	const struct vol_probe *p = probe_ns(env, 1, false);
	struct superblock sb = {.segment = env->segments[0],
				.ns_bytes = NS_BYTES,
				.block_bytes = 512,
				.epoch = 3};

	assert_int_equal(p->ret, 0);
	assert_int_equal(p->label, LABEL_EMPTY);
	assert_int_equal(p->ns.lba_bytes, 512);
	assert_int_equal(p->ns.size_lba, NS_BYTES / 512);
	assert_true(p->latency_ns > 0);
	vol_identity(&p->ns, sb.identity);
	assert_int_equal(strncmp(sb.identity, "uuid:", 5), 0);
	assert_int_equal(label(env, 1, &sb), 0);
	for (int sb_only = 0; sb_only < 2; sb_only++) {
		p = probe_ns(env, 1, sb_only);
		assert_int_equal(p->ret, 0);
		assert_int_equal(p->label, LABEL_OURS);
		assert_int_equal(p->sb.epoch, 3);
		assert_string_equal(p->sb.identity, sb.identity);
		assert_true(uuid_eq(&p->sb.segment, &env->segments[0]));
	}
}

static const struct vol_probe *probe_smart(struct env *env, uint32_t timeout_ms)
{
	static struct seen s;

	s = (struct seen){.probe = {.done = probe_done,
				    .timeout_ms = timeout_ms,
				    .want_smart = true}};
	env_endpoint(env, 1, s.probe.endpoint);
	gate_init(&s.gate);
	vol_probe_submit(env->set, &s.probe);
	if (!gate_wait_for(&s.gate, 20 * NS_PER_S))
		fail_msg("the probe has not ended");
	return &s.probe;
}

/* What our target tells of itself, on demand only. */
static void test_smart(void **state)
{
	struct env *env = *state;
	const struct vol_probe *p;

	assert_false(probe_ns(env, 1, false)->has_smart);
	p = probe_smart(env, 5000);
	assert_int_equal(p->ret, 0);
	assert_true(p->has_smart);
	assert_int_equal(p->smart.spare_percent, 100);
	assert_true(p->smart.reads > 0);
}

struct rule {
	struct env *env;
	char text[64];
};

static void do_rule(void *arg)
{
	struct rule *rule = arg;
	struct err err = {0};
	uint32_t id;

	tgt_fault_clear(rule->env->tgt, 0);
	if (rule->text[0] &&
	    tgt_fault_set(rule->env->tgt, rule->text, &id, &err))
		fail_msg("%s", err.text);
}

static void set_rule(struct env *env, const char *kind, unsigned after)
{
	struct rule rule = {.env = env};

	snprintf(rule.text, sizeof(rule.text),
		 "kind=%s,op=admin,after=%u,count=1", kind, after);
	shard_call(&env->shard, do_rule, &rule);
}

/* A target that refuses the log, or never answers, is as healthy as before. */
static void test_no_smart(void **state)
{
	struct env *env = *state;
	const struct vol_probe *p;
	unsigned n, found = UINT_MAX;

	/* Which of the admin commands of a probe is it? */
	for (n = 0; n < 32 && found == UINT_MAX; n++) {
		set_rule(env, "error,status=0x109", n);
		p = probe_smart(env, 5000);
		if (p->ret == 0 && !p->has_smart)
			found = n;
	}
	assert_int_not_equal(found, UINT_MAX);
	assert_int_equal(p->label, LABEL_EMPTY);
	set_rule(env, "drop", found);
	p = probe_smart(env, 300);
	assert_int_equal(p->ret, 0);
	assert_int_equal(p->err.code, 0);
	assert_false(p->has_smart);
	set_rule(env, "disconnect,how=rst", found);
	p = probe_smart(env, 5000);
	assert_int_equal(p->ret, 0);
	assert_false(p->has_smart);
	shard_call(&env->shard, do_rule, &(struct rule){.env = env});
}

/* Of what is asked for only the part that the medium has lost is lost; what
 * else goes wrong is no word about it. */
static void test_ranges(void **state)
{
	static struct seen s;
	struct env *env = *state;
	struct superblock sb = {.segment = env->segments[0],
				.ns_bytes = NS_BYTES,
				.block_bytes = 512,
				.epoch = 3};
	struct vol_range ranges[] = {
		{4 * MiB, 3 * MiB},
		{8 * MiB, 3 * MiB},
		{NS_BYTES - 512, 512},
	};
	struct rule rule = {.env = env};
	static const struct {
		const char *rule;
		int third;
	} table[] = {
		/* The last block of the third piece, to be sure. */
		{"kind=error,op=read,lba=22527-22527", 0},
		{"kind=error,op=read,lba=22527-131071", -ENODATA},
		{"kind=error,op=read,lba=22527-22527,status=0x6", -ECANCELED},
		{"kind=disconnect,op=read,lba=22527-22527,how=rst", -ECANCELED},
	};

	vol_identity(&probe_ns(env, 1, false)->ns, sb.identity);
	assert_int_equal(label(env, 1, &sb), 0);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		s = (struct seen){.probe = {.done = probe_done,
					    .timeout_ms = 5000,
					    .sb_only = true,
					    .ranges = ranges,
					    .range_count = ARRAY_SIZE(ranges)}};
		env_endpoint(env, 1, s.probe.endpoint);
		snprintf(rule.text, sizeof(rule.text), "%s", table[i].rule);
		shard_call(&env->shard, do_rule, &rule);
		gate_init(&s.gate);
		vol_probe_submit(env->set, &s.probe);
		if (!gate_wait_for(&s.gate, 20 * NS_PER_S))
			fail_msg("the probe has not ended");
		assert_int_equal(ranges[0].ret, 0);
		assert_int_equal(ranges[2].ret, table[i].third);
		if (i < 2) {
			assert_int_equal(s.probe.ret, 0);
			assert_int_equal(s.probe.label, LABEL_OURS);
			assert_int_equal(ranges[1].ret, -ENODATA);
		} else {
			assert_true(s.probe.ret < 0);
			assert_int_equal(ranges[1].ret, -ECANCELED);
		}
	}
	rule.text[0] = '\0';
	shard_call(&env->shard, do_rule, &rule);
}

static void test_foreign(void **state)
{
	struct env *env = *state;
	const struct vol_probe *p;

	memcpy(env->mem[1] + 512, "EFI PART", 8);
	p = probe_ns(env, 2, false);
	assert_int_equal(p->ret, 0);
	assert_int_equal(p->label, LABEL_FOREIGN);
	assert_non_null(strstr(p->label_text, "GPT"));
	env->mem[2][NS_BYTES - 1] = 1;
	p = probe_ns(env, 3, false);
	assert_int_equal(p->label, LABEL_FOREIGN);
	assert_non_null(strstr(p->label_text, "unknown data"));
}

static void expect(const struct vol_probe *p, int ret, const char *want)
{
	assert_int_equal(p->ret, ret);
	assert_int_equal(p->err.code, ret);
	if (!strstr(p->err.text, want))
		fail_msg("'%s' is not in '%s'", want, p->err.text);
	print_message("%s\n", p->err.text);
}

static void test_sentences(void **state)
{
	struct env *env = *state;
	char text[ENDPOINT_TEXT_LEN];

	expect(probe_ns(env, 7, false), -ENODEV, "namespace 7 does not exist");
	expect(probe_ns(env, 7, false), -ENODEV, "it has: 1, 2, 3");
	expect(probe(env, "traddr:127.0.0.1 subnqn:" NQN, false, 1000), -EINVAL,
	       "ns:");
	expect(probe(env, "hello", false, 1000), -EINVAL, "hello");
	snprintf(text, sizeof(text),
		 "traddr:127.0.0.1 trsvcid:%u subnqn:nqn.2024-01.io.x:no ns:1",
		 env->port);
	expect(probe(env, text, false, 1000), -EINVAL, "nqn.2024-01.io.x:no");
	env_endpoint(env, 1, text);
	env_tgt_stop(env);
	expect(probe(env, text, false, 1000), -ECONNREFUSED, "127.0.0.1");
}

static void test_silent_peer(void **state)
{
	struct env *env = *state;
	uint64_t start_ns = time_mono_ns();
	char text[ENDPOINT_TEXT_LEN];
	struct addr addr;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(addr_parse("127.0.0.1", 0, &addr), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr.ss, addr.len), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(
		getsockname(fd, (struct sockaddr *)&addr.ss, &addr.len), 0);
	snprintf(text, sizeof(text),
		 "traddr:127.0.0.1 trsvcid:%u subnqn:" NQN " ns:1",
		 addr_port(&addr));
	expect(probe(env, text, false, 200), -ETIMEDOUT, "127.0.0.1");
	assert_true(time_mono_ns() - start_ns < 2 * NS_PER_S);
	close(fd);
}

static void test_names(void **state)
{
	struct env *env = *state;
	char text[ENDPOINT_TEXT_LEN];
	const struct vol_probe *p;

	snprintf(text, sizeof(text),
		 "traddr:localhost trsvcid:%u subnqn:" NQN " ns:1", env->port);
	p = probe(env, text, true, 5000);
	assert_int_equal(p->ret, 0);
	p = probe(env, "traddr:no.such.name.invalid subnqn:" NQN " ns:1", true,
		  3000);
	assert_true(p->ret < 0);
	assert_non_null(strstr(p->err.text, "no.such.name.invalid"));
}

static int setup(void **state)
{
	static struct env env;

	env_init(&env, 512);
	env_set_start(&env, &(struct vol_opts){.workers = 2,
					       .chunk_bytes = 131072,
					       .inflight_bytes = MiB});
	*state = &env;
	return 0;
}

static int teardown(void **state)
{
	env_fini(*state);
	return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_label_and_probe), TEST(test_smart),
		TEST(test_no_smart),	    TEST(test_ranges),
		TEST(test_foreign),	    TEST(test_sentences),
		TEST(test_silent_peer),	    TEST(test_names),
	};

	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
