/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the configuration reader: what its files share. */
#ifndef WEB_CONF_IMPL_H
#define WEB_CONF_IMPL_H

#include "web/conf.h"

struct conf {
	struct flag_set *fs;
	const char *path;
	unsigned how;
	struct str text; /* the whole file */
};

/* Position of a value, for sentences; both from 1. */
struct conf_pos {
	unsigned line, column;
};

bool conf_is_known(const struct conf *conf, const char *name);
/* 0 when unknown names are ignored (it was warned), else -EINVAL. */
int conf_unknown(const struct conf *conf, const char *name, struct conf_pos pos,
		 struct err *err);
int conf_set(const struct conf *conf, const char *name, struct str value,
	     struct conf_pos pos, struct err *err);
/* "FILE:LINE:COLUMN: what"; -EINVAL. */
int conf_fail(const struct conf *conf, struct conf_pos pos, const char *what,
	      struct err *err);

int conf_read_json(const struct conf *conf, struct err *err);
int conf_read_yaml(const struct conf *conf, struct err *err);

#endif
