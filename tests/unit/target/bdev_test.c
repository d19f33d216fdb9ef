/* SPDX-License-Identifier: Apache-2.0 */
#include "target/bdev.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"

static struct loop *loop;
static char path[64], spec[80];

static int setup(void **state)
{
	struct err err = {0};

	snprintf(path, sizeof(path), "/tmp/t_bdev.%d", getpid());
	unlink(path);
	return loop_create(&(struct loop_opts){0}, &loop, &err);
}

static int teardown(void **state)
{
	unlink(path);
	loop_destroy(loop);
	return 0;
}

static bool is_done;

static void on_done(struct bdev_io *io)
{
	assert_false(is_done);
	is_done = true;
}

static int rw(struct bdev *bdev, enum bdev_op op, uint64_t off, void *p,
	      size_t n)
{
	/* two pieces, so that there is a list to walk */
	struct iovec iov[2] = {{p, n / 2},
			       {(char *)p + (p ? n / 2 : 0), n - n / 2}};
	struct bdev_io io = {.done = on_done,
			     .op = op,
			     .off = off,
			     .bytes = n,
			     .iov = iov,
			     .iovcnt = p ? 2 : 0};
	uint64_t end = time_mono_ns() + 5 * NS_PER_S;

	is_done = false;
	bdev->ops->submit(bdev, loop, &io);
	assert_false(is_done); /* never inside the call */
	while (!is_done && time_mono_ns() < end)
		loop_turn(loop, 100 * NS_PER_MS);
	assert_true(is_done);
	return io.ret;
}

/* skew: memory that O_DIRECT can't take goes another way. */
static void roundtrip(struct bdev *bdev, size_t skew)
{
	uint8_t *out = aligned_alloc(4096, 20480);
	uint8_t *in = aligned_alloc(4096, 20480);

	memset(in, 0xee, 20480);
	assert_int_equal(rw(bdev, BDEV_READ, 4096, in + skew, 16384), 0);
	for (int i = 0; i < 16384; i++) /* never written: zeros */
		assert_int_equal(in[skew + (size_t)i], 0);
	for (int i = 0; i < 20480; i++)
		out[i] = (uint8_t)(i * 13 + i / 256);
	assert_int_equal(rw(bdev, BDEV_WRITE, 8192, out + skew, 16384), 0);
	assert_int_equal(rw(bdev, BDEV_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(rw(bdev, BDEV_READ, 8192, in + skew, 16384), 0);
	assert_memory_equal(in + skew, out + skew, 16384);
	/* the last block */
	assert_int_equal(
		rw(bdev, BDEV_WRITE, bdev->size - 4096, out + skew, 4096), 0);
	assert_int_equal(
		rw(bdev, BDEV_READ, bdev->size - 4096, in + skew, 4096), 0);
	assert_memory_equal(in + skew, out + skew, 4096);
	free(out);
	free(in);
}

static void ram_keeps_what_was_written(void **state)
{
	struct bdev *bdev;
	struct err err = {0};

	assert_int_equal(bdev_ram_create(NULL, 1 << 20, &bdev, &err), 0);
	assert_int_equal(bdev->size, 1 << 20);
	roundtrip(bdev, 1);
	assert_int_equal(((uint8_t *)bdev->ops->map(bdev, 8192, 4096))[0],
			 (uint8_t)(1 * 13));
	bdev->ops->destroy(bdev);
}

static void ram_takes_the_callers_memory(void **state)
{
	static uint8_t mem[8192];
	struct bdev *bdev;
	struct err err = {0};
	uint8_t out[4096];

	memset(out, 7, sizeof(out));
	assert_int_equal(bdev_ram_create(mem, sizeof(mem), &bdev, &err), 0);
	assert_int_equal(rw(bdev, BDEV_WRITE, 4096, out, sizeof(out)), 0);
	assert_int_equal(mem[4095], 0);
	assert_int_equal(mem[4096], 7);
	bdev->ops->destroy(bdev);
	assert_int_equal(mem[8191], 7);
	assert_int_equal(bdev_ram_create(NULL, 5000, &bdev, &err), -EINVAL);
}

static void file_keeps_what_was_written(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct bdev_file_opts o = {.path = path,
					   .create_size = 1 << 20,
					   .no_direct = i & 1};
		struct bdev *bdev;
		struct err err = {0};
		struct stat st;

		unlink(path);
		assert_int_equal(bdev_file_create(&o, &bdev, &err), 0);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, 1 << 20);
		assert_true(st.st_blocks * 512 >= 1 << 20); /* reserved */
		roundtrip(bdev, i & 2 ? 8 : 0);
		assert_null(bdev->ops->map(bdev, 0, 4096));
		bdev->ops->destroy(bdev);
	}
}

