/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Simulated world for tests: any number of loops in one thread share a seeded
 * network and clock.  io_sim_step() advances to the next event; time moves only
 * there, so a day passes in milliseconds and a seed replays exactly.
 */
#ifndef IO_SIM_H
#define IO_SIM_H

#include "io/loop.h"

struct io_sim_faults {
	uint64_t latency_min_ns,
		latency_max_ns; /* per segment, per direction */
	uint32_t max_segment; /* a send is cut into random pieces up to this */
	double reset_rate; /* chance per segment that the connection resets */
	double stall_rate; /* chance per segment of a stall of stall_ns */
	uint64_t stall_ns;
	double refuse_rate; /* chance per connect */
};

/* Starts at one second.  NULL when out of memory. */
struct io_sim *io_sim_create(uint64_t seed);
void io_sim_destroy(struct io_sim *sim); /* after its loops */
void io_sim_set_faults(struct io_sim *sim, const struct io_sim_faults *faults);
/* Resets every connection that touches the listener at addr, and refuses new
 * ones until io_sim_heal(). */
void io_sim_partition(struct io_sim *sim, const struct addr *addr);
void io_sim_heal(struct io_sim *sim, const struct addr *addr);
/* A loop whose thread does something else: it is not turned, what comes for it
 * waits, its deadlines pass. */
void io_sim_freeze(struct loop *loop, bool is_frozen);
/* Runs all loops until nothing is runnable, then jumps to the next event not
 * after limit_ns.  False when there is none; then the time is limit_ns (unless
 * that is UINT64_MAX). */
bool io_sim_step(struct io_sim *sim, uint64_t limit_ns);
uint64_t io_sim_now_ns(const struct io_sim *sim);

#endif
