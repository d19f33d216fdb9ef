/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes against a real target in the same process. */
#include "vol_env.h"

#include <pthread.h>

#include "pool/set.h"

#define DATA POOL_DATA_OFFSET

static void test_one_object(void **state)
{
	struct env *env = *state;
	struct vol *vol = env_vol(env, 0, false, 0);
	static char out[3000], in[3000];
	struct rng rng = t_rng(1);
	uint32_t crc;

	env_fill(out, sizeof(out), &rng);
	assert_int_equal(
		env_simple(env, &(struct env_simple){.vol = vol,
						     .is_write = true,
						     .off = DATA,
						     .len = sizeof(out),
						     .buf = out,
						     .crcs = &crc}),
		0);
	assert_int_equal(crc, crc32c(0, out, sizeof(out)));
	env_sync(env);
	assert_memory_equal(env->mem[0] + DATA, out, sizeof(out));
	assert_int_equal(env_simple(env, &(struct env_simple){.vol = vol,
							      .off = DATA,
							      .len = sizeof(in),
							      .buf = in,
							      .crcs = &crc}),
			 0);
	assert_memory_equal(in, out, sizeof(in));
	vol_put(vol);
}

/* The rest of the last block is zero, whatever was there before; directly, by
 * a bounce buffer, and in local memory. */
static void test_padding(void **state)
{
	struct env *env = *state;
	struct vol *vol = env_vol(env, 0, false, 0);
	uint8_t *mem = env->mem[0] + DATA;
	static char bytes[700];
	struct iovec iov[sizeof(bytes)];
	struct vol_extent ext = {vol, DATA, sizeof(bytes)};
	struct env_io r = {.io = {.is_write = true,
				  .extents = &ext,
				  .extent_count = 1,
				  .iov = iov,
				  .bytes = sizeof(bytes)}};

	for (size_t i = 0; i < sizeof(bytes); i++)
		iov[i] = (struct iovec){&bytes[i], 1};
	memset(bytes, 0x55, sizeof(bytes));
	for (int round = 0; round < 3; round++) {
		memset(mem, 0xff, 2048);
		env_sync(env);
		if (round == 2)
			assert_int_equal(
				vol_attach_memory(env->set, &env->segments[0],
						  env->mem[0], NS_BYTES),
				0);
		r.io.iovcnt = sizeof(bytes);
		if (round == 0) {
			r.io.iovcnt = 1;
			iov[0].iov_len = sizeof(bytes);
		}
		assert_int_equal(env_io_run(env, &r), 0);
		env_sync(env);
		iov[0].iov_len = 1;
		assert_memory_equal(mem, bytes, sizeof(bytes));
		for (size_t i = sizeof(bytes); i < 1024; i++)
			assert_int_equal(mem[i], 0);
		assert_int_equal(mem[1024], 0xff);
	}
	vol_detach_memory(env->set, &env->segments[0]);
	vol_put(vol);
}

struct listen_call {
	struct env *env;
	uint16_t port;
};

static void listen_again_on(void *arg)
{
	struct listen_call *call = arg;
	struct err err = {0};
	struct addr addr;

	assert_int_equal(addr_parse("127.0.0.1", 0, &addr), 0);
	if (tgt_listen(call->env->tgt, &addr, &err))
		fail_msg("%s", err.text);
	call->port = addr_port(&addr);
}

/* Another address is another connection. */
static uint16_t listen_again(struct env *env)
{
	struct listen_call call = {.env = env};

	shard_call(&env->shard, listen_again_on, &call);
	return call.port;
}

#define DIGEST_READS 32

/* One byte each, by turns of two volumes. */
static void read_bytes(struct env *env, struct vol *vols[2])
{
	static struct vol_extent exts[DIGEST_READS];
	static struct iovec iovs[DIGEST_READS];
	static struct env_io reads[DIGEST_READS];
	static uint8_t bytes[DIGEST_READS];

	for (unsigned i = 0; i < DIGEST_READS; i++) {
		exts[i] = (struct vol_extent){vols[i % 2], DATA, 1};
		iovs[i] = (struct iovec){&bytes[i], 1};
		reads[i].io = (struct vol_io){
			.done = env_io_done,
			.extents = &exts[i],
			.extent_count = 1,
			.iov = &iovs[i],
			.iovcnt = 1,
			.bytes = 1,
			.deadline_ns = time_mono_ns() + 20 * NS_PER_S,
		};
		gate_init(&reads[i].gate);
		assert_int_equal(vol_submit(env->set, &reads[i].io), 0);
	}
	for (unsigned i = 0; i < DIGEST_READS; i++)
		gate_wait(&reads[i].gate);
	for (unsigned i = 0; i < DIGEST_READS; i++) {
		assert_int_equal(reads[i].io.ret, 0);
		assert_int_equal(bytes[i], env->mem[i % 2][DATA]);
	}
}