static void file_too_big_is_not_left_behind(void **state)
{
	struct bdev_file_opts o = {.path = path,
				   .create_size = (uint64_t)1 << 50};
	struct bdev *bdev;
	struct err err = {0};
	struct stat st;

	unlink(path);
	assert_true(bdev_file_create(&o, &bdev, &err) < 0);
	assert_null(bdev);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(stat(path, &st), -1);
}

static void file_is_for_one_only(void **state)
{
	struct bdev_file_opts o = {.path = path, .create_size = 8192};
	struct bdev *one, *two;
	struct err err = {0};

	unlink(path);
	assert_int_equal(bdev_file_create(&o, &one, &err), 0);
	assert_int_equal(bdev_file_create(&o, &two, &err), -EBUSY);
	assert_null(two);
	assert_non_null(strstr(err.text, path));
	one->ops->destroy(one);
	assert_int_equal(bdev_file_create(&o, &two, &(struct err){0}), 0);
	two->ops->destroy(two);
}

static void file_that_shrank_is_an_error(void **state)
{
	struct bdev_file_opts o = {.path = path, .create_size = 65536};
	struct bdev *bdev;
	struct err err = {0};
	uint8_t *buf = aligned_alloc(4096, 8192);

	unlink(path);
	assert_int_equal(bdev_file_create(&o, &bdev, &err), 0);
	assert_int_equal(truncate(path, 4096), 0);
	assert_int_equal(rw(bdev, BDEV_READ, 0, buf, 8192), -EIO);
	assert_int_equal(rw(bdev, BDEV_READ, 32768, buf, 8192), -EIO);
	bdev->ops->destroy(bdev);
	free(buf);
}

static uint64_t blocks_of_file(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks;
}

/* What is unmapped or zeroed reads as zeros; its neighbours stay. */
static void erase_range(struct bdev *bdev, enum bdev_op op, unsigned from,
			unsigned to)
{
	uint8_t *buf = aligned_alloc(4096, 65536);

	memset(buf, 0xab, 65536);
	assert_int_equal(rw(bdev, BDEV_WRITE, 0, buf, 65536), 0);
	assert_int_equal(rw(bdev, op, from, NULL, to - from), 0);
	assert_int_equal(rw(bdev, BDEV_READ, 0, buf, 65536), 0);
	for (unsigned i = 0; i < 65536; i++)
		assert_int_equal(buf[i], i >= from && i < to ? 0 : 0xab);
	free(buf);
}

static void erase(struct bdev *bdev, enum bdev_op op)
{
	erase_range(bdev, op, 8192, 49152);
}

/* Less than a page, and pages with edges: blocks may have 512 bytes. */
static void parts_of_pages_are_erased(void **state)
{
	static const unsigned ranges[][2] = {
		{4096, 4608}, {4608, 5120}, {3584, 16896}};
	struct bdev *bdev;
	struct err err = {0};

	assert_int_equal(bdev_ram_create(NULL, 1 << 16, &bdev, &err), 0);
	for (size_t i = 0; i < 3; i++) {
		erase_range(bdev, BDEV_ZERO, ranges[i][0], ranges[i][1]);
		erase_range(bdev, BDEV_UNMAP, ranges[i][0], ranges[i][1]);
	}
	bdev->ops->destroy(bdev);
}

static void ranges_are_erased(void **state)
{
	struct bdev_file_opts o = {.path = path, .create_size = 1 << 20};
	uint8_t own[1 << 16] __attribute__((aligned(4096)));
	uint64_t before;
	struct bdev *bdev;
	struct err err = {0};

	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			bdev_ram_create(i ? own : NULL, 1 << 16, &bdev, &err),
			0);
		erase(bdev, BDEV_ZERO);
		erase(bdev, BDEV_UNMAP);
		bdev->ops->destroy(bdev);
		o.no_direct = i;
		unlink(path);
		assert_int_equal(bdev_file_create(&o, &bdev, &err), 0);
		assert_true(bdev->can_unmap && bdev->unmap_zeroes);
		erase(bdev, BDEV_ZERO);
		before = blocks_of_file();
		assert_int_equal(bdev->ops->used(bdev), before * 512);
		erase(bdev, BDEV_UNMAP);
		assert_true(blocks_of_file() + 40960 / 512 <= before);
		bdev->ops->destroy(bdev);
	}
}

