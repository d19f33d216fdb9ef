/* SPDX-License-Identifier: Apache-2.0 */
#include "io/sim.h"

#include "backends.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "io/listener.h"
#include "io/stream.h"
#include "io/thread.h"

/*
 * A server loop that echoes and a client loop that sends, checks, and connects
 * again after every error; what happens is written down as one hash.
 */
struct peer {
	struct stream s;
	struct iovec iov;
	unsigned char buf[3000];
	struct peer *next;
};

static struct io_sim *sim;
static struct loop *server_loop, *client_loop;
static struct listener lst;
static struct peer client, *servers;
static struct timer again;
static struct addr target;
static uint64_t history;
static int echoes, errors, connects;
static size_t back;

static void note(int what, int res)
{
	struct {
		uint64_t history, now_ns;
		int what, res;
	} line = {history, io_sim_now_ns(sim), what, res};

	history = hash_bytes(&line, sizeof(line));
}

/* --- server --- */

static void server_recv(struct peer *p);

static void server_sent(struct stream *s, int res)
{
	note(1, res);
	if (res < 0)
		stream_close(s, NULL);
	else
		server_recv(s->arg);
}

static void server_got(struct stream *s, int res)
{
	struct peer *p = s->arg;

	note(2, res);
	if (res <= 0) {
		stream_close(s, NULL);
		return;
	}
	p->iov.iov_len = (size_t)res;
	stream_send(s, &p->iov, 1, server_sent);
}

static void server_recv(struct peer *p)
{
	p->iov = (struct iovec){p->buf, sizeof(p->buf)};
	stream_recv(&p->s, &p->iov, 1, server_got);
}

static void server_accept(struct listener *l, int fd, const struct addr *peer)
{
	struct peer *p = calloc(1, sizeof(*p));

	note(3, fd);
	stream_init(&p->s, l->loop, p);
	stream_attach(&p->s, fd);
	p->next = servers;
	servers = p;
	server_recv(p);
}

/* --- client --- */

static void client_connect(void);
static void client_send(void);

static void client_closed(struct stream *s)
{
	timer_set(client_loop, &again, NS_PER_MS);
}

static void client_again(struct timer *timer)
{
	client_connect();
}

static void client_failed(int res)
{
	errors++;
	stream_close(&client.s, client_closed);
}

static void client_got(struct stream *s, int res)
{
	note(4, res);
	if (res <= 0) {
		client_failed(res);
		return;
	}
	for (size_t i = 0; i < (size_t)res; i++)
		assert_int_equal(client.buf[back + i],
				 (unsigned char)(back + i));
	back += (size_t)res;
	if (back == sizeof(client.buf)) {
		echoes++;
		client_send();
		return;
	}
	client.iov =
		(struct iovec){client.buf + back, sizeof(client.buf) - back};
	stream_recv(s, &client.iov, 1, client_got);
}

static void client_sent(struct stream *s, int res)
{
	note(5, res);
	if (res < 0) {
		client_failed(res);
		return;
	}
	memset(client.buf, 0, sizeof(client.buf));
	client.iov = (struct iovec){client.buf, sizeof(client.buf)};
	stream_recv(s, &client.iov, 1, client_got);
}

static void client_send(void)
{
	back = 0;
	for (size_t i = 0; i < sizeof(client.buf); i++)
		client.buf[i] = (unsigned char)i;
	client.iov = (struct iovec){client.buf, sizeof(client.buf)};
	stream_send(&client.s, &client.iov, 1, client_sent);
}

static void client_connected(struct stream *s, int res)
{
	note(6, res);
	if (res < 0) {
		errors++;
		timer_set(client_loop, &again, NS_PER_MS);
		return;
	}
	connects++;
	client_send();
}

static void client_connect(void)
{
	stream_connect(&client.s, &target, 50, NULL, client_connected);
}

/* --- the world --- */

static struct loop *make_loop(const char *name)
{
	struct loop_opts opts = {
		.backend = IO_BACKEND_SIM, .sim = sim, .name = name};
	struct loop *loop;
	struct err err = {0};

	assert_int_equal(loop_create(&opts, &loop, &err), 0);
	return loop;
}

