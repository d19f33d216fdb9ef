/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that is connected to namespaces 1 to N of each subsystem given and
 * does nothing, as the store library does between requests.  The main thread;
 * prints "ready" and ends when its input does.
 *
 *	nvmf_idle PORT NAMESPACES NQN...
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/time.h"
#include "pool/vol.h"

#define WAIT_NS (20 * NS_PER_S)

static _Noreturn void die(const char *text)
{
	fprintf(stderr, "nvmf_idle: %s\n", text);
	exit(1);
}

static void hold(struct vol_set *set, const char *port, const char *nqn,
		 unsigned nsid)
{
	const char *const fmt =
		"traddr:127.0.0.1 trsvcid:%s subnqn:%s trtype:TCP ns:%u";
	char text[ENDPOINT_TEXT_LEN];
	const char *endpoint = text;
	struct vol_desc desc = {.block_bytes = 4096,
				.endpoints = &endpoint,
				.endpoint_count = 1};
	struct err err = {0};
	struct vol *vol; /* held until the end */

	snprintf(text, sizeof(text), fmt, port, nqn, nsid);
	uuid_make(&desc.segment);
	if (vol_get(set, &desc, &vol, &err))
		die(err.text);
}

int main(int argc, char **argv)
{
	struct vol_opts opts;
	struct vol_stats stats = {0};
	struct vol_set *set;
	struct err err = {0};
	uint64_t namespaces = 0, want, end_ns = time_mono_ns() + WAIT_NS;
	char c;

	if (argc < 4 || str_to_u64(str_of(argv[2]), &namespaces))
		die("usage: nvmf_idle PORT NAMESPACES NQN...");
	if (vol_opts_init(&opts, &err) || vol_set_create(&opts, &set, &err))
		die(err.text);
	want = namespaces * (uint64_t)(argc - 3);
	for (int i = 3; i < argc; i++)
		for (unsigned nsid = 1; nsid <= namespaces; nsid++)
			hold(set, argv[1], argv[i], nsid);
	while (stats.volumes_connected < want && time_mono_ns() < end_ns) {
		usleep(10000);
		vol_stats_get(set, &stats);
	}
	if (stats.volumes_connected < want)
		die("not all namespaces could be connected");
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0; /* the connections end with the process */
}
