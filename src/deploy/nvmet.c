/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back end nvmet: the Linux kernel's target, set up through configfs.  One
 * script (nvmet_script.c) holds the wanted state; it is run now and by a unit
 * at every boot, and running it again changes nothing.
 *
 * Invariant: what others have set up there (subsystems, ports, namespaces) is
 * not touched; the undo script removes only what was missing before.
 */
#include "deploy/nvmet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"

static const char facts_script[] =
	"[ -d " NVMET " ] || modinfo nvmet-tcp >/dev/null 2>&1 || "
	"echo absent=1\n"
	"[ ! -e /etc/systemd/system/$unit.service ] || echo unit=1\n"
	"cd " NVMET " 2>/dev/null || exit 0\n"
	"i=0; for h in $allow; do\n"
	"  [ ! -d hosts/$h ] || echo known=$i; i=$((i + 1)); done\n"
	"keyed\n"
	"for p in ports/*; do [ ! -d \"$p\" ] ||\n"
	"  echo \"port=$(cat $p/param_inline_data_size 2>/dev/null || echo -1) "
	"$(cat $p/addr_trtype) $(cat $p/addr_traddr) "
	"$(cat $p/addr_trsvcid)\"; done\n"
	"s=subsystems/$nqn\n"
	"[ -d \"$s\" ] || exit 0\n"
	"echo subsystem=1; echo any=$(cat \"$s/attr_allow_any_host\")\n"
	"for n in \"$s\"/namespaces/*; do [ ! -d \"$n\" ] ||\n"
	"  echo \"ns=${n##*/},$(cat \"$n/enable\"),$(cat "
	"\"$n/device_uuid\"),$(cat \"$n/device_path\")\"; done\n"
	"for h in \"$s\"/allowed_hosts/*; do [ ! -e \"$h\" ] ||\n"
	"  echo \"host=${h##*/}\"; done\n"
	"for p in ports/*; do [ ! -e \"$p/subsystems/$nqn\" ] ||\n"
	"  echo \"listener=$(cat $p/addr_trtype) $(cat $p/addr_traddr) "
	"$(cat $p/addr_trsvcid)\"; done\n";

static void take_ns(struct nvmet_facts *f, struct str value)
{
	struct known_ns *ns = &f->ns[f->ns_count];
	struct str rest, item = str_cut(value, ',', &rest);
	uint64_t n;

	if (f->ns_count == NODE_DISKS_MAX * 2 || str_to_u64(item, &n))
		return;
	f->ns_count++;
	ns->nsid = (uint32_t)n;
	ns->is_enabled = str_eq(str_cut(rest, ',', &rest), STR("1"));
	item = str_cut(rest, ',', &rest);
	snprintf(ns->uuid, sizeof(ns->uuid), STR_FMT,
		 (int)MIN(item.n, sizeof(ns->uuid) - 1), item.p ? item.p : "");
	snprintf(ns->path, sizeof(ns->path), STR_FMT, STR_ARG(rest));
}

/* "INDEX STATE" */
static void take_key(struct nvmet_facts *f, struct str value)
{
	struct str state, item = str_cut(value, ' ', &state);
	uint64_t n, s;

	if (!str_to_u64(item, &n) && !str_to_u64(state, &s) &&
	    n < NODE_HOSTS_MAX * HOSTKEY_KINDS && s <= KEY_OTHER)
		f->key[n / HOSTKEY_KINDS][n % HOSTKEY_KINDS] =
			(enum key_state)s;
}

/* "BYTES TRTYPE TRADDR TRSVCID" */
static void take_port(struct nvmet_facts *f, struct str value)
{
	struct str rest, item = str_cut(value, ' ', &rest);
	uint64_t bytes;

	if (f->port_count == ARRAY_SIZE(f->ports))
		return;
	f->inline_bytes[f->port_count] =
		str_to_u64(item, &bytes) ? -1 : (long long)bytes;
	snprintf(f->ports[f->port_count++], sizeof(f->ports[0]), STR_FMT,
		 STR_ARG(rest));
}

static void take_fact(void *arg, struct str key, struct str value)
{
	struct nvmet_facts *f = arg;
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
	else if (str_eq(key, STR("key")))
		take_key(f, value);
	else if (str_eq(key, STR("ns")))
		take_ns(f, value);
	else if (str_eq(key, STR("port")))
		take_port(f, value);
	else if (str_eq(key, STR("host")) && f->host_count < NODE_HOSTS_MAX)
		snprintf(f->hosts[f->host_count++], NVME_NQN_LEN, STR_FMT,
			 STR_ARG(value));
	else if (str_eq(key, STR("listener")) &&
		 f->listener_count < ARRAY_SIZE(f->listeners))
		snprintf(f->listeners[f->listener_count++],
			 sizeof(f->listeners[0]), STR_FMT, STR_ARG(value));
}

