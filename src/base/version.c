/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that is rebuilt when the version changes. */
#include "base/flag.h"

#include "version.h"

const char mooncake_version[] = MOONCAKE_VERSION;
