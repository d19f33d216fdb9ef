/* SPDX-License-Identifier: Apache-2.0 */
/* What a service tells the manager that has started it, see sd_notify(3). */
#ifndef CMD_NOTIFY_H
#define CMD_NOTIFY_H

/* One datagram to $NOTIFY_SOCKET, e.g. "READY=1"; nothing when it is not set.
 * The manager may have gone: nobody waits for it and failures are ignored. */
void notify(const char *text);

#endif