void nvmet_unit(const struct deployment *d, char unit[64], char file[128])
{
	snprintf(unit, 64, "mooncake-nvmet-%08x",
		 (unsigned)hash_str(str_of(d->nqn)));
	snprintf(file, 128, DEPLOY_FOLDER "/%s.sh", unit);
}

/* keyed(): which key the kernel has for each host that is to have one. */
static void add_keyed(const struct deployment *d, struct strbuf *out)
{
	strbuf_addf(out,
		    "key() { # index attribute file text\n"
		    "  [ -e \"$2\" ] || return 0; h=$(cat \"$2\")\n"
		    "  if [ -z \"$h\" ]; then echo \"key=$1 %d\"\n"
		    "  elif [ \"$h\" = \"$4\" ]; then echo \"key=$1 %d\"\n"
		    "  elif [ \"$h\" = \"$(cat \"$3\" 2>/dev/null)\" ]; then\n"
		    "    echo \"key=$1 %d\"\n"
		    "  else echo \"key=$1 %d\"; fi; }\nkeyed() { :\n",
		    KEY_NONE, KEY_SAME, KEY_BEFORE, KEY_OTHER);
	for (size_t i = 0; i < d->node->allow_count; i++)
		for (int k = 0; k < HOSTKEY_KINDS; k++) {
			const char *text = d->keys.of[i][k].text;
			char path[HOSTKEY_PATH_LEN];

			hostkey_path(d->node->allow[i], k, path);
			if (text[0])
				strbuf_addf(out,
					    "key %zu hosts/%s/%s '%s' '%s'\n",
					    i * HOSTKEY_KINDS + (size_t)k,
					    d->node->allow[i],
					    nvmet_key_names[k], path, text);
		}
	strbuf_adds(out, "}\n");
}

int nvmet_look_around(struct deployment *d, struct nvmet_facts *f,
		      struct err *err)
{
	struct strbuf script = {.is_secret = true};
	char unit[64], file[128];
	int ret;

	f->can_nvmet = true;
	nvmet_unit(d, unit, file);
	strbuf_addf(&script, "unit=%s nqn=", unit);
	shell_quote(&script, d->nqn);
	strbuf_adds(&script, "\nallow='");
	for (size_t i = 0; i < d->node->allow_count; i++)
		strbuf_addf(&script, "%s ", d->node->allow[i]);
	strbuf_adds(&script, "'\n");
	add_keyed(d, &script);
	strbuf_adds(&script, facts_script);
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

static const struct known_ns *known_by_path(const struct nvmet_facts *f,
					    const char *path)
{
	for (size_t i = 0; i < f->ns_count; i++)
		if (!strcmp(f->ns[i].path, path))
			return &f->ns[i];
	return NULL;
}

static uint32_t free_nsid(const struct nvmet_facts *f,
			  const struct nvmet_want *w)
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

static int want_disk(struct deployment *d, const struct nvmet_facts *f,
		     const char *text, struct nvmet_want *w, struct err *err)
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

static int compare_keys(struct deployment *d, const struct nvmet_facts *f,
			struct nvmet_want *w, struct err *err)
{
	for (size_t i = 0; i < d->node->allow_count; i++)
		for (int k = 0; k < HOSTKEY_KINDS; k++) {
			const struct hostkey *hk = &d->keys.of[i][k];

			if (!hk->text[0])
				continue;
			w->is_complete &=
				hk->is_same && f->key[i][k] == KEY_SAME;
			if (f->key[i][k] == KEY_OTHER)
				return err_set(
					err, -EEXIST,
					"%s: the kernel there has another %s "
					"for %.150s, which no deployment "
					"wrote: remove it there first",
					d->node->host, nvmet_key_names[k],
					d->node->allow[i]);
			if (f->key[i][k] == KEY_NONE && k == HOSTKEY_HOST)
				plan_note(&d->plan,
					  "%s gets a key, for all subsystems "
					  "of that kernel",
					  d->node->allow[i]);
		}
	return 0;
}

/* The kernel takes it only while a port is off, and others may use this one. */
static void note_inline_size(struct deployment *d, const struct nvmet_facts *f,
			     const struct nvmet_want *w)
{
	json_int_t want = json_integer_value(
		json_object_get(d->opts->transport, "in_capsule_data_size"));
	const struct node *node = d->node;

	for (size_t i = 0; i < node->addr_count; i++) {
		long port = nvmet_port(f, w, node->addr[i], node->trsvcid);

		if (port < 0 || f->inline_bytes[port] < 0 || want <= 0 ||
		    f->inline_bytes[port] == want)
			continue;
		plan_note(
			&d->plan,
			"the port %s %u is there already with "
			"param_inline_data_size %lld (not %lld): left as it "
			"is; to change it, unlink its subsystems there, write "
			"the size, and run this again",
			node->addr[i], node->trsvcid, f->inline_bytes[port],
			(long long)want);
	}
}

static int compare(struct deployment *d, const struct nvmet_facts *f,
		   struct nvmet_want *w, struct err *err)
{
	const struct node *node = d->node;
	int ret = 0;