/* Almost nothing but padding, of two connections at once: what one receives
 * must not change the bytes over which the other computes its digest. */
static void test_padding_digest(void **state)
{
	struct rng rng = t_rng(4);
	struct vol *vols[2];
	struct env env;

	(void)state;
	env_init(&env, 65536);
	for (unsigned i = 0; i < 2; i++)
		env_fill(env.mem[i] + DATA, MiB, &rng);
	env_sync(&env);
	env_set_start(&env, &(struct vol_opts){.workers = 1,
					       .chunk_bytes = 256 * KiB,
					       .inflight_bytes = 32 * MiB,
					       .nvmf.ddgst = true});
	vols[0] = env_vol(&env, 0, false, 0);
	env.port = listen_again(&env);
	vols[1] = env_vol(&env, 1, false, 0);
	for (unsigned round = 0; round < 8; round++)
		read_bytes(&env, vols);
	vol_put(vols[0]);
	vol_put(vols[1]);
	env_fini(&env);
}

/* --- random objects --- */

#define OBJ_MAX	   (3 * MiB)
#define EXT_MAX	   6
#define PIECES_MAX 400

struct object {
	struct vol_extent ext[EXT_MAX];
	unsigned ext_count;
	struct iovec iov[PIECES_MAX];
	unsigned iovcnt;
	uint64_t bytes;
	uint8_t *buf;
	uint32_t crcs[OBJ_MAX / CRC_BLOCK + 2];
};

struct area {
	struct vol *vols[NS_COUNT];
	uint64_t lo[NS_COUNT], hi[NS_COUNT], at[NS_COUNT];
	uint32_t block;
};

static void make_extents(struct object *o, struct area *a, struct rng *rng)
{
	uint64_t left = o->bytes, len;

	for (o->ext_count = 0; left; o->ext_count++) {
		unsigned v = (unsigned)rng_below(rng, NS_COUNT);

		len = left;
		if (o->ext_count + 1 < EXT_MAX && left > a->block &&
		    rng_below(rng, 2))
			len = a->block *
			      (1 + rng_below(rng, (left - 1) / a->block));
		if (a->at[v] + len + a->block > a->hi[v])
			a->at[v] = a->lo[v];
		o->ext[o->ext_count] =
			(struct vol_extent){a->vols[v], a->at[v], len};
		a->at[v] += ALIGN_UP(len, (uint64_t)a->block);
		left -= len;
	}
}

/* Pieces of the buffer in order, with gaps of nothing between. */
static void make_pieces(struct object *o, struct rng *rng)
{
	uint64_t at = 0, len, most = 1 + rng_below(rng, 3) * 3000;

	for (o->iovcnt = 0; at < o->bytes; o->iovcnt++) {
		len = rng_below(rng, MIN(most, o->bytes - at) + 1);
		if (o->iovcnt + 1 == PIECES_MAX || most == 1)
			len = o->bytes - at;
		o->iov[o->iovcnt] = (struct iovec){o->buf + at, len};
		at += len;
	}
}

static uint64_t pick_bytes(struct rng *rng)
{
	switch (rng_below(rng, 4)) {
	case 0:
		return 1 + rng_below(rng, 9000);
	case 1:
		return CRC_BLOCK * (1 + rng_below(rng, 4)) + rng_below(rng, 3) -
		       1;
	case 2:
		return 1 + rng_below(rng, OBJ_MAX);
	default:
		return 4096 * (1 + rng_below(rng, 100));
	}
}

static void round_trip(struct env *env, struct area *a, struct rng *rng)
{
	struct object *o = calloc(1, sizeof(*o));
	struct env_io r = {0};
	uint8_t *copy;

	assert_non_null(o);
	o->bytes = pick_bytes(rng);
	o->buf = malloc(o->bytes);
	copy = malloc(o->bytes);
	assert_true(o->buf && copy);
	env_fill(o->buf, o->bytes, rng);
	memcpy(copy, o->buf, o->bytes);
	make_extents(o, a, rng);
	make_pieces(o, rng);
	r.io = (struct vol_io){
		.is_write = true,
		.extents = o->ext,
		.extent_count = o->ext_count,
		.iov = o->iov,
		.iovcnt = o->iovcnt,
		.bytes = o->bytes,
		.crcs = o->crcs,
	};
	assert_int_equal(env_io_run(env, &r), 0);
	for (uint64_t i = 0; i * CRC_BLOCK < o->bytes; i++)
		assert_int_equal(o->crcs[i],
				 crc32c(0, o->buf + i * CRC_BLOCK,
					MIN((uint64_t)CRC_BLOCK,
					    o->bytes - i * CRC_BLOCK)));
	memset(o->buf, 0xee, o->bytes);
	make_pieces(o, rng);
	r.io.iovcnt = o->iovcnt;
	r.io.is_write = false;
	assert_int_equal(env_io_run(env, &r), 0);
	assert_memory_equal(o->buf, copy, o->bytes);
	/* A wrong checksum anywhere is found. */
	o->crcs[rng_below(rng, (o->bytes + CRC_BLOCK - 1) / CRC_BLOCK)] ^= 1;
	assert_int_equal(env_io_run(env, &r), -EILSEQ);
	free(o->buf);
	free(copy);
	free(o);
}

