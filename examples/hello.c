/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores a value and reads it back.
 *
 *	cc hello.c -o hello $(pkg-config --cflags --libs mooncake_store)
 *	MOONCAKE_MASTER=127.0.0.1:50051 ./hello
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mooncake/store.h>

static int run(mooncake_store_t store)
{
	static const char value[] = "world";
	char buf[64];
	int64_t n;
	int ret;

	ret = mooncake_store_put(store, "hello.c", value, strlen(value), NULL);
	if (ret) {
		fprintf(stderr, "put: %s\n", mooncake_store_strerror(ret));
		return 1;
	}
	n = mooncake_store_get_into(store, "hello.c", buf, sizeof(buf));
	if (n < 0) {
		fprintf(stderr, "get: %s\n", mooncake_store_strerror((int)n));
		return 1;
	}
	printf("hello.c = %.*s\n", (int)n, buf);
	n = mooncake_store_get_into(store, "no such key", buf, sizeof(buf));
	printf("no such key: %s\n", mooncake_store_strerror((int)n));
	mooncake_store_remove(store, "hello.c", 1);
	return 0;
}

int main(void)
{
	mooncake_store_t store = mooncake_store_create();
	int ret = 1;

	if (!store)
		return 1;
	if (mooncake_store_setup(store, "127.0.0.1", "P2PHANDSHAKE", 0, 0,
				 "tcp", "", getenv("MOONCAKE_MASTER")) == 0)
		ret = run(store);
	else
		fprintf(stderr, "%s\n", mooncake_store_setup_error(store));
	mooncake_store_destroy(store);
	return ret;
}
