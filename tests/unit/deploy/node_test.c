/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "deploy/node.h"

static struct node parse(const char *text)
{
	struct err err = {0};
	struct node node;

	if (node_parse(str_of(text), &node, &err))
		fail_msg("%s: %s", text, err.text);
	return node;
}

static void test_upstream(void **state)
{
	struct node n = parse("ip:192.168.65.56 path:/home/spdk "
			      "pci:0000:81:00.0,0000:82:00.0");

	assert_string_equal(n.host, "192.168.65.56");
	assert_string_equal(n.path, "/home/spdk");
	assert_int_equal(n.backend, NODE_SPDK);
	assert_int_equal(n.pci_count, 2);
	assert_string_equal(n.pci[1], "0000:82:00.0");
	n = parse("ip:192.168.65.56 ns:1 nqn:nqn.2016-06.io.spdk:cnode1");
	assert_int_equal(n.nsid, 1);
	/* What isn't written: the well-known port, and the node's own name. */
	assert_int_equal(n.trsvcid, 4420);
	assert_int_equal(n.addr_count, 1);
	assert_string_equal(n.addr[0], "192.168.65.56");
	assert_string_equal(n.nqn, "nqn.2016-06.io.spdk:cnode1");
	/* Words without a key continue what was before them. */
	n = parse("  ip:a.b  path:/my spdk dir pci:81:00.0, 0000:8A:00.1");
	assert_string_equal(n.path, "/my spdk dir");
	assert_int_equal(n.pci_count, 2);
	assert_string_equal(n.pci[0], "0000:81:00.0");
	assert_string_equal(n.pci[1], "0000:8a:00.1");
}

static void test_ours(void **state)
{
	struct node n = parse(
		"ip:[fd00::7] backend:mooncake disk:/dev/nvme0n1,/data/a:10g "
		"addr:10.0.0.7,10.0.1.7,fd00::8 port:4421 serial:SN-1 "
		"allow:nqn.2024-01.io.x:g,nqn.2024-01.io.x:h");

	assert_string_equal(n.host, "fd00::7");
	assert_int_equal(n.backend, NODE_MOONCAKE);
	assert_int_equal(n.disk_count, 2);
	assert_string_equal(n.disk[1], "/data/a:10g");
	assert_int_equal(n.addr_count, 3);
	assert_string_equal(n.addr[2], "fd00::8");
	assert_int_equal(n.trsvcid, 4421);
	assert_int_equal(n.allow_count, 2);
	assert_int_equal(parse("ip:h").backend, NODE_MOONCAKE);
	n = parse("ip:h path:/s rpc_socket:/run/spdk-2.sock");
	assert_string_equal(n.rpc_socket, "/run/spdk-2.sock");
	assert_int_equal(parse("ip:h backend:NVMET").backend, NODE_NVMET);
}

#define A "nqn.2024-01.io.x:a"
#define B "nqn.2024-01.io.x:b"

static void test_keys(void **state)
{
	struct node n = parse("ip:h allow:" A "," B " key:/k/all," B "=/k/b "
			      "ctrl_key:" A "=/c=d");

	assert_string_equal(node_key_file(&n.key, A), "/k/all");
	assert_string_equal(node_key_file(&n.key, B), "/k/b");
	assert_string_equal(node_key_file(&n.ctrl_key, A), "/c=d");
	assert_null(node_key_file(&n.ctrl_key, B));
	n = parse("ip:h allow:" A);
	assert_null(node_key_file(&n.key, A));
}

static void test_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"path:/x",
		"ip:",
		"ip:-oProxyCommand=x",
		"ip:a;b",
		"ip:a path:relative",
		"ip:a pci:1",
		"ip:a pci:0000:81:00.8",
		"ip:a pci:0000:81:00.0;reboot",
		"ip:a pci:zzzz:81:00.0",
		"ip:a backend:x",
		"ip:a backend:spdk disk:/dev/sda",
		"ip:a backend:nvmet path:/x",
		"ip:a disk:sda",
		"ip:a nqn:x",
		"ip:a nqn:nqn.2024-01.io.x:$(reboot)",
		"ip:a nqn:nqn.2024-01.io.x:../../y",
		"ip:a allow:nqn.2024-01.io.x:a;reboot",
		"ip:a serial:123456789012345678901",
		"ip:a serial:a$(b)",
		"ip:a port:0",
		"ip:a port:65536",
		"ip:a ns:0",
		"ip:a addr:$(reboot)",
		"ip:a allow:x",
		"ip:a key:/k",
		"ip:a allow:" A " key:" B "=/k",
		"ip:a allow:" A " key:" A "=",
		"ip:a allow:" A " ctrl_key:/k",
		"ip:a allow:" A "," B " key:" A "=/k ctrl_key:/k",
		"ip:a word",
		"word ip:a",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct err err = {0};
		struct node node;

		if (node_parse(str_of(texts[i]), &node, &err) != -EINVAL)
			fail_msg("'%s' was taken", texts[i]);
		assert_true(err.text[0] != '\0');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_upstream),
		cmocka_unit_test(test_ours),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
