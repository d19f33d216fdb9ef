/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Simulated world for tests: any number of loops in one thread share a seeded
 * network and clock.  io_sim_step() advances to the next event; time moves only
 * there, so a day passes in milliseconds and a seed replays exactly.
 */
#ifndef IO_SIM_H
#define IO_SIM_H

#include "io/loop.h"

/*
 * Loops, sockets and threads belong to a node: to that whose code made them.
 * Node 0 is the driver, who sees everything; node N has the address 10.0.0.N.
 */
#define IO_SIM_NODES 16

struct io_sim_faults {
	uint64_t latency_min_ns,
		latency_max_ns; /* per segment, per direction */
	uint32_t max_segment; /* a send is cut into random pieces up to this */
	double reset_rate; /* chance per segment that the connection resets */
	double stall_rate; /* chance per segment of a stall of stall_ns */
	uint64_t stall_ns;
	double refuse_rate; /* chance per connect */
	/* Sends may be held, for so long at most behind their result; 0: none
	 * is.  Entries of less than 512 bytes must not change meanwhile. */
	uint64_t hold_max_ns;
	double hold_copy_rate; /* chance per hold that it was copied */
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
/*
 * The node dies: its loops and threads never run again, what they hold stays
 * where it is (a world with deaths in it ends with its process).  Silent: as
 * when the power fails; packets to it are lost until io_sim_revive().
 * Otherwise as a process that is killed: peers are told, connections refused.
 */
void io_sim_kill(struct io_sim *sim, unsigned node, bool is_silent);
/* The same after so many more turns of the node's loops and threads; 0 = not
 * any more. */
void io_sim_kill_after(struct io_sim *sim, unsigned node, unsigned turns,
		       bool is_silent);
/* For code of the node that now runs: it dies with this turn, and what it still
 * does in it reaches nobody. */
void io_sim_doom(struct io_sim *sim, unsigned node, bool is_silent);
/* Is there, whatever it runs. */
void io_sim_revive(struct io_sim *sim, unsigned node);
bool io_sim_is_alive(const struct io_sim *sim, unsigned node);
/* As by SIGSTOP and SIGCONT: nothing of the node runs, what comes for it waits,
 * its deadlines pass.  Ends with its death. */
void io_sim_stop(struct io_sim *sim, unsigned node, bool is_stopped);
/* One direction of a link: what is sent waits in the sender until it is
 * mended, and is lost when the sender goes before. */
void io_sim_cut(struct io_sim *sim, unsigned from, unsigned to, bool is_cut);

/* From now on the process lives in that world: clocks, entropy, shards and
 * gates are simulated.  NULL: in the real one again. */
void io_sim_enter(struct io_sim *sim);
/* What runs from now on is the node's; returns whose it was. */
unsigned io_sim_become(struct io_sim *sim, unsigned node);
/* A thread of the node: runs until it waits at a gate, and goes on when that
 * is open.  The loops of the world turn meanwhile. */
void io_sim_spawn(struct io_sim *sim, unsigned node, void (*fn)(void *arg),
		  void *arg);
void io_sim_sleep(uint64_t ns); /* in a world that was entered */
/* The wall clock jumps. */
void io_sim_step_wall(struct io_sim *sim, int64_t ns);
/* Runs all loops until nothing is runnable, then jumps to the next event not
 * after limit_ns.  False when there is none; then the time is limit_ns (unless
 * that is UINT64_MAX). */
bool io_sim_step(struct io_sim *sim, uint64_t limit_ns);
/* Some of these bytes are in a send that is held. */
bool io_sim_is_held(const struct io_sim *sim, const void *p, size_t n);
/* Sends that were held until now. */
unsigned io_sim_hold_count(const struct io_sim *sim);
uint64_t io_sim_now_ns(const struct io_sim *sim);

#endif
