/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Draining.  Single thread; a signal only sets a flag.  Invariant: whoever is
 * told that a segment was not unmounted is told in which state it is and how to
 * get it back.
 */
#include "deploy/drain.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "base/status.h"
#include "base/time.h"
#include "deploy/table.h"

#define POLL_MS	    250
#define DRAIN_AGAIN (DRAIN_FAILED + 1)

static volatile sig_atomic_t is_interrupted;

static void on_signal(int signo)
{
	is_interrupted = 1;
}

void drain_open(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

/* The answer lives until the next call.  0 or -errno. */
static int ask(struct tool *tool, const Mc__UnmountReq *what, bool count,
	       const Mc__DrainRsp **rsp, struct err *err)
{
	Mc__DrainReq req = MC__DRAIN_REQ__INIT;
	const ProtobufCMessage *msg;
	int ret;

	req.id = what->id;
	req.endpoint = what->endpoint;
	req.count = count;
	ret = rpc_sync_call(tool->master, METHOD_DRAIN, &req.base, &msg, err);
	*rsp = (const void *)msg;
	return ret;
}

static void add_objects(struct strbuf *out, uint64_t count, uint64_t bytes)
{
	strbuf_addf(out, "%" PRIu64 " object%s (", count,
		    count == 1 ? "" : "s");
	strbuf_add_size(out, bytes);
	strbuf_addc(out, ')');
}

static void tell(const Mc__Drained *one)
{
	struct strbuf text = {0};

	add_endpoint_name(&text, one->segment->name);
	strbuf_adds(&text, ": DRAINING; ");
	add_objects(&text, one->only_objects, one->only_bytes);
	strbuf_adds(&text, one->is_moving
				   ? " only there, which are moved where there "
				     "is room; "
				   : " only there, which will be dropped; ");
	add_objects(&text, one->other_objects, one->other_bytes);
	strbuf_adds(&text, " elsewhere, too");
	term_status(NULL);
	if (!text.failed)
		fprintf(stderr, "%s\n", text.p);
	strbuf_fini(&text);
}

int drain_begin(struct tool *tool, Mc__UnmountReq *what, const char *name)
{
	const Mc__DrainRsp *rsp;
	struct err err = {0};

	if (is_interrupted)
		return 0;
	term_status("%s: what is there? …", name);
	if (ask(tool, what, true, &rsp, &err) < 0)
		return 0;
	for (size_t i = 0; i < rsp->n_segments; i++)
		tell(rsp->segments[i]);
	return rsp->status == MOONCAKE_SEGMENT_NOT_FOUND;
}

static int fail(struct tool *tool, const char *name, const char *why)
{
	int ret = tool_fail_row(tool, name, 0, why);

	return ret < 0 ? ret : DRAIN_FAILED;
}

static int give_up(struct tool *tool, const char *name, const char *why)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "%s; it is DRAINING: nothing new is put there, what is there "
		 "can be read. The same again waits on, without --drain it "
		 "goes now, mooncake_ssd_register takes it back",
		 why);
	return fail(tool, name, text);
}

/* The longest of all that the answer names. */
static uint64_t busy_ms(const Mc__DrainRsp *rsp)
{
	uint64_t ms = 0;

	for (size_t i = 0; i < rsp->n_segments; i++)
		ms = MAX(ms, rsp->segments[i]->busy_ms);
	return ms;
}

static void nap(uint64_t ms)
{
	struct timespec ts = {.tv_sec = (time_t)(ms / 1000),
			      .tv_nsec = (long)(ms % 1000 * NS_PER_MS)};

	nanosleep(&ts, NULL); /* a signal ends it */
}

/* Of all that the answer names, and whether there is more to come. */
static bool is_moving(const Mc__DrainRsp *rsp, struct strbuf *text)
{
	uint64_t count = 0, bytes = 0;
	bool more = false;

	for (size_t i = 0; i < rsp->n_segments; i++) {
		count += rsp->segments[i]->moved_replicas;
		bytes += rsp->segments[i]->moved_bytes;
		more |= rsp->segments[i]->is_moving;
	}
	strbuf_addf(text, "%" PRIu64 " replica%s (", count,
		    count == 1 ? "" : "s");
	strbuf_add_size(text, bytes);
	strbuf_adds(text, ") moved");
	return more;
}

static void tell_moved(const char *name, const struct strbuf *moved)
{
	term_status(NULL);
	if (!moved->failed)
		fprintf(stderr, "%s: %s\n", name, moved->p);
}

static void tell_waiting(const char *name, const char *moved, uint64_t busy,
			 uint64_t patience_s)
{
	if (busy)
		term_status("%s: %s; leases end in %" PRIu64
			    " ms if nobody reads again; patience for %" PRIu64
			    " s …",
			    name, moved, busy, patience_s);
	else
		term_status("%s: %s; patience for %" PRIu64 " s …", name, moved,
			    patience_s);
}

/* One look; enum drain_result, -ENOMEM, or DRAIN_AGAIN. */
static int look(struct tool *tool, const Mc__UnmountReq *what, const char *name,
		uint64_t deadline_ns)
{
	uint64_t now_ns = time_mono_ns(), ms;
	struct strbuf moved = {0};
	const Mc__DrainRsp *rsp;
	struct err err = {0};
	int ret = DRAIN_AGAIN;
	bool more;

	if (is_interrupted)
		return give_up(tool, name, "interrupted");
	if (ask(tool, what, false, &rsp, &err) < 0)
		return fail(tool, name, err.text);
	if (rsp->status == MOONCAKE_SEGMENT_NOT_FOUND)
		return DRAIN_ABSENT;
	if (rsp->status != MOONCAKE_OK)
		return fail(tool, name, rsp->error);
	ms = busy_ms(rsp);
	more = is_moving(rsp, &moved);
	if (!ms && !more) {
		tell_moved(name, &moved);
		ret = DRAIN_IDLE;
	} else if (now_ns >= deadline_ns) {
		ret = give_up(tool, name,
			      more ? "objects are still being moved"
				   : "still read or written");
	} else {
		tell_waiting(name, moved.failed ? "" : moved.p, ms,
			     (deadline_ns - now_ns) / NS_PER_S);
		ms = more ? POLL_MS : MIN(ms, (uint64_t)POLL_MS);
		nap(MIN(ms, (deadline_ns - now_ns) / NS_PER_MS + 1));
	}
	strbuf_fini(&moved);
	return ret;
}

int drain_wait(struct tool *tool, const Mc__UnmountReq *what, const char *name,
	       uint64_t deadline_ns)
{
	int ret;

	do
		ret = look(tool, what, name, deadline_ns);
	while (ret == DRAIN_AGAIN);
	return ret;
}
