/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frame of the programs that run until a signal ends them.  Main thread.
 * Invariant: the options live from before run() is called until it returns.
 */
#include "cmd/run.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"

int run_set_log_level(const char *text, struct err *err)
{
	enum log_level level;

	if (log_level_parse(text, &level) == 0) {
		log_level_max = level;
		return 0;
	}
	return err_set(err, -EINVAL,
		       "--log_level: '%.40s' is not possible; expected "
		       "error, warn, info or debug",
		       text);
}

int run_main(const struct flag_prog *prog, void *config,
	     int (*run)(struct flag_set *fs, struct err *err), int argc,
	     char **argv)
{
	struct flag_set fs;
	struct err err = {0};
	int status;

	log_set_name(prog->name);
	if (flag_main(&fs, prog, config, argc, argv, &status))
		return status;
	status = 0;
	if (run(&fs, &err) < 0) {
		fprintf(stderr, "%s: %s\n", prog->name, err.text);
		status = 1;
	}
	flag_fini(&fs);
	return status;
}