struct thread_arg {
	struct env *env;
	unsigned index, count;
};

static void *run_thread(void *arg)
{
	struct thread_arg *t = arg;
	struct rng rng = t_rng(100 + t->index);
	struct area a = {.block = t->env->block};
	uint64_t share = (NS_BYTES - DATA) / 4;

	for (unsigned i = 0; i < NS_COUNT; i++) {
		a.vols[i] = env_vol(t->env, i, false, 0);
		a.lo[i] = a.at[i] = DATA + t->index * share;
		a.hi[i] = a.lo[i] + share;
	}
	for (unsigned i = 0; i < t->count; i++)
		round_trip(t->env, &a, &rng);
	for (unsigned i = 0; i < NS_COUNT; i++)
		vol_put(a.vols[i]);
	return NULL;
}

static void run_threads(struct env *env, unsigned count)
{
	struct thread_arg args[4];
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++) {
		args[i] = (struct thread_arg){env, i, count};
		assert_int_equal(
			pthread_create(&threads[i], NULL, run_thread, &args[i]),
			0);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

static void test_random(void **state)
{
	struct vol_stats stats;
	struct env *env = *state;

	run_threads(env, 8);
	vol_stats_get(env->set, &stats);
	assert_true(stats.inflight_high <= 32 * MiB);
	assert_int_equal(stats.volumes_connected, NS_COUNT);
}

/* Other geometry: small chunks, a small limit, fewer queues than workers. */
static void test_random_other(void **state)
{
	static const struct {
		uint32_t workers, block;
		uint64_t chunk, inflight;
		uint16_t queues;
	} cases[] = {
		{3, 512, 4096, 16384, 64},
		{4, 4096, 12288, 8192,
		 2}, /* a chunk is larger than the limit */
		{1, 512, MiB, 2 * MiB, 1},
		{2, 512, 200000, 256 * KiB, 1},
	};
	struct vol_stats stats;
	struct env env;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		env_init(&env, cases[i].block);
		env_tgt_stop(&env);
		env.limits.max_queues = cases[i].queues;
		env_tgt_start(&env);
		env_set_start(&env, &(struct vol_opts){
					    .workers = cases[i].workers,
					    .chunk_bytes = cases[i].chunk,
					    .inflight_bytes = cases[i].inflight,
					    .nvmf.ddgst = i >= 2});
		run_threads(&env, 1);
		vol_stats_get(env.set, &stats);
		assert_true(stats.inflight_high <=
			    MAX(cases[i].inflight, cases[i].chunk));
		env_fini(&env);
	}
}

static void test_large(void **state)
{
	uint64_t len = 33554460;
	uint8_t *out = malloc(len), *in = malloc(len);
	uint32_t *crcs = calloc(len / CRC_BLOCK + 1, sizeof(*crcs));
	struct env *env = *state;
	struct vol *vol = env_vol(env, 1, false, 0);
	struct env_simple s = {.vol = vol,
			       .is_write = true,
			       .off = DATA,
			       .len = len,
			       .buf = out,
			       .crcs = crcs};
	struct rng rng = t_rng(2);

	assert_true(out && in && crcs);
	env_fill(out, len, &rng);
	assert_int_equal(env_simple(env, &s), 0);
	s.is_write = false;
	s.buf = in;
	assert_int_equal(env_simple(env, &s), 0);
	assert_memory_equal(in, out, len);
	/* One byte of the medium. */
	env_sync(env);
	env->mem[1][DATA + 20000000] ^= 4;
	assert_int_equal(env_simple(env, &s), -EILSEQ);
	env->mem[1][DATA + 20000000] ^= 4;
	s.crcs = NULL;
	assert_int_equal(env_simple(env, &s), 0);
	vol_put(vol);
	free(out);
	free(in);
	free(crcs);
}

