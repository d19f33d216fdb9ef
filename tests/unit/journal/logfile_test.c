/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/logfile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "t_dir.h"

#define NAME "journal-0000000000000007.log"

static off_t size_before; /* of the last file that a header came to */

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	struct stat st;

	if (at == 0 && fstat(fd, &st) == 0)
		size_before = st.st_size;
	return syscall(SYS_pwrite64, fd, p, n, at);
}

/* One that nothing is in is begun again, without what its header said: that it
 * was ended in order could come back with a power failure. Never one that has
 * records. */
static void test_begun_twice(void **state)
{
	const struct jr_header h = {.kind = JR_LOG,
				    .flags = JR_CLOSED,
				    .sequence = 7,
				    .cluster_id = "c"};
	struct t_dir d;
	uint8_t *bytes;
	size_t n;
	int fd;

	t_dir_open(&d);
	for (unsigned i = 0; i < 2; i++) {
		size_before = -1;
		assert_int_equal(jr_log_create(d.fd, &h, &fd), 0);
		assert_int_equal(size_before, 0);
		if (i)
			assert_int_equal(
				jr_log_write(fd, "r", 1, JR_HEADER_BYTES), 0);
		close(fd);
	}
	assert_int_equal(jr_log_create(d.fd, &h, &fd), -EEXIST);
	bytes = t_dir_read(&d, NAME, &n);
	assert_int_equal(n, JR_HEADER_BYTES + 1);
	assert_int_equal(bytes[JR_HEADER_BYTES], 'r');
	free(bytes);
	t_dir_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_begun_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
