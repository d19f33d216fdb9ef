/* SPDX-License-Identifier: Apache-2.0 */
/* The two clocks.  Any thread; both are served by the vDSO. */
#include "base/time.h"

#include <time.h>

uint64_t (*time_world)(bool is_wall);

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;
	int ret = clock_gettime(id, &ts);

	ASSERT(ret == 0);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t time_mono_ns(void)
{
	if (unlikely(time_world))
		return time_world(false);
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t time_wall_ns(void)
{
	if (unlikely(time_world))
		return time_world(true);
	return read_clock(CLOCK_REALTIME);
}
