/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the options of mooncake_nof_target ask to be served, and where.  Main
 * thread, before the loop runs: names are resolved and files opened here.
 */
#include "cmd/nof_target.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nvme/pdu.h"
#include "target/fault.h"
#include "target/ident.h"

/* HOST:PORT[,tls], PORT as in *out, which is where to listen. */
struct place {
	struct addr addr;
	uint16_t port;
	bool is_tls;
};

static int place_parse(const char *text, struct place *out, struct err *err)
{
	struct str rest, where = str_cut(str_of(text), ',', &rest);
	struct hostport hp;
	int ret = hostport_parse(where, out->port, &hp, err);

	out->is_tls = rest.n > 0;
	if (rest.n && !str_eq(rest, STR("tls")))
		return err_set(err, -EINVAL,
			       "'%.100s': after the comma only tls is known",
			       text);
	return ret ? ret : addr_resolve(hp.host, hp.port, &out->addr, err);
}

static int listen_at(struct nof_program *p, struct place *at, bool is_disc,
		     struct err *err)
{
	if (at->is_tls && !p->config->tls_keys.count &&
	    !p->config->rpc_socket[0])
		return err_set(err, -EINVAL,
			       "a listener with tls lets in only hosts with a "
			       "key: give --tls_key HOSTNQN=FILE");
	if (at->is_tls)
		return tgt_listen_tls(p->tgt, &at->addr, is_disc, err);
	return is_disc ? tgt_listen_discovery(p->tgt, &at->addr, err)
		       : tgt_listen(p->tgt, &at->addr, err);
}

int nof_listen_all(struct nof_program *p, struct err *err)
{
	const struct flag_list *l = &p->config->listen;
	char *none[] = {(char[]){"127.0.0.1:4420"}};
	struct flag_list def = {.items = none, .count = 1};
	struct place at, disc = {.port = PDU_DISC_PORT};
	int ret = 0;

	l = l->count ? l : &def;
	if (l->count > NOF_LISTEN_MAX - 1)
		return err_set(err, -EINVAL, "--listen: more than %d times",
			       NOF_LISTEN_MAX - 1);
	for (size_t i = 0; !ret && i < l->count; i++) {
		at = (struct place){.port = NOF_DEFAULT_PORT};
		ret = place_parse(l->items[i], &at, err);
		if (!ret)
			ret = listen_at(p, &at, false, err);
		if (ret)
			break;
		p->is_tls[p->addr_count] = at.is_tls;
		p->addrs[p->addr_count++] = at.addr;
	}
	if (!ret && p->config->discovery[0]) {
		ret = place_parse(p->config->discovery, &disc, err);
		if (!ret)
			ret = listen_at(p, &disc, true, err);
		if (!ret)
			p->control.given_discovery = disc.addr;
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

static void print_ns(struct nof_program *p, const char *nqn, uint32_t nsid,
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

static int add_ns(struct nof_program *p, struct tgt_subsys *ss, const char *nqn,
		  struct str spec, struct err *err)
{
	char *text = str_dup(spec);
	struct tgt_ns_opts opts = {0};
	struct bdev *bdev = NULL;
	struct disk *disk;
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
	ret = disk_adopt(&p->control.registry, bdev, &opts.uuid, &disk);
	if (ret)
		return err_set(err, ret, "out of memory");
	ret = disk_serve(disk, ss, &opts, err);
	if (ret < 0)
		return ret;
	print_ns(p, nqn, (uint32_t)ret, bdev);
	return 0;
}

static int add_subsys(struct nof_program *p, const char *nqn,
		      struct tgt_subsys **out, struct err *err)
{
	const struct flag_list *hosts = &p->config->hosts;
	struct tgt_subsys_opts opts = {.nqn = nqn,
				       .is_host_list = hosts->count > 0};
	int ret = tgt_subsys_add(p->tgt, &opts, out, err);
	char host[HOST_TEXT_LEN];

	for (size_t i = 0; !ret && i < hosts->count; i++)
		ret = tgt_host_add(
			*out,
			&(struct tgt_host_opts){.hostnqn = hosts->items[i]},
			err);
	if (ret)
		return ret;
	strbuf_addf(&p->out, "subsystem %s\n", nqn);
	for (unsigned i = 0; i < p->addr_count; i++) {
		public_host(&p->addrs[i], host);
		strbuf_addf(&p->out,
			    "  nvme connect -t tcp -a %s -s %u -n %s%s\n", host,
			    addr_port(&p->addrs[i]), nqn,
			    p->is_tls[i] ? " --tls" : "");
	}
	return 0;
}

static void default_nqn(const struct nof_program *p, char out[NVME_NQN_LEN])
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

static int serve_main(struct nof_program *p, struct err *err)
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
static int serve_further(struct nof_program *p, const char *text,
			 struct err *err)
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

int nof_serve_all(struct nof_program *p, struct err *err)
{
	const struct flag_list *more = &p->config->subsystems;
	int ret = 0;

	if (p->config->namespaces.count)
		ret = serve_main(p, err);
	for (size_t i = 0; !ret && i < more->count; i++)
		ret = serve_further(p, more->items[i], err);
	return ret;
}

int nof_fault_all(struct nof_program *p, struct err *err)
{
	const struct flag_list *l = &p->config->faults;
	uint32_t id;
	int ret = 0;

	for (size_t i = 0; !ret && i < l->count; i++)
		ret = tgt_fault_set(p->tgt, l->items[i], &id, err);
	return ret;
}
