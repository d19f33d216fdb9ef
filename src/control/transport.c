/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nvmf_create_transport and nvmf_get_transports.  Control loop.  Invariant:
 * the target listens only while there is a transport.
 */
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "base/log.h"
#include "control/methods.h"

#define TRANSPORT	"TCP"
#define MIN_MAX_IO_SIZE 8192
#define MIN_ADMIN_DEPTH 32
#define NOT_GIVEN	UINT32_MAX

struct transport_args {
	const char *trtype, *tgt_name;
	struct transport_opts o;
};

#define OFF(field) offsetof(struct transport_args, field)
#define U32(name_)                                                             \
	{                                                                      \
#name_, PARAM_U32, OFF(o.name_), .def = NOT_GIVEN              \
	}
#define BOOL(name_, def_)                                                      \
	{                                                                      \
#name_, PARAM_BOOL, OFF(o.name_), .def = def_                  \
	}
static const struct param create_params[] = {
	{"trtype", PARAM_STR, OFF(trtype), true},
	{"tgt_name", PARAM_STR, OFF(tgt_name)},
	U32(max_queue_depth),
	U32(max_io_qpairs_per_ctrlr),
	U32(in_capsule_data_size),
	U32(max_io_size),
	U32(io_unit_size),
	U32(max_aq_depth),
	U32(num_shared_buffers),
	U32(buf_cache_size),
	U32(sock_priority),
	U32(abort_timeout_sec),
	BOOL(c2h_success, true),
	BOOL(zcopy, false),
	BOOL(dif_insert_or_strip, false),
};
static const struct param get_params[] = {
	{"trtype", PARAM_STR, OFF(trtype)},
	{"tgt_name", PARAM_STR, OFF(tgt_name)},
};

static uint32_t or_default(uint32_t value, uint32_t def)
{
	return value == NOT_GIVEN ? def : value;
}

static bool is_pow2(uint32_t x)
{
	return x && !(x & (x - 1));
}

/* What SPDK makes of the values that it takes but can't use. */
static int fill_in(struct transport_opts *o, struct err *err)
{
	o->max_queue_depth = or_default(o->max_queue_depth, 128);
	o->max_io_qpairs_per_ctrlr =
		or_default(o->max_io_qpairs_per_ctrlr, 127);
	o->max_io_size = or_default(o->max_io_size, 131072);
	o->in_capsule_data_size = or_default(o->in_capsule_data_size, 4096);
	o->io_unit_size = or_default(o->io_unit_size, 131072);
	o->max_aq_depth = or_default(o->max_aq_depth, 128);
	o->num_shared_buffers = or_default(o->num_shared_buffers, 511);
	o->buf_cache_size = or_default(o->buf_cache_size, UINT32_MAX);
	o->sock_priority = or_default(o->sock_priority, 0);
	o->abort_timeout_sec = or_default(o->abort_timeout_sec, 1);
	if (!is_pow2(o->max_io_size) || o->max_io_size < MIN_MAX_IO_SIZE)
		return err_set(err, -EINVAL,
			       "max_io_size %u: a power of two from %u works",
			       o->max_io_size, MIN_MAX_IO_SIZE);
	if (o->max_queue_depth < 2)
		o->max_queue_depth = 128;
	if (o->max_aq_depth < MIN_ADMIN_DEPTH)
		o->max_aq_depth = MIN_ADMIN_DEPTH;
	if (o->in_capsule_data_size > o->max_io_size)
		o->in_capsule_data_size = o->max_io_size;
	if (o->dif_insert_or_strip)
		return err_set(err, -EINVAL,
			       "dif_insert_or_strip: there is no metadata");
	return 0;
}

static int apply(struct tgt *tgt, const struct transport_opts *o,
		 struct err *err)
{
	struct tgt_opts opts = *tgt_opts_get(tgt);

	opts.max_transfer = o->max_io_size;
	opts.in_capsule = o->in_capsule_data_size & ~15u;
	opts.queue_depth = (uint16_t)MIN(o->max_queue_depth, 4096u);
	/* 0 is the default of each of them */
	opts.max_queues = (uint16_t)MIN(o->max_io_qpairs_per_ctrlr, 1024u);
	opts.no_c2h_success = !o->c2h_success;
	return tgt_opts_set(tgt, &opts, err);
}

