/* SPDX-License-Identifier: Apache-2.0 */
/* Segments of the pool without disks; on the metadata's thread. */
#include "segments.h"

#include <stdio.h>
#include <stdlib.h>

#include "master/segment.h"

#define SEGMENTS 8

void segments_add(struct core *core, uint64_t objects)
{
	for (unsigned i = 0; i < SEGMENTS; i++) {
		char path[160];
		char *paths[] = {path};
		struct segment_desc desc = {
			.id = {{(uint8_t)(i + 1)}},
			.kind = KIND_NOF,
			.name = path,
			.endpoints = paths,
			.endpoint_count = 1,
			.base = MiB,
			.size = (objects / SEGMENTS + 1024) * 5 / 4 *
				OBJECT_BYTES,
			.block_bytes = 4096,
			.identity = path,
		};
		struct segment *seg;
		struct err err = {0};

		snprintf(
			path, sizeof(path),
			"traddr:10.0.0.%u trsvcid:4420 subnqn:nqn.2024-01.b:%u "
			"trtype:TCP adrfam:IPv4 ns:1",
			i + 1, i);
		desc.ns_bytes = desc.size;
		if (segment_add(core, &desc, &seg, &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			exit(2);
		}
	}
}
