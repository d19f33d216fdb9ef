/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rounds, and what back ends share.  One thread per deployment.
 * Invariant: all steps of all rounds are in one plan, so that a failure in a
 * late round takes back the early ones, too.
 */
#include "deploy/deployment.h"

#include <errno.h>
#include <stdio.h>

#include "base/hash.h"
#include "deploy/limit.h"

#define ROUNDS_MAX 8

int deployment_facts(struct deployment *d, const char *script,
		     void (*take)(void *arg, struct str key, struct str value),
		     void *arg, struct err *err)
{
	struct remote_result res = {0};
	struct str rest;
	int ret = remote_run(d->remote,
			     &(struct remote_cmd){
				     .script = script,
				     .as_root = true,
			     },
			     &res, err);

	if (ret == 0 && res.status)
		ret = err_set(err, -EREMOTEIO,
			      "%s: can't look around: " STR_FMT, d->node->host,
			      (int)MIN(res.errors.n, (size_t)120),
			      res.errors.p ? res.errors.p : "");
	rest = strbuf_str(&res.out);
	while (ret == 0 && rest.n) {
		struct str line = str_cut(rest, '\n', &rest), value;
		struct str key = str_cut(line, '=', &value);

		take(arg, key, value);
	}
	remote_result_fini(&res);
	return ret;
}

int deployment_read(struct deployment *d, const char *path,
		    struct remote_result *res, struct err *err)
{
	struct strbuf script = {0};
	int ret = -ENOMEM;

	*res = (struct remote_result){0};
	strbuf_adds(&script, "cat ");
	shell_quote(&script, path);
	strbuf_adds(&script, " 2>/dev/null || :");
	if (script.failed)
		err_set(err, ret, "out of memory");
	else
		ret = remote_run(d->remote,
				 &(struct remote_cmd){.script = script.p,
						      .as_root = true},
				 res, err);
	strbuf_fini(&script);
	return ret;
}

int deployment_check_disk(struct deployment *d, const char *path,
			  struct disk *out, struct err *err)
{
	int ret = disk_look(d->remote, path, out, err);

	if (ret)
		return ret;
	switch (out->state) {
	case DISK_FREE:
		return 0;
	case DISK_OURS:
		plan_note(&d->plan, "%s carries %s; it stays as it is", path,
			  out->why);
		return 0;
	case DISK_FOREIGN:
		if (d->opts->is_forced) {
			plan_note(&d->plan, "%s %s: taken by --force", path,
				  out->why);
			return 0;
		}
		return err_set(err, -EEXIST,
			       "%s: %s %s; if that can go, wipe it there "
			       "(wipefs -a %s) or use --force",
			       d->node->host, path, out->why, path);
	case DISK_IN_USE:
		return err_set(err, -EBUSY, "%s: %s is not free: %s",
			       d->node->host, path, out->why);
	case DISK_ABSENT:
		return err_set(err, -ENOENT, "%s: there is no %s",
			       d->node->host, path);
	}
	UNREACHABLE();
}

struct relay deployment_relay(const struct deployment *d)
{
	struct relay relay = {.remote = d->remote, .tree = d->node->path};

	snprintf(relay.socket, sizeof(relay.socket), "%s", d->socket);
	return relay;
}

/* --- services --- */

/* dead: true when it has come to nothing. */
static void add_wait(struct strbuf *out, const char *socket, const char *dead,
		     const char *log)
{
	strbuf_addf(out,
		    "%sdead() { %s; }\n"
		    "while [ ! -S '%s' ]; do\n"
		    "  ! { late || dead; } || {\n"
		    "    echo \"it does not open %s:\" $(%s) >&2; exit 1; }\n"
		    "  sleep 0.1\ndone\n",
		    shell_late, dead, socket, socket, log);
}

static void limit_service(struct step *step)
{
	if (!step)
		return;
	step->timeout_ms = LIMIT_START_MS;
	step->undo_ms = LIMIT_END_MS;
}

void deployment_unit(struct deployment *d, const char *name, const char *text,
		     const char *start, const char *stop)
{
	struct strbuf undo = {0};
	char path[160], title[256];

	snprintf(path, sizeof(path), "/etc/systemd/system/%s.service", name);
	snprintf(title, sizeof(title), "write the unit %s.service", name);
	step_undo_add(&d->plan, plan_file(&d->plan, title, path, text, 0644),
		      "systemctl daemon-reload || :");
	strbuf_addf(&undo,
		    "%s\n[ -e %s" PLAN_OLD " ] ||\n"
		    "  systemctl disable %s.service || :\n",
		    stop, path, name);
	snprintf(title, sizeof(title), "start %s", name);
	limit_service(
		plan_script(&d->plan, title, start, undo.p ? undo.p : ""));
	d->plan.failed |= undo.failed;
	strbuf_fini(&undo);
}