static json_t *describe(const struct transport_opts *o)
{
	return json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:b,"
		" s:I, s:I}",
		"trtype", TRANSPORT, "max_queue_depth",
		(json_int_t)o->max_queue_depth, "max_io_qpairs_per_ctrlr",
		(json_int_t)o->max_io_qpairs_per_ctrlr, "in_capsule_data_size",
		(json_int_t)o->in_capsule_data_size, "max_io_size",
		(json_int_t)o->max_io_size, "io_unit_size",
		(json_int_t)o->io_unit_size, "max_aq_depth",
		(json_int_t)o->max_aq_depth, "num_shared_buffers",
		(json_int_t)o->num_shared_buffers, "buf_cache_size",
		(json_int_t)o->buf_cache_size, "dif_insert_or_strip", false,
		"zcopy", o->zcopy, "c2h_success", o->c2h_success,
		"sock_priority", (json_int_t)o->sock_priority,
		"abort_timeout_sec", (json_int_t)o->abort_timeout_sec);
}

json_t *transport_json(const struct control *ctl)
{
	return ctl->has_transport ? describe(&ctl->transport) : NULL;
}

void transport_given(struct control *ctl)
{
	const struct tgt_opts *opts = tgt_opts_get(ctl->tgt);
	struct transport_opts o = {
		.max_queue_depth = opts->queue_depth,
		.max_io_qpairs_per_ctrlr = opts->max_queues,
		.in_capsule_data_size = opts->in_capsule,
		.max_io_size = opts->max_transfer,
		.io_unit_size = NOT_GIVEN,
		.max_aq_depth = NOT_GIVEN,
		.num_shared_buffers = NOT_GIVEN,
		.buf_cache_size = NOT_GIVEN,
		.sock_priority = NOT_GIVEN,
		.abort_timeout_sec = NOT_GIVEN,
		.c2h_success = !opts->no_c2h_success,
	};
	struct err err = {0};

	ASSERT(fill_in(&o, &err) == 0);
	ctl->transport = o;
	ctl->has_transport = ctl->is_transport_given = true;
}

static void create(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	struct transport_args *a = args;
	struct err err = {0};
	int ret;

	if (strcasecmp(a->trtype, TRANSPORT) != 0) {
		jrpc_fail(call, JRPC_INVALID_PARAMS,
			  "Invalid transport type '%s'", a->trtype);
		return;
	}
	if (ctl->has_transport) {
		jrpc_fail(call, JRPC_INTERNAL_ERROR,
			  "Transport type '%s' already exists", a->trtype);
		return;
	}
	ret = fill_in(&a->o, &err);
	if (!ret)
		ret = apply(ctl->tgt, &a->o, &err);
	if (ret) {
		log_warn("transport refused", "reason=\"%s\"", err.text);
		jrpc_fail(call, JRPC_INTERNAL_ERROR,
			  "Transport type '%s' create failed", a->trtype);
		return;
	}
	ctl->transport = a->o;
	ctl->has_transport = true;
	jrpc_true(call);
}

static void get(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct transport_args *a = args;
	bool is_asked = a->trtype != NULL;

	if (is_asked &&
	    (!ctl->has_transport || strcasecmp(a->trtype, TRANSPORT) != 0))
		jrpc_fail_errno(call, -ENODEV);
	else if (ctl->has_transport)
		jrpc_result(call, json_pack("[o]", transport_json(ctl)));
	else
		jrpc_result(call, json_array());
}

static const struct jrpc_method methods[] = {
	/* As SPDK has it: options of other versions and transports are passed
	 * over. */
	{.name = "nvmf_create_transport",
	 .params = create_params,
	 .param_count = ARRAY_SIZE(create_params),
	 .args_size = sizeof(struct transport_args),
	 .run = create,
	 .attrs = JRPC_RELAXED | JRPC_CHANGES},
	{.name = "nvmf_get_transports",
	 .params = get_params,
	 .param_count = ARRAY_SIZE(get_params),
	 .args_size = sizeof(struct transport_args),
	 .run = get},
};

const struct jrpc_table control_transport = {methods, ARRAY_SIZE(methods)};
