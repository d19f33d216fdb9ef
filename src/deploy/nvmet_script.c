/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The script that makes the kernel's target what is wanted, and the one that
 * takes it back.  Pure.  Invariant: the first may be run at any time, the
 * second removes only what was missing when the kernel was looked at.
 */
#include "deploy/nvmet.h"

#include <stdio.h>

#include "target/ident.h"

const char *const nvmet_key_names[HOSTKEY_KINDS] = {"dhchap_key",
						    "dhchap_ctrl_key"};

bool nvmet_has_listener(const struct nvmet_facts *f, const struct nvmet_want *w,
			const char *addr, uint16_t port)
{
	char text[300];

	snprintf(text, sizeof(text), "%s %s %u", w->trtype, addr, port);
	for (size_t i = 0; i < f->listener_count; i++)
		if (!strcmp(f->listeners[i], text))
			return true;
	return false;
}

long nvmet_port(const struct nvmet_facts *f, const struct nvmet_want *w,
		const char *addr, uint16_t port)
{
	char text[300];

	snprintf(text, sizeof(text), "%s %s %u", w->trtype, addr, port);
	for (size_t i = 0; i < f->port_count; i++)
		if (!strcmp(f->ports[i], text))
			return (long)i;
	return -1;
}

bool nvmet_has_host(const struct nvmet_facts *f, const char *nqn)
{
	for (size_t i = 0; i < f->host_count; i++)
		if (!strcmp(f->hosts[i], nqn))
			return true;
	return false;
}

static const char functions[] =
	"put() { [ \"$(cat \"$1\")\" = \"$2\" ] || printf %s \"$2\" >\"$1\"; "
	"}\n"
	"ns() { # nsid path uuid\n"
	"  n=$s/namespaces/$1; [ -d \"$n\" ] || mkdir \"$n\"\n"
	"  [ \"$(cat \"$n/enable\")\" = 0 ] || return 0\n"
	"  put \"$n/device_path\" \"$2\"; put \"$n/device_uuid\" \"$3\"\n"
	"  echo 1 >\"$n/enable\"; }\n"
	"key() { # host attribute file\n"
	"  [ -s \"$3\" ] || return 0\n"
	"  [ -e hosts/$1/$2 ] || {\n"
	"    echo \"this kernel's target knows no DH-HMAC-CHAP\" >&2; exit 1; "
	"}\n"
	"  chmod 600 hosts/$1/$2 2>/dev/null || :\n"
	"  [ -n \"$(cat hosts/$1/dhchap_key)\" ] ||\n"
	"    put hosts/$1/dhchap_dhgroup ffdhe2048 2>/dev/null || :\n"
	"  put hosts/$1/$2 \"$(cat \"$3\")\"; }\n"
	"host() { # nqn key-file ctrl-key-file\n"
	"  [ -d hosts/$1 ] || mkdir hosts/$1\n"
	"  key $1 dhchap_key \"$2\"; key $1 dhchap_ctrl_key \"$3\"\n"
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

static bool is_address(const struct node *node, const struct nvmet_want *w,
		       const char *listener)
{
	char text[300];

	for (size_t i = 0; i < node->addr_count; i++) {
		snprintf(text, sizeof(text), "%s %s %u", w->trtype,
			 node->addr[i], node->trsvcid);
		if (!strcmp(text, listener))
			return true;
	}
	return false;
}

static void add_ns(struct strbuf *out, uint32_t nsid, const char *path,
		   const char *uuid)
{
	strbuf_addf(out, "ns %u ", nsid);
	shell_quote(out, path);
	strbuf_addf(out, " %s\n", uuid);
}

/* The lowest id above that which is wanted or there already; 0 = none. */
static uint32_t next_nsid(const struct nvmet_facts *f,
			  const struct nvmet_want *w, uint32_t above)
{
	uint32_t found = 0;

	for (size_t i = 0; i < f->ns_count; i++)
		if (f->ns[i].is_enabled && f->ns[i].nsid > above &&
		    (!found || f->ns[i].nsid < found))
			found = f->ns[i].nsid;
	for (size_t i = 0; i < w->ns_count; i++)
		if (w->ns[i].nsid > above && (!found || w->ns[i].nsid < found))
			found = w->ns[i].nsid;
	return found;
}

