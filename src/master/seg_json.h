/* SPDX-License-Identifier: Apache-2.0 */
/* A segment as JSON, for the admin pages. */
#ifndef MASTER_SEG_JSON_H
#define MASTER_SEG_JSON_H

#include <jansson.h>

#include "master/core.h"

/* Upstream's keys and more; a pool segment also has "health".  A new
 * reference, NULL when memory is out. */
json_t *seg_json(const struct core *core, const struct segment *seg);

#endif
