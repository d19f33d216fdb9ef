/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLIENT_PATH_METRICS_H
#define CLIENT_PATH_METRICS_H

#include "base/str.h"
#include "pool/vol.h"

/* Appends what each path to a target does, as Prometheus text; nothing when
 * there is none or memory is out. */
void path_metrics_add(struct strbuf *sb, struct vol_set *set);

#endif