static void test_refused(void **state)
{
	struct env *env = *state;
	struct vol *vol = env_vol(env, 0, false, 0);
	struct vol_extent ext = {vol, DATA, 100};
	struct iovec iov = {&ext, 99};
	struct env_io r = {.io = {.extents = &ext,
				  .extent_count = 1,
				  .iov = &iov,
				  .iovcnt = 1,
				  .bytes = 100}};
	char buf[512];

	assert_int_equal(env_io_run(env, &r), -EINVAL);
	assert_int_equal(env_simple(env, &(struct env_simple){.vol = vol,
							      .off = 7,
							      .len = 9,
							      .buf = buf}),
			 -EINVAL);
	assert_int_equal(env_simple(env, &(struct env_simple){.vol = vol,
							      .off = NS_BYTES,
							      .len = 9,
							      .buf = buf}),
			 -ERANGE);
	/* Nothing to do is done at once. */
	assert_int_equal(env_simple(env, &(struct env_simple){.vol = vol,
							      .off = DATA,
							      .buf = buf}),
			 0);
	vol_put(vol);
}

static void test_local(void **state)
{
	struct env *env = *state;
	struct vol_desc desc = {.block_bytes = 4096};
	uint8_t *mem = calloc(1, 4 * MiB), *out = malloc(3 * MiB),
		*in = malloc(3 * MiB);
	struct env_simple s;
	struct err err = {0};
	struct vol_stats stats;
	uint32_t crcs[24];
	struct vol *vol;
	struct rng rng = t_rng(3);

	assert_true(mem && out && in);
	uuid_make(&desc.segment);
	assert_int_equal(vol_get(env->set, &desc, &vol, &err), -EINVAL);
	assert_int_equal(
		vol_attach_memory(env->set, &desc.segment, mem, 4 * MiB), 0);
	assert_int_equal(
		vol_attach_memory(env->set, &desc.segment, mem, 4 * MiB),
		-EEXIST);
	assert_int_equal(vol_get(env->set, &desc, &vol, &err), 0);
	env_fill(out, 3 * MiB, &rng);
	s = (struct env_simple){.vol = vol,
				.is_write = true,
				.off = 4096,
				.len = 3 * MiB - 5,
				.buf = out,
				.crcs = crcs};
	assert_int_equal(env_simple(env, &s), 0);
	assert_memory_equal(mem + 4096, out, s.len);
	s.is_write = false;
	s.buf = in;
	assert_int_equal(env_simple(env, &s), 0);
	assert_memory_equal(in, out, s.len);
	mem[5000] ^= 1;
	assert_int_equal(env_simple(env, &s), -EILSEQ);
	s.off = 2 * MiB;
	s.crcs = NULL;
	assert_int_equal(env_simple(env, &s), -ERANGE);
	vol_stats_get(env->set, &stats);
	assert_true(stats.local_reads >= 1 && stats.local_writes == 1);
	vol_put(vol);
	vol_detach_memory(env->set, &desc.segment);
	free(mem);
	free(out);
	free(in);
}

/* --- closing --- */

/* What a worker does last for a path: it says so, and pokes later. */
struct slow_answer {
	struct mbox_msg msg;
	struct gate said;
	struct poke poke;
	unsigned pokes;
};

static void slow_answer_run(struct mbox_msg *msg)
{
	struct slow_answer *a = container_of(msg, struct slow_answer, msg);
	struct gate never;

	gate_open(&a->said);
	gate_init(&never);
	gate_wait_for(&never, 300 * NS_PER_MS);
	poke_send(&a->poke);
}

static void slow_answer_came(struct poke *poke)
{
	container_of(poke, struct slow_answer, poke)->pokes++;
}

/* The control thread's loop is there for whatever a worker's turn still posts,
 * though nothing else is waited for. */
static void test_close_in_a_workers_turn(void **state)
{
	struct slow_answer a = {.msg.run = slow_answer_run};
	struct env env;

	env_init(&env, 512);
	env_set_start(&env, &(struct vol_opts){.workers = 3,
					       .chunk_bytes = 128 * KiB,
					       .inflight_bytes = MiB});
	gate_init(&a.said);
	poke_init(&a.poke, set_loop(env.set), slow_answer_came);
	loop_post(env.set->workers[1].shard.loop, &a.msg);
	gate_wait(&a.said);
	vol_set_destroy(TAKE(env.set));
	assert_int_equal(a.pokes, 1);
	env_fini(&env);
}

static int setup(void **state)
{
	static struct env env;

	env_init(&env, 512);
	env_set_start(&env, NULL);
	*state = &env;
	return 0;
}

static int teardown(void **state)
{
	env_fini(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_object, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_padding, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_local, setup, teardown),
		cmocka_unit_test(test_random_other),
		cmocka_unit_test(test_padding_digest),
		cmocka_unit_test(test_close_in_a_workers_turn),
	};

	log_level_max = LOG_ERROR;
	t_seed(); /* before there are threads */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
