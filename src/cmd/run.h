/* SPDX-License-Identifier: Apache-2.0 */
/* The main() of the programs that run until a signal ends them. */
#ifndef CMD_RUN_H
#define CMD_RUN_H

#include "base/flag.h"

/*
 * Reads the options into config, which is zeroed, and calls run(), which
 * finds it as fs->config and returns 0 or -errno with a sentence; that is
 * printed.  Returns the exit status: 0, 1 when run() failed, 2 for wrong use.
 */
int run_main(const struct flag_prog *prog, void *config,
	     int (*run)(struct flag_set *fs, struct err *err), int argc,
	     char **argv);
/* Takes the value of --log_level. */
int run_set_log_level(const char *text, struct err *err);

#endif
