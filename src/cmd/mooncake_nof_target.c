/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncake_nof_target: src/target as a program.  The main thread is the
 * control loop (and with --threads=1 serves the connections too); SIGINT or
 * SIGTERM ends it after what is under way.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "cmd/run.h"
#include "io/signals.h"
#include "io/thread.h"
#include "nvme/pdu.h"
#include "target/ident.h"
#include "target/target.h"

#define PROGRAM	     "mooncake_nof_target"
#define THREADS_MAX  64
#define LISTEN_MAX   16
#define STOP_NS	     (10 * NS_PER_S)
#define DEFAULT_PORT 4420

struct config {
	struct flag_list listen, namespaces, subsystems;
	char *nqn, *discovery, *log_level;
	uint64_t threads, max_io_size, in_capsule, depth, queues, buffers;
	uint64_t io_unit;
};

#define OFF(field) offsetof(struct config, field)
static const struct flag flags[] = {
	{.name = "namespace",
	 .type = FLAG_LIST,
	 .off = OFF(namespaces),
	 .arg = "SPEC",
	 .group = "What to serve",
	 .help = "A namespace (disk) of the subsystem --nqn. "
		 "SPEC is a file or block device (/data/disk.img, "
		 "/dev/nvme0n1), a file with its size, which is created when "
		 "absent (/data/disk.img:100g), or memory (ram:8g)."},
	{.name = "nqn",
	 .type = FLAG_STR,
	 .off = OFF(nqn),
	 .arg = "NQN",
	 .help = "Name of the subsystem. Default: "
		 "nqn.2026-11.io.mooncake:target:HOSTNAME:PORT."},
	{.name = "subsystem",
	 .type = FLAG_LIST,
	 .off = OFF(subsystems),
	 .arg = "NQN=SPEC[,SPEC]",
	 .help = "A further subsystem with its namespaces."},
	{.name = "listen",
	 .type = FLAG_LIST,
	 .off = OFF(listen),
	 .arg = "HOST:PORT",
	 .group = "Where",
	 .help = "Address to listen on. Default: "
		 "127.0.0.1:4420. 0.0.0.0 and [::] stand for every address; "
		 "port 0 takes a free one and says which. There is no "
		 "authentication: listen on networks you trust."},
	{.name = "discovery",
	 .type = FLAG_STR,
	 .off = OFF(discovery),
	 .arg = "HOST:PORT",
	 .help = "A port for the discovery service alone, usually 8009. "
		 "Discovery is also answered on every --listen address."},
	{.name = "threads",
	 .type = FLAG_UINT,
	 .off = OFF(threads),
	 .def = "1",
	 .min = 1,
	 .max = THREADS_MAX,
	 .arg = "N",
	 .group = "Resources",
	 .help = "Threads over which connections are spread."},
	{.name = "max_io_size",
	 .type = FLAG_SIZE,
	 .off = OFF(max_io_size),
	 .def = "1m",
	 .min = 8192,
	 .max = 32 << 20,
	 .arg = "SIZE",
	 .help = "Largest read or write command (MDTS)."},
	{.name = "in_capsule_data_size",
	 .type = FLAG_SIZE,
	 .off = OFF(in_capsule),
	 .def = "16k",
	 .min = 4096,
	 .max = 128 << 10,
	 .arg = "SIZE",
	 .help = "Writes up to this size need no extra round trip."},
	{.name = "max_queue_depth",
	 .type = FLAG_UINT,
	 .off = OFF(depth),
	 .def = "128",
	 .min = 2,
	 .max = 4096,
	 .arg = "N",
	 .help = "Entries of an I/O queue."},
	{.name = "max_io_qpairs_per_ctrlr",
	 .alias = "max_queues",
	 .type = FLAG_UINT,
	 .off = OFF(queues),
	 .def = "64",
	 .min = 1,
	 .max = 1024,
	 .arg = "N",
	 .help = "I/O queues (connections) a host may have."},
	{.name = "buffer_memory",
	 .type = FLAG_SIZE,
	 .off = OFF(buffers),
	 .def = "64m",
	 .min = 1 << 20,
	 .max = (double)(1024 * GiB),
	 .arg = "SIZE",
	 .help = "Most memory for data on their way between network and "
		 "files; commands wait when it is used up. RAM namespaces "
		 "need none."},
	{.name = "io_unit_size",
	 .type = FLAG_SIZE,
	 .off = OFF(io_unit),
	 .arg = "SIZE",
	 .attrs = FLAG_IGNORED | FLAG_HIDDEN,
	 .help = "Known from SPDK; buffers here always fit the command."},
	{.name = "log_level",
	 .type = FLAG_STR,
	 .off = OFF(log_level),
	 .def = "info",
	 .arg = "LEVEL",
	 .group = "Messages",
	 .help = "error, warn, info or debug."},
};