	*w = (struct nvmet_want){
		.trtype = strcmp(d->trtype, "RDMA") ? "tcp" : "rdma",
		.is_complete =
			f->has_subsystem && (f->has_unit || !d->has_systemd),
	};
	for (size_t i = 0; i < node->disk_count && ret == 0; i++)
		ret = want_disk(d, f, node->disk[i], w, err);
	for (size_t i = 0; i < node->addr_count; i++)
		w->is_complete &=
			nvmet_has_listener(f, w, node->addr[i], node->trsvcid);
	for (size_t i = 0; i < node->allow_count; i++)
		w->is_complete &= nvmet_has_host(f, node->allow[i]);
	note_inline_size(d, f, w);
	/* Who names hosts wants no others; who names none changes nothing. */
	w->is_complete &= !node->allow_count || !f->allows_any;
	return ret ? ret : compare_keys(d, f, w, err);
}

/* --- steps --- */

static void plan_files(struct deployment *d, const struct nvmet_want *w)
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

/* What is run at boot differs when something was added by another call. */
static int compare_script(struct deployment *d, const char *file,
			  const char *text, struct nvmet_want *w,
			  struct err *err)
{
	struct remote_result res;
	int ret = deployment_read(d, file, &res, err);

	if (ret == 0)
		w->is_complete &= str_eq(strbuf_str(&res.out), str_of(text));
	remote_result_fini(&res);
	return ret;
}

static void plan_all(struct deployment *d, const struct nvmet_facts *f,
		     const struct nvmet_want *w, const char *script)
{
	struct strbuf undo = {0};
	char unit[64], file[128], title[300], cmd[160];

	nvmet_unit(d, unit, file);
	nvmet_undo(d, f, w, &undo);
	plan_script(&d->plan, "make the folder " DEPLOY_FOLDER,
		    "mkdir -p -m 0755 " DEPLOY_FOLDER, NULL);
	plan_files(d, w);
	snprintf(title, sizeof(title), "write %s", file);
	plan_file(&d->plan, title, file, script, 0755);
	snprintf(title, sizeof(title), "export %zu disks as %.200s",
		 w->ns_count, d->nqn);
	snprintf(cmd, sizeof(cmd), "sh %s", file);
	plan_script(&d->plan, title, cmd, undo.p ? undo.p : "");
	plan_boot(d, unit, file);
	d->plan.failed |= undo.failed;
	strbuf_fini(&undo);
}

static int compare_all(struct deployment *d, const struct nvmet_facts *f,
		       struct nvmet_want *w, struct err *err)
{
	struct strbuf script = {0};
	char unit[64], file[128];
	int ret = compare(d, f, w, err);

	nvmet_unit(d, unit, file);
	nvmet_script(d, f, w, &script);
	if (script.failed)
		ret = err_set(err, -ENOMEM, "out of memory");
	if (ret == 0)
		ret = compare_script(d, file, script.p, w, err);
	if (ret == 0 && !w->is_complete)
		plan_all(d, f, w, script.p);
	strbuf_fini(&script);
	return ret;
}

static int look(struct deployment *d, struct err *err)
{
	struct nvmet_facts *f = calloc(1, sizeof(*f));
	struct nvmet_want *w = calloc(1, sizeof(*w));
	int ret = f && w ? nvmet_look_around(d, f, err)
			 : err_set(err, -ENOMEM, "out of memory");

	if (ret == 0)
		ret = compare_all(d, f, w, err);
	free(f);
	free(w);
	return ret;
}

const struct backend backend_nvmet = {
	.look = look,
	.look_away = nvmet_look_away,
};
