/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncake_nof_target: src/target as a program.  The main thread is the
 * control loop (and with --threads=1 serves the connections too); SIGINT or
 * SIGTERM ends it after what is under way, SIGHUP reads key files again.
 */
#include "cmd/nof_target.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "cmd/notify.h"
#include "cmd/run.h"

#define STOP_NS (10 * NS_PER_S)

static void on_stopped(void *arg)
{
	struct nof_program *p = arg;

	p->tgt = NULL;
	loop_stop(p->loop);
}

static void on_stop_late(struct timer *timer)
{
	log_err("target does not stop",
		"seconds=%llu: a device does not "
		"answer; ending anyway",
		(unsigned long long)(STOP_NS / NS_PER_S));
	_exit(1);
}

static void on_control_closed(void *arg)
{
	struct nof_program *p = arg;

	tgt_stop(p->tgt, on_stopped, p);
}

/* JSON-RPC calls that are under way are answered first. */
static void stop(struct nof_program *p)
{
	p->stop_timer.fire = on_stop_late;
	timer_set(p->loop, &p->stop_timer, STOP_NS);
	control_close(&p->control, on_control_closed, p);
}

static void on_drained(void *arg)
{
	stop(arg);
}

/* The first one is taken with care, the second at its word. */
static void on_signal(struct signals *s, int signo)
{
	struct nof_program *p = s->arg;
	struct tgt_stats st;

	if (!p->tgt)
		return; /* it has stopped in this turn */
	if (signo == SIGHUP) {
		nof_keys_again(p);
		return;
	}
	if (p->is_leaving) {
		log_warn("target ends at once", "signal=\"%s\"",
			 strsignal(signo));
		_exit(1);
	}
	p->is_leaving = true;
	notify("STOPPING=1");
	tgt_stats_get(p->tgt, &st);
	log_info("target stops",
		 "signal=\"%s\" connections=%llu controllers=%llu "
		 "commands=%llu errors=%llu bytes_read=%llu bytes_written=%llu",
		 strsignal(signo), (unsigned long long)st.connections,
		 (unsigned long long)st.controllers,
		 (unsigned long long)st.commands, (unsigned long long)st.errors,
		 (unsigned long long)st.bytes_read,
		 (unsigned long long)st.bytes_written);
	control_leave(&p->control);
	tgt_drain(p->tgt, (uint32_t)p->config->drain_seconds * 1000, on_drained,
		  p);
}

static struct loop_opts loop_options(const struct nof_program *p,
				     const char *name)
{
	return (struct loop_opts){
		.name = name,
		.spin_us = (uint32_t)p->config->spin_us,
	};
}

static int start_shards(struct nof_program *p, struct err *err)
{
	struct loop_opts opts = loop_options(p, "target");
	unsigned count =
		p->config->threads > 1 ? (unsigned)p->config->threads : 0;
	int ret;

	for (unsigned i = 0; i < count; i++) {
		ret = shard_start(&p->shards[i], &opts, err);
		if (ret)
			return ret;
		p->shard_loops[i] = p->shards[i].loop;
		p->shard_count++;
	}
	return 0;
}

static int create(struct nof_program *p, struct err *err)
{
	const struct nof_config *c = p->config;
	struct tgt_opts opts = {
		.loop = p->loop,
		.shards = p->shard_loops,
		.shard_count = p->shard_count,
		.max_transfer = (uint32_t)c->max_io_size,
		.in_capsule = (uint32_t)c->in_capsule,
		.zerocopy_bytes = (uint32_t)c->zerocopy_bytes,
		.max_queues = (uint16_t)c->queues,
		.queue_depth = (uint16_t)c->depth,
		.buffer_bytes = c->buffers,
	};

	int ret = tgt_create(&opts, &p->tgt, err);

	if (!ret)
		control_init(&p->control, p->loop, p->tgt);
	return ret;
}

/* Where and what the options say; without any it is JSON-RPC's to say. */
static int open_all(struct nof_program *p, struct err *err)
{
	int ret = 0;

	if (nof_has_namespaces(p) || p->config->listen.count) {
		ret = nof_listen_all(p, err);
		if (!ret)
			transport_given(&p->control);
	}
	if (!ret)
		ret = nof_serve_all(p, err);
	if (!ret)
		ret = nof_fault_all(p, err);
	return ret ? ret : nof_control_open(p, err);
}

static void announce(struct nof_program *p)
{
	struct tgt_listener_info info;
	char text[ADDR_TEXT_LEN];

	fputs(p->out.p ? p->out.p : "", stdout);
	strbuf_fini(&p->out);
	for (unsigned i = 0; tgt_listener_at(p->tgt, i, &info); i++) {
		if (info.is_discovery)
			continue;
		addr_format(&info.addr, text);
		log_info("target ready", "listen=%s threads=%llu version=%s",
			 text, (unsigned long long)p->config->threads,
			 mooncake_version);
		printf("ready %s\n", text);
	}
	if (p->rpc_path)
		printf("ready %s\n", p->rpc_path);
	fflush(stdout);
}

/* After a failed start the loop still has to turn for the listeners. */
static void stop_now(struct nof_program *p)
{
	if (!p->tgt)
		return;
	stop(p);
	loop_run(p->loop);
}

static int serve(struct nof_program *p, struct err *err)
{
	struct loop_opts opts = loop_options(p, "control");
	bool has_signals = false;
	int ret;

	ret = loop_create(&opts, &p->loop, err);
	if (!ret) {
		ret = signals_open(&p->signals, p->loop, on_signal, p, err);
		has_signals = !ret;
	}
	if (!ret)
		ret = signals_take_hup(&p->signals, err);
	if (!ret)
		ret = start_shards(p, err);
	if (!ret)
		ret = create(p, err);
	/* Before there is a way in. */
	if (!ret)
		ret = nof_keys_all(p, err);
	if (!ret)
		ret = open_all(p, err);
	if (!ret) {
		announce(p);
		notify("READY=1");
		loop_run(p->loop);
	}
	strbuf_fini(&p->out);
	/* A signal would end a second time what ends here. */
	if (has_signals)
		signals_close(&p->signals);
	stop_now(p);
	control_fini(&p->control);
	timer_cancel(p->loop, &p->stop_timer);
	for (unsigned i = 0; i < NOF_THREADS_MAX; i++)
		shard_stop(&p->shards[i]);
	loop_destroy(p->loop);
	return ret;
}

static int run(struct flag_set *fs, struct err *err)
{
	static struct nof_program program;
	int ret;

	program.config = fs->config;
	ret = run_set_log_level(program.config->log_level, err);
	return ret ? ret : serve(&program, err);
}

int main(int argc, char **argv)
{
	struct nof_config config = {0};

	return run_main(&nof_prog, &config, run, argc, argv);
}
