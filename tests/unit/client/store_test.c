/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C API against a real master in this process: two clients, one with a
 * memory segment, so bytes move by memcpy and by NVMe/TCP.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "client/store.h"
#include "io/thread.h"
#include "pool/vol.h"
#include "rpc/client.h"
#include "t_master.h"

#define BIG ((size_t)33554460) /* LMCache's 32 MiB chunk and its header */

struct world {
	struct t_master *master;
	char addr[32];
	mooncake_store_t a, b; /* a has the segment */
};

static mooncake_store_t open_store(const char *master, uint64_t segment)
{
	mooncake_store_t s = mooncake_store_create();
	int ret = mooncake_store_setup(s, "127.0.0.1", "P2PHANDSHAKE", segment,
				       0, NULL, "", master);

	if (ret)
		fail_msg("setup: %d %s", ret, mooncake_store_setup_error(s));
	return s;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	log_set_name("test");
	log_level_max = LOG_ERROR;
	w->master = t_master_start(0);
	snprintf(w->addr, sizeof(w->addr), "127.0.0.1:%u",
		 t_master_port(w->master));
	w->a = open_store(w->addr, 128 << 20);
	w->b = open_store(w->addr, 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	mooncake_store_destroy(w->b);
	mooncake_store_destroy(w->a);
	t_master_stop(w->master);
	free(w);
	return 0;
}

static void fill(uint8_t *p, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)((i * 2654435761u + seed) >> 13);
}

static void round_trip(mooncake_store_t writer, mooncake_store_t reader,
		       size_t n)
{
	uint8_t *in = malloc(n), *out = malloc(n + 7);
	char key[64];

	snprintf(key, sizeof(key), "trip/%zu/%d", n, writer == reader);
	fill(in, n, (uint32_t)n);
	memset(out, 0xaa, n + 7);
	assert_int_equal(mooncake_store_put(writer, key, in, n, NULL), 0);
	assert_int_equal(mooncake_store_get_size(reader, key), (int64_t)n);
	assert_int_equal(mooncake_store_get_into(reader, key, out, n + 7),
			 (int64_t)n);
	assert_memory_equal(in, out, n);
	for (int i = 0; i < 7; i++) /* nothing behind the object is touched */
		assert_int_equal(out[n + (size_t)i], 0xaa);
	assert_int_equal(mooncake_store_remove(writer, key, 1), 0);
	free(in);
	free(out);
}

static void test_sizes(void **state)
{
	static const size_t sizes[] = {1,      511,    512,	4096, 131071,
				       131072, 131073, 1 << 20, BIG};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		round_trip(w->a, w->a, sizes[i]); /* memcpy */
		round_trip(w->a, w->b, sizes[i]); /* read over the wire */
		round_trip(w->b, w->a, sizes[i]); /* write over the wire */
	}
}

static void test_codes(void **state)
{
	struct world *w = *state;
	mooncake_replicate_config_t no_list = {.replica_num = 1,
					       .preferred_segments_count = 1};
	char long_key[4200], buf[64] = "unchanged";
	const char *key = "codes";

	assert_int_equal(mooncake_store_get_into(w->b, key, buf, 64), -704);
	assert_int_equal(mooncake_store_get_size(w->b, key), -704);
	assert_int_equal(mooncake_store_is_exist(w->b, key), 0);
	assert_int_equal(mooncake_store_remove(w->b, key, 0), -704);
	assert_int_equal(mooncake_store_put(w->b, key, "12345", 5, NULL), 0);
	assert_int_equal(mooncake_store_put(w->b, key, "abc", 3, NULL), 0);
	assert_int_equal(mooncake_store_get_into(w->b, key, buf, 4), -600);
	assert_string_equal(buf, "unchanged");
	assert_int_equal(mooncake_store_get_into(w->b, key, buf, 64), 5);
	assert_memory_equal(buf, "12345", 5); /* the old value stays */
	assert_int_equal(mooncake_store_is_exist(w->b, key), 1);
	assert_int_equal(mooncake_store_remove(w->b, key, 0), -706);
	assert_int_equal(mooncake_store_remove(w->b, key, 1), 0);

	assert_int_equal(mooncake_store_put(w->b, key, "1", 1, &no_list), -600);
	assert_int_equal(mooncake_store_put(w->b, "", "1", 1, NULL), -600);
	memset(long_key, 'k', sizeof(long_key));
	long_key[4097] = 0;
	assert_int_equal(mooncake_store_put(w->b, long_key, "1", 1, NULL),
			 -400);
	long_key[4096] = 0;
	assert_int_equal(mooncake_store_put(w->b, long_key, "1", 1, NULL), 0);
	assert_int_equal(mooncake_store_is_exist(w->b, long_key), 1);
	assert_int_equal(mooncake_store_remove(w->b, long_key, 1), 0);

	assert_int_equal(mooncake_store_put(w->b, key, "", 0, NULL), -600);
	assert_int_equal(mooncake_store_put_from(w->b, key, buf, 0, NULL), 0);
	assert_int_equal(mooncake_store_is_exist(w->b, key), 0);
	assert_int_equal(mooncake_store_put(NULL, key, "1", 1, NULL), -1);
	assert_int_equal(mooncake_store_put(w->b, NULL, "1", 1, NULL), -1);
	assert_int_equal(mooncake_store_health_check(w->b), 0);
}

