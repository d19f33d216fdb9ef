/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back end nvmet: the Linux kernel's target, set up through configfs.  One
 * script holds the wanted state; it is run now and by a unit at every boot, and
 * running it again changes nothing.
 *
 * Invariant: what others have set up there (subsystems, ports, namespaces) is
 * not touched; the undo script removes only what was missing before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "deploy/deployment.h"
#include "target/ident.h"

#define NVMET "/sys/kernel/config/nvmet"

struct known_ns {
	uint32_t nsid;
	bool is_enabled;
	char path[256];
};

struct facts {
	bool can_nvmet, has_subsystem, allows_any, has_unit;
	struct known_ns ns[NODE_DISKS_MAX * 2];
	size_t ns_count;
	char listeners[NODE_ADDRS_MAX * 4][300]; /* "tcp ADDR PORT" linked */
	size_t listener_count;
	char hosts[NODE_HOSTS_MAX][NVME_NQN_LEN];
	size_t host_count;
	/* of node->allow: the kernel knows such a host already */
	bool is_known[NODE_HOSTS_MAX];
};

static const char facts_script[] =
	"[ -d " NVMET " ] || modinfo nvmet-tcp >/dev/null 2>&1 || "
	"echo absent=1\n"
	"[ ! -e /etc/systemd/system/$unit.service ] || echo unit=1\n"
	"cd " NVMET " 2>/dev/null || exit 0\n"
	"i=0; for h in $allow; do\n"
	"  [ ! -d hosts/$h ] || echo known=$i; i=$((i + 1)); done\n"
	"s=subsystems/$nqn\n"
	"[ -d \"$s\" ] || exit 0\n"
	"echo subsystem=1; echo any=$(cat \"$s/attr_allow_any_host\")\n"
	"for n in \"$s\"/namespaces/*; do [ ! -d \"$n\" ] ||\n"
	"  echo \"ns=${n##*/},$(cat \"$n/enable\"),$(cat "
	"\"$n/device_path\")\"; done\n"
	"for h in \"$s\"/allowed_hosts/*; do [ ! -e \"$h\" ] ||\n"
	"  echo \"host=${h##*/}\"; done\n"
	"for p in ports/*; do [ ! -e \"$p/subsystems/$nqn\" ] ||\n"
	"  echo \"listener=$(cat $p/addr_trtype) $(cat $p/addr_traddr) "
	"$(cat $p/addr_trsvcid)\"; done\n";

static void take_ns(struct facts *f, struct str value)
{
	struct known_ns *ns = &f->ns[f->ns_count];
	struct str rest, item = str_cut(value, ',', &rest);
	uint64_t n;

	if (f->ns_count == ARRAY_SIZE(f->ns) || str_to_u64(item, &n))
		return;
	f->ns_count++;
	ns->nsid = (uint32_t)n;
	ns->is_enabled = str_eq(str_cut(rest, ',', &rest), STR("1"));
	snprintf(ns->path, sizeof(ns->path), STR_FMT, STR_ARG(rest));
}

static void take_fact(void *arg, struct str key, struct str value)
{
	struct facts *f = arg;
	uint64_t n;

	if (str_eq(key, STR("absent")))
		f->can_nvmet = false;
	else if (str_eq(key, STR("unit")))
		f->has_unit = true;
	else if (str_eq(key, STR("subsystem")))
		f->has_subsystem = true;
	else if (str_eq(key, STR("any")))
		f->allows_any = str_eq(value, STR("1"));
	else if (str_eq(key, STR("known")) && !str_to_u64(value, &n) &&
		 n < NODE_HOSTS_MAX)
		f->is_known[n] = true;
	else if (str_eq(key, STR("ns")))
		take_ns(f, value);
	else if (str_eq(key, STR("host")) && f->host_count < NODE_HOSTS_MAX)
		snprintf(f->hosts[f->host_count++], NVME_NQN_LEN, STR_FMT,
			 STR_ARG(value));
	else if (str_eq(key, STR("listener")) &&
		 f->listener_count < ARRAY_SIZE(f->listeners))
		snprintf(f->listeners[f->listener_count++],
			 sizeof(f->listeners[0]), STR_FMT, STR_ARG(value));
}

static void unit_name(const struct deployment *d, char out[64])
{
	snprintf(out, 64, "mooncake-nvmet-%08x",
		 (unsigned)hash_str(str_of(d->nqn)));
}

