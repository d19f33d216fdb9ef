/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A build without TLS; the loop's thread.  Invariant: s->tls is never set, so
 * stream.c comes here for nothing.
 */
#include "io/tls.h"

#include "io/stream_impl.h"

bool stream_tls_is_built(void)
{
	return false;
}

int stream_tls_start(struct stream *s, const struct stream_tls_opts *opts,
		     void (*done)(struct stream *s, int res))
{
	UNREACHABLE();
}

const char *stream_tls_identity(const struct stream *s)
{
	return NULL;
}

void tls_recv(struct stream *s, const struct iovec *iov, unsigned iovcnt)
{
	UNREACHABLE();
}

void tls_send(struct stream *s)
{
	UNREACHABLE();
}

void tls_cancel(struct stream *s)
{
	UNREACHABLE();
}

bool tls_is_busy(const struct stream *s)
{
	UNREACHABLE();
}

void tls_destroy(struct stream *s)
{
	UNREACHABLE();
}
