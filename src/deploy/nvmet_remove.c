/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking from a kernel's target what a deployment has made there.  The
 * caller's thread.  Invariant: the script that is run at boots is what was
 * made; what it does not name stays, and it goes last.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/nvmet.h"
#include "deploy/removal.h"

/* What is run at boots. */
struct known_script {
	char unit[64], file[128];
	bool is_there;
	size_t ns_count;
};

struct busy {
	char text[48]; /* "CONNECTIONS PORT", "" = none */
};

/* Connections can't be told apart by subsystem. */
static const char busy_script[] =
	"cd " NVMET " 2>/dev/null || exit 0\n"
	"for p in ports/*; do\n"
	"  [ -e \"$p/subsystems/$nqn\" ] && [ $(cat $p/addr_trtype) = tcp ] "
	"||\n"
	"    continue\n"
	"  port=$(cat $p/addr_trsvcid)\n"
	"  n=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |\n"
	"    awk -v p=\":$(printf %04X $port)\\$\" '$4 == \"01\" && $2 ~ p' |\n"
	"    wc -l)\n"
	"  [ $n = 0 ] || echo \"busy=$n $port\"; done\n";

static void take_busy(void *arg, struct str key, struct str value)
{
	struct busy *b = arg;

	if (str_eq(key, STR("busy")))
		snprintf(b->text, sizeof(b->text), STR_FMT, STR_ARG(value));
}

static int check_idle(struct deployment *d, struct err *err)
{
	struct strbuf script = {0};
	struct busy b = {{0}};
	int ret;

	strbuf_adds(&script, "nqn=");
	shell_quote(&script, d->nqn);
	strbuf_addf(&script, "\n%s", busy_script);
	ret = deployment_facts(d, script.p ? script.p : "", take_busy, &b, err);
	strbuf_fini(&script);
	if (ret == 0 && b.text[0])
		ret = err_set(err, -EBUSY,
			      "%s: hosts are connected to where %.100s is "
			      "served (connections, port: %s): take it out of "
			      "the pool first (mooncake_ssd_unregister), or "
			      "use --force",
			      d->node->host, d->nqn, b.text);
	return ret;
}

/* --- what goes --- */

/* Undoes shell_quote(); false: it is not that. */
static bool unquote(struct str s, char *out, size_t size)
{
	size_t n = 0;
	bool is_inside = false;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\'') {
			is_inside = !is_inside;
		} else if (!is_inside && s.p[i] == ' ') {
			out[n] = '\0';
			return true;
		} else {
			i += !is_inside && s.p[i] == '\\';
			if (i == s.n || n + 1 == size)
				return false;
			out[n++] = s.p[i];
		}
	}
	return false;
}

static void take_line(struct nvmet_facts *f, uint32_t nsid, const char *path)
{
	struct known_ns *ns = f->ns;

	while (ns < &f->ns[f->ns_count] &&
	       (ns->nsid != nsid || strcmp(ns->path, path)))
		ns++;
	if (ns == &f->ns[ARRAY_SIZE(f->ns)])
		return;
	if (ns == &f->ns[f->ns_count]) {
		f->ns_count++;
		*ns = (struct known_ns){.nsid = nsid,
					.is_in_script_only = true};
		snprintf(ns->path, sizeof(ns->path), "%s", path);
	}
	ns->is_in_script = true;
}

size_t nvmet_take_script(struct nvmet_facts *f, struct str script)
{
	size_t count = 0;

	while (script.n) {
		struct str rest, line = str_cut(script, '\n', &script);
		struct str word = str_cut(line, ' ', &rest);
		struct str number = str_cut(rest, ' ', &rest);
		char path[sizeof(f->ns[0].path)];
		uint64_t nsid;

		if (!str_eq(word, STR("ns")) || str_to_u64(number, &nsid))
			continue;
		count++;
		/* What can't be read is none that a text names. */
		if (!unquote(rest, path, sizeof(path)))
			path[0] = '\0';
		take_line(f, (uint32_t)nsid, path);
	}
	return count;
}

