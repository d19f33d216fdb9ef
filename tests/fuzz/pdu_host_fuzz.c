/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a target may send to our initiator.  First byte: bit 0 header digest,
 * bit 1 data digest, bits 7:2 how the bytes are cut (0 = not).  The rest is
 * sent when four reads (CIDs 0..3) and two writes (4, 5) of 4 KiB wait for an
 * answer.  Sums are asked of read 1 and brought by write 5; read 3 is
 * cancelled. Promise: no memory error, each command is done exactly once, and
 * the sums of a read that succeeded are those of its bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/log.h"
#include "base/time.h"
#include "io/listener.h"
#include "io/sim.h"
#include "nvmf/nt.h"

#define CMDS	  6
#define BYTES	  4096
#define SUM_BYTES 1024

enum {
	SUMMED_READ = 1,
	CANCELLED_READ = 3,
	SUMMED_WRITE = 5
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct io_sim *sim;
	struct loop *loop;
	struct nt_conn conn;
	struct listener listener;
	struct stream server;
	struct iovec in, out;
	uint8_t scratch[8192];
	size_t received, expected;
	const uint8_t *data;
	size_t size;
	struct pdu_ic icresp;
	bool is_greeted, is_sent, is_closed, is_down;
	uint8_t *bufs[CMDS];
	struct iovec iov[CMDS];
	unsigned done[CMDS];
	uint32_t sums[BYTES / SUM_BYTES];
	uint32_t zero_sums[BYTES / SUM_BYTES];
} f;

static void server_recv(void);

static void server_closed(struct stream *s)
{
	f.is_closed = true;
}

static void server_sent(struct stream *s, int res)
{
	if (f.is_sent && !f.server.is_closing)
		stream_close(s, server_closed);
}

static void server_got(struct stream *s, int res)
{
	if (res <= 0) {
		stream_close(s, server_closed);
		return;
	}
	f.received += (size_t)res;
	if (!f.is_greeted && f.received >= sizeof(struct pdu_ic)) {
		f.is_greeted = true;
		f.out = (struct iovec){&f.icresp, sizeof(f.icresp)};
		stream_send(s, &f.out, 1, server_sent);
	} else if (!f.is_sent && f.received >= f.expected) {
		f.is_sent = true;
		if (f.conn.state == NT_READY)
			nt_cmd_cancel(&f.conn.slots[CANCELLED_READ]);
		f.out = (struct iovec){(void *)(uintptr_t)f.data, f.size};
		stream_send(s, &f.out, 1, server_sent);
	}
	server_recv();
}

static void server_recv(void)
{
	f.in = (struct iovec){f.scratch, sizeof(f.scratch)};
	if (stream_is_open(&f.server))
		stream_recv(&f.server, &f.in, 1, server_got);
}

static void accepted(struct listener *l, int fd, const struct addr *peer)
{
	stream_attach(&f.server, fd);
	server_recv();
}

static void cmd_done(struct nt_cmd *cmd)
{
	uintptr_t index = (uintptr_t)cmd->owner;

	f.done[index]++;
	if (index != SUMMED_READ || cmd->sc != NVME_SC_OK)
		return;
	for (unsigned i = 0; i < BYTES / SUM_BYTES; i++)
		ASSERT(f.sums[i] ==
		       crc32c(0, f.bufs[1] + i * SUM_BYTES, SUM_BYTES));
}

static void conn_ready(struct nt_conn *conn)
{
	for (uintptr_t i = 0; i < CMDS; i++) {
		struct nt_cmd *cmd = nt_cmd_take(conn);

		nvme_cmd_rw(&cmd->sqe, i >= 4, 1, 0, BYTES / 512);
		cmd->dir = i >= 4 ? NT_WRITE : NT_READ;
		cmd->bytes = BYTES;
		cmd->data = (struct nt_cursor){.iov = &f.iov[i], .cnt = 1};
		cmd->deadline_ns = loop_now_ns(f.loop) + NS_PER_S;
		cmd->done = cmd_done;
		cmd->owner = (void *)i;
		cmd->crc_bytes = SUM_BYTES;
		if (i == SUMMED_READ)
			cmd->crcs = f.sums;
		else if (i == SUMMED_WRITE)
			cmd->crcs = f.zero_sums;
		nt_cmd_submit(conn, cmd);
	}
}

static void conn_slot(struct nt_conn *conn)
{
}

/* No admin queue here: the Abort is lost. */
static void conn_late(struct nt_conn *conn, struct nt_cmd *cmd)
{
	ASSERT(cmd->in_use && cmd->is_aborting);
}

static void conn_down(struct nt_conn *conn)
{
	f.is_down = true;
}

static void start(uint8_t mode)
{
	struct nt_opts opts = {.depth = 16,
			       .connect_timeout_ms = 1000,
			       .ack_timeout_ms = 1000,
			       .abort_timeout_ms = 100,
			       .on_late = conn_late,
			       .hdgst = mode & 1,
			       .ddgst = mode & 2,
			       .on_ready = conn_ready,
			       .on_slot = conn_slot,
			       .on_down = conn_down};
	struct loop_opts lo = {.backend = IO_BACKEND_SIM, .name = "fuzz"};
	struct err err = {0};

	lo.sim = f.sim = io_sim_create(1);
	io_sim_set_faults(f.sim,
			  &(struct io_sim_faults){.max_segment = mode >> 2});
	ASSERT(!loop_create(&lo, &f.loop, &err));
	stream_init(&f.server, f.loop, NULL);
	ASSERT(!addr_parse("127.0.0.1", 4420, &opts.addr));
	ASSERT(!listener_open(&f.listener, f.loop, &opts.addr, accepted, NULL,
			      &err));
	pdu_icresp(&f.icresp, 0, mode & 3, 131072);
	f.expected = sizeof(struct pdu_ic) +
		     CMDS * (sizeof(struct pdu_cmd) + (mode & 1 ? 4 : 0));
	for (unsigned i = 0; i < CMDS; i++) {
		f.bufs[i] = calloc(1, BYTES);
		f.iov[i] = (struct iovec){f.bufs[i], BYTES};
	}
	ASSERT(!nt_init(&f.conn, f.loop, &opts));
	nt_connect(&f.conn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	log_level_max = LOG_ERROR;
	if (size < 2)
		return 0;
	memset(&f, 0, sizeof(f));
	f.data = data + 1;
	f.size = size - 1;
	start(data[0]);
	/* A second is the commands' deadline: nothing may last longer. */
	for (int ms = 0; ms < 3000 && !(f.is_down && f.is_closed); ms++)
		io_sim_step(f.sim, io_sim_now_ns(f.sim) + NS_PER_MS);
	ASSERT(f.is_down && f.is_closed);
	for (unsigned i = 0; i < CMDS; i++) {
		ASSERT(f.done[i] == 1);
		free(f.bufs[i]);
	}
	nt_fini(&f.conn);
	listener_close(&f.listener, NULL);
	for (int i = 0; i < 10; i++)
		io_sim_step(f.sim, io_sim_now_ns(f.sim) + NS_PER_MS);
	loop_destroy(f.loop);
	io_sim_destroy(f.sim);
	return 0;
}