static void plan_unit(struct deployment *d, const char *name, const char *text)
{
	struct strbuf file = {0}, start = {0};
	char stop[256], log[128], dead[160];

	strbuf_addf(&file,
		    "[Unit]\nDescription=%s\nAfter=network-online.target\n"
		    "Wants=network-online.target\n\n[Service]\n"
		    "ExecStart=/bin/sh " DEPLOY_FOLDER "/%s.sh\n"
		    "Restart=on-failure\nRestartSec=2\nLimitMEMLOCK=infinity\n"
		    "LimitNOFILE=1048576\n\n[Install]\n"
		    "WantedBy=multi-user.target\n",
		    text, name);
	/* One that systemd starts again and again begins anew, and its restarts
	 * are counted from now. */
	strbuf_addf(&start,
		    "set -e\nsystemctl daemon-reload\n"
		    "systemctl stop %s.service 2>/dev/null || :\n"
		    "systemctl reset-failed %s.service 2>/dev/null || :\n"
		    "systemctl enable --now %s.service\n",
		    name, name, name);
	snprintf(log, sizeof(log), "journalctl -u %s -n 3 -o cat", name);
	/* systemd starts it again, and again. */
	snprintf(dead, sizeof(dead),
		 "[ \"$(systemctl show -p NRestarts --value %s)\" -ge 3 ] "
		 "2>/dev/null",
		 name);
	add_wait(&start, d->socket, dead, log);
	snprintf(stop, sizeof(stop), "systemctl stop %s.service || :\nrm -f %s",
		 name, d->socket);
	deployment_unit(d, name, file.p ? file.p : "", start.p ? start.p : "",
			stop);
	d->plan.failed |= file.failed || start.failed;
	strbuf_fini(&file);
	strbuf_fini(&start);
}

/* No systemd (a container): a process of its own session. */
static void plan_process(struct deployment *d, const char *name)
{
	struct strbuf start = {0}, stop = {0};
	char title[192], log[128];

	plan_note(&d->plan,
		  "no systemd there: after a reboot start "
		  "'sh " DEPLOY_FOLDER "/%s.sh' again",
		  name);
	strbuf_addf(&start,
		    "set -e\nsetsid nohup /bin/sh " DEPLOY_FOLDER "/%s.sh "
		    "</dev/null >/var/log/%s.log 2>&1 &\n"
		    "p=$!; echo $p >/run/%s.pid\n",
		    name, name, name);
	snprintf(log, sizeof(log), "tail -n 3 /var/log/%s.log", name);
	add_wait(&start, d->socket, "! kill -0 $p 2>/dev/null", log);
	/* Its end is waited for, so that what is taken back next stays so. */
	strbuf_addf(&stop,
		    "p=$(cat /run/%s.pid) && i=0 && kill -- -$p &&\n"
		    "while kill -0 -- -$p 2>/dev/null && [ $i -lt 100 ]; do\n"
		    "  i=$((i + 1)); [ $i -ne 50 ] || kill -KILL -- -$p\n"
		    "  sleep 0.1; done\n"
		    "rm -f /run/%s.pid %s\n",
		    name, name, d->socket);
	snprintf(title, sizeof(title), "start %s", name);
	limit_service(plan_script(&d->plan, title, start.p ? start.p : "",
				  stop.p ? stop.p : ""));
	d->plan.failed |= start.failed || stop.failed;
	strbuf_fini(&start);
	strbuf_fini(&stop);
}

void deployment_service(struct deployment *d, const char *name,
			const char *text, const char *script)
{
	char path[96], title[192];

	plan_script(&d->plan, "make the folder " DEPLOY_FOLDER,
		    "mkdir -p -m 0755 " DEPLOY_FOLDER, NULL);
	snprintf(path, sizeof(path), DEPLOY_FOLDER "/%s.sh", name);
	snprintf(title, sizeof(title), "write %s", path);
	plan_file(&d->plan, title, path, script, 0755);
	if (d->has_systemd)
		plan_unit(d, name, text);
	else
		plan_process(d, name);
}

void deployment_make_file(struct deployment *d, const char *path,
			  uint64_t bytes)
{
	struct strbuf go = {0}, undo = {0};
	unsigned long long n = bytes;
	char title[300];

	strbuf_adds(&go, "f=");
	shell_quote(&go, path);
	strbuf_adds(&go, "; t=$f" REMOTE_NEW "\n");
	strbuf_add(&undo, go.p, go.n);
	/* The link fails when there is such a file by now; then the other name
	 * is left, and tells that the file is not ours. */
	strbuf_addf(&go,
		    "set -e\nrm -f \"$t\"\n"
		    "fallocate -l %llu \"$t\" || truncate -s %llu \"$t\"\n"
		    "ln \"$t\" \"$f\"\nrm -f \"$t\"\n",
		    n, n);
	strbuf_addf(&undo,
		    "if [ -e \"$t\" ]; then\n"
		    "  [ ! \"$f\" -ef \"$t\" ] || rm -f \"$f\"\n"
		    "  rm -f \"$t\"\n"
		    "elif [ \"$(stat -c %%s \"$f\")\" = %llu ]; then\n"
		    "  rm -f \"$f\"; fi\n",
		    n);
	snprintf(title, sizeof(title), "make the file %s", path);
	plan_script(&d->plan, title, go.p ? go.p : "", undo.p ? undo.p : "");
	d->plan.failed |= go.failed || undo.failed;
	strbuf_fini(&go);
	strbuf_fini(&undo);
}

