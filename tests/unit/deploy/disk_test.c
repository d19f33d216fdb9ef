/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks as another host shows them: files made by the real tools, and loop
 * devices where this machine lets us have them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "deploy/disk.h"

static char dir[] = "/tmp/mooncake-disk-XXXXXX";
static struct remote *remote;

static int setup(void **state)
{
	struct err err = {0};
	char path[64];
	FILE *f;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ssh", dir);
	f = fopen(path, "w");
	fprintf(f, "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\n"
		   "shift 2; exec sh -c \"$*\"\n");
	fclose(f);
	chmod(path, 0700);
	setenv("MOONCAKE_SSH_COMMAND", path, 1);
	return remote_open(&(struct remote_opts){.host = "n1"}, &remote, &err);
}

static int teardown(void **state)
{
	char cmd[128];

	remote_close(remote);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

/* Makes "DIR/name" by cmd (with $f) and looks at it. */
static struct disk look(const char *name, const char *cmd)
{
	struct err err = {0};
	struct disk d;
	char path[160], text[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(text, sizeof(text), "f=\"%s\"; { %s; } >/dev/null 2>&1", path,
		 cmd);
	assert_int_equal(system(text), 0);
	assert_int_equal(disk_look(remote, path, &d, &err), 0);
	return d;
}

static void test_files(void **state)
{
	struct superblock sb = {
		.cluster_id = "kv",
		.block_bytes = 4096,
		.ns_bytes = 8 << 20,
		.epoch = 1,
		.segment = {{1}},
		.cluster = {{2}},
		.identity = "none",
	};
	uint8_t page[SB_BYTES];
	char path[96];
	struct disk d;
	FILE *f;

	d = look("it's empty", "truncate -s 8M \"$f\"");
	assert_int_equal(d.state, DISK_FREE);
	assert_int_equal(d.bytes, 8 << 20);
	assert_false(d.is_block);
	d = look("absent", "rm -f \"$f\"");
	assert_int_equal(d.state, DISK_ABSENT);
	d = look("folder", "mkdir \"$f\"");
	assert_int_equal(d.state, DISK_IN_USE);
	d = look("small", "truncate -s 1M \"$f\"");
	assert_int_equal(d.state, DISK_IN_USE);
	assert_non_null(strstr(d.why, "too small"));
	d = look("text", "truncate -s 8M \"$f\"; echo hello | "
			 "dd of=\"$f\" bs=1 seek=8380000 conv=notrunc");
	assert_int_equal(d.state, DISK_FOREIGN);

	sb_encode(&sb, page);
	snprintf(path, sizeof(path), "%s/ours", dir);
	f = fopen(path, "w");
	assert_int_equal(fwrite(page, 1, sizeof(page), f), sizeof(page));
	fclose(f);
	d = look("ours", "truncate -s 8M \"$f\"");
	assert_int_equal(d.state, DISK_OURS);
	assert_string_equal(d.sb.cluster_id, "kv");
}

static void test_file_systems(void **state)
{
	static const char *const makers[][3] = {
		{"mke2fs", "truncate -s 8M \"$f\"; mke2fs -F \"$f\"", "ext"},
		{"mkswap", "truncate -s 8M \"$f\"; mkswap \"$f\"", "swap"},
		{"sfdisk",
		 "truncate -s 8M \"$f\"; echo 'label: gpt' | sfdisk \"$f\"",
		 "GPT"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(makers); i++) {
		char name[16], probe[64];
		struct disk d;

		snprintf(probe, sizeof(probe), "command -v %s >/dev/null",
			 makers[i][0]);
		if (system(probe)) {
			print_message("no %s here: left out\n", makers[i][0]);
			continue;
		}
		snprintf(name, sizeof(name), "fs%zu", i);
		d = look(name, makers[i][1]);
		assert_int_equal(d.state, DISK_FOREIGN);
		assert_non_null(strstr(d.why, makers[i][2]));
	}
}

/* A file that the kernel uses as a disk must not be served a second time. */
static void test_loop(void **state)
{
	char cmd[200];
	struct disk d;

	d = look("loop", "truncate -s 8M \"$f\"");
	assert_int_equal(d.state, DISK_FREE);
	snprintf(cmd, sizeof(cmd), "losetup -f %s/loop 2>/dev/null", dir);
	if (system(cmd)) {
		print_message("no loop devices here\n");
		skip();
	}
	d = look("loop", "true");
	snprintf(cmd, sizeof(cmd), "losetup -d $(losetup -nO NAME -j %s/loop)",
		 dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(d.state, DISK_IN_USE);
	assert_non_null(strstr(d.why, "loop device"));
}

static void test_refused(void **state)
{
	struct err err = {0};
	struct disk d;

	assert_int_equal(disk_look(remote, "relative", &d, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_file_systems),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
