/* SPDX-License-Identifier: Apache-2.0 */
/* mooncake_master: options, then src/master until SIGINT or SIGTERM. */
#include <stdio.h>

#include "base/log.h"
#include "master/master.h"
#include "web/conf.h"

static int run(struct flag_set *fs, struct master_config *config,
	       struct err *err)
{
	int ret = 0;

	if (config->config_path[0]) {
		/* A mistyped key must not be silently without effect. */
		ret = conf_load(fs, config->config_path, 0, err);
		if (ret == 0)
			ret = flag_check(fs, err);
	}
	if (ret == 0)
		ret = config_check(config, err);
	if (ret == 0)
		ret = master_run(config, err);
	return ret;
}

int main(int argc, char **argv)
{
	struct master_config config = {0};
	struct flag_set fs;
	struct err err = {0};
	int status;

	log_set_name("mooncake_master");
	if (flag_main(&fs, &master_prog, &config, argc, argv, &status))
		return status;
	status = 0;
	if (run(&fs, &config, &err) < 0) {
		fprintf(stderr, "mooncake_master: %s\n", err.text);
		status = 1;
	}
	flag_fini(&fs);
	return status;
}