/* Another process may do what it likes with the file's length. */
static void sizes_are_looked_at_again(void **state)
{
	struct bdev_file_opts o = {.path = path, .create_size = 65536};
	struct bdev *bdev;
	struct err err = {0};

	unlink(path);
	assert_int_equal(bdev_file_create(&o, &bdev, &err), 0);
	assert_false(bdev->ops->refresh(bdev));
	assert_int_equal(truncate(path, 65536 + 5000), 0);
	assert_true(bdev->ops->refresh(bdev));
	assert_int_equal(bdev->size, 65536 + 4096);
	assert_int_equal(truncate(path, 0), 0);
	assert_false(bdev->ops->refresh(bdev)); /* reads will fail */
	bdev->ops->destroy(bdev);
}

static void null_has_no_medium(void **state)
{
	uint8_t buf[8192];
	struct bdev *bdev;
	struct err err = {0};

	assert_int_equal(bdev_null_create(8192, 1024, &bdev, &err), -EINVAL);
	assert_int_equal(bdev_null_create(8191, 512, &bdev, &err), -EINVAL);
	assert_int_equal(bdev_null_create(0, 0, &bdev, &err), -EINVAL);
	assert_null(bdev);
	assert_int_equal(bdev_null_create(8192, 512, &bdev, &err), 0);
	assert_int_equal(bdev->block, 512);
	memset(buf, 1, sizeof(buf));
	assert_int_equal(rw(bdev, BDEV_WRITE, 0, buf, 8192), 0);
	assert_int_equal(rw(bdev, BDEV_READ, 0, buf, 8192), 0);
	for (unsigned i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 0);
	assert_int_equal(rw(bdev, BDEV_UNMAP, 0, NULL, 8192), 0);
	bdev->ops->destroy(bdev);
}

static void specs_are_understood(void **state)
{
	static const struct {
		const char *spec;
		int ret;
		uint64_t size;
	} cases[] = {
		{"ram:8k", 0, 8192},
		{"ram:1m", 0, 1 << 20},
		{"null:1t", 0, (uint64_t)1 << 40},
		{"null:", -EINVAL, 0},
		{"null:5000", -EINVAL, 0},
		{"ram:", -EINVAL, 0},
		{"ram:x", -EINVAL, 0},
		{"ram:5000", -EINVAL, 0},
		{"ram:0", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"/tmp", -EINVAL, 0},
		{"/nowhere/disk", -ENOENT, 0},
		{"/nowhere/disk:1g", -ENOENT, 0},
		{"/tmp/x:1000", -EINVAL, 0},
	};
	struct bdev *bdev;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};

		assert_int_equal(bdev_from_spec(cases[i].spec, &bdev, &err),
				 cases[i].ret);
		if (cases[i].ret) {
			assert_null(bdev);
			assert_true(err.text[0]);
			continue;
		}
		assert_int_equal(bdev->size, cases[i].size);
		bdev->ops->destroy(bdev);
	}
}

static void file_spec_creates_then_reuses(void **state)
{
	struct bdev *bdev;
	struct err err = {0};

	unlink(path);
	assert_int_equal(bdev_from_spec(path, &bdev, &(struct err){0}),
			 -ENOENT);
	snprintf(spec, sizeof(spec), "%s:64k", path);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bdev_from_spec(spec, &bdev, &err), 0);
		assert_int_equal(bdev->size, 65536);
		assert_string_equal(bdev->name, path);
		bdev->ops->destroy(bdev);
	}
	snprintf(spec, sizeof(spec), "%s:128k", path);
	assert_int_equal(bdev_from_spec(spec, &bdev, &err), -EINVAL);
	assert_int_equal(truncate(path, 5000), 0);
	assert_int_equal(bdev_from_spec(path, &bdev, &(struct err){0}),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ram_keeps_what_was_written),
		cmocka_unit_test(ram_takes_the_callers_memory),
		cmocka_unit_test(file_keeps_what_was_written),
		cmocka_unit_test(file_too_big_is_not_left_behind),
		cmocka_unit_test(file_is_for_one_only),
		cmocka_unit_test(file_that_shrank_is_an_error),
		cmocka_unit_test(ranges_are_erased),
		cmocka_unit_test(parts_of_pages_are_erased),
		cmocka_unit_test(sizes_are_looked_at_again),
		cmocka_unit_test(null_has_no_medium),
		cmocka_unit_test(specs_are_understood),
		cmocka_unit_test(file_spec_creates_then_reuses),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
