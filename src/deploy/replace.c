/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ending one target so that it can come back.  The caller's thread.
 * Invariant: until the new one serves, what starts the old one again is kept
 * on the node: its unit, or its command, folder and environment; and, beside
 * the saved configuration, what it was told.  From before it is told to end,
 * that is kept, too: who takes this back waits for its end first.
 */
#include "deploy/replace.h"

#include <stdio.h>
#include <time.h>

#include "base/time.h"
#include "deploy/limit.h"

/* Both scripts know these. */
static void add_names(const struct deployment *d, const struct replace *r,
		      const char *when, struct strbuf *out)
{
	strbuf_addf(out, "%s%s", shell_late, r->find);
	strbuf_addf(out, "k=/run/mooncake-replaced-%s pid=/run/%s.pid\n",
		    r->service, r->service);
	strbuf_addf(out, "saved=%s before=%s.before-%s running=", r->saved,
		    r->saved, when);
	if (r->running)
		strbuf_addf(out, "%s.running-%s", r->saved, when);
	strbuf_adds(out, "\nsocket=");
	shell_quote(out, d->socket);
	strbuf_adds(out, "\n");
}

/* Its unit counts only when the process is the unit's main one: a login's
 * processes belong to a unit, too.  Of its command what it was configured from
 * goes, and what it was told comes. */
static const char end_script[] =
	"umask 077; p=$(one | head -n 1); [ -n \"$p\" ] || exit 0\n"
	"rm -rf $k; mkdir $k || exit 1\n"
	"u=$(sed -n 's|.*/\\([^/]*[.]service\\)$|\\1|p' /proc/$p/cgroup | "
	"head -n 1)\n"
	"[ -n \"$u\" ] && [ \"$(systemctl show -p MainPID --value \"$u\")\" = "
	"$p ] || u=\n"
	"if [ -n \"$u\" ]; then echo \"$u\" >$k/unit; else\n"
	"  readlink /proc/$p/cwd >$k/cwd; readlink /proc/$p/fd/1 >$k/log\n"
	"  cat /proc/$p/environ >$k/argv\n"
	"  tr '\\0' '\\n' </proc/$p/cmdline | { skip=\n"
	"    while IFS= read -r a; do\n"
	"      if [ -n \"$running\" ]; then\n"
	"        [ -z \"$skip\" ] || { skip=; continue; }\n"
	"        case $a in -c|--config|--json) skip=1; continue;;\n"
	"        --wait-for-rpc) continue;;\n"
	"        -c?*|--config=*|--json=*) continue;; esac; fi\n"
	"      printf '%s\\0' \"$a\"; done\n"
	"    [ -z \"$running\" ] || printf '%s\\0' -c \"$running\"; } "
	">>$k/argv\n"
	"  [ ! -e $pid ] || : >$k/pid; fi\n"
	"[ ! -e $saved ] || mv -f $saved $before || exit 1\n"
	"echo $p >$k/told\n"
	"if [ -n \"$u\" ]; then systemctl stop --no-block \"$u\" || exit 1\n"
	"else kill $p; fi\n"
	"while [ -n \"$(one)\" ]; do\n"
	"  ! late || { echo \"process $p does not end\" >&2; exit 1; }\n"
	"  sleep 0.1; done\nrm -f \"$socket\"\n";

static const char back_script[] =
	"[ -d $k ] || exit 0\n"
	"[ ! -e $before ] || mv -f $before $saved || exit 1\n"
	"t=$(cat $k/told 2>/dev/null)\n"
	"while [ -n \"$t\" ] && one | grep -qx \"$t\"; do\n"
	"  ! late || { echo \"process $t was told to end, and runs\" >&2\n"
	"    exit 1; }\n"
	"  sleep 0.1; done\n"
	"[ -z \"$(one)\" ] || { rm -rf $k; exit 0; }\n"
	"rm -f \"$socket\"\n"
	"if [ -e $k/unit ]; then u=$(cat $k/unit)\n"
	/* Of ours it is known what it reads. */
	"  if [ -n \"$running\" ] && [ \"$u\" = \"$service.service\" ]; then\n"
	"    : >$k/swapped; [ ! -e $saved ] || cp -p $saved $k/saved\n"
	"    cp -p $running $saved; fi\n"
	"  systemctl start \"$u\" || exit 1\n"
	"else o=$(cat $k/log); [ -f \"$o\" ] || o=/dev/null\n"
	"  (cd \"$(cat $k/cwd)\" && exec xargs -0 -a $k/argv setsid -f env -i "
	"</dev/null >>\"$o\" 2>&1) || exit 1\nfi\n"
	"while [ ! -S \"$socket\" ]; do\n"
	"  ! late || { echo 'it does not start' >&2; exit 1; }\n"
	"  sleep 0.1; done\n"
	"[ ! -e $k/swapped ] || rm -f $saved\n"
	"[ ! -e $k/saved ] || mv -f $k/saved $saved\n"
	"[ ! -e $k/pid ] || one | head -n 1 >$pid\n"
	"rm -rf $k\n";

static void plan_keep(struct deployment *d, const struct replace *r,
		      const char *when)
{
	char path[200], title[240], undo[300];

	snprintf(path, sizeof(path), "%s.running-%s", r->saved, when);
	snprintf(title, sizeof(title), "keep what it was told in %s", path);
	/* Not as long as the old one is missing. */
	snprintf(undo, sizeof(undo),
		 "[ -d /run/mooncake-replaced-%s ] || rm -f %s\n", r->service,
		 path);
	plan_script(&d->plan, "make the folder " DEPLOY_FOLDER,
		    "mkdir -p -m 0755 " DEPLOY_FOLDER, NULL);
	step_undo_script(&d->plan,
			 plan_file(&d->plan, title, path, r->running, 0600),
			 undo);
}

static void now_text(char out[20])
{
	time_t now = (time_t)(time_wall_ns() / NS_PER_S);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(out, 20, "%Y%m%dT%H%M%SZ", &tm);
}

void deployment_replace(struct deployment *d, const struct replace *r)
{
	struct strbuf go = {0}, undo = {0};
	char title[200], when[20];
	struct step *step;

	now_text(when);
	if (r->running)
		plan_keep(d, r, when);
	snprintf(title, sizeof(title), "end the target at %s (--replace)",
		 d->socket);
	add_names(d, r, when, &go);
	strbuf_adds(&go, end_script);
	add_names(d, r, when, &undo);
	strbuf_addf(&undo, "service=%s\n", r->service);
	strbuf_adds(&undo, back_script);
	step = plan_script(&d->plan, title, go.p ? go.p : "",
			   undo.p ? undo.p : "");
	if (step) {
		step->timeout_ms = LIMIT_END_MS;
		step->undo_ms = LIMIT_BACK_MS;
		snprintf(title, sizeof(title),
			 "rm -rf /run/mooncake-replaced-%s\n", r->service);
		step_settle_script(&d->plan, step, title);
	}
	plan_note(&d->plan,
		  "the configuration of the target at %s is kept: "
		  "%s.before-%s%s%s%s%s",
		  d->socket, r->saved, when, r->running ? ", " : "",
		  r->running ? r->saved : "", r->running ? ".running-" : "",
		  r->running ? when : "");
	d->plan.failed |= go.failed || undo.failed;
	strbuf_fini(&go);
	strbuf_fini(&undo);
}