static bool ns_goes(const struct node *node, const struct known_ns *ns)
{
	return !node->disk_count || node_names_disk(node, 1, ns->path);
}

static size_t count_going(const struct node *node, const struct nvmet_facts *f)
{
	size_t count = 0;

	for (size_t i = 0; i < f->ns_count; i++)
		count += ns_goes(node, &f->ns[i]);
	return count;
}

static int check_pool(const struct deployment *d, const struct nvmet_facts *f,
		      struct err *err)
{
	struct registered_ns ns = {.nqn = d->nqn};
	int ret = 0;

	for (size_t i = 0; i < f->listener_count; i++)
		if (sscanf(f->listeners[i], "%*15s %255s",
			   ns.addrs[ns.addr_count]) == 1)
			ns.addr_count++;
	for (size_t i = 0; i < f->ns_count && ret == 0; i++) {
		ns.nsid = f->ns[i].nsid;
		if (ns_goes(d->node, &f->ns[i]))
			ret = removal_check_pool(d, &ns, err);
	}
	return ret;
}

static void add_begin(const struct deployment *d, const char *file,
		      struct strbuf *out)
{
	strbuf_adds(out, "cd " NVMET "\nset -e\nnqn=");
	shell_quote(out, d->nqn);
	strbuf_addf(out, "\ns=subsystems/$nqn f=%s\n", file);
}

void nvmet_remove_some(const struct deployment *d, const struct nvmet_facts *f,
		       const char *file, struct strbuf *out)
{
	add_begin(d, file, out);
	for (size_t i = 0; i < f->ns_count; i++) {
		unsigned nsid = f->ns[i].nsid;

		if (!ns_goes(d->node, &f->ns[i]))
			continue;
		/* First, so that it does not come back at a boot when this is
		 * cut short. */
		if (f->ns[i].is_in_script)
			strbuf_addf(out, "sed -i '/^ns %u /d' $f\n", nsid);
		if (!f->ns[i].is_in_script_only)
			strbuf_addf(out,
				    "echo 0 >\"$s/namespaces/%u/enable\"\n"
				    "rmdir \"$s/namespaces/%u\"\n",
				    nsid, nsid);
	}
}

void nvmet_remove_all(const struct deployment *d, const char *file,
		      struct strbuf *out)
{
	add_begin(d, file, out);
	strbuf_adds(
		out,
		"listens() { grep -qxF \"$1\" $f 2>/dev/null; }\n"
		"made() { cut -d' ' -f1,2 $f 2>/dev/null | grep -qxF \"$1\"; "
		"}\n"
		/* A script without any is what is left of one. */
		"[ ! -e $f ] || sed -i '/^ns [0-9]/d' $f\n"
		"for p in ports/*; do [ -d \"$p\" ] || continue\n"
		"  rm -f \"$p/subsystems/$nqn\"\n"
		"  l=\"listen $(cat $p/addr_trtype) $(cat $p/addr_adrfam)\"\n"
		"  l=\"$l $(cat $p/addr_traddr) $(cat $p/addr_trsvcid)\"\n"
		/* Not one that somebody else listens on. */
		"  ! listens \"$l\" || [ -n \"$(ls \"$p/subsystems\")\" ] ||\n"
		"    rmdir \"$p\" 2>/dev/null || :; done\n"
		"for n in \"$s\"/namespaces/*; do [ -d \"$n\" ] || continue\n"
		"  echo 0 >\"$n/enable\"; rmdir \"$n\"; done\n"
		"for h in \"$s\"/allowed_hosts/*; do\n"
		"  h=${h##*/}; [ -e \"$s/allowed_hosts/$h\" ] || continue\n"
		"  rm -f \"$s/allowed_hosts/$h\"\n"
		"  ! made \"host $h\" || rmdir \"hosts/$h\" 2>/dev/null || :\n"
		"done\nrmdir \"$s\"\n");
}

