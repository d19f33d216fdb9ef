/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the store, with Mooncake's numbers.  They overlap errno values,
 * so they are a type of their own; status_of_errno() is the only bridge.
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include "base/def.h"

enum mooncake_status {
#define STATUS(name, code, err, text) MOONCAKE_##name = (code),
#include "base/tbl/status.h"
#undef STATUS
};

/* "OBJECT_NOT_FOUND", or "UNKNOWN". */
const char *status_name(enum mooncake_status st);
/* The sentence for people. */
const char *status_text(enum mooncake_status st);
/* ret: 0 or -errno of ours. */
enum mooncake_status status_of_errno(int ret);

#endif