static const struct flag_prog prog = {
	.name = PROGRAM,
	.summary = "NVMe-oF target: serves disks, files and memory over TCP",
	.usage = "--namespace SPEC [options]",
	.details =
		"Hosts reach the namespaces with any NVMe/TCP initiator: the "
		"Mooncake store, the Linux kernel (nvme connect) or SPDK. When "
		"it is ready it prints the commands to use and the line "
		"\"ready HOST:PORT\".",
	.examples =
		"  " PROGRAM " --namespace /data/disk.img:100g\n"
		"  " PROGRAM " --listen 0.0.0.0:4420 --namespace /dev/nvme0n1\n"
		"  " PROGRAM " --namespace ram:8g --threads 4 "
		"--discovery 127.0.0.1:8009\n",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

struct program {
	const struct config *config;
	struct loop *loop;
	struct signals signals;
	struct timer stop_timer;
	struct shard shards[THREADS_MAX];
	struct loop *shard_loops[THREADS_MAX];
	unsigned shard_count;
	struct tgt *tgt;
	struct addr addrs[LISTEN_MAX];
	unsigned addr_count;
	struct strbuf out; /* what is printed when all is well */
};

static void on_stopped(void *arg)
{
	struct program *p = arg;

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

static void on_signal(struct signals *s, int signo)
{
	struct program *p = s->arg;
	struct tgt_stats st;

	if (timer_is_set(&p->stop_timer))
		return; /* it is stopping already */
	tgt_stats_get(p->tgt, &st);
	log_info("target stops",
		 "signal=\"%s\" connections=%llu controllers=%llu "
		 "commands=%llu errors=%llu bytes_read=%llu bytes_written=%llu",
		 strsignal(signo), (unsigned long long)st.connections,
		 (unsigned long long)st.controllers,
		 (unsigned long long)st.commands, (unsigned long long)st.errors,
		 (unsigned long long)st.bytes_read,
		 (unsigned long long)st.bytes_written);
	p->stop_timer.fire = on_stop_late;
	timer_set(p->loop, &p->stop_timer, STOP_NS);
	tgt_stop(p->tgt, on_stopped, p);
}

static int start_shards(struct program *p, struct err *err)
{
	unsigned count =
		p->config->threads > 1 ? (unsigned)p->config->threads : 0;
	int ret;

	for (unsigned i = 0; i < count; i++) {
		ret = shard_start(&p->shards[i],
				  &(struct loop_opts){.name = "target"}, err);
		if (ret)
			return ret;
		p->shard_loops[i] = p->shards[i].loop;
		p->shard_count++;
	}
	return 0;
}

static int create(struct program *p, struct err *err)
{
	const struct config *c = p->config;
	struct tgt_opts opts = {
		.loop = p->loop,
		.shards = p->shard_loops,
		.shard_count = p->shard_count,
		.max_transfer = (uint32_t)c->max_io_size,
		.in_capsule = (uint32_t)c->in_capsule,
		.max_queues = (uint16_t)c->queues,
		.queue_depth = (uint16_t)c->depth,
		.buffer_bytes = c->buffers,
	};

	return tgt_create(&opts, &p->tgt, err);
}

static int resolve(const char *text, uint16_t port, struct addr *out,
		   struct err *err)
{
	struct hostport hp;
	int ret = hostport_parse(str_of(text), port, &hp, err);

	return ret ? ret : addr_resolve(hp.host, hp.port, out, err);
}

static int listen_all(struct program *p, struct err *err)
{
	const struct flag_list *l = &p->config->listen;
	char *none[] = {(char[]){"127.0.0.1:4420"}};
	struct flag_list def = {.items = none, .count = 1};
	struct addr disc;
	int ret = 0;

	l = l->count ? l : &def;
	if (l->count > LISTEN_MAX - 1)
		return err_set(err, -EINVAL, "--listen: more than %d times",
			       LISTEN_MAX - 1);
	for (size_t i = 0; !ret && i < l->count; i++) {
		struct addr *addr = &p->addrs[p->addr_count];

		ret = resolve(l->items[i], DEFAULT_PORT, addr, err);
		if (!ret)
			ret = tgt_listen(p->tgt, addr, err);
		if (!ret)
			p->addr_count++;
	}
	if (!ret && p->config->discovery[0]) {
		ret = resolve(p->config->discovery, PDU_DISC_PORT, &disc, err);
		if (!ret)
			ret = tgt_listen_discovery(p->tgt, &disc, err);
	}
	return ret;
}

/* What a host on another machine would have to write. */
static void public_host(const struct addr *addr, char out[HOST_TEXT_LEN])
{
	char text[ADDR_TEXT_LEN];

	if (addr_is_any(addr) && gethostname(out, HOST_TEXT_LEN) == 0) {
		out[HOST_TEXT_LEN - 1] = '\0';
		return;
	}
	addr_format_host(addr, text);
	snprintf(out, HOST_TEXT_LEN, "%s", text);
}

static void print_ns(struct program *p, const char *nqn, uint32_t nsid,
		     const struct bdev *bdev)
{
	struct endpoint ep = {.nsid = nsid, .trtype = NVME_TRTYPE_TCP};
	char text[ENDPOINT_TEXT_LEN];
	struct strbuf size = {0};

	public_host(&p->addrs[0], ep.traddr);
	ep.trsvcid = addr_port(&p->addrs[0]);
	ep.is_ipv6 = p->addrs[0].ss.ss_family == AF_INET6;
	snprintf(ep.subnqn, sizeof(ep.subnqn), "%s", nqn);
	endpoint_format(&ep, text);
	strbuf_add_size(&size, bdev->size);
	strbuf_addf(&p->out,
		    "  namespace %u: %s %s, %s, %u-byte blocks\n"
		    "    mooncake_ssd_register "
		    "--master_server_address=127.0.0.1:50051 \\\n"
		    "      --endpoint='%s'\n",
		    nsid, bdev->ops->kind, bdev->name, size.p ? size.p : "",
		    bdev->block, text);
	strbuf_fini(&size);
}

static int add_ns(struct program *p, struct tgt_subsys *ss, const char *nqn,
		  struct str spec, struct err *err)
{
	char *text = str_dup(spec);
	struct tgt_ns_opts opts = {0};
	struct bdev *bdev = NULL;
	int ret;

	if (!text)
		return err_set(err, -ENOMEM, "out of memory");
	ret = bdev_from_spec(text, &bdev, err);
	free(text);
	if (ret)
		return ret;
	opts.nsid = tgt_ns_next(ss);
	/* Stays the same when the target is started again. */
	ident_uuid(nqn, opts.nsid, bdev->name, &opts.uuid);
	ret = tgt_ns_add(ss, bdev, &opts, err);
	if (ret < 0) {
		bdev->ops->destroy(bdev);
		return ret;
	}
	print_ns(p, nqn, (uint32_t)ret, bdev);
	return 0;
}

static int add_subsys(struct program *p, const char *nqn,
		      struct tgt_subsys **out, struct err *err)
{
	int ret = tgt_subsys_add(p->tgt, nqn, NULL, out, err);
	char host[HOST_TEXT_LEN];

	if (ret)
		return ret;
	strbuf_addf(&p->out, "subsystem %s\n", nqn);
	for (unsigned i = 0; i < p->addr_count; i++) {
		public_host(&p->addrs[i], host);
		strbuf_addf(&p->out,
			    "  nvme connect -t tcp -a %s -s %u -n %s\n", host,
			    addr_port(&p->addrs[i]), nqn);
	}
	return 0;
}

static void default_nqn(const struct program *p, char out[NVME_NQN_LEN])
{
	char host[64] = "localhost";

	gethostname(host, sizeof(host) - 1);
	for (char *c = host; *c; c++)
		*c = isalnum((unsigned char)*c)
			     ? (char)tolower((unsigned char)*c)
			     : '-';
	snprintf(out, NVME_NQN_LEN, "nqn.2026-11.io.mooncake:target:%s:%u",
		 host, addr_port(&p->addrs[0]));
}

static int serve_main(struct program *p, struct err *err)
{
	const struct flag_list *l = &p->config->namespaces;
	char nqn[NVME_NQN_LEN];
	struct tgt_subsys *ss;
	int ret;

	default_nqn(p, nqn);
	if (p->config->nqn[0])
		snprintf(nqn, sizeof(nqn), "%s", p->config->nqn);
	ret = add_subsys(p, nqn, &ss, err);
	for (size_t i = 0; !ret && i < l->count; i++)
		ret = add_ns(p, ss, nqn, str_of(l->items[i]), err);
	return ret;
}

/* NQN=SPEC[,SPEC] */
static int serve_further(struct program *p, const char *text, struct err *err)
{
	struct str rest, nqn = str_cut(str_of(text), '=', &rest);
	char *name;
	struct tgt_subsys *ss;
	int ret;

	if (!nqn.n || !rest.n)
		return err_set(err, -EINVAL,
			       "--subsystem '%s': expected NQN=SPEC[,SPEC]",
			       text);
	name = str_dup(nqn);
	if (!name)
		return err_set(err, -ENOMEM, "out of memory");
	ret = add_subsys(p, name, &ss, err);
	while (!ret && rest.n) {
		struct str spec = str_cut(rest, ',', &rest);

		ret = add_ns(p, ss, name, spec, err);
	}
	free(name);
	return ret;
}

static int serve_all(struct program *p, struct err *err)
{
	const struct flag_list *more = &p->config->subsystems;
	int ret = 0;

	if (!p->config->namespaces.count && !more->count)
		return err_set(err, -EINVAL,
			       "nothing to serve: give --namespace /path/"
			       "disk.img:10g, /dev/… or ram:1g");
	if (p->config->namespaces.count)
		ret = serve_main(p, err);
	for (size_t i = 0; !ret && i < more->count; i++)
		ret = serve_further(p, more->items[i], err);
	return ret;
}

static void announce(struct program *p)
{
	char text[ADDR_TEXT_LEN];

	fputs(p->out.p ? p->out.p : "", stdout);
	strbuf_fini(&p->out);
	for (unsigned i = 0; i < p->addr_count; i++) {
		addr_format(&p->addrs[i], text);
		log_info("target ready", "listen=%s threads=%llu version=%s",
			 text, (unsigned long long)p->config->threads,
			 mooncake_version);
		printf("ready %s\n", text);
	}
	fflush(stdout);
}

/* After a failed start the loop still has to turn for the listeners. */
static void stop_now(struct program *p)
{
	if (!p->tgt)
		return;
	p->stop_timer.fire = on_stop_late;
	timer_set(p->loop, &p->stop_timer, STOP_NS);
	tgt_stop(p->tgt, on_stopped, p);
	loop_run(p->loop);
}

static int serve(struct program *p, struct err *err)
{
	bool has_signals = false;
	int ret;

	ret = loop_create(&(struct loop_opts){.name = "control"}, &p->loop,
			  err);
	if (!ret) {
		ret = signals_open(&p->signals, p->loop, on_signal, p, err);
		has_signals = !ret;
	}
	if (!ret)
		ret = start_shards(p, err);
	if (!ret)
		ret = create(p, err);
	if (!ret)
		ret = listen_all(p, err);
	if (!ret)
		ret = serve_all(p, err);
	if (!ret) {
		announce(p);
		loop_run(p->loop);
	}
	strbuf_fini(&p->out);
	stop_now(p);
	if (has_signals) {
		timer_cancel(p->loop, &p->stop_timer);
		signals_close(&p->signals);
	}
	for (unsigned i = 0; i < THREADS_MAX; i++)
		shard_stop(&p->shards[i]);
	loop_destroy(p->loop);
	return ret;
}

static int run(struct flag_set *fs, struct err *err)
{
	static struct program program;
	int ret;

	program.config = fs->config;
	ret = run_set_log_level(program.config->log_level, err);
	return ret ? ret : serve(&program, err);
}

int main(int argc, char **argv)
{
	struct config config = {0};

	return run_main(&prog, &config, run, argc, argv);
}
