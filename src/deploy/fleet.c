/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that take hosts from a list.  Invariant: what stands on the terminal
 * is changed under the fleet's lock only; a host belongs to one thread.
 *
 * On a terminal every host has a line that is rewritten in place; elsewhere
 * each step is a line of its own.
 */
#include "deploy/fleet.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/time.h"

enum host_state {
	HOST_WAITING,
	HOST_WORKING,
	HOST_DONE
};

struct fleet {
	pthread_mutex_t mu;
	struct fleet_host *hosts;
	size_t count, next, failed;
	int (*work)(struct fleet_host *host, struct err *err);
	bool is_in_place; /* a terminal, and all hosts fit on it */
	unsigned columns;
};

static volatile sig_atomic_t is_stopping;

static void on_signal(int signo)
{
	is_stopping = 1;
}

bool fleet_is_stopping(void)
{
	return is_stopping;
}

static unsigned host_seconds(const struct fleet_host *host)
{
	uint64_t end = host->end_ns ? host->end_ns : time_mono_ns();

	return (unsigned)((end - host->begin_ns) / NS_PER_S);
}

static void format_line(const struct fleet_host *host, char *out, size_t size)
{
	static const char *const states[] = {"waits", "...", "done"};
	const char *state = states[host->state];

	if (host->state == HOST_DONE && host->ret)
		state = "FAILED";
	snprintf(out, size, "%-24s %-6s %4us  %s", host->name, state,
		 host->begin_ns ? host_seconds(host) : 0, host->step);
}

/* With the lock held. */
static void show(struct fleet *fleet, const struct fleet_host *host)
{
	size_t up = (size_t)(fleet->hosts + fleet->count - host);
	char line[512];

	format_line(host, line, sizeof(line));
	if (!fleet->is_in_place) {
		fprintf(stderr, "%s\n", line);
		return;
	}
	if (fleet->columns < sizeof(line))
		line[fleet->columns] =
			'\0'; /* a wrapped line can't be redone */
	fprintf(stderr, "\033[%zuA\r\033[K%s\033[%zuB\r", up, line, up);
}

void fleet_step(struct fleet_host *host, const char *fmt, ...)
{
	struct fleet *fleet = host->fleet;
	va_list ap;

	pthread_mutex_lock(&fleet->mu);
	va_start(ap, fmt);
	vsnprintf(host->step, sizeof(host->step), fmt, ap);
	va_end(ap);
	show(fleet, host);
	pthread_mutex_unlock(&fleet->mu);
}

static void finish(struct fleet *fleet, struct fleet_host *host)
{
	host->end_ns = time_mono_ns();
	host->state = HOST_DONE;
	if (host->ret) {
		fleet->failed++;
		snprintf(host->step, sizeof(host->step), "%.119s",
			 host->err.text);
	}
	show(fleet, host);
}

static void *thread_main(void *arg)
{
	struct fleet *fleet = arg;

	pthread_mutex_lock(&fleet->mu);
	while (fleet->next < fleet->count) {
		struct fleet_host *host = &fleet->hosts[fleet->next++];

		host->begin_ns = time_mono_ns();
		host->state = HOST_WORKING;
		pthread_mutex_unlock(&fleet->mu);
		if (is_stopping)
			host->ret = err_set(&host->err, -EINTR,
					    "interrupted before it began");
		else
			host->ret = fleet->work(host, &host->err);
		pthread_mutex_lock(&fleet->mu);
		finish(fleet, host);
	}
	pthread_mutex_unlock(&fleet->mu);
	return NULL;
}

static void measure_terminal(struct fleet *fleet)
{
	struct winsize size = {0};

	if (!isatty(STDERR_FILENO) || ioctl(STDERR_FILENO, TIOCGWINSZ, &size))
		return;
	fleet->columns = size.ws_col ? size.ws_col - 1 : 79;
	fleet->is_in_place = fleet->count < size.ws_row;
	for (size_t i = 0; fleet->is_in_place && i < fleet->count; i++)
		fprintf(stderr, "%s\n", fleet->hosts[i].name);
}

size_t fleet_run(struct fleet_host *hosts, size_t count,
		 int (*work)(struct fleet_host *host, struct err *err))
{
	struct fleet fleet = {.hosts = hosts, .count = count, .work = work};
	struct sigaction sa = {.sa_handler = on_signal}, old[2];
	pthread_t threads[FLEET_PARALLEL];
	size_t started = 0;

	pthread_mutex_init(&fleet.mu, NULL);
	for (size_t i = 0; i < count; i++)
		hosts[i].fleet = &fleet;
	measure_terminal(&fleet);
	sigaction(SIGINT, &sa, &old[0]);
	sigaction(SIGTERM, &sa, &old[1]);
	while (started < MIN(count, (size_t)FLEET_PARALLEL) &&
	       !pthread_create(&threads[started], NULL, thread_main, &fleet))
		started++;
	if (started == 0) /* no thread to be had: one after another */
		thread_main(&fleet);
	for (size_t i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	sigaction(SIGINT, &old[0], NULL);
	sigaction(SIGTERM, &old[1], NULL);
	pthread_mutex_destroy(&fleet.mu);
	return fleet.failed;
}
