/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a frame must look like before anyone trusts its length.  Pure
 * functions, any thread.
 */
#include "proto/frame.h"

#include <errno.h>

static const char *const method_names[] = {
#define METHOD(name, number, req, rsp) [number] = #name,
#include "proto/tbl/methods.h"
#undef METHOD
};

const char *method_name(uint16_t method)
{
	return method < ARRAY_SIZE(method_names) ? method_names[method] : NULL;
}

int frame_check(const struct frame *frame, struct err *err)
{
	if (frame->magic != FRAME_MAGIC)
		return err_set(err, -EBADMSG,
			       "the peer does not speak Mooncake-C's RPC "
			       "(magic 0x%08x instead of 0x%08x): is this "
			       "the RPC port of mooncake_master?",
			       frame->magic, FRAME_MAGIC);
	if (frame->version != PROTO_VERSION)
		return err_set(err, -EPROTONOSUPPORT,
			       "the peer speaks RPC protocol %u, this program "
			       "speaks %u: use the same release on both sides",
			       frame->version, PROTO_VERSION);
	if (frame->type != FRAME_REQUEST && frame->type != FRAME_RESPONSE)
		return err_set(err, -EBADMSG, "frame type %u does not exist",
			       frame->type);
	if (frame->body_len > FRAME_BODY_MAX)
		return err_set(err, -EMSGSIZE,
			       "a message of %u bytes is announced, the limit "
			       "is %u",
			       frame->body_len, FRAME_BODY_MAX);
	return 0;
}