/* Keys of its hosts go unless something else there reads them. */
static const char files_script[] =
	"u=/etc/systemd/system/$unit.service f=" DEPLOY_FOLDER "/$unit.sh\n"
	"[ ! -e $u ] || systemctl disable $unit.service || exit 1\n"
	"keys=$(sed -n 's/^host [^ ]* //p' $f 2>/dev/null)\n"
	"rm -f $u $f || exit 1\n"
	"[ ! -d /run/systemd/system ] || systemctl daemon-reload\n"
	"for k in $keys; do case $k in " HOSTKEY_FOLDER "/mooncake-*)\n"
	"  grep -qF \"$k\" " DEPLOY_FOLDER "/*.sh " DEPLOY_FOLDER
	"/*.json 2>/dev/null ||\n"
	"    rm -f \"$k\";; esac; done\n"
	"rmdir " HOSTKEY_FOLDER " 2>/dev/null || :\n";

static void plan_files(struct deployment *d, const char *unit)
{
	struct strbuf script = {0};
	char title[128];

	strbuf_addf(&script, "unit=%s\n%s", unit, files_script);
	snprintf(title, sizeof(title), "remove what exports it at a boot (%s)",
		 unit);
	plan_script(&d->plan, title, script.p ? script.p : "", NULL);
	d->plan.failed |= script.failed;
	strbuf_fini(&script);
}

static void plan_away(struct deployment *d, const struct nvmet_facts *f,
		      const char *file, size_t going)
{
	struct strbuf script = {0};
	char title[NVME_NQN_LEN + 64];

	snprintf(title, sizeof(title), "export %s%zu disks as %s no more",
		 going == f->ns_count ? "all " : "", going, d->nqn);
	if (going == f->ns_count)
		nvmet_remove_all(d, file, &script);
	else
		nvmet_remove_some(d, f, file, &script);
	plan_script(&d->plan, title, script.p ? script.p : "", NULL);
	d->plan.failed |= script.failed;
	strbuf_fini(&script);
}

static int check_made(const struct deployment *d, const struct nvmet_facts *f,
		      const struct known_script *script, struct err *err)
{
	if (d->opts->is_forced)
		return 0;
	if (f->has_subsystem && !script->is_there)
		return err_set(err, -EEXIST,
			       "%s: %.100s was made by somebody else: %s is "
			       "not there; --force removes it",
			       d->node->host, d->nqn, script->file);
	if (!f->has_subsystem && script->ns_count)
		return err_set(err, -ENOTCONN,
			       "%s: the kernel there does not export %.100s, "
			       "which %s does at a boot: run that and try "
			       "again, or let --force remove it",
			       d->node->host, d->nqn, script->file);
	return 0;
}

static int plan_all(struct deployment *d, const struct nvmet_facts *f,
		    const struct known_script *script, struct err *err)
{
	size_t going = count_going(d->node, f);
	bool is_whole = going == f->ns_count;
	int ret = check_made(d, f, script, err);

	if (ret == 0 && (going || (f->has_subsystem && is_whole))) {
		ret = check_pool(d, f, err);
		if (ret == 0 && !d->opts->is_forced)
			ret = check_idle(d, err);
		if (ret == 0 && (f->has_subsystem || !is_whole))
			plan_away(d, f, script->file, going);
	}
	if (ret == 0 && is_whole && (script->is_there || f->has_unit))
		plan_files(d, script->unit);
	return ret;
}

int nvmet_look_away(struct deployment *d, struct err *err)
{
	struct nvmet_facts *f = calloc(1, sizeof(*f));
	struct remote_result res = {0};
	struct known_script script = {0};
	int ret = f ? nvmet_look_around(d, f, err)
		    : err_set(err, -ENOMEM, "out of memory");

	nvmet_unit(d, script.unit, script.file);
	if (ret == 0)
		ret = deployment_read(d, script.file, &res, err);
	if (ret == 0) {
		script.is_there = res.out.n > 0;
		script.ns_count = nvmet_take_script(f, strbuf_str(&res.out));
		ret = plan_all(d, f, &script, err);
	}
	remote_result_fini(&res);
	free(f);
	return ret;
}
