/* SPDX-License-Identifier: Apache-2.0 */
/* Two parties agree in every group, and what is no public value is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "crypt/dhchap.h"

static void agree(unsigned group)
{
	static uint8_t pa[DHCHAP_GROUP_MAX], pb[DHCHAP_GROUP_MAX];
	static uint8_t sa[DHCHAP_GROUP_MAX], sb[DHCHAP_GROUP_MAX];
	size_t len = dhchap_group_len(group);
	struct dhchap_dh *a, *b;

	assert_int_equal(dhchap_dh_create(group, &a), 0);
	assert_int_equal(dhchap_dh_create(group, &b), 0);
	assert_int_equal(dhchap_dh_public(a, pa), 0);
	assert_int_equal(dhchap_dh_public(b, pb), 0);
	assert_memory_not_equal(pa, pb, len);
	assert_int_equal(dhchap_dh_secret(a, pb, len, sa), 0);
	assert_int_equal(dhchap_dh_secret(b, pa, len, sb), 0);
	assert_memory_equal(sa, sb, len);
	dhchap_dh_destroy(a);
	dhchap_dh_destroy(b);
}

static void test_agree(void **state)
{
	for (unsigned group = 1; group < DHCHAP_GROUPS; group++)
		agree(group);
	dhchap_dh_destroy(NULL);
}

/* 0, 1, p - 1 and p would let a peer know the secret beforehand. */
static void test_bad_values(void **state)
{
	uint8_t value[256] = {0}, out[256];
	struct dhchap_dh *dh;

	assert_int_equal(dhchap_dh_create(DHCHAP_FFDHE2048, &dh), 0);
	assert_int_equal(dhchap_dh_secret(dh, value, 256, out), -EINVAL);
	value[255] = 1;
	assert_int_equal(dhchap_dh_secret(dh, value, 256, out), -EINVAL);
	value[255] = 4; /* a square: of the group */
	assert_int_equal(dhchap_dh_secret(dh, value, 256, out), 0);
	assert_int_equal(dhchap_dh_secret(dh, value, 255, out), -EINVAL);
	assert_int_equal(dhchap_dh_secret(dh, value, 0, out), -EINVAL);
	memset(value, 0xff, sizeof(value));
	assert_int_equal(dhchap_dh_secret(dh, value, 256, out), -EINVAL);
	dhchap_dh_destroy(dh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_agree),
		cmocka_unit_test(test_bad_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
