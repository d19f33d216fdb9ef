/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ties the method tables to a target and to the socket.  The target's control
 * loop.  Invariant: the tables are constant, so lookups need no lock.
 */
#include "control/control.h"

#include <errno.h>
#include <string.h>

#include "base/time.h"
#include "control/config.h"
#include "control/methods.h"
#include "control/state.h"

static const struct jrpc_table *const tables[] = {
	&control_framework, &control_config,
	&control_keyring,   &control_disks,
	&control_drives,    &control_disk_info,
	&control_transport, &control_subsystem,
	&control_listeners, &control_hosts,
	&control_referrals, &control_reservations,
	&control_nvmf_info, &control_tuning,
	&control_faults,    NULL,
};

void control_init(struct control *ctl, struct loop *loop, struct tgt *tgt)
{
	*ctl = (struct control){
		.loop = loop,
		.tgt = tgt,
		.sysfs_root = "/sys",
		.dev_root = "/dev",
		.load_call_ns = 60 * NS_PER_S,
		.rpc = {.tables = tables, .ctx = ctl},
	};
	registry_init(&ctl->registry, tgt);
	keyring_init(&ctl->keyring);
	list_init(&ctl->host_keys);
}

int control_listen(struct control *ctl, const char *path, struct err *err)
{
	return server_open(&ctl->server, ctl->loop, &ctl->rpc, path, NULL, err);
}

int control_remember(struct control *ctl, const char *path, struct err *err)
{
	int ret = config_load_file(ctl, path, false, err);

	if (ret == -ENOENT)
		*err = (struct err){0};
	else if (ret)
		return ret;
	return state_open(ctl, path, &ctl->state, err);
}

void control_leave(struct control *ctl)
{
	ctl->rpc.is_leaving = true;
}

void control_close(struct control *ctl, void (*done)(void *arg), void *arg)
{
	server_close(&ctl->server, done, arg);
}

void control_fini(struct control *ctl)
{
	if (!ctl->loop)
		return;
	state_close(ctl->state);
	json_decref(ctl->not_loaded);
	json_decref(ctl->auth_config);
	registry_fini(&ctl->registry);
	hosts_forget(ctl, NULL);
	keyring_fini(&ctl->keyring);
	memset(ctl, 0, sizeof(*ctl));
}
