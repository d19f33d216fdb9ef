/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person may type as a fault rule.  Promise: no memory error, a sentence
 * for what is refused, and what is taken can be asked about any command.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "target/fault_rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fault_look look = {
		.nqn = "nqn.a",
		.host = "nqn.b",
		.nsid = 1,
		.blocks = 8,
		.bytes = 4096,
		.hdgst = true,
		.ddgst = true,
	};
	char *text = malloc(size + 1);
	struct fault_rule rule;
	struct fault_set set = {.count = 1, .rules = {&rule}};
	struct fault_plan plan;
	struct err err = {0};

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (fault_parse(text, &rule, &err)) {
		ASSERT(err.text[0]);
		free(text);
		return 0;
	}
	free(text);
	rng_seed(&rule.rng, rule.seed);
	pthread_mutex_init(&set.lock, NULL);
	for (look.op = 1; look.op < FAULT_OP_ALL; look.op *= 2) {
		fault_look(&set, &look, &plan);
		ASSERT(!(plan.acts & ~FAULT_BIT(rule.kind)));
		ASSERT(!plan.acts || (rule.ops & look.op));
	}
	pthread_mutex_destroy(&set.lock);
	return 0;
}