/* --- the node --- */

static void take_host(void *arg, struct str key, struct str value)
{
	struct deployment *d = arg;

	if (str_eq(key, STR("name"))) {
		snprintf(d->name, sizeof(d->name), STR_FMT, STR_ARG(value));
		for (char *c = d->name; *c; c++) {
			bool good = (*c >= 'a' && *c <= 'z') ||
				    (*c >= '0' && *c <= '9') || *c == '-';

			*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32)
			     : good		    ? *c
						    : '-';
		}
	} else if (str_eq(key, STR("id")) && !d->serial[0]) {
		/* Unique per node, and the same at every look. */
		snprintf(d->serial, sizeof(d->serial), "MC%016llX",
			 (unsigned long long)hash_str(value));
	} else if (str_eq(key, STR("systemd"))) {
		d->has_systemd = true;
	}
}

static int look_at_host(struct deployment *d, struct err *err)
{
	const struct node *node = d->node;
	int ret;

	snprintf(d->serial, sizeof(d->serial), "%s", node->serial);
	d->trtype = d->opts->trtype;
	if (!d->trtype) /* upstream's default for SPDK */
		d->trtype = node->backend == NODE_SPDK ? "RDMA" : "TCP";
	ret = deployment_facts(d,
			       "echo name=$(uname -n | cut -d. -f1)\n"
			       "echo id=$(cat /etc/machine-id 2>/dev/null || "
			       "uname -n)\n"
			       "[ ! -d /run/systemd/system ] || "
			       "echo systemd=1\n",
			       take_host, d, err);
	if (ret)
		return ret;
	if (node->nqn[0])
		snprintf(d->nqn, sizeof(d->nqn), "%s", node->nqn);
	else
		snprintf(d->nqn, sizeof(d->nqn), "nqn.2026-11.io.mooncake:%s",
			 d->name[0] ? d->name : "node");
	return 0;
}

static const struct backend *backend_of(const struct node *node)
{
	static const struct backend *const table[] = {
		[NODE_SPDK] = &backend_spdk,
		[NODE_NVMET] = &backend_nvmet,
		[NODE_MOONCAKE] = &backend_mooncake,
	};

	return table[node->backend];
}

static struct plan_target target_of(const struct deployment *d)
{
	return (struct plan_target){
		.remote = d->remote,
		.socket = d->socket,
		.tree = d->node->path,
		.is_forgetful = d->is_forgetful,
		.host = d->host,
	};
}

/* A dry run ends with the first round: where a target is configured by calls,
 * what comes next depends on what it says then. */
static void note_outcome(struct deployment *d)
{
	const struct node *node = d->node;
	struct strbuf addrs = {0};

	if (!d->plan.count || node->backend == NODE_NVMET)
		return;
	for (size_t i = 0; i < node->addr_count; i++)
		strbuf_addf(&addrs, "%s%s", i ? ", " : "", node->addr[i]);
	plan_note(&d->plan,
		  "first these steps, then what the target lacks when it runs; "
		  "in the end %s is served on %s port %u",
		  d->nqn, addrs.p ? addrs.p : "", node->trsvcid);
	strbuf_fini(&addrs);
}

static int look(struct deployment *d, struct err *err)
{
	const struct backend *backend = backend_of(d->node);
	int ret;

	d->plan.is_one_way = d->opts->is_removing;
	if (d->opts->is_removing)
		return backend->look_away(d, err);
	ret = hostkeys_plan(d, err);
	return ret ? ret : backend->look(d, err);
}

static int rounds(struct deployment *d, struct err *err)
{
	struct plan_target target;
	int ret;

	for (int i = 0; i < ROUNDS_MAX; i++) {
		if (d->host)
			fleet_step(d->host, "looking at the node");
		ret = look(d, err);
		if (ret == 0 && d->opts->is_dry_run && !d->opts->is_removing)
			note_outcome(d);
		if (ret || d->plan.count == d->done || d->opts->is_dry_run)
			return ret;
		target = target_of(d);
		ret = plan_apply(&d->plan, &d->done, &target, err);
		if (ret)
			return ret;
	}
	return err_set(err, -ELOOP,
		       "%s: still not as wanted after %d rounds; something "
		       "there changes it back",
		       d->node->host, ROUNDS_MAX);
}

int deployment_run(struct deployment *d, struct err *err)
{
	struct plan_target target;
	int ret = look_at_host(d, err);

	if (ret == 0)
		ret = rounds(d, err);
	target = target_of(d);
	/* A look that refuses comes after steps of earlier rounds. */
	if (ret && d->done)
		plan_undo(&d->plan, &d->done, &target, err);
	else if (d->done)
		plan_settle(&d->plan, &target);
	else if (ret == -ETIMEDOUT && remote_is_broken(d->remote))
		remote_recover(d->remote, err);
	return ret;
}

void deployment_fini(struct deployment *d)
{
	plan_fini(&d->plan);
	hostkeys_fini(&d->keys);
	remote_close(d->remote);
	d->remote = NULL;
}
