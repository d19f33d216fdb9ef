/* SPDX-License-Identifier: Apache-2.0 */
/* Health of a pool segment as a message. */
#ifndef MASTER_SEG_REPLY_H
#define MASTER_SEG_REPLY_H

#include "master/core.h"
#include "proto/codec.h"

/* NULL when memory is out. */
Mc__SegmentHealth *seg_reply_health(struct arena *arena,
				    const struct core *core,
				    const struct segment *seg);

#endif
