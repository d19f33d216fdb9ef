/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to a real target (ours) on the same loop: what is found, what is
 * told when there is nothing.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "deploy/ask.h"
#include "nvme/pdu.h"
#include "target/target.h"

#define NQN_A "nqn.2024-01.io.example:a"
#define NQN_B "nqn.2024-01.io.example:b"

struct env {
	struct ask ask;
	struct tgt *tgt;
	struct endpoint ep[2]; /* of two listeners, subsystem A */
	struct nslist list;
};

static unsigned note_count, lost_count;

static void on_note(const char *text)
{
	note_count++;
}

static void on_lost(void *arg, const char *service, const char *why)
{
	assert_non_null(strstr(service, "trsvcid:1 "));
	assert_true(why[0]);
	lost_count++;
}

static void add_ns(struct tgt_subsys *ss, uint64_t size)
{
	struct err err = {0};
	struct bdev *bdev;

	assert_int_equal(bdev_ram_create(NULL, size, &bdev, &err), 0);
	assert_true(tgt_ns_add(ss, bdev, &(struct tgt_ns_opts){0}, &err) > 0);
}

static void listen_at(struct env *env, int i, const char *host)
{
	struct err err = {0};
	struct addr addr;

	assert_int_equal(addr_parse(host, 0, &addr), 0);
	assert_int_equal(tgt_listen(env->tgt, &addr, &err), 0);
	env->ep[i] = (struct endpoint){
		.traddr = "127.0.0.1",
		.trsvcid = addr_port(&addr),
		.subnqn = NQN_A,
		.trtype = NVME_TRTYPE_TCP,
	};
}

static int setup(void **state)
{
	struct env *env = calloc(1, sizeof(*env));
	struct tgt_subsys *a, *b;
	struct err err = {0};

	note_count = lost_count = 0;
	env->ask.lost = on_lost;
	env->ask.timeout_ms = 5000;
	env->ask.note = on_note;
	host_id_derive(STR("test"), &env->ask.nvmf.host);
	assert_int_equal(
		loop_create(&(struct loop_opts){0}, &env->ask.loop, &err), 0);
	assert_int_equal(tgt_create(&(struct tgt_opts){.loop = env->ask.loop},
				    &env->tgt, &err),
			 0);
	assert_int_equal(tgt_subsys_add(env->tgt,
					&(struct tgt_subsys_opts){.nqn = NQN_A},
					&a, &err),
			 0);
	assert_int_equal(tgt_subsys_add(env->tgt,
					&(struct tgt_subsys_opts){.nqn = NQN_B},
					&b, &err),
			 0);
	add_ns(a, 1 * MiB);
	add_ns(a, 2 * MiB);
	add_ns(b, 4 * MiB);
	listen_at(env, 0, "127.0.0.1");
	listen_at(env, 1, "0.0.0.0");
	*state = env;
	return 0;
}

static void on_stopped(void *arg)
{
	loop_stop(arg);
}

static int teardown(void **state)
{
	struct env *env = *state;

	tgt_stop(env->tgt, on_stopped, env->ask.loop);
	loop_run(env->ask.loop);
	loop_destroy(env->ask.loop);
	nslist_fini(&env->list);
	free(env);
	return 0;
}

static void test_subsystem(void **state)
{
	struct env *env = *state;
	struct err err = {0};

	if (ask_subsystem(&env->ask, env->ep, 2, &env->list, &err))
		fail_msg("%s", err.text);
	assert_int_equal(env->list.count, 2);
	assert_int_equal(env->list.items[0].nsid, 1);
	assert_int_equal(env->list.items[0].bytes, 1 * MiB);
	assert_int_equal(env->list.items[0].path_count, 2);
	assert_int_equal(env->list.items[1].bytes, 2 * MiB);
}

static void test_second_path_is_tried(void **state)
{
	struct env *env = *state;
	struct endpoint paths[2] = {env->ep[0], env->ep[0]};
	struct err err = {0};

	paths[0].trsvcid = 1; /* nobody listens there */
	if (ask_subsystem(&env->ask, paths, 2, &env->list, &err))
		fail_msg("%s", err.text);
	assert_int_equal(env->list.count, 2);
	/* the path that works comes first */
	assert_int_equal(env->list.items[0].paths[0].trsvcid,
			 env->ep[0].trsvcid);
	assert_int_equal(env->list.items[0].path_count, 2);
}

static void test_discovery(void **state)
{
	struct env *env = *state;
	struct endpoint ep = env->ep[0];
	struct err err = {0};

	snprintf(ep.subnqn, sizeof(ep.subnqn), "%s", NVME_DISC_NQN);
	if (ask_discovery(&env->ask, &ep, &env->list, &err))
		fail_msg("%s", err.text);
	assert_int_equal(env->list.count, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct ns_entry *entry = &env->list.items[i];

		assert_int_equal(entry->nsid, 0);
		assert_int_equal(entry->path_count, 2);
		for (size_t k = 0; k < entry->path_count; k++)
			assert_string_equal(entry->paths[k].traddr,
					    "127.0.0.1");
	}
	assert_int_equal(note_count, 0);
}

static void stopped(void *arg)
{
	loop_stop(arg);
}

