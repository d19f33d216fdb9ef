/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a group of tests once per back end.  Tests use t_loop (made anew for
 * each test) and T_UNTIL(condition), which turns it.
 */
#ifndef TESTS_UNIT_IO_BACKENDS_H
#define TESTS_UNIT_IO_BACKENDS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "io/sim.h"

static struct loop *t_loop;
static struct io_sim *t_sim;
static enum io_backend_kind t_kind;
static uint64_t t_seed = 1;

/* Real tests are done in milliseconds; this only ends a hanging one. */
#define T_DEADLINE_NS (10 * NS_PER_S)

#define T_UNTIL(cond)                                                          \
	do {                                                                   \
		uint64_t t_end_ns = time_mono_ns() + T_DEADLINE_NS;            \
		while (!(cond)) {                                              \
			assert_true(time_mono_ns() < t_end_ns);                \
			t_turn();                                              \
		}                                                              \
	} while (0)

static inline void t_turn(void)
{
	if (t_sim)
		io_sim_step(t_sim, UINT64_MAX);
	else
		loop_turn(t_loop, 20 * NS_PER_MS);
}

static inline int t_make_loop(struct err *err)
{
	struct loop_opts opts = {.backend = t_kind, .name = "test"};

	if (t_kind == IO_BACKEND_SIM)
		opts.sim = t_sim = io_sim_create(t_seed);
	return loop_create(&opts, &t_loop, err);
}

static inline int t_setup(void **state)
{
	struct err err = {0};
	int ret = t_make_loop(&err);

	if (ret < 0)
		print_error("%s\n", err.text);
	return ret;
}

static inline int t_teardown(void **state)
{
	loop_destroy(t_loop);
	io_sim_destroy(t_sim);
	t_loop = NULL;
	t_sim = NULL;
	return 0;
}

/* False, with a line that says so, where the kernel refuses the back end. */
static inline bool t_can_use(enum io_backend_kind kind, const char *name)
{
	struct err err = {0};
	int ret;

	t_kind = kind;
	ret = t_make_loop(&err);
	t_teardown(NULL);
	if (ret < 0)
		printf("SKIP %s: %s\n", name, err.text);
	return ret == 0;
}

static inline void t_addr(struct addr *addr, uint16_t port)
{
	assert_int_equal(addr_parse("127.0.0.1", port, addr), 0);
}

#define t_test(f) cmocka_unit_test_setup_teardown(f, t_setup, t_teardown)

#define T_RUN(kind, name, tests)                                               \
	(t_can_use(kind, name)                                                 \
		 ? cmocka_run_group_tests_name(name, tests, NULL, NULL)        \
		 : 0)

#endif
