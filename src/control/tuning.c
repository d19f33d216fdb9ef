/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods that tune parts of SPDK which are not here: they are taken, so that
 * its scripts and configurations work unchanged, and the log says that they
 * have no effect.  Control loop.
 */
#include "base/log.h"
#include "control/methods.h"

static void no_effect(struct jrpc_call *call, void *args)
{
	log_info("control call has no effect here", "method=%s",
		 call->method->name);
	jrpc_true(call);
}

#define METHOD(name_)                                                          \
	{                                                                      \
		.name = name_, .run = no_effect, .attrs = JRPC_RELAXED         \
	}

static const struct jrpc_method methods[] = {
	METHOD("accel_set_options"),	   METHOD("bdev_examine"),
	METHOD("bdev_nvme_set_hotplug"),   METHOD("bdev_nvme_set_options"),
	METHOD("bdev_set_options"),	   METHOD("bdev_wait_for_examine"),
	METHOD("framework_set_scheduler"), METHOD("iobuf_set_options"),
	METHOD("log_set_print_level"),	   METHOD("nvmf_set_crdt"),
	METHOD("nvmf_set_max_subsystems"), METHOD("sock_impl_set_options"),
	METHOD("sock_set_default_impl"),
};

const struct jrpc_table control_tuning = {methods, ARRAY_SIZE(methods)};
