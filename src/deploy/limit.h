/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a node is waited for, unless --command_timeout says otherwise.
 * Scripts that wait find in $limit_s how long they may (remote.h), which is
 * less than what the session waits for them: so the node says what is missing
 * while somebody listens.
 */
#ifndef DEPLOY_LIMIT_H
#define DEPLOY_LIMIT_H

#include <stdint.h>

#define LIMIT_LOGIN_MS	20000u	/* to a shell */
#define LIMIT_LOOK_MS	30000u	/* to find out something */
#define LIMIT_DISK_MS	60000u	/* to read a disk's head and tail */
#define LIMIT_CHANGE_MS 60000u	/* to change something */
#define LIMIT_START_MS	120000u /* a target: setup.sh reserves hugepages */
#define LIMIT_END_MS	120000u /* a target: systemd kills it after 90 s */
/* First the one, then the other. */
#define LIMIT_BACK_MS (LIMIT_END_MS + LIMIT_START_MS)
/* What takes back has at least this, whatever --command_timeout. */
#define LIMIT_UNDO_MS 30000u

/* Of a command's time, the part in which its script may wait. */
static inline uint32_t limit_inner_s(uint32_t ms)
{
	return (ms - (ms < 40000u ? ms / 4 : 10000u)) / 1000;
}

#endif