/* In the order of their ids, so that the same set makes the same script. */
static void add_namespaces(const struct deployment *d,
			   const struct nvmet_facts *f,
			   const struct nvmet_want *w, struct strbuf *out)
{
	uint32_t nsid = 0;

	while ((nsid = next_nsid(f, w, nsid))) {
		char uuid[UUID_TEXT_LEN] = "";
		const char *path = "";
		struct uuid id;

		for (size_t i = 0; i < f->ns_count; i++)
			if (f->ns[i].is_enabled && f->ns[i].nsid == nsid) {
				path = f->ns[i].path;
				memcpy(uuid, f->ns[i].uuid, sizeof(uuid));
			}
		for (size_t i = 0; !uuid[0] && i < w->ns_count; i++)
			if (w->ns[i].nsid == nsid) {
				path = w->ns[i].path;
				/* Stays the same over reboots: the pool knows
				 * disks by it. */
				ident_uuid(d->nqn, nsid, path, &id);
				uuid_format_hex(&id, uuid);
			}
		add_ns(out, nsid, path, uuid);
	}
}

/* With its keys, if there are files by then. */
static void add_host(struct strbuf *out, const char *nqn)
{
	char paths[HOSTKEY_KINDS][HOSTKEY_PATH_LEN];

	for (int k = 0; k < HOSTKEY_KINDS; k++)
		hostkey_path(nqn, k, paths[k]);
	strbuf_addf(out, "host %s %s %s\n", nqn, paths[HOSTKEY_HOST],
		    paths[HOSTKEY_CTRL]);
}

static void add_listener(struct strbuf *out, const char *trtype,
			 const char *addr, const char *port)
{
	strbuf_addf(out, "listen %s %s %s %s\n", trtype,
		    strchr(addr, ':') ? "ipv6" : "ipv4", addr, port);
}

/* What is wanted, and what the subsystem has besides: it stays. */
static void add_doors(const struct deployment *d, const struct nvmet_facts *f,
		      const struct nvmet_want *w, struct strbuf *out)
{
	const struct node *node = d->node;
	char port[8], trtype[16], addr[256], svc[16];

	snprintf(port, sizeof(port), "%u", node->trsvcid);
	for (size_t i = 0; i < node->allow_count; i++)
		add_host(out, node->allow[i]);
	for (size_t i = 0; i < f->host_count; i++)
		if (!node_allows(node, f->hosts[i]))
			add_host(out, f->hosts[i]);
	for (size_t i = 0; i < node->addr_count; i++)
		add_listener(out, w->trtype, node->addr[i], port);
	for (size_t i = 0; i < f->listener_count; i++)
		if (sscanf(f->listeners[i], "%15s %255s %15s", trtype, addr,
			   svc) == 3 &&
		    !is_address(node, w, f->listeners[i]))
			add_listener(out, trtype, addr, svc);
}

void nvmet_script(const struct deployment *d, const struct nvmet_facts *f,
		  const struct nvmet_want *w, struct strbuf *out)
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
	if (node->allow_count || (f->has_subsystem && !f->allows_any))
		strbuf_adds(out, "put $s/attr_allow_any_host 0\n");
	add_namespaces(d, f, w, out);
	add_doors(d, f, w, out);
}

