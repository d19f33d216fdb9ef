/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor itself: runs the tables of checks, keeps what they find, and helps
 * them to look.  One thread, which turns the loop while it asks.  Invariant:
 * every check leaves a finding, or one before it has said why it could not
 * look, so silence is never taken for health.
 */
#include "deploy/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <unistd.h>

#include "base/time.h"
#include "deploy/doctor_check.h"
#include "io/resolve.h"
#include "pool/identity.h"
#include "rpc/client.h"

static const struct doctor_check *const tables[] = {
	doctor_host_checks, doctor_setup_checks,  doctor_net_checks,
	doctor_port_checks, doctor_master_checks, doctor_target_checks,
	doctor_path_checks,
};

/* --- findings --- */

static char *format(const char *fmt, va_list ap)
{
	struct strbuf text = {0};

	strbuf_vaddf(&text, fmt, ap);
	if (text.failed)
		strbuf_fini(&text);
	return text.p;
}

static void finding_fini(struct doctor_finding *finding)
{
	free(finding->subject);
	free(finding->text);
	free(finding->advice);
}

static bool has_room(struct doctor *d)
{
	size_t cap = d->cap ? 2 * d->cap : 64;
	struct doctor_finding *more;

	if (d->count < d->cap)
		return true;
	more = realloc(d->findings, cap * sizeof(*more));
	if (!more)
		return false;
	d->findings = more;
	d->cap = cap;
	return true;
}

void doctor_add(struct doctor *d, const struct doctor_check *check,
		enum doctor_level level, const char *subject, const char *fmt,
		...)
{
	const char *advice =
		level != DOCTOR_OK && check->advice ? check->advice : "";
	struct doctor_finding finding = {.check = check, .level = level};
	va_list ap;

	va_start(ap, fmt);
	finding.text = format(fmt, ap);
	va_end(ap);
	finding.subject = str_dup(str_of(subject));
	finding.advice = str_dup(str_of(advice));
	if (finding.text && finding.subject && finding.advice && has_room(d)) {
		d->findings[d->count++] = finding;
		return;
	}
	finding_fini(&finding);
	d->is_out_of_memory = true;
}

void doctor_advise(struct doctor *d, const char *fmt, ...)
{
	char *advice;
	va_list ap;

	if (!d->count)
		return; /* there was no memory for the finding */
	va_start(ap, fmt);
	advice = format(fmt, ap);
	va_end(ap);
	if (!advice) {
		d->is_out_of_memory = true;
		return;
	}
	free(d->findings[d->count - 1].advice);
	d->findings[d->count - 1].advice = advice;
}

enum doctor_level doctor_worst(const struct doctor *d)
{
	/* Half an answer must not look like a good one. */
	enum doctor_level worst = d->is_out_of_memory ? DOCTOR_FAIL : DOCTOR_OK;

	for (size_t i = 0; i < d->count; i++)
		worst = MAX(worst, d->findings[i].level);
	return worst;
}

/* --- looking --- */

