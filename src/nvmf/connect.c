/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the Connect commands of admin and I/O queues have in common; any
 * thread.  Invariant: options that went through opts_fill_defaults() have no
 * zero that means "default" left.
 */
#include "nvmf/ctrl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MIN 8 /* keep-alive, event, shutdown, Aborts, one more */

static void default_to(uint32_t *field, uint32_t value)
{
	if (*field == 0)
		*field = value;
}

void opts_fill_defaults(struct nvmf_opts *opts)
{
	/* One look at a discovery controller needs no keep-alive. */
	if (strcmp(opts->subnqn, NVME_DISC_NQN) == 0 && !opts->on_event)
		default_to(&opts->kato_ms, NVMF_KATO_OFF);
	default_to(&opts->kato_ms, 5000);
	default_to(&opts->abort_timeout_ms, 1000);
	default_to(&opts->close_timeout_ms, 1000);
	default_to(&opts->connect_timeout_ms, 3000);
	default_to(&opts->command_timeout_ms, 5000);
	default_to(&opts->admin_timeout_ms, 5000);
	default_to(&opts->auth_timeout_ms,
		   MAX(opts->connect_timeout_ms, (uint32_t)30000));
	if (!opts->admin_depth)
		opts->admin_depth = 32;
	if (!opts->io_depth)
		opts->io_depth = 128;
	if (!opts->io_queues)
		opts->io_queues = 4;
	opts->admin_depth = MAX(opts->admin_depth, (uint16_t)DEPTH_MIN);
	opts->admin_depth = MIN(opts->admin_depth, (uint16_t)NT_DEPTH_MAX);
	opts->io_depth = MAX(opts->io_depth, (uint16_t)2);
	opts->io_depth = MIN(opts->io_depth, (uint16_t)NT_DEPTH_MAX);
}

void connect_fill(struct nvme_connect_data *data, const struct nvmf_opts *opts,
		  uint16_t cntlid)
{
	*data = (struct nvme_connect_data){.cntlid = cntlid};
	memcpy(data->hostid, opts->host.id, sizeof(data->hostid));
	snprintf(data->subnqn, sizeof(data->subnqn), "%s", opts->subnqn);
	snprintf(data->hostnqn, sizeof(data->hostnqn), "%s", opts->host.nqn);
}

/* The field a Connect response blames: offset in the command or its data. */
static const struct {
	uint16_t off;
	bool in_data;
	const char *name, *hint;
} fields[] = {
	{0, true, "HOSTID", "the host id is not allowed"},
	{16, true, "CNTLID", "that controller is no longer there"},
	{256, true, "SUBNQN", "no such subsystem or host not allowed"},
	{512, true, "HOSTNQN", "the host NQN is not allowed"},
	{40, false, "RECFMT", "unknown record format"},
	{42, false, "QID", "that queue exists or is out of range"},
	{44, false, "SQSIZE", "queue size not supported"},
	{46, false, "CATTR", "connect attributes not supported"},
	{48, false, "KATO", "keep alive timeout not supported"},
};

/* Targets say in both ways that they don't want a host: which one we are, only
 * we know. */
static void bad_param(struct nt_conn *conn, const struct nvmf_opts *opts,
		      uint32_t dw0)
{
	bool in_data = dw0 >> 16 & 1;
	uint16_t off = (uint16_t)dw0;
	const char *name = "no field named", *hint = "refused by the target";

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (fields[i].off != off || fields[i].in_data != in_data)
			continue;
		name = fields[i].name;
		hint = fields[i].hint;
	}
	nt_fail(conn, -EINVAL,
		"subsystem '%.70s' at %s refused this host, '%.70s': %s "
		"(invalid parameters, %s)",
		opts->subnqn, conn->peer, opts->host.nqn, hint, name);
}

void connect_refused(struct nt_conn *conn, const struct nvmf_opts *opts,
		     uint16_t sc, uint32_t dw0)
{
	const char *hint = "refused by the target";

	switch (sc & NVME_SC_MASK) {
	case NVME_SC_CONNECT_BAD_PARAM:
		bad_param(conn, opts, dw0);
		return;
	case NVME_SC_CONNECT_BAD_HOST:
		nt_fail(conn, nvme_sc_errno(sc),
			"subsystem '%.70s' at %s refused this host, '%.70s': "
			"it is not on its list (status %03xh)",
			opts->subnqn, conn->peer, opts->host.nqn,
			sc & NVME_SC_MASK);
		return;
	case NVME_SC_CONNECT_CTRL_BUSY:
		hint = "it has no room for another connection";
		break;
	case NVME_SC_AUTH_REQUIRED:
		hint = "it asks for authentication, which is not set up";
		break;
	default:
		break;
	}
	nt_fail(conn, nvme_sc_errno(sc),
		"subsystem '%s' at %s refused the connection: %s (%s, status "
		"%03xh)",
		opts->subnqn, conn->peer, hint, nvme_sc_text(sc),
		sc & NVME_SC_MASK);
}