static int look_around(struct deployment *d, struct facts *f, struct err *err)
{
	struct strbuf script = {0};
	char unit[64];
	int ret;

	f->can_nvmet = true;
	unit_name(d, unit);
	strbuf_addf(&script, "unit=%s nqn=", unit);
	shell_quote(&script, d->nqn);
	strbuf_adds(&script, "\nallow='");
	for (size_t i = 0; i < d->node->allow_count; i++)
		strbuf_addf(&script, "%s ", d->node->allow[i]);
	strbuf_addf(&script, "'\n%s", facts_script);
	ret = deployment_facts(d, script.p ? script.p : "", take_fact, f, err);
	strbuf_fini(&script);
	if (ret == 0 && !f->can_nvmet)
		ret = err_set(err, -ENOTSUP,
			      "%s: its kernel has no NVMe-oF target (module "
			      "nvmet-tcp); use backend:mooncake",
			      d->node->host);
	return ret;
}

/* --- what is wanted, and what of it is missing --- */

struct want_ns {
	uint32_t nsid;
	char path[256];
	uint64_t bytes; /* of a file to be made, 0 = must be there */
	bool is_new;
};

struct want {
	const char *trtype; /* "tcp", "rdma" */
	struct want_ns ns[NODE_DISKS_MAX];
	size_t ns_count;
	bool is_complete;
};

static const struct known_ns *known_by_path(const struct facts *f,
					    const char *path)
{
	for (size_t i = 0; i < f->ns_count; i++)
		if (!strcmp(f->ns[i].path, path))
			return &f->ns[i];
	return NULL;
}

static uint32_t free_nsid(const struct facts *f, const struct want *w)
{
	uint32_t nsid = 1;
	bool taken = true;

	while (taken) {
		taken = false;
		for (size_t i = 0; i < f->ns_count; i++)
			taken |= f->ns[i].nsid == nsid;
		for (size_t i = 0; i < w->ns_count; i++)
			taken |= w->ns[i].nsid == nsid;
		nsid += taken;
	}
	return nsid;
}

static int want_disk(struct deployment *d, const struct facts *f,
		     const char *text, struct want *w, struct err *err)
{
	struct want_ns *ns = &w->ns[w->ns_count];
	const struct known_ns *known;
	struct disk disk;
	int ret;

	*ns = (struct want_ns){0};
	ret = node_split_disk(text, 1, ns->path, &ns->bytes, err);
	if (ret)
		return ret;
	known = known_by_path(f, ns->path);
	ns->is_new = !known || !known->is_enabled;
	ns->nsid = known ? known->nsid : free_nsid(f, w);
	w->ns_count++;
	if (!ns->is_new)
		return 0;
	w->is_complete = false;
	ret = deployment_check_disk(d, ns->path, &disk, err);
	if (ret == -ENOENT && ns->bytes) {
		*err = (struct err){0};
		return 0;
	}
	ns->bytes = 0; /* it is there: stays as it is */
	return ret;
}

static bool has_listener(const struct facts *f, const struct want *w,
			 const char *addr, uint16_t port)
{
	char text[300];

	snprintf(text, sizeof(text), "%s %s %u", w->trtype, addr, port);
	for (size_t i = 0; i < f->listener_count; i++)
		if (!strcmp(f->listeners[i], text))
			return true;
	return false;
}

static bool has_host(const struct facts *f, const char *nqn)
{
	for (size_t i = 0; i < f->host_count; i++)
		if (!strcmp(f->hosts[i], nqn))
			return true;
	return false;
}

static int compare(struct deployment *d, const struct facts *f, struct want *w,
		   struct err *err)
{
	const struct node *node = d->node;
	int ret = 0;

	*w = (struct want){
		.trtype = strcmp(d->trtype, "RDMA") ? "tcp" : "rdma",
		.is_complete =
			f->has_subsystem && (f->has_unit || !d->has_systemd),
	};
	if (!node->disk_count)
		return err_set(err, -EINVAL,
			       "%s: disk:/dev/… is missing: which disks are to "
			       "be exported?",
			       node->host);
	for (size_t i = 0; i < node->disk_count && ret == 0; i++)
		ret = want_disk(d, f, node->disk[i], w, err);
	for (size_t i = 0; i < node->addr_count; i++)
		w->is_complete &=
			has_listener(f, w, node->addr[i], node->trsvcid);
	for (size_t i = 0; i < node->allow_count; i++)
		w->is_complete &= has_host(f, node->allow[i]);
	/* Who names hosts wants no others; who names none changes nothing. */
	w->is_complete &= !node->allow_count || !f->allows_any;
	return ret;
}

/* --- the script --- */

