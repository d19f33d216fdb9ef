/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration file into an option table: JSON (.json) or YAML (.yaml, .yml),
 * one flat mapping; keys are option names ('-' and '_' alike).  Errors name
 * file, line and column.
 */
#ifndef WEB_CONF_H
#define WEB_CONF_H

#include "base/flag.h"

enum {
	CONF_IGNORE_UNKNOWN = 1 /* warn instead of refuse */
};

/* -ENOENT …, -EINVAL with a sentence. */
int conf_load(struct flag_set *fs, const char *path, unsigned how,
	      struct err *err);

#endif
