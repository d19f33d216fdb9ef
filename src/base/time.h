/* SPDX-License-Identifier: Apache-2.0 */
/* Time.  Everything that decides uses the monotonic clock. */
#ifndef BASE_TIME_H
#define BASE_TIME_H

#include "base/def.h"

#define NS_PER_US ((uint64_t)1000)
#define NS_PER_MS ((uint64_t)1000 * 1000)
#define NS_PER_S  ((uint64_t)1000 * 1000 * 1000)

/* The clocks of a simulated world, whose whole process lives in it; NULL: the
 * kernel's. */
extern uint64_t (*time_world)(bool is_wall);

uint64_t time_mono_ns(void);
/* Wall clock, for people and logs only. */
uint64_t time_wall_ns(void);

#endif
