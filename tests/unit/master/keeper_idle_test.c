/* SPDX-License-Identifier: Apache-2.0 */
/* A burst, and then nothing: what was on disk of it is no torn tail when it is
 * damaged, and the journal comes to rest. */
#include <errno.h>

#include "journal/walk.h"
#include "t_world.h"

#define LOG	"journal-0000000000000001.log"
#define WAIT_NS (60 * NS_PER_S)
#define REST_MS 50 /* many intervals */

static int setup_often(void **state)
{
	return world_setup(state, KEEP_INTERVAL, NS_PER_MS);
}

static int setup_always(void **state)
{
	return world_setup(state, KEEP_ALWAYS, NS_PER_MS);
}

static int setup_never(void **state)
{
	return world_setup(state, KEEP_NEVER, NS_PER_MS);
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * NS_PER_MS}, NULL);
}

/* A log as it is on disk while the master lives. */
struct copy {
	uint8_t *bytes;
	size_t n, last; /* where the last record begins */
	unsigned count;
	struct jr_frame frame; /* that one */
};

static struct copy take_copy(struct world *w)
{
	struct copy c = {.last = JR_HEADER_BYTES};
	size_t at = JR_HEADER_BYTES;

	c.bytes = t_dir_read(&w->dir, LOG, &c.n);
	while (at < c.n) {
		int64_t n = jr_frame_decode(c.bytes + at, c.n - at,
					    c.count + 1, &c.frame);

		if (n < 0) /* it is being written */
			break;
		c.last = at;
		at += (size_t)n;
		c.count++;
	}
	return c;
}

/* Its last record says that the rest is on disk. */
static struct copy copy_at_rest(struct world *w)
{
	uint64_t until_ns = time_mono_ns() + WAIT_NS;

	for (;;) {
		struct copy c = take_copy(w);

		if (c.frame.type == JR_MARKS && !c.frame.unsynced)
			return c;
		free(c.bytes);
		assert_true(time_mono_ns() < until_ns);
		sleep_ms(1);
	}
}

static int pass_by(const struct jr_frame *frame, void *arg, struct err *err)
{
	return 0;
}

/* What a start says when that byte is wrong. */
static int walk_damaged(const struct copy *c, size_t at, uint64_t *torn)
{
	struct jr_report report;
	struct err err = {0};
	struct t_dir d;
	int ret;

	t_dir_open(&d);
	c->bytes[at] ^= 1;
	t_dir_write(&d, LOG, c->bytes, c->n);
	c->bytes[at] ^= 1;
	ret = jr_walk(d.fd, NULL, pass_by, NULL, &report, &err);
	*torn = report.torn_bytes;
	t_dir_close(&d);
	return ret;
}

static void a_burst_is_no_tail(void **state)
{
	struct world *w = *state;
	uint64_t torn;
	struct copy c;

	assert_true(world_mount(w));
	for (char k = 'a'; k < 'f'; k++)
		assert_true(world_put(w->rs, (char[]){k, '\0'}));
	c = copy_at_rest(w);
	for (size_t at = JR_HEADER_BYTES; at < c.last; at += 7)
		assert_int_equal(walk_damaged(&c, at, &torn), -EBADMSG);
	/* Nothing is lost with it. */
	assert_int_equal(walk_damaged(&c, c.last, &torn), 0);
	assert_int_equal(torn, c.n - c.last);
	free(c.bytes);
}

/* It is said once, and again when something has come. */
static void rest_is_rest(void **state)
{
	struct world *w = *state;
	struct copy first, then;

	assert_true(world_mount(w));
	assert_true(world_put(w->rs, "a"));
	first = copy_at_rest(w);
	sleep_ms(REST_MS);
	then = take_copy(w);
	/* One may have come between the answers of the put. */
	assert_in_range(then.count, first.count, first.count + 1);
	free(first.bytes);
	first = then;
	sleep_ms(REST_MS);
	then = take_copy(w);
	assert_int_equal(then.count, first.count);
	free(then.bytes);
	assert_true(world_put(w->rs, "b"));
	then = copy_at_rest(w);
	assert_true(then.count > first.count + 1);
	free(first.bytes);
	free(then.bytes);
}

static void look(void *arg)
{
	struct keeper_stats *stats = ((void **)arg)[1];
	struct world *w = ((void **)arg)[0];

	keeper_stats(w->svc->keeper, stats);
}

/* A log in which nothing is has nothing to say, or there would be something
 * for the next snapshot again. */
static void an_empty_log_stays_empty(void **state)
{
	struct world *w = *state;
	struct keeper_stats stats;

	assert_true(world_mount(w));
	assert_true(world_put(w->rs, "a"));
	assert_int_equal(world_snapshot(w), 0);
	sleep_ms(REST_MS);
	shard_call(&w->meta, look, (void *[]){w, &stats});
	assert_int_equal(stats.log_bytes, 0);
}

/* Nobody has said that anything is on disk. */
static void never_says_nothing(void **state)
{
	struct world *w = *state;
	struct copy c;

	assert_true(world_mount(w));
	assert_true(world_put(w->rs, "a"));
	sleep_ms(REST_MS);
	c = take_copy(w);
	assert_int_equal(c.frame.type, JR_OBJECT);
	free(c.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_burst_is_no_tail, setup_often,
						world_teardown),
		cmocka_unit_test_setup_teardown(a_burst_is_no_tail,
						setup_always, world_teardown),
		cmocka_unit_test_setup_teardown(rest_is_rest, setup_often,
						world_teardown),
		cmocka_unit_test_setup_teardown(rest_is_rest, setup_always,
						world_teardown),
		cmocka_unit_test_setup_teardown(an_empty_log_stays_empty,
						setup_often, world_teardown),
		cmocka_unit_test_setup_teardown(an_empty_log_stays_empty,
						setup_always, world_teardown),
		cmocka_unit_test_setup_teardown(never_says_nothing, setup_never,
						world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
