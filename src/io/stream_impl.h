/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stream.c and the TLS under it share; nobody else includes it.
 *
 * With TLS (s->tls) the stream's operations rx and tx are the TLS's, and
 * rx_busy and tx_busy mean that the owner waits for a callback.
 */
#ifndef IO_STREAM_IMPL_H
#define IO_STREAM_IMPL_H

#include "io/stream.h"

/* stream.c: the callback, then closing if that was waited for. */
void stream_recv_finish(struct stream *s, int res);
void stream_send_finish(struct stream *s, int res);
void stream_check_closed(struct stream *s);
/* Drops n bytes from the front of what is still to be sent (tx_iov). */
void stream_advance(struct stream *s, size_t n);

/* tls.c or no_tls.c; s->tls is set */
void tls_recv(struct stream *s, const struct iovec *iov, unsigned iovcnt);
void tls_send(struct stream *s);
/* stream_close() was called; the operations are being cancelled. */
void tls_cancel(struct stream *s);
/* Operations under way that no callback of the owner's belongs to. */
bool tls_is_busy(const struct stream *s);
void tls_destroy(struct stream *s);

#endif