static void world_start(uint64_t seed, const struct io_sim_faults *faults)
{
	struct err err = {0};
	struct addr addr;

	sim = io_sim_create(seed);
	io_sim_set_faults(sim, faults);
	server_loop = make_loop("server");
	client_loop = make_loop("client");
	history = 0;
	echoes = errors = connects = 0;
	servers = NULL;
	t_addr(&addr, 4420);
	assert_int_equal(listener_open(&lst, server_loop, &addr, server_accept,
				       NULL, &err),
			 0);
	target = lst.local;
	again = (struct timer){.fire = client_again};
	memset(&client, 0, sizeof(client));
	stream_init(&client.s, client_loop, &client);
	client_connect();
}

static void world_run(uint64_t ns)
{
	uint64_t end_ns = io_sim_now_ns(sim) + ns;

	while (io_sim_step(sim, end_ns)) {
	}
	assert_int_equal(io_sim_now_ns(sim), end_ns);
}

static void world_stop(void)
{
	timer_cancel(client_loop, &again);
	stream_close(&client.s, NULL);
	listener_close(&lst, NULL);
	for (struct peer *p = servers; p; p = p->next)
		stream_close(&p->s, NULL);
	world_run(NS_PER_S);
	loop_destroy(client_loop);
	loop_destroy(server_loop);
	io_sim_destroy(sim);
	while (servers) {
		struct peer *p = servers;

		servers = p->next;
		free(p);
	}
}

static const struct io_sim_faults rough = {
	.latency_min_ns = 20 * NS_PER_US,
	.latency_max_ns = 500 * NS_PER_US,
	.max_segment = 700,
	.reset_rate = 0.005,
	.stall_rate = 0.01,
	.stall_ns = 5 * NS_PER_MS,
	.refuse_rate = 0.1,
};

static uint64_t play(uint64_t seed)
{
	world_start(seed, &rough);
	world_run(2 * NS_PER_S);
	assert_true(echoes > 10);
	assert_true(errors > 3);
	assert_true(connects > 3);
	world_stop();
	return history;
}

static void same_seed_same_history(void **state)
{
	uint64_t first = play(7);

	assert_int_equal(play(7), first);
	assert_int_not_equal(play(8), first);
}

static void partition_cuts_and_heals(void **state)
{
	struct io_sim_faults calm = {.latency_min_ns = 10 * NS_PER_US,
				     .latency_max_ns = 10 * NS_PER_US};
	int before;

	world_start(1, &calm);
	world_run(10 * NS_PER_MS);
	assert_int_equal(errors, 0);
	assert_true(echoes > 0);
	io_sim_partition(sim, &target);
	world_run(10 * NS_PER_MS);
	assert_true(errors > 1); /* the reset, then refusals */
	assert_int_equal(connects, 1);
	before = echoes;
	io_sim_heal(sim, &target);
	world_run(10 * NS_PER_MS);
	assert_int_equal(connects, 2);
	assert_true(echoes > before);
	world_stop();
}

static void day_fire(struct timer *timer)
{
	timer->fire = NULL;
}

static void a_day_passes_at_once(void **state)
{
	struct timer day = {.fire = day_fire};
	struct loop *loop;

	sim = io_sim_create(1);
	loop = make_loop("day");
	timer_set(loop, &day, 24 * 3600 * NS_PER_S);
	assert_false(io_sim_step(sim, io_sim_now_ns(sim) + NS_PER_S));
	assert_true(io_sim_step(sim, UINT64_MAX));
	assert_false(io_sim_step(sim, UINT64_MAX));
	assert_null(day.fire);
	assert_int_equal(io_sim_now_ns(sim), 24 * 3600 * NS_PER_S + NS_PER_S);
	assert_string_equal(loop_backend_name(loop), "sim");
	loop_destroy(loop);
	io_sim_destroy(sim);
}

static bool has_run;

static void msg_run(struct mbox_msg *msg)
{
	has_run = true;
}

static void posting_works_and_files_do_not(void **state)
{
	struct mbox_msg msg = {.run = msg_run};
	struct loop *loop;

	sim = io_sim_create(1);
	loop = make_loop("post");
	loop_post(loop, &msg);
	assert_false(has_run);
	io_sim_step(sim, UINT64_MAX);
	assert_true(has_run);
	assert_int_equal(io_socket(loop, AF_UNIX), -EAFNOSUPPORT);
	loop_destroy(loop);
	io_sim_destroy(sim);
}