static const char functions[] =
	"put() { [ \"$(cat \"$1\")\" = \"$2\" ] || printf %s \"$2\" >\"$1\"; "
	"}\n"
	"ns() { # nsid path uuid\n"
	"  n=$s/namespaces/$1; [ -d \"$n\" ] || mkdir \"$n\"\n"
	"  [ \"$(cat \"$n/enable\")\" = 0 ] || return 0\n"
	"  put \"$n/device_path\" \"$2\"; put \"$n/device_uuid\" \"$3\"\n"
	"  echo 1 >\"$n/enable\"; }\n"
	"host() { [ -d hosts/$1 ] || mkdir hosts/$1\n"
	"  [ -e $s/allowed_hosts/$1 ] || ln -s $PWD/hosts/$1 "
	"$s/allowed_hosts/$1; }\n"
	"listen() { # trtype adrfam traddr trsvcid\n"
	"  id=1; p=\n"
	"  for q in ports/*; do [ -d \"$q\" ] || continue\n"
	"    [ \"$(cat $q/addr_trtype) $(cat $q/addr_traddr) $(cat "
	"$q/addr_trsvcid)\" != \"$1 $3 $4\" ] || p=$q; done\n"
	"  if [ -z \"$p\" ]; then\n"
	"    while [ -d ports/$id ]; do id=$((id + 1)); done\n"
	"    p=ports/$id; mkdir $p; put $p/addr_trtype $1; put $p/addr_adrfam "
	"$2\n"
	"    put $p/addr_traddr $3; put $p/addr_trsvcid $4\n"
	"    [ -z \"$icd\" ] || put $p/param_inline_data_size $icd || :; fi\n"
	"  [ -e $p/subsystems/$nqn ] || ln -s $PWD/$s "
	"$p/subsystems/$nqn; }\n";

static void add_namespaces(const struct deployment *d, const struct want *w,
			   struct strbuf *out)
{
	for (size_t i = 0; i < w->ns_count; i++) {
		const struct want_ns *ns = &w->ns[i];
		char text[UUID_TEXT_LEN];
		struct uuid uuid;

		/* Stays the same over reboots: the pool knows disks by it. */
		ident_uuid(d->nqn, ns->nsid, ns->path, &uuid);
		uuid_format_hex(&uuid, text);
		strbuf_addf(out, "ns %u ", ns->nsid);
		shell_quote(out, ns->path);
		strbuf_addf(out, " %s\n", text);
	}
}

static void build_script(const struct deployment *d, const struct want *w,
			 struct strbuf *out)
{
	const struct node *node = d->node;
	json_int_t icd = json_integer_value(
		json_object_get(d->opts->transport, "in_capsule_data_size"));

	strbuf_adds(out,
		    "#!/bin/sh\n# Written by Mooncake's deployment; run at "
		    "every boot.\nset -e\n");
	strbuf_addf(out, "modprobe nvmet\nmodprobe nvmet-%s\n", w->trtype);
	strbuf_adds(out, "[ -d " NVMET " ] || mount -t configfs none "
			 "/sys/kernel/config\ncd " NVMET "\nnqn=");
	shell_quote(out, d->nqn);
	strbuf_addf(out, "\nicd=");
	if (icd > 0)
		strbuf_addf(out, "%lld", (long long)icd);
	strbuf_addf(out, "\ns=subsystems/$nqn\n%s", functions);
	strbuf_addf(out,
		    "[ -d $s ] || { mkdir $s; put $s/attr_serial %s\n"
		    "  put $s/attr_allow_any_host 1; }\n",
		    d->serial);
	if (node->allow_count)
		strbuf_adds(out, "put $s/attr_allow_any_host 0\n");
	add_namespaces(d, w, out);
	for (size_t i = 0; i < node->allow_count; i++)
		strbuf_addf(out, "host %s\n", node->allow[i]);
	for (size_t i = 0; i < node->addr_count; i++) {
		const char *addr = node->addr[i];

		strbuf_addf(out, "listen %s %s %s %u\n", w->trtype,
			    strchr(addr, ':') ? "ipv6" : "ipv4", addr,
			    node->trsvcid);
	}
}