static int open_path(const struct doctor *d, const char *path, int flags)
{
	char full[512];
	int n = snprintf(full, sizeof(full), "%s%s", d->opts.root, path);
	int fd;

	if (n < 0 || (size_t)n >= sizeof(full))
		return -ENAMETOOLONG;
	fd = open(full, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

int doctor_read(const struct doctor *d, const char *path, char *buf,
		size_t size)
{
	int fd = open_path(d, path, O_RDONLY);
	struct str text;
	ssize_t n;

	buf[0] = '\0';
	if (fd < 0)
		return fd;
	n = read(fd, buf, size - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return (int)n;
	text = str_trim((struct str){buf, (size_t)n});
	memmove(buf, text.p, text.n);
	buf[text.n] = '\0';
	return 0;
}

bool doctor_has_path(const struct doctor *d, const char *path)
{
	int fd = open_path(d, path, O_PATH);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int doctor_read_number(const struct doctor *d, const char *path, unsigned index,
		       uint64_t *out)
{
	char buf[256], *p = buf;
	int ret = doctor_read(d, path, buf, sizeof(buf));

	for (unsigned i = 0; ret == 0 && i < index; i++) {
		p += strcspn(p, " \t");
		p += strspn(p, " \t");
	}
	if (ret)
		return ret;
	return str_to_u64((struct str){p, strcspn(p, " \t\n")}, out);
}

/* 1 synchronised, 0 not, -errno. */
static int clock_state(void)
{
	struct timex tx = {0};
	int state = adjtimex(&tx); /* modes 0: only asks, no privilege */

	if (state < 0)
		return -errno;
	return state != TIME_ERROR && !(tx.status & STA_UNSYNC);
}

static void look_around(struct doctor_facts *facts)
{
	struct loop_opts opts = {.backend = IO_BACKEND_URING, .name = "try"};
	struct rlimit memlock = {0}, files = {0};
	struct loop *loop = NULL;
	struct err err = {0};
	cpu_set_t cpus;

	*facts = (struct doctor_facts){
		.uring_ret = loop_create(&opts, &loop, &err),
		.clock_state = clock_state(),
	};
	loop_destroy(loop);
	if (getrlimit(RLIMIT_MEMLOCK, &memlock) == 0)
		facts->memlock_bytes = memlock.rlim_cur;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		facts->open_files = files.rlim_cur;
		facts->open_files_hard = files.rlim_max;
	}
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		facts->cpus = (unsigned)CPU_COUNT(&cpus);
}

/* --- names --- */

struct lookup {
	struct loop *loop;
	struct addr *out;
	struct err *err;
	int ret;
};

static void on_resolved(int ret, const struct addr *addr, const struct err *err,
			void *arg)
{
	struct lookup *lookup = arg;

	lookup->ret = ret;
	if (ret)
		err_set(lookup->err, ret, "%s", err->text);
	else
		*lookup->out = *addr;
	loop_stop(lookup->loop);
}

int doctor_resolve(struct doctor *d, const struct hostport *hp,
		   struct addr *out, struct err *err)
{
	struct lookup lookup = {.loop = d->loop, .out = out, .err = err};
	struct resolve_req req = {
		.host = hp->host,
		.port = hp->port,
		.timeout_ms = d->opts.timeout_ms,
		.done = on_resolved,
		.arg = &lookup,
	};

	if (!resolve_start(d->loop, &req))
		return err_set(err, -ENOMEM, "out of memory or threads");
	loop_run(d->loop);
	return lookup.ret;
}

void doctor_add_peer(struct doctor *d, const char *host,
		     const struct addr *addr)
{
	struct doctor_peer peer = {.addr = *addr}, *more;

	addr_format(addr, peer.name);
	snprintf(peer.host, sizeof(peer.host), "%s", host);
	for (size_t i = 0; i < d->peer_count; i++)
		if (strcmp(d->peers[i].name, peer.name) == 0)
			return;
	more = realloc(d->peers, (d->peer_count + 1) * sizeof(*more));
	if (!more) {
		d->is_out_of_memory = true;
		return;
	}
	d->peers = more;
	d->peers[d->peer_count++] = peer;
}

static bool is_same_path(const struct endpoint *a, const struct endpoint *b)
{
	return a->nsid == b->nsid && a->trsvcid == b->trsvcid &&
	       strcmp(a->traddr, b->traddr) == 0 &&
	       strcmp(a->subnqn, b->subnqn) == 0;
}

int doctor_add_look(struct doctor *d, struct endpoint *ep,
		    const struct doctor_segment *owner, struct err *err)
{
	struct hostport hp = {.port = ep->trsvcid};
	struct look *more;
	struct addr addr;
	int ret;

	snprintf(hp.host, sizeof(hp.host), "%s", ep->traddr);
	ret = doctor_resolve(d, &hp, &addr, err);
	if (ret)
		return ret;
	addr_format_host(&addr, ep->traddr);
	doctor_add_peer(d, hp.host, &addr);
	for (size_t i = 0; i < d->look_count; i++)
		if (is_same_path(&d->looks[i].ep, ep))
			return 0;
	more = realloc(d->looks, (d->look_count + 1) * sizeof(*more));
	if (!more)
		return err_set(err, -ENOMEM, "out of memory");
	d->looks = more;
	d->looks[d->look_count++] = (struct look){.ep = *ep, .owner = owner};
	return 0;
}

/* --- the whole --- */

int doctor_create(const struct doctor_opts *opts, struct doctor **out,
		  struct err *err)
{
	struct doctor *d = calloc(1, sizeof(*d));
	char etc[256];
	int ret;

	*out = NULL;
	if (!d)
		return err_set(err, -ENOMEM, "out of memory");
	d->opts = *opts;
	ret = loop_create(&(struct loop_opts){.name = "doctor"}, &d->loop, err);
	if (ret) {
		doctor_destroy(d);
		return ret;
	}
	snprintf(etc, sizeof(etc), "%.240s/etc", opts->root);
	d->has_vol = vol_opts_read_env(&d->vol, &(struct err){0}) == 0;
	d->has_identity = d->has_vol && identity_read(etc, &d->vol.nvmf,
						      &(struct err){0}) == 0;
	if (opts->facts)
		d->facts = *opts->facts;
	else
		look_around(&d->facts);
	*out = d;
	return 0;
}

void doctor_destroy(struct doctor *d)
{
	if (!d)
		return;
	rpc_sync_close(d->master);
	for (size_t i = 0; i < d->count; i++)
		finding_fini(&d->findings[i]);
	free(d->findings);
	free(d->peers);
	free(d->looks);
	free(d->segments);
	loop_destroy(d->loop);
	secret_clear(&d->vol, sizeof(d->vol));
	free(d);
}

void doctor_run(struct doctor *d, void (*progress)(const char *what))
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		const struct doctor_check *check = tables[i];

		for (; check->name; check++) {
			if (progress)
				progress(check->name);
			check->run(d, check);
		}
	}
}

const struct doctor_check *doctor_find_check(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		const struct doctor_check *check = tables[i];

		for (; check->name; check++)
			if (strcmp(check->name, name) == 0)
				return check;
	}
	return NULL;
}
