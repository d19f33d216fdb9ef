/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects on a pool namespace: put and get without any memory segment, by
 * default and by wish; a target that goes away turns reads into misses in
 * time, and its objects are there again when it is back.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "io/memory.h"
#include "io/thread.h"
#include "mooncake/store.h"
#include "rpc/client.h"
#include "t_master.h"
#include "target/target.h"

#define NQN	   "nqn.2026-11.io.mooncake:test"
#define POOL_BYTES (256 * MiB)

struct pool {
	void *mem; /* the medium outlives the target */
	struct shard shard;
	struct tgt *tgt;
	struct addr addr;
	struct gate gate;
};

struct world {
	struct t_master *master;
	char addr[32];
	mooncake_store_t s;
	struct pool pool;
};

static void pool_open(void *arg)
{
	struct pool *p = arg;
	struct tgt_opts opts = {.loop = p->shard.loop};
	struct tgt_ns_opts ns = {.nsid = 1, .uuid.b = {1, 2, 3}};
	struct tgt_subsys *ss;
	struct err err = {0};
	struct bdev *bdev;

	if (tgt_create(&opts, &p->tgt, &err) < 0 ||
	    tgt_subsys_add(p->tgt, &(struct tgt_subsys_opts){.nqn = NQN}, &ss,
			   &err) < 0 ||
	    bdev_ram_create(p->mem, POOL_BYTES, &bdev, &err) < 0 ||
	    tgt_ns_add(ss, bdev, &ns, &err) < 0 ||
	    tgt_listen(p->tgt, &p->addr, &err) < 0)
		fail_msg("%s", err.text);
}

static void pool_stopped(void *arg)
{
	gate_open(&((struct pool *)arg)->gate);
}

static void pool_close(void *arg)
{
	struct pool *p = arg;

	tgt_stop(p->tgt, pool_stopped, p);
}

static void pool_stop(struct pool *p)
{
	gate_init(&p->gate);
	shard_call(&p->shard, pool_close, p);
	gate_wait(&p->gate);
}

static void mount_pool(struct world *w)
{
	Mc__MountReq req = MC__MOUNT_REQ__INIT;
	Mc__Segment seg = MC__SEGMENT__INIT;
	const ProtobufCMessage *msg;
	const Mc__MountRsp *rsp;
	char text[ENDPOINT_TEXT_LEN], *endpoints[] = {text};
	struct err err = {0};
	struct rpc_sync *rs;
	struct addr addr;

	snprintf(text, sizeof(text),
		 "traddr:127.0.0.1 trsvcid:%u subnqn:" NQN
		 " trtype:TCP adrfam:IPv4 ns:1",
		 addr_port(&w->pool.addr));
	seg.kind = MC__KIND__NOF_SSD;
	seg.n_endpoints = 1;
	seg.endpoints = endpoints;
	req.segment = &seg;
	addr_parse("127.0.0.1", t_master_port(w->master), &addr);
	assert_int_equal(rpc_sync_open(&addr, 5000, &rs, &err), 0);
	if (rpc_sync_call(rs, METHOD_MOUNT, &req.base, &msg, &err) < 0)
		fail_msg("%s", err.text);
	rsp = (const Mc__MountRsp *)msg;
	if (rsp->status)
		fail_msg("%d %s", rsp->status, rsp->error);
	rpc_sync_close(rs);
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err err = {0};

	log_set_name("test");
	log_level_max = LOG_ERROR;
	assert_int_equal(mem_map(POOL_BYTES, false, &w->pool.mem), 0);
	assert_int_equal(shard_start(&w->pool.shard,
				     &(struct loop_opts){.name = "target"},
				     &err),
			 0);
	addr_parse("127.0.0.1", 0, &w->pool.addr);
	shard_call(&w->pool.shard, pool_open, &w->pool);
	w->master = t_master_start(0);
	snprintf(w->addr, sizeof(w->addr), "127.0.0.1:%u",
		 t_master_port(w->master));
	mount_pool(w);
	w->s = mooncake_store_create();
	assert_int_equal(mooncake_store_setup(w->s, "localhost", "", 0, 0,
					      "tcp", "", w->addr),
			 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	mooncake_store_destroy(w->s);
	t_master_stop(w->master);
	pool_stop(&w->pool);
	shard_stop(&w->pool.shard);
	mem_unmap(w->pool.mem, POOL_BYTES);
	free(w);
	return 0;
}

static int put_with(struct world *w, const char *key, int64_t memory,
		    int64_t nof)
{
	mooncake_put_opts_t opts = {memory, nof};
	char value[] = "some bytes";
	void *ptr = value;
	size_t size = sizeof(value);
	mooncake_pieces_t pieces = {&ptr, &size, 1};
	int result = 1;

	assert_int_equal(mooncake_store_batch_put_pieces(w->s, &key, &pieces, 1,
							 &opts, &result),
			 0);
	return result;
}

static void test_placement(void **state)
{
	struct world *w = *state;
	mooncake_replica_t where[2];

	/* what LMCache's untouched ReplicateConfig says: the pool it is */
	assert_int_equal(put_with(w, "p1", 1, 0), 0);
	assert_int_equal(mooncake_store_get_replicas(w->s, "p1", where, 2), 1);
	assert_int_equal(where[0].kind, 3);
	assert_int_equal(where[0].status, 3); /* complete */
	assert_int_equal(put_with(w, "p2", 0, 1), 0);
	assert_int_equal(put_with(w, "p3", -1, -1), 0);
	assert_int_equal(put_with(w, "p4", 0, 0), -600);
	assert_int_equal(mooncake_store_remove_all(w->s, 1), 3);
}

static void test_big(void **state)
{
	size_t n = 33554460;
	uint8_t *in = malloc(n), *out = malloc(n);
	struct world *w = *state;

	for (size_t i = 0; i < n; i++)
		in[i] = (uint8_t)(i * 31 >> 7);
	memset(out, 0, n);
	assert_int_equal(mooncake_store_put(w->s, "big", in, n, NULL), 0);
	assert_int_equal(mooncake_store_get_into(w->s, "big", out, n),
			 (int64_t)n);
	assert_memory_equal(in, out, n);
	assert_int_equal(mooncake_store_remove(w->s, "big", 1), 0);
	free(in);
	free(out);
}

static void test_target_goes_and_comes(void **state)
{
	struct world *w = *state;
	char out[64];
	int64_t got = 0;
	uint64_t start;

	assert_int_equal(put_with(w, "stay", 0, 1), 0);
	assert_int_equal(mooncake_store_get_into(w->s, "stay", out, 64), 11);
	pool_stop(&w->pool);
	for (int i = 0; i < 3; i++) {
		start = time_mono_ns();
		assert_int_equal(mooncake_store_get_into(w->s, "stay", out, 64),
				 -704);
		assert_true(time_mono_ns() - start < 4 * NS_PER_S);
	}
	start = time_mono_ns();
	assert_true(put_with(w, "other", 0, 1) < 0);
	assert_true(time_mono_ns() - start < 5 * NS_PER_S);
	shard_call(&w->pool.shard, pool_open, &w->pool);
	for (int i = 0; i < 1000 && got != 11; i++) {
		got = mooncake_store_get_into(w->s, "stay", out, 64);
		usleep(10000);
	}
	assert_int_equal(got, 11);
	assert_string_equal(out, "some bytes");
	assert_int_equal(mooncake_store_remove(w->s, "stay", 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_placement),
		cmocka_unit_test(test_big),
		cmocka_unit_test(test_target_goes_and_comes),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
