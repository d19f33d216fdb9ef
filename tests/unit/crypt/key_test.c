/* SPDX-License-Identifier: Apache-2.0 */
/* DHHC-1 texts: those that Python wrote are read, what is damaged is not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "crypt/key.h"

/* Byte i of each secret is 7i + hash. */
static const char *const good[] = {
	"DHHC-1:00:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPo:",
	"DHHC-1:01:AQgPFh0kKzI5QEdOVVxjanF4f4aNlJuiqbC3vsXM09pl1OOC:",
	"DHHC-1:02:AgkQFx4lLDM6QUhPVl1ka3J5gIeOlZyjqrG4v8bN1Nvi6fD3/gUMExohKC82"
	"PURLIrqU+w==:",
	"DHHC-1:03:AwoRGB8mLTQ7QklQV15lbHN6gYiPlp2kq7K5wMfO1dzj6vH4/wYNFBsiKTA3"
	"PkVMU1phaG92fYSLkpmgp661vPDs2cs=:",
};
static const uint8_t lengths[] = {32, 32, 48, 64};

static void test_good(void **state)
{
	char text[DHCHAP_KEY_TEXT_LEN];
	struct dhchap_key key;
	struct err err = {0};

	for (unsigned k = 0; k < ARRAY_SIZE(good); k++) {
		assert_int_equal(dhchap_key_parse(str_of(good[k]), &key, &err),
				 0);
		assert_int_equal(key.hash, k);
		assert_int_equal(key.len, lengths[k]);
		for (unsigned i = 0; i < key.len; i++)
			assert_int_equal(key.bytes[i], (uint8_t)(7 * i + k));
		dhchap_key_format(&key, text);
		assert_string_equal(text, good[k]);
	}
}

static void refused(const char *text)
{
	struct dhchap_key key;
	struct err err = {0};

	assert_int_equal(dhchap_key_parse(str_of(text), &key, &err), -EINVAL);
	assert_true(err.text[0]);
	assert_int_equal(key.len, 0);
	/* No piece of the secret may get into a log. */
	assert_null(strstr(err.text, "AAcO"));
}

static void test_bad(void **state)
{
	refused("");
	refused("DHHC-1");
	refused("DHHC-1:");
	refused("DHHC-1:00");
	refused("DHHC-1:00:");
	refused("DHHC-1:00::");
	refused("DHHC-2:00:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPo:");
	refused("DHHC-1:04:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPo:");
	refused("DHHC-1:0:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPo:");
	refused("DHHC-1:00:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPo");
	refused("DHHC-1:00:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPo:x");
	refused("DHHC-1:00:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUP:");
	refused("DHHC-1:00:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPp:");
	refused("DHHC-1:00:BAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPo:");
	refused("DHHC-1:00:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PU==:");
	refused("DHHC-1:00:AAcOFRw KjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPo:");
	refused("DHHC-1:00:AAcO:");
	refused("NVMeTLSkey-1:01:"
		"VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:");
}

static void test_make(void **state)
{
	char text[DHCHAP_KEY_TEXT_LEN];
	struct dhchap_key key, again;
	struct err err = {0};

	for (size_t len = 32; len <= 64; len += 16) {
		assert_int_equal(dhchap_key_make(DHCHAP_SHA512, len, &key), 0);
		dhchap_key_format(&key, text);
		assert_int_equal(dhchap_key_parse(str_of(text), &again, &err),
				 0);
		assert_memory_equal(&key, &again, sizeof(key));
		assert_int_equal(dhchap_key_make(DHCHAP_SHA512, len, &again),
				 0);
		assert_memory_not_equal(&key, &again, sizeof(key));
		secret_clear(&key, sizeof(key));
		assert_int_equal(key.len, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_make),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