/* Removes what was missing when we looked. */
static void build_undo(const struct deployment *d, const struct facts *f,
		       const struct want *w, struct strbuf *out)
{
	const struct node *node = d->node;

	strbuf_adds(out, "cd " NVMET " 2>/dev/null || exit 0\nnqn=");
	shell_quote(out, d->nqn);
	strbuf_adds(out, "\ns=subsystems/$nqn\n"
			 "unlisten() { for p in ports/*; do\n"
			 "  [ \"$(cat $p/addr_traddr) $(cat $p/addr_trsvcid)\" "
			 "= \"$1 $2\" ] || continue\n"
			 "  rm -f $p/subsystems/$nqn\n"
			 "  rmdir $p 2>/dev/null || :; done; }\n"
			 "drop() { n=$s/namespaces/$1; [ -d $n ] || return 0\n"
			 "  echo 0 >$n/enable; rmdir $n; }\n");
	for (size_t i = 0; i < node->addr_count; i++)
		if (!has_listener(f, w, node->addr[i], node->trsvcid))
			strbuf_addf(out, "unlisten %s %u\n", node->addr[i],
				    node->trsvcid);
	for (size_t i = 0; i < node->allow_count; i++)
		if (!has_host(f, node->allow[i]))
			strbuf_addf(out, "rm -f $s/allowed_hosts/%s\n",
				    node->allow[i]);
	/* Not one that somebody else allows meanwhile. */
	for (size_t i = 0; i < node->allow_count; i++)
		if (!f->is_known[i])
			strbuf_addf(out, "rmdir hosts/%s 2>/dev/null || :\n",
				    node->allow[i]);
	if (node->allow_count && f->has_subsystem && f->allows_any)
		strbuf_adds(out, "echo 1 >$s/attr_allow_any_host\n");
	for (size_t i = 0; i < w->ns_count; i++)
		if (w->ns[i].is_new)
			strbuf_addf(out, "drop %u\n", w->ns[i].nsid);
	if (!f->has_subsystem)
		strbuf_adds(out, "[ ! -d $s ] || rmdir $s\n");
}

/* --- steps --- */

static void plan_files(struct deployment *d, const struct want *w)
{
	for (size_t i = 0; i < w->ns_count; i++)
		if (w->ns[i].is_new && w->ns[i].bytes)
			deployment_make_file(d, w->ns[i].path, w->ns[i].bytes);
}

static void plan_boot(struct deployment *d, const char *unit, const char *file)
{
	char text[600], cmd[300];

	if (!d->has_systemd) {
		plan_note(&d->plan,
			  "no systemd there: run 'sh %s' after a reboot", file);
		return;
	}
	snprintf(text, sizeof(text),
		 "[Unit]\nDescription=NVMe-oF namespaces of %.200s\n"
		 "After=network-online.target local-fs.target\n"
		 "Wants=network-online.target\n\n[Service]\nType=oneshot\n"
		 "RemainAfterExit=yes\nExecStart=/bin/sh %s\n\n[Install]\n"
		 "WantedBy=multi-user.target\n",
		 d->nqn, file);
	snprintf(cmd, sizeof(cmd),
		 "systemctl daemon-reload && systemctl enable %s.service",
		 unit);
	deployment_unit(d, unit, text, cmd, ":");
}

static void plan_all(struct deployment *d, const struct facts *f,
		     const struct want *w)
{
	struct strbuf script = {0}, undo = {0};
	char unit[64], file[128], title[300], cmd[160];

	unit_name(d, unit);
	snprintf(file, sizeof(file), DEPLOY_FOLDER "/%s.sh", unit);
	build_script(d, w, &script);
	build_undo(d, f, w, &undo);
	plan_script(&d->plan, "make the folder " DEPLOY_FOLDER,
		    "mkdir -p -m 0755 " DEPLOY_FOLDER, NULL);
	plan_files(d, w);
	snprintf(title, sizeof(title), "write %s", file);
	plan_file(&d->plan, title, file, script.p ? script.p : "", 0755);
	snprintf(title, sizeof(title), "export %zu disks as %.200s",
		 w->ns_count, d->nqn);
	snprintf(cmd, sizeof(cmd), "sh %s", file);
	plan_script(&d->plan, title, cmd, undo.p ? undo.p : "");
	plan_boot(d, unit, file);
	d->plan.failed |= script.failed || undo.failed;
	strbuf_fini(&script);
	strbuf_fini(&undo);
}

static int look(struct deployment *d, struct err *err)
{
	struct facts *f = calloc(1, sizeof(*f));
	struct want *w = calloc(1, sizeof(*w));
	int ret = f && w ? look_around(d, f, err)
			 : err_set(err, -ENOMEM, "out of memory");

	if (ret == 0)
		ret = compare(d, f, w, err);
	if (ret == 0 && !w->is_complete)
		plan_all(d, f, w);
	free(f);
	free(w);
	return ret;
}

const struct backend backend_nvmet = {.look = look};
