/* SPDX-License-Identifier: Apache-2.0 */
/* A real master's service in this process, on a shard of its own. */
#ifndef T_MASTER_H
#define T_MASTER_H

#include <stdbool.h>
#include <stdint.h>

struct core;
struct t_master;

/* port 0 = any free one.  Fails the test when it can't. */
struct t_master *t_master_start(uint16_t port);
uint16_t t_master_port(const struct t_master *m);
/* fn on the master's shard, with its metadata. */
void t_master_run(struct t_master *m, void (*fn)(struct core *core, void *arg),
		  void *arg);
void t_master_stop(struct t_master *m);

#endif