#define CHAIN (REFERRAL_DEPTH + 2)

/* Services each of which has a subsystem of its own and refers to the next, the
 * last one back to the first; and all of them to one that is not there. */
struct chain {
	struct tgt *tgts[CHAIN];
	uint16_t ports[CHAIN];
};

static void refer(struct tgt *from, uint16_t port)
{
	struct tgt_referral ref = {.traddr = "127.0.0.1", .port = port};
	struct err err = {0};

	assert_int_equal(tgt_referral_add(from, &ref, &err), 0);
}

static void chain_open(struct env *env, struct chain *chain)
{
	for (unsigned i = 0; i < CHAIN; i++) {
		struct tgt_opts opts = {.loop = env->ask.loop};
		struct tgt_subsys_opts ss_opts = {0};
		char nqn[64];
		struct tgt_subsys *ss;
		struct addr addr;
		struct err err = {0};

		snprintf(nqn, sizeof(nqn), "nqn.2024-01.io.example:c%u", i);
		ss_opts.nqn = nqn;
		assert_int_equal(tgt_create(&opts, &chain->tgts[i], &err), 0);
		assert_int_equal(
			tgt_subsys_add(chain->tgts[i], &ss_opts, &ss, &err), 0);
		assert_int_equal(addr_parse("127.0.0.1", 0, &addr), 0);
		assert_int_equal(tgt_listen(chain->tgts[i], &addr, &err), 0);
		chain->ports[i] = addr_port(&addr);
	}
}

static void chain_close(struct env *env, struct chain *chain)
{
	for (unsigned i = 0; i < CHAIN; i++) {
		tgt_stop(chain->tgts[i], stopped, env->ask.loop);
		loop_run(env->ask.loop);
	}
}

static size_t chain_ask(struct env *env, const struct chain *chain)
{
	struct endpoint ep = env->ep[0];
	struct err err = {0};

	nslist_fini(&env->list);
	snprintf(ep.subnqn, sizeof(ep.subnqn), "%s", NVME_DISC_NQN);
	ep.trsvcid = chain->ports[0];
	if (ask_discovery(&env->ask, &ep, &env->list, &err))
		fail_msg("%s", err.text);
	return env->list.count;
}

static void test_referrals(void **state)
{
	struct env *env = *state;
	struct chain chain;

	chain_open(env, &chain);
	assert_int_equal(chain_ask(env, &chain), 1);
	refer(chain.tgts[0], chain.ports[1]);
	refer(chain.tgts[1], chain.ports[0]); /* a loop */
	refer(chain.tgts[0], chain.ports[0]);
	assert_int_equal(chain_ask(env, &chain), 2);
	for (unsigned i = 1; i + 1 < CHAIN; i++)
		refer(chain.tgts[i], chain.ports[i + 1]);
	assert_int_equal(note_count, 0);
	assert_int_equal(chain_ask(env, &chain), 1 + REFERRAL_DEPTH);
	assert_int_equal(note_count, 1); /* the last one is too deep */
	refer(chain.tgts[1], 1);	 /* nobody listens there */
	assert_int_equal(lost_count, 0);
	assert_int_equal(chain_ask(env, &chain), 1 + REFERRAL_DEPTH);
	assert_int_equal(lost_count, 1);
	chain_close(env, &chain);
}

static void test_nothing_there(void **state)
{
	struct env *env = *state;
	struct endpoint ep = env->ep[0];
	struct err err = {0};

	snprintf(ep.subnqn, sizeof(ep.subnqn), "%sx", NQN_A);
	assert_true(ask_subsystem(&env->ask, &ep, 1, &env->list, &err) < 0);
	assert_non_null(strstr(err.text, NQN_A "x"));
	err = (struct err){0};
	ep.trsvcid = 1;
	assert_int_equal(ask_subsystem(&env->ask, &ep, 1, &env->list, &err),
			 -ECONNREFUSED);
	assert_non_null(strstr(err.text, "127.0.0.1:1"));
	err = (struct err){0};
	snprintf(ep.traddr, sizeof(ep.traddr), "a.name");
	assert_int_equal(ask_subsystem(&env->ask, &ep, 1, &env->list, &err),
			 -EINVAL);
	assert_int_equal(env->list.count, 0);
}

/* A peer that accepts and then says nothing. */
static void test_silence(void **state)
{
	struct env *env = *state;
	struct endpoint ep = env->ep[0];
	struct err err = {0};
	struct addr addr;
	int fd;

	assert_int_equal(addr_parse("127.0.0.1", 0, &addr), 0);
	fd = io_listen(env->ask.loop, &addr, 4);
	assert_true(fd >= 0);
	assert_int_equal(io_local_addr(env->ask.loop, fd, &addr), 0);
	ep.trsvcid = addr_port(&addr);
	env->ask.timeout_ms = 50;
	assert_int_equal(ask_subsystem(&env->ask, &ep, 1, &env->list, &err),
			 -ETIMEDOUT);
	assert_non_null(strstr(err.text, "50 ms"));
	io_close(env->ask.loop, fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_subsystem, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_second_path_is_tried,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_discovery, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_referrals, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_nothing_there, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_silence, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