/* A key can be changed, but not removed, unless its host is. */
static const char undo_functions[] =
	"rekey() { [ ! -s \"$2\" ] || printf %s \"$(cat \"$2\")\" >\"$1\"; }\n"
	"unkey() { l=; for a in subsystems/*/allowed_hosts/$1; do\n"
	"    [ ! -e $a ] || { l=\"$l $a\"; rm -f $a; }; done\n"
	"  rmdir hosts/$1; mkdir hosts/$1\n"
	"  for a in $l; do ln -s $PWD/hosts/$1 $a; done; }\n"
	"unlisten() { # stays|goes trtype traddr trsvcid\n"
	"  end=$1; shift\n"
	"  for p in ports/*; do [ -d \"$p\" ] || continue\n"
	"  [ \"$(cat $p/addr_trtype) $(cat $p/addr_traddr) $(cat "
	"$p/addr_trsvcid)\" = \"$*\" ] || continue\n"
	"  rm -f $p/subsystems/$nqn\n"
	"  [ $end = stays ] || rmdir $p 2>/dev/null || :; done; }\n"
	"drop() { n=$s/namespaces/$1; [ -d $n ] || return 0\n"
	"  echo 0 >$n/enable; rmdir $n; }\n"
	"rest() { n=$s/namespaces/$1\n"
	"  echo 0 >$n/enable; printf %s \"$2\" >$n/device_uuid; }\n";

static void undo_host(const struct deployment *d, const struct nvmet_facts *f,
		      size_t i, struct strbuf *out)
{
	const char *nqn = d->node->allow[i];

	/* Not one that somebody else allows meanwhile. */
	if (!f->is_known[i]) {
		strbuf_addf(out, "rmdir hosts/%s 2>/dev/null || :\n", nqn);
		return;
	}
	if (d->keys.of[i][HOSTKEY_HOST].text[0] &&
	    f->key[i][HOSTKEY_HOST] == KEY_NONE)
		strbuf_addf(out, "unkey %s\n", nqn);
	for (int k = 0; k < HOSTKEY_KINDS; k++) {
		char path[HOSTKEY_PATH_LEN];

		hostkey_path(nqn, k, path);
		if (f->key[i][k] == KEY_BEFORE)
			strbuf_addf(out, "rekey hosts/%s/%s %s" PLAN_OLD "\n",
				    nqn, nvmet_key_names[k], path);
	}
}

/* One that was there disabled is so again. */
static void undo_ns(const struct nvmet_facts *f, uint32_t nsid,
		    struct strbuf *out)
{
	for (size_t i = 0; i < f->ns_count; i++)
		if (f->ns[i].nsid == nsid) {
			strbuf_addf(out, "rest %u %s\n", nsid, f->ns[i].uuid);
			return;
		}
	strbuf_addf(out, "drop %u\n", nsid);
}

void nvmet_undo(const struct deployment *d, const struct nvmet_facts *f,
		const struct nvmet_want *w, struct strbuf *out)
{
	const struct node *node = d->node;

	strbuf_adds(out, "cd " NVMET " 2>/dev/null || exit 0\nnqn=");
	shell_quote(out, d->nqn);
	strbuf_addf(out, "\ns=subsystems/$nqn\n%s", undo_functions);
	for (size_t i = 0; i < node->addr_count; i++)
		if (!nvmet_has_listener(f, w, node->addr[i], node->trsvcid))
			strbuf_addf(out, "unlisten %s %s %s %u\n",
				    nvmet_port(f, w, node->addr[i],
					       node->trsvcid) < 0
					    ? "goes"
					    : "stays",
				    w->trtype, node->addr[i], node->trsvcid);
	for (size_t i = 0; i < node->allow_count; i++)
		if (!nvmet_has_host(f, node->allow[i]))
			strbuf_addf(out, "rm -f $s/allowed_hosts/%s\n",
				    node->allow[i]);
	for (size_t i = 0; i < node->allow_count; i++)
		undo_host(d, f, i, out);
	if (node->allow_count && f->has_subsystem && f->allows_any)
		strbuf_adds(out, "echo 1 >$s/attr_allow_any_host\n");
	for (size_t i = 0; i < w->ns_count; i++)
		if (w->ns[i].is_new)
			undo_ns(f, w->ns[i].nsid, out);
	if (!f->has_subsystem)
		strbuf_adds(out, "[ ! -d $s ] || rmdir $s\n");
}