static void test_bad_pointers(void **state)
{
	void *hidden =
		mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *text = mmap(NULL, 12288, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	struct world *w = *state;
	void *bad[] = {(void *)8, (void *)-4096L, hidden,
		       (char *)text + 4096}; /* runs over its end */
	char ok[16];

	assert_int_equal(mprotect((char *)text + 8192, 4096, PROT_NONE), 0);
	assert_int_equal(
		mooncake_store_put(w->a, "ptr", "0123456789", 10, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
			mooncake_store_put(w->a, "bad", bad[i], 8192, NULL),
			-600);
	assert_int_equal(mooncake_store_get_into(w->a, "ptr", text, 4096),
			 -600);
	assert_int_equal(mooncake_store_register_buffer(w->a, hidden, 8192),
			 -600);
	/* one bad key does not harm the others */
	{
		const char *keys[] = {"ptr", "ptr"};
		void *bufs[] = {hidden, ok};
		size_t sizes[] = {16, 16};
		int64_t results[2];

		assert_int_equal(mooncake_store_batch_get_into(
					 w->a, keys, bufs, sizes, 2, results),
				 0);
		assert_int_equal(results[0], -600);
		assert_int_equal(results[1], 10);
	}
	assert_int_equal(mooncake_store_remove(w->a, "ptr", 1), 0);
	munmap(hidden, 8192);
	munmap(text, 12288);
}

static void test_registration(void **state)
{
	struct world *w = *state;
	char *p = malloc(1 << 20);

	assert_int_equal(mooncake_store_register_buffer(w->a, p, 1 << 20), 0);
	assert_int_equal(mooncake_store_register_buffer(w->a, p, 1 << 20), 0);
	assert_int_equal(mooncake_store_register_buffer(w->a, p, 1 << 10), 0);
	assert_int_equal(mooncake_store_register_buffer(w->a, p + 100, 100), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(mooncake_store_unregister_buffer(w->a, p), 0);
	assert_int_equal(mooncake_store_unregister_buffer(w->a, p), -600);
	assert_int_equal(mooncake_store_unregister_buffer(w->a, p + 100), 0);
	free(p);
}

#define BATCH 300

static void test_batches(void **state)
{
	static char names[BATCH][24];
	const char *keys[BATCH + 1];
	mooncake_pieces_t pieces[BATCH + 1];
	mooncake_buffer_t bufs[BATCH];
	static uint8_t data[3][5000];
	void *ptrs[3] = {data[0], data[1], data[2]};
	size_t sizes[3] = {5000, 0, 777};
	int results[BATCH + 1], exists[BATCH];
	struct world *w = *state;

	for (int i = 0; i < 3; i++)
		fill(data[i], sizeof(data[i]), (uint32_t)i);
	for (int i = 0; i < BATCH; i++) {
		snprintf(names[i], sizeof(names[i]), "batch-%d", i);
		keys[i] = names[i];
		pieces[i] = (mooncake_pieces_t){ptrs, sizes, 3};
	}
	keys[7] = "";		/* one that is bad */
	keys[BATCH] = names[3]; /* one that is there twice */
	pieces[BATCH] = pieces[3];
	assert_int_equal(mooncake_store_batch_put_pieces(
				 w->b, keys, pieces, BATCH + 1, NULL, results),
			 0);
	for (int i = 0; i <= BATCH; i++)
		assert_int_equal(results[i], i == 7 ? -600 : 0);
	keys[7] = names[7];
	assert_int_equal(
		mooncake_store_batch_is_exist(w->a, keys, BATCH, exists), 0);
	assert_int_equal(
		mooncake_store_batch_get_buffer(w->a, keys, BATCH, bufs), 0);
	for (int i = 0; i < BATCH; i++) {
		assert_int_equal(exists[i], i != 7);
		assert_int_equal(bufs[i].status, i == 7 ? -704 : 0);
		if (i == 7)
			continue;
		assert_int_equal(bufs[i].size, 5777);
		assert_memory_equal(bufs[i].ptr, data[0], 5000);
		assert_memory_equal((char *)bufs[i].ptr + 5000, data[2], 777);
		mooncake_buffer_free(&bufs[i]);
	}
	assert_int_equal(mooncake_store_remove_by_regex(w->b, "^batch-1", 1),
			 111);
	assert_int_equal(mooncake_store_remove_all(w->b, 1), BATCH - 1 - 111);
}

/* Nothing to store is no first of two that are equal. */
static void test_empty_twin(void **state)
{
	const char *keys[] = {"twin", "twin"};
	char value[] = "full", out[4];
	void *bufs[] = {value, value};
	const size_t sizes[] = {0, 4};
	struct world *w = *state;
	int results[2];

	assert_int_equal(mooncake_store_batch_put_from(w->b, keys, bufs, sizes,
						       2, NULL, results),
			 0);
	assert_int_equal(results[0], 0);
	assert_int_equal(results[1], 0);
	assert_int_equal(mooncake_store_get_into(w->b, "twin", out, 4), 4);
	assert_int_equal(mooncake_store_remove(w->b, "twin", 1), 0);
}

/* A flipped bit in the medium: a miss, counted; never wrong bytes. */
static void test_corruption(void **state)
{
	struct world *w = *state;
	struct store *owner = w->a;
	mooncake_replica_t where;
	char out[9] = {0}, metrics[8192];
	uint8_t *mem;

	assert_int_equal(mooncake_store_put(w->b, "rot", "12345678", 8, NULL),
			 0);
	assert_int_equal(mooncake_store_get_replicas(w->b, "rot", &where, 1),
			 1);
	assert_int_equal(where.kind, 0);
	assert_int_equal(where.status, 3); /* complete */
	assert_string_equal(where.endpoint, owner->client->name);
	mem = owner->client->segment.mem;
	assert_memory_equal(mem + where.offset, "12345678", 8);
	mem[where.offset + 3] ^= 4;
	assert_int_equal(mooncake_store_get_into(w->b, "rot", out, 8), -704);
	assert_true(mooncake_store_metrics(w->b, metrics, sizeof(metrics)) > 0);
	assert_non_null(
		strstr(metrics, "mooncake_client_checksum_misses_total 1\n"));
	/* The master dropped the bad replica: it can be put again. */
	for (int i = 0; i < 200 && mooncake_store_is_exist(w->b, "rot"); i++)
		usleep(5000);
	assert_int_equal(mooncake_store_put(w->b, "rot", "12345678", 8, NULL),
			 0);
	assert_int_equal(mooncake_store_get_into(w->b, "rot", out, 8), 8);
	assert_string_equal(out, "12345678");
	assert_int_equal(mooncake_store_remove(w->b, "rot", 1), 0);
}

static void test_before_and_after(void **state)
{
	mooncake_store_t s = mooncake_store_create();
	const char *names[] = {"local_hostname", "metadata_server",
			       "master_server_address"};
	const char *values[] = {"localhost", "x", "127.0.0.1:1"};
	struct world *w = *state;
	uint64_t start;
	char buf[8];
	int ret;

	for (int round = 0; round < 2; round++) {
		assert_int_equal(mooncake_store_put(s, "k", "v", 1, NULL),
				 -600);
		assert_int_equal(mooncake_store_get_into(s, "k", buf, 8), -600);
		assert_int_equal(mooncake_store_is_exist(s, "k"), -600);
		assert_int_equal(mooncake_store_remove_all(s, 0), -600);
		assert_int_equal(mooncake_store_get_hostname(s, buf, 8), -600);
		assert_int_equal(mooncake_store_health_check(s), 1);
		assert_int_equal(mooncake_store_close(s), 0);
	}
	setenv("MC_RPC_CONNECT_TIMEOUT_MS", "300", 1);
	start = time_mono_ns();
	ret = mooncake_store_setup_config(s, names, values, 3);
	unsetenv("MC_RPC_CONNECT_TIMEOUT_MS");
	assert_int_equal(ret, -900);
	assert_true(time_mono_ns() - start < 3 * NS_PER_S);
	assert_non_null(strstr(mooncake_store_setup_error(s), "127.0.0.1:1"));
	values[2] = w->addr;
	assert_int_equal(mooncake_store_setup_config(s, names, values, 3), 0);
	assert_int_equal(mooncake_store_setup_config(s, names, values, 3),
			 -600);
	assert_int_equal(mooncake_store_get_hostname(s, buf, 3), -1);
	assert_int_equal(mooncake_store_close(s), 0);
	mooncake_store_destroy(s);
}

/* A child has the handle but not the threads. */
static void test_fork(void **state)
{
	struct world *w = *state;
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		int ret = mooncake_store_put(w->b, "fork", "1", 1, NULL);

		mooncake_store_destroy(w->b);
		_exit(ret == -600 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

struct hammer {
	pthread_t thread;
	mooncake_store_t s;
	unsigned number, rounds;
	int ret;
};

static void *hammer_run(void *arg)
{
	struct hammer *h = arg;
	uint8_t in[3000], out[3000];
	char key[32];

	fill(in, sizeof(in), h->number);
	while (h->ret == 0) {
		snprintf(key, sizeof(key), "h%u-%u", h->number, h->rounds % 64);
		h->ret = mooncake_store_put(h->s, key, in, sizeof(in), NULL);
		if (h->ret == 0 &&
		    mooncake_store_get_into(h->s, key, out, sizeof(out)) ==
			    (int64_t)sizeof(out) &&
		    memcmp(in, out, sizeof(in)) != 0)
			h->ret = 1;
		h->rounds++;
	}
	return NULL;
}

/* Many threads use a store; close waits for their calls, later ones get -600.
 */
static void test_close_under_load(void **state)
{
	struct world *w = *state;
	struct hammer h[4] = {0};
	mooncake_store_t s = open_store(w->addr, 0);

	for (unsigned i = 0; i < 4; i++) {
		h[i].s = s;
		h[i].number = i;
		pthread_create(&h[i].thread, NULL, hammer_run, &h[i]);
	}
	for (int i = 0; i < 200; i++)
		assert_int_equal(mooncake_store_is_exist(s, "none"), 0);
	assert_int_equal(mooncake_store_close(s), 0);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(h[i].thread, NULL);
		assert_int_equal(h[i].ret, -600);
		assert_true(h[i].rounds > 0);
	}
	mooncake_store_destroy(s);
	assert_true(mooncake_store_remove_all(w->a, 1) > 0);
}

struct setup {
	pthread_t thread;
	struct world *w;
	int ret;
	atomic_bool is_done;
};

static void *setup_run(void *arg)
{
	struct setup *s = arg;

	s->ret = mooncake_store_setup(s->w->b, "127.0.0.1", "P2PHANDSHAKE", 0,
				      0, NULL, "", s->w->addr);
	atomic_store(&s->is_done, true);
	return NULL;
}

/* It is refused at once: neither it nor others wait for a call that lasts. */
static void test_second_setup(void **state)
{
	struct world *w = *state;
	struct setup s = {.w = w, .ret = 1};
	unsigned failed = 0;

	assert_non_null(store_enter(w->b)); /* the call */
	pthread_create(&s.thread, NULL, setup_run, &s);
	for (int i = 0; i < 2000 && !atomic_load(&s.is_done); i++) {
		failed += mooncake_store_is_exist(w->b, "none") != 0;
		usleep(1000);
	}
	failed += !atomic_load(&s.is_done);
	store_leave(w->b);
	pthread_join(s.thread, NULL);
	assert_int_equal(failed, 0);
	assert_int_equal(s.ret, -600);
	assert_non_null(strstr(mooncake_store_setup_error(w->b), "already"));
}

/* --- a master that has forgotten everything --- */

struct place {
	struct uuid id;
	char endpoint[ENDPOINT_TEXT_LEN];
};

/* Of a's segment. */
static struct place ask_place(struct world *w)
{
	Mc__ListSegmentsReq req = MC__LIST_SEGMENTS_REQ__INIT;
	const Mc__ListSegmentsRsp *rsp;
	const ProtobufCMessage *msg;
	struct place place = {0};
	struct err err = {0};
	struct rpc_sync *rs;
	struct addr addr;

	addr_parse("127.0.0.1", t_master_port(w->master), &addr);
	assert_int_equal(rpc_sync_open(&addr, 5000, &rs, &err), 0);
	if (rpc_sync_call(rs, METHOD_LIST_SEGMENTS, &req.base, &msg, &err) < 0)
		fail_msg("%s", err.text);
	rsp = (const Mc__ListSegmentsRsp *)msg;
	assert_int_equal(rsp->n_segments, 1);
	memcpy(place.id.b, rsp->segments[0]->id.data, sizeof(place.id.b));
	snprintf(place.endpoint, sizeof(place.endpoint), "%s",
		 rsp->segments[0]->endpoints[0]);
	rpc_sync_close(rs);
	return place;
}

static void restart_master(struct world *w)
{
	uint16_t port = t_master_port(w->master);
	int ret = -1;

	t_master_stop(w->master);
	w->master = t_master_start(port);
	for (int i = 0; i < 1000 && ret != 0; i++) {
		ret = mooncake_store_put(w->b, "life", "1", 1, NULL);
		usleep(10000);
	}
	assert_int_equal(ret, 0);
	assert_int_equal(mooncake_store_remove(w->b, "life", 1), 0);
}

struct writer {
	struct vol_set *set;
	struct vol *vol;
	struct vol_io io;
	struct gate gate;
};

static void writer_open(struct writer *wr, const struct place *place)
{
	const char *endpoints[] = {place->endpoint};
	struct vol_desc desc = {
		.segment = place->id,
		.block_bytes = 4096,
		.endpoints = endpoints,
		.endpoint_count = 1,
	};
	struct vol_opts opts;
	struct err err = {0};

	assert_int_equal(vol_opts_init(&opts, &err), 0);
	opts.workers = 1;
	assert_int_equal(vol_set_create(&opts, &wr->set, &err), 0);
	assert_int_equal(vol_get(wr->set, &desc, &wr->vol, &err), 0);
}

static void writer_done(struct vol_io *io)
{
	gate_open(&container_of(io, struct writer, io)->gate);
}

/* In the middle of the segment, as a former master allowed it. */
static int writer_write(struct writer *wr, uint64_t time_ns)
{
	struct vol_extent extent = {wr->vol, 64 * MiB, 4096};
	static uint8_t bytes[4096] = {0x5a};
	struct iovec iov = {bytes, sizeof(bytes)};

	wr->io = (struct vol_io){
		.done = writer_done,
		.is_write = true,
		.extents = &extent,
		.extent_count = 1,
		.iov = &iov,
		.iovcnt = 1,
		.bytes = sizeof(bytes),
		.deadline_ns = time_mono_ns() + time_ns,
	};
	gate_init(&wr->gate);
	assert_int_equal(vol_submit(wr->set, &wr->io), 0);
	gate_wait(&wr->gate);
	return wr->io.ret;
}

/* The new master knows no objects and gives all memory to others at once.  So
 * it is another segment: whoever writes to the former one is refused. */
static void test_forgotten(void **state)
{
	struct world *w = *state;
	struct place before, after;
	struct writer late;

	for (int i = 0; i < 2; i++) {
		before = ask_place(w);
		writer_open(&late, &before);
		assert_int_equal(writer_write(&late, 60 * NS_PER_S), 0);
		restart_master(w);
		assert_true(writer_write(&late, NS_PER_S) < 0);
		after = ask_place(w);
		assert_false(uuid_eq(&before.id, &after.id));
		assert_string_not_equal(before.endpoint, after.endpoint);
		vol_put(late.vol);
		vol_set_destroy(late.set);
		round_trip(w->a, w->b, MiB);
		round_trip(w->b, w->a, MiB);
		round_trip(w->a, w->a, MiB);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_bad_pointers),
		cmocka_unit_test(test_registration),
		cmocka_unit_test(test_batches),
		cmocka_unit_test(test_empty_twin),
		cmocka_unit_test(test_corruption),
		cmocka_unit_test(test_before_and_after),
		cmocka_unit_test(test_close_under_load),
		cmocka_unit_test(test_second_setup),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_forgotten),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
