/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's configuration in SPDK's form: {"subsystems": [{"subsystem":
 * NAME, "config": [{"method": …, "params": …}, …]}, …]}.  What is written is
 * the calls that make the present state again.  Control loop.
 */
#ifndef CONTROL_CONFIG_H
#define CONTROL_CONFIG_H

#include "control/control.h"

/* An array of calls, or NULL when there is no such section (or no memory).
 * with_given: also what the program's options have made. */
json_t *config_section(struct control *ctl, const char *name, bool with_given);
/* All sections, and the calls that a load could not make. */
json_t *config_all(struct control *ctl, bool with_given);

/*
 * Makes the calls of root one after the other, each when the one before it is
 * answered.  is_strict: the first that fails ends it with a sentence;
 * otherwise it is logged and kept for config_all().  -ETIMEDOUT: one was not
 * answered in a minute, there is no limit for all of them.  Turns the loop
 * until it is through: for start-up.
 */
int config_load(struct control *ctl, const json_t *root, bool is_strict,
		struct err *err);
/* The same from a file.  -ENOENT when there is none. */
int config_load_file(struct control *ctl, const char *path, bool is_strict,
		     struct err *err);

#endif
