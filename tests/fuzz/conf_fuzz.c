/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may stand in a configuration file.  First byte: bit 0 YAML instead of
 * JSON, bit 1 unknown names are ignored.  Promise: no memory error, no leak,
 * and a sentence for what is refused.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "web/conf_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct config {
	char *name;
	uint64_t size, port, ttl;
	bool is_fast;
	double ratio;
	struct flag_list paths;
};

#define OPTION(n, t, field)                                                    \
	{                                                                      \
		.name = n, .type = t, .off = offsetof(struct config, field)    \
	}
static const struct flag flags[] = {
	OPTION("name", FLAG_STR, name),	    OPTION("size", FLAG_SIZE, size),
	OPTION("port", FLAG_UINT, port),    OPTION("ttl", FLAG_MS, ttl),
	OPTION("fast", FLAG_BOOL, is_fast), OPTION("ratio", FLAG_DOUBLE, ratio),
	OPTION("path", FLAG_LIST, paths),
};

static const struct flag_prog prog = {
	.name = "fuzz",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config config = {0};
	struct strbuf text = {0};
	struct flag_set fs;
	struct err err = {0};
	struct conf conf = {.fs = &fs, .path = "conf"};
	int ret;

	log_level_max = LOG_ERROR;
	if (size < 1)
		return 0;
	ASSERT(flag_init(&fs, &prog, &config, &err) == 0);
	strbuf_add(&text, data + 1, size - 1);
	conf.text = strbuf_str(&text);
	conf.how = data[0] & 2 ? CONF_IGNORE_UNKNOWN : 0;
	ret = data[0] & 1 ? conf_read_yaml(&conf, &err)
			  : conf_read_json(&conf, &err);
	ASSERT(ret == 0 || err.text[0]);
	flag_fini(&fs);
	strbuf_fini(&text);
	return 0;
}
