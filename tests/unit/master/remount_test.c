/* SPDX-License-Identifier: Apache-2.0 */
/* A memory segment that comes again under the id it had, over RPC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "nvme/endpoint.h"
#include "rpc/client.h"
#include "t_master.h"

struct world {
	struct t_master *master;
	struct rpc_sync *rs;
};

static uint8_t client_id[16] = {1};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err err = {0};
	struct addr addr;

	w->master = t_master_start(0);
	addr_parse("127.0.0.1", t_master_port(w->master), &addr);
	assert_int_equal(rpc_sync_open(&addr, 60000, &w->rs, &err), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	rpc_sync_close(w->rs);
	t_master_stop(w->master);
	free(w);
	return 0;
}

static const void *call(struct world *w, uint16_t method, const void *req)
{
	const ProtobufCMessage *rsp = NULL;
	struct err err = {0};

	if (rpc_sync_call(w->rs, method, req, &rsp, &err) < 0)
		fail_msg("%s", err.text);
	return rsp;
}

static int mount(struct world *w, uint8_t id, bool again)
{
	char *paths[] = {"traddr:127.0.0.1 subnqn:nqn.2024-01.t:m ns:1"};
	uint8_t id_bytes[16] = {id};
	Mc__Segment seg = MC__SEGMENT__INIT;
	Mc__MountReq req = MC__MOUNT_REQ__INIT;

	seg.id = (ProtobufCBinaryData){16, id_bytes};
	seg.name = "host:1";
	seg.size = MiB;
	seg.endpoints = paths;
	seg.n_endpoints = 1;
	req.client_id = (ProtobufCBinaryData){16, client_id};
	req.segment = &seg;
	req.again = again;
	return ((const Mc__MountRsp *)call(w, METHOD_MOUNT, &req))->status;
}

static int unmount(struct world *w, uint8_t id)
{
	Mc__UnmountReq req = MC__UNMOUNT_REQ__INIT;
	uint8_t id_bytes[16] = {id};

	req.client_id = (ProtobufCBinaryData){16, client_id};
	req.id = (ProtobufCBinaryData){16, id_bytes};
	return ((const Mc__UnmountRsp *)call(w, METHOD_UNMOUNT, &req))->status;
}

static int put_start(struct world *w)
{
	char key[] = "a";
	Mc__PutItem item = MC__PUT_ITEM__INIT, *items[] = {&item};
	Mc__PutStartReq req = MC__PUT_START_REQ__INIT;
	const Mc__PutStartRsp *rsp;

	item.key = (ProtobufCBinaryData){1, (uint8_t *)key};
	item.size = 4096;
	req.client_id = (ProtobufCBinaryData){16, client_id};
	req.items = items;
	req.n_items = 1;
	rsp = call(w, METHOD_PUT_START, &req);
	assert_int_equal(rsp->n_grants, 1);
	return rsp->grants[0]->status;
}

/* Who comes again is let in if it is known, and told so if it is not. */
static void test_again(void **state)
{
	struct world *w = *state;

	assert_int_equal(mount(w, 1, true), -101);
	assert_int_equal(mount(w, 1, false), 0);
	assert_int_equal(mount(w, 1, true), 0);
	assert_int_equal(unmount(w, 1), 0);
	assert_int_equal(mount(w, 1, true), -101);
	assert_int_equal(mount(w, 1, false), 0); /* nobody was writing */
	assert_int_equal(unmount(w, 1), 0);
}

/* A writer that was allowed to may still be at it: not under this id. */
static void test_former_writer(void **state)
{
	struct world *w = *state;

	assert_int_equal(mount(w, 2, false), 0);
	assert_int_equal(put_start(w), 0);
	assert_int_equal(unmount(w, 2), 0);
	assert_int_equal(mount(w, 2, false), -1010);
	assert_int_equal(mount(w, 2, true), -101);
	assert_int_equal(mount(w, 3, false), 0);
	assert_int_equal(put_start(w), 0);
	assert_int_equal(unmount(w, 3), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_former_writer),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
