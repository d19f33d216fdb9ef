/* SPDX-License-Identifier: Apache-2.0 */
/* mooncake_master: options, then src/master until SIGINT or SIGTERM. */
#include "cmd/run.h"
#include "master/master.h"
#include "web/conf.h"

static int run(struct flag_set *fs, struct err *err)
{
	struct master_config *config = fs->config;
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

	return run_main(&master_prog, &config, run, argc, argv);
}
