/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of the default ports on this host: does anybody listen, and is it what
 * belongs there?  One thread.  Invariant: only loopback is asked, so a check
 * of this host never reaches another one.
 */
#include <errno.h>
#include <stdio.h>

#include "deploy/doctor_check.h"
#include "nvme/pdu.h"

#define PATIENCE_MS 1000 /* at most: it is this host */

/* 0 when it is ours: who says what it is; else -errno. */
struct asker {
	const char *name;
	uint16_t port;
	const char *flag; /* how to choose another port */
	int (*ask)(struct doctor *d, const struct addr *addr, char who[128]);
};

static uint32_t patience(const struct doctor *d)
{
	return MIN(d->opts.timeout_ms, (uint32_t)PATIENCE_MS);
}

static int ask_master(struct doctor *d, const struct addr *addr, char who[128])
{
	struct rpc_sync *rs = NULL;
	struct err err = {0};
	int ret = rpc_sync_open(addr, patience(d), &rs, &err);

	rpc_sync_close(rs);
	snprintf(who, 128, "a master");
	return ret;
}

static int ask_page(const struct doctor *d, const struct addr *addr,
		    const char *path, const char *body)
{
	struct doctor_page page;
	struct err err = {0};
	int ret = doctor_get(addr, path, patience(d), &page, &err);

	if (ret == 0 && !strstr(page.body, body))
		ret = -EPROTO;
	return ret;
}

static int ask_admin(struct doctor *d, const struct addr *addr, char who[128])
{
	snprintf(who, 128, "a master's admin pages");
	return ask_page(d, addr, "/health", "\"service_ready\"");
}

static int ask_rest(struct doctor *d, const struct addr *addr, char who[128])
{
	/* Our servers list their pages when a path is unknown. */
	snprintf(who, 128, "a store service");
	if (ask_page(d, addr, "/", "/api/exist/") == 0)
		return 0;
	snprintf(who, 128, "a metadata server");
	return ask_page(d, addr, "/", "/metadata");
}

static int ask_discovery_of(struct doctor *d, const struct addr *addr,
			    bool use_tls, char who[128])
{
	struct look_opts opts = {
		.nvmf = d->vol.nvmf,
		.timeout_ms = patience(d),
	};
	struct look look = {.is_discovery = true};
	int ret;

	opts.nvmf.dhchap_key.len = 0; /* may be bound to other targets */
	if (!use_tls)
		opts.nvmf.tls_key.len = 0;
	addr_format_host(addr, look.ep.traddr);
	look.ep.trsvcid = addr_port(addr);
	snprintf(look.ep.subnqn, sizeof(look.ep.subnqn), "%s", NVME_DISC_NQN);
	ret = look_at_all(d->loop, &opts, &look, 1);
	secret_clear(&opts, sizeof(opts));
	snprintf(who, 128, "an NVMe/TCP target (%s)%s", look.info.model,
		 use_tls ? " with TLS" : "");
	return ret ? ret : look.err.code;
}

/* A port is either with TLS or without. */
static int ask_target(struct doctor *d, const struct addr *addr, char who[128])
{
	int ret = ask_discovery_of(d, addr, false, who);

	if (ret && d->vol.nvmf.tls_key.len)
		ret = ask_discovery_of(d, addr, true, who);
	return ret;
}

static const struct asker askers[] = {
	{"master RPC", DOCTOR_RPC_PORT, "mooncake_master --rpc_port",
	 ask_master},
	{"master admin", DOCTOR_ADMIN_PORT, "mooncake_master --metrics_port",
	 ask_admin},
	{"store service or metadata", DOCTOR_REST_PORT,
	 "mooncake_store_service --port", ask_rest},
	{"target port", DOCTOR_TARGET_PORT, "mooncake_nof_target --listen",
	 ask_target},
	{"discovery port", DOCTOR_DISC_PORT, "mooncake_nof_target --listen",
	 ask_target},
};

static void judge(struct doctor *d, const struct doctor_check *c,
		  const struct asker *asker, uint16_t port)
{
	char who[128] = "", subject[64];
	struct addr addr;
	int ret = addr_parse("127.0.0.1", port, &addr);

	ASSERT(ret == 0);
	snprintf(subject, sizeof(subject), "%u (%s)", port, asker->name);
	ret = doctor_connect(&addr, patience(d));
	if (ret == 0 && !(ret = asker->ask(d, &addr, who))) {
		doctor_add(d, c, DOCTOR_OK, subject, "%s", who);
		return;
	}
	if (ret == -ECONNREFUSED) {
		doctor_add(d, c, DOCTOR_OK, subject, "free");
		return;
	}
	doctor_add(d, c, DOCTOR_WARN, subject,
		   "somebody listens there, but it is no part of Mooncake "
		   "(%s)",
		   strerror(-ret));
	doctor_advise(d,
		      "'ss -ltnp sport = :%u' (as root) says who. Where "
		      "ours shall run here as well: %s.",
		      port, asker->flag);
}

void doctor_judge_port(struct doctor *d, const struct doctor_check *check,
		       uint16_t port, enum doctor_port kind)
{
	ASSERT(kind < ARRAY_SIZE(askers));
	judge(d, check, &askers[kind], port);
}

static void check_ports(struct doctor *d, const struct doctor_check *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++)
		judge(d, c, &askers[i], askers[i].port);
}

const struct doctor_check doctor_port_checks[] = {
	{"ports", "127.0.0.1, ports 50051, 9003, 8080, 4420, 8009", DOCTOR_WARN,
	 NULL, check_ports},
	{0},
};
