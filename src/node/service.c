/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of the store service.  The loop is the caller's thread; setting the
 * store up is a job on a worker, because it blocks.
 *
 * Invariant: the REST port is open only while the store is set up, and the
 * store is destroyed after the last worker has ended.
 */
#include "node/service.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/log.h"
#include "base/status.h"
#include "base/time.h"
#include "io/signals.h"
#include "io/thread.h"
#include "node/rest.h"

#define WORKER_COUNT	    8
#define QUEUE_MAX	    1024
#define MASTER_PORT	    50051
#define RETRY_MS	    1000
#define CONNECT_PATIENCE_MS 1000

struct service {
	const struct service_opts *opts;
	struct loop *loop;
	struct signals signals;
	struct http_server *http;
	struct workers workers;
	struct rest rest;
	/* setting up */
	struct job setup;
	struct gate stop; /* opened when the program ends */
	bool is_stopping; /* loop's thread */
	int ret;	  /* the worker's until setup_done() */
	struct err err;	  /* likewise: why ret is not 0 */
	bool has_failed;  /* loop's thread */
};

/* --- setting up, on a worker --- */

/*
 * Is somebody listening?  Trying the set-up itself each second would log an
 * error each second.
 */
static int knock(const struct addr *addr)
{
	struct pollfd pfd = {.events = POLLOUT};
	socklen_t len = sizeof(int);
	int ret = 0;

	pfd.fd = socket(addr->ss.ss_family,
			SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (pfd.fd < 0)
		return -errno;
	if (connect(pfd.fd, (const struct sockaddr *)&addr->ss, addr->len) <
	    0) {
		ret = -errno;
		if (ret == -EINPROGRESS) {
			ret = poll(&pfd, 1, CONNECT_PATIENCE_MS) == 1
				      ? 0
				      : -ETIMEDOUT;
			if (ret == 0 && getsockopt(pfd.fd, SOL_SOCKET, SO_ERROR,
						   &ret, &len) == 0)
				ret = -ret;
		}
	}
	close(pfd.fd);
	return ret;
}

static int find_master(const char *address, struct err *err)
{
	struct hostport hp;
	struct addr addr;
	int ret = hostport_parse(str_of(address), MASTER_PORT, &hp, err);

	if (ret < 0)
		return ret;
	ret = addr_resolve(hp.host, hp.port, &addr, err);
	if (ret < 0)
		return -EAGAIN; /* name servers come and go */
	ret = knock(&addr);
	if (ret == 0)
		return 0;
	err_set(err, ret,
		"the master at %s can't be reached: %s; is "
		"mooncake_master running there?",
		address, strerror(-ret));
	return -EAGAIN;
}

/* 0, -EAGAIN when it is worth trying again, other -errno when not. */
static int try_setup(struct service *svc, struct err *err)
{
	const struct node_config *config = svc->opts->config;
	struct node_pairs pairs;
	int ret = find_master(config->master, err);

	if (ret < 0)
		return ret;
	node_config_pairs(config, &pairs);
	ret = mooncake_store_setup_config(svc->rest.store, pairs.names,
					  pairs.values, pairs.count);
	if (ret == 0)
		return 0;
	err_set(err, -EIO, "%s (%d)",
		mooncake_store_setup_error(svc->rest.store), ret);
	return ret == MOONCAKE_INVALID_PARAMS ? -EINVAL : -EAGAIN;
}

static void run_setup(struct job *job)
{
	struct service *svc = container_of(job, struct service, setup);
	uint64_t max_wait_ns = svc->opts->max_wait_ms * NS_PER_MS;
	uint64_t start_ns = time_mono_ns();
	struct err last = {0};

	for (;;) {
		struct err err = {0};

		svc->ret = try_setup(svc, &err);
		if (svc->ret != -EAGAIN ||
		    time_mono_ns() - start_ns >= max_wait_ns) {
			svc->err = err;
			return;
		}
		if (strcmp(err.text, last.text) != 0)
			log_warn("set-up is tried again every second",
				 "for_s=%llu reason=\"%s\"",
				 (unsigned long long)svc->opts->max_wait_ms /
					 1000,
				 err.text);
		last = err;
		if (gate_wait_for(&svc->stop, RETRY_MS * NS_PER_MS))
			return;
	}
}

/* --- on the loop --- */

static int open_rest(struct service *svc, struct addr *bound, struct err *err)
{
	struct http_opts opts = {
		.addr = svc->opts->rest,
		.routes = rest_routes,
		.route_count = rest_route_count,
		.arg = &svc->rest,
		.body_max = REST_BODY_MAX,
	};

	return http_open(svc->loop, &opts, bound, &svc->http, err);
}

static void setup_done(struct job *job)
{
	struct service *svc = container_of(job, struct service, setup);
	char name[320] = "", text[ADDR_TEXT_LEN];
	struct addr bound;

	if (svc->is_stopping)
		return;
	if (svc->ret == 0)
		svc->ret = open_rest(svc, &bound, &svc->err);
	if (svc->ret) {
		svc->has_failed = true;
		loop_stop(svc->loop);
		return;
	}
	addr_format(&bound, text);
	mooncake_store_get_hostname(svc->rest.store, name, sizeof(name));
	log_info("store service is ready",
		 "url=http://%s segment=%s bytes=%llu version=%s", text, name,
		 (unsigned long long)svc->opts->config->segment_bytes,
		 mooncake_version);
}

static void on_signal(struct signals *s, int signo)
{
	struct service *svc = s->arg;

	log_info("store service ends", "signal=%d", signo);
	loop_stop(svc->loop);
}

static int service_start(struct service *svc, struct err *err)
{
	struct addr bound;
	int ret = signals_open(&svc->signals, svc->loop, on_signal, svc, err);

	/*
	 * An open port means that the service is ready, so it is opened after
	 * the set-up.  But that it is taken is told now, not after a minute of
	 * waiting for the master.
	 */
	if (ret == 0)
		ret = open_rest(svc, &bound, err);
	if (ret < 0)
		return ret;
	http_close(TAKE(svc->http));
	svc->rest.store = mooncake_store_create();
	if (!svc->rest.store)
		return err_set(err, -ENOMEM, "out of memory");
	ret = workers_start(&svc->workers, svc->loop, WORKER_COUNT, QUEUE_MAX,
			    err);
	if (ret < 0)
		return ret;
	svc->setup.run = run_setup;
	svc->setup.done = setup_done;
	return workers_submit(&svc->workers, &svc->setup);
}

static void service_stop(struct service *svc)
{
	svc->is_stopping = true;
	gate_open(&svc->stop);
	workers_stop(&svc->workers);
	/* What the workers posted is in the mailbox and runs in one turn. */
	loop_turn(svc->loop, 0);
	http_close(svc->http);
	mooncake_store_destroy(svc->rest.store); /* unmounts the segment */
	signals_close(&svc->signals);
	loop_destroy(svc->loop);
}

int service_run(const struct service_opts *opts, struct err *err)
{
	struct service svc = {.opts = opts};
	int ret = loop_create(&(struct loop_opts){.name = "service"}, &svc.loop,
			      err);

	if (ret < 0)
		return ret;
	svc.rest.workers = &svc.workers;
	gate_init(&svc.stop);
	ret = service_start(&svc, err);
	if (ret == 0) {
		loop_run(svc.loop);
		if (svc.has_failed)
			ret = err_set(err, svc.ret, "not started: %s",
				      svc.err.text);
	}
	service_stop(&svc);
	return ret;
}
