/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "deploy/define.h"

static void fill(struct nslist *list, unsigned count)
{
	struct err err = {0};

	for (unsigned i = 1; i <= count; i++) {
		struct endpoint ep = {.trtype = NVME_TRTYPE_TCP,
				      .trsvcid = 4420,
				      .nsid = i,
				      .traddr = "10.0.0.7",
				      .subnqn = "nqn.2024-01.io.example:a"};
		struct ns_entry *entry;

		assert_int_equal(nslist_add(list, &ep, &entry, &err), 0);
		entry->bytes = 1 << 30;
		snprintf(ep.traddr, sizeof(ep.traddr), "10.0.1.7");
		assert_int_equal(nslist_add(list, &ep, NULL, &err), 0);
	}
}

static int apply(const char *text, struct nslist *list, struct err *err)
{
	char copy[200];
	char *items[] = {copy};

	snprintf(copy, sizeof(copy), "%s", text);
	*err = (struct err){0};
	return define_apply(&(struct flag_list){items, 1}, list, err);
}

static void test_overrides(void **state)
{
	struct nslist list = {0};
	struct err err;

	fill(&list, 1);
	assert_int_equal(apply("nqn=nqn.2024-01.io.example:b", &list, &err), 0);
	assert_int_equal(apply("nsid=9", &list, &err), 0);
	assert_int_equal(apply("traddr=192.0.2.1", &list, &err), 0);
	assert_int_equal(apply("trsvcid=4421", &list, &err), 0);
	assert_int_equal(apply("base=0", &list, &err), 0);
	assert_int_equal(apply("size=1g", &list, &err), 0);
	assert_int_equal(apply("metadata_server=http://x", &list, &err), 0);
	assert_int_equal(list.items[0].nsid, 9);
	for (size_t i = 0; i < list.items[0].path_count; i++) {
		const struct endpoint *ep = &list.items[0].paths[i];

		assert_string_equal(ep->subnqn, "nqn.2024-01.io.example:b");
		assert_string_equal(ep->traddr, "192.0.2.1");
		assert_int_equal(ep->trsvcid, 4421);
		assert_int_equal(ep->nsid, 9);
	}
	nslist_fini(&list);
}

static void test_refused(void **state)
{
	static const char *const texts[] = {
		"nqn=x",     "nsid=0",	"nsid=x",   "trsvcid=70000",
		"base=4096", "size=2g", "size=big", "colour=red",
		"nqn",	     "",	"traddr=",
	};
	struct nslist list = {0};
	struct err err;

	fill(&list, 1);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (apply(texts[i], &list, &err) != -EINVAL)
			fail_msg("'%s' was taken", texts[i]);
	fill(&list, 2);
	assert_int_equal(apply("nsid=3", &list, &err), -EINVAL);
	nslist_fini(&list);
}

static void test_arguments(void **state)
{
	char *argv[] = {(char[]){"prog"},   (char[]){"-Dnqn=a"}, (char[]){"-D"},
			(char[]){"nsid=1"}, (char[]){"--x=-Dy"}, NULL};
	char **args = define_split_args(5, argv);

	assert_string_equal(args[0], "prog");
	assert_string_equal(args[1], "-D=nqn=a");
	assert_string_equal(args[2], "-D");
	assert_string_equal(args[3], "nsid=1");
	assert_string_equal(args[4], "--x=-Dy");
	assert_null(args[5]);
	free(args);
}

static void test_find(void **state)
{
	char *items[] = {(char[]){"master_server_address=a"},
			 (char[]){"master_server_address=b"},
			 (char[]){"nsid=1"}};
	struct flag_list list = {items, 3};

	assert_string_equal(define_find(&list, "master_server_address"), "b");
	assert_null(define_find(&list, "master"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overrides),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