/* --- nodes that die while a turn waits --- */

static struct shard first, second;
static struct timer tick;
static unsigned ticks, reached;

/* What the dead hold is lost with the process. */
static void in_a_world(void (*story)(void))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		alarm(60); /* if it goes round for ever */
		sim = io_sim_create(1);
		io_sim_enter(sim);
		story();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void must(bool is_so)
{
	if (!is_so)
		_exit(1);
}

static void start(struct shard *shard, const char *name)
{
	struct err err = {0};

	must(shard_start(shard, &(struct loop_opts){.name = name}, &err) == 0);
}

static void post_to_first(void *arg)
{
	static struct mbox_msg msg = {.run = msg_run};

	loop_post(first.loop, &msg);
}

static void die_and_wait(void *arg)
{
	io_sim_doom(sim, 1, false);
	shard_call(&second, post_to_first, NULL);
	must(io_sim_is_alive(sim, 1));
	reached = 1;
}

static void dying_main(void *arg)
{
	start(&first, "first");
	start(&second, "second");
	shard_call(&first, die_and_wait, NULL);
	reached = 2;
}

static void play_own_death(void)
{
	io_sim_spawn(sim, 1, dying_main, NULL);
	world_run(NS_PER_S);
	must(reached == 1);
	must(!io_sim_is_alive(sim, 1));
}

/* Its other loops turn meanwhile, and it dies when that turn is over. */
static void a_node_dies_when_its_turn_has_waited(void **state)
{
	in_a_world(play_own_death);
}

static void tick_fire(struct timer *timer)
{
	ticks++;
	timer_set(second.loop, timer, NS_PER_MS);
}

static void tick_start(void *arg)
{
	tick = (struct timer){.fire = tick_fire};
	tick_fire(&tick);
}

static void ticking_main(void *arg)
{
	start(&second, "second");
	shard_call(&second, tick_start, NULL);
}

static void kill_and_wait(void *arg)
{
	io_sim_kill_after(sim, 2, 3, false);
	io_sim_sleep(20 * NS_PER_MS);
	reached = ticks;
}

static void waiting_main(void *arg)
{
	start(&first, "first");
	io_sim_sleep(NS_PER_MS / 2);
	shard_call(&first, kill_and_wait, NULL);
}

static void play_neighbours_death(void)
{
	io_sim_spawn(sim, 1, waiting_main, NULL);
	io_sim_spawn(sim, 2, ticking_main, NULL);
	world_run(NS_PER_S);
	must(io_sim_is_alive(sim, 1) && !io_sim_is_alive(sim, 2));
	must(reached > 0 && reached == ticks);
}

static void a_neighbour_dies_while_a_turn_waits(void **state)
{
	in_a_world(play_neighbours_death);
}

static void play_standing_still(void)
{
	unsigned before;

	io_sim_spawn(sim, 2, ticking_main, NULL);
	world_run(10 * NS_PER_MS);
	before = ticks;
	io_sim_stop(sim, 2, true);
	world_run(10 * NS_PER_MS);
	must(before > 0 && ticks == before && io_sim_is_alive(sim, 2));
	io_sim_stop(sim, 2, false);
	world_run(10 * NS_PER_MS);
	must(ticks > before);
	/* Who dies does not stand still in the next life. */
	io_sim_stop(sim, 2, true);
	io_sim_kill(sim, 2, false);
	before = ticks;
	io_sim_revive(sim, 2);
	io_sim_spawn(sim, 2, ticking_main, NULL);
	world_run(10 * NS_PER_MS);
	must(ticks > before);
}

static void a_node_stands_still(void **state)
{
	in_a_world(play_standing_still);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_seed_same_history),
		cmocka_unit_test(partition_cuts_and_heals),
		cmocka_unit_test(a_day_passes_at_once),
		cmocka_unit_test(posting_works_and_files_do_not),
		cmocka_unit_test(a_node_dies_when_its_turn_has_waited),
		cmocka_unit_test(a_neighbour_dies_while_a_turn_waits),
		cmocka_unit_test(a_node_stands_still),
	};

	return cmocka_run_group_tests_name("sim", tests, NULL, NULL);
}
