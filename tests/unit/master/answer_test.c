/* SPDX-License-Identifier: Apache-2.0 */
/* Answers stay below the frame's limit: what does not fit any more says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_core.h"
#include "t_world.h"

#define KEYS  200
#define LIMIT (64 * KiB)

static int setup(void **state)
{
	return world_setup(state, KEEP_INTERVAL, 3600 * NS_PER_S);
}

/* Two replicas of what is put there have as many stripes as there can be. */
static void open_pool(void *arg)
{
	struct world *w = arg;
	struct core *core = service_enter(w->svc);

	core->opts.stripe_bytes = CRC_BLOCK;
	for (unsigned i = 0; i < 4; i++)
		t_segment(core, KIND_NOF, i, 16 * GiB)->host_hash = i / 2;
	assert_int_equal(t_put(core, "a", EXTENTS_MAX * CRC_BLOCK, 0, 2), 0);
	w->svc->answer_bytes = LIMIT;
}

static void expect_cut(const int32_t *status, size_t answer_bytes)
{
	unsigned good = 0;

	while (good < KEYS && status[good] == 0)
		good++;
	assert_in_range(good, 2, KEYS / 2);
	for (unsigned i = good; i < KEYS; i++)
		assert_int_equal(status[i], -10);
	assert_in_range(answer_bytes, LIMIT / 3, LIMIT + LIMIT / 8);
}

static void objects_that_are_read(void **state)
{
	struct world *w = *state;
	Mc__GetReq req = MC__GET_REQ__INIT;
	ProtobufCBinaryData keys[KEYS];
	int32_t status[KEYS];
	const Mc__GetRsp *rsp;
	int ret;

	shard_call(&w->meta, open_pool, w);
	for (unsigned i = 0; i < KEYS; i++)
		keys[i] = world_bytes("a");
	req.keys = keys;
	req.n_keys = KEYS;
	rsp = world_call(w->rs, METHOD_GET, &req, &ret);
	assert_non_null(rsp);
	assert_int_equal(rsp->objects[0]->replicas[1]->n_extents, EXTENTS_MAX);
	for (unsigned i = 0; i < KEYS; i++)
		status[i] = rsp->objects[i]->status;
	expect_cut(status, mc__get_rsp__get_packed_size(rsp));
}

/* What is not granted takes no space either. */
static void objects_that_are_put(void **state)
{
	struct world *w = *state;
	Mc__PutStartReq req = MC__PUT_START_REQ__INIT;
	Mc__ReplicateConfig config = MC__REPLICATE_CONFIG__INIT;
	Mc__PutItem items[KEYS], *list[KEYS];
	const Mc__PutStartRsp *rsp;
	int32_t status[KEYS];
	char keys[KEYS][8];
	int ret;

	shard_call(&w->meta, open_pool, w);
	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(keys[i], sizeof(keys[i]), "k%u", i);
		mc__put_item__init(&items[i]);
		items[i].key = world_bytes(keys[i]);
		items[i].size = EXTENTS_MAX * CRC_BLOCK;
		list[i] = &items[i];
	}
	req.client_id = (ProtobufCBinaryData){16, world_client};
	req.items = list;
	req.n_items = KEYS;
	req.config = &config;
	config.ask_nof_case = MC__REPLICATE_CONFIG__ASK_NOF_NOF_REPLICA_NUM;
	config.nof_replica_num = 2;
	rsp = world_call(w->rs, METHOD_PUT_START, &req, &ret);
	assert_non_null(rsp);
	for (unsigned i = 0; i < KEYS; i++)
		status[i] = rsp->grants[i]->status;
	expect_cut(status, mc__put_start_rsp__get_packed_size(rsp));
	assert_int_equal(world_get(w->rs, "k0"), -703);
	assert_int_equal(world_get(w->rs, keys[KEYS - 1]), -704);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(objects_that_are_read, setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(objects_that_are_put, setup,
						world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
