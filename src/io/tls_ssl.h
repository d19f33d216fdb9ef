/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL as a filter between two buffers: what is inside of src/io's TLS and
 * knows nothing of sockets.  tls.c moves the buffers' bytes.
 */
#ifndef IO_TLS_SSL_H
#define IO_TLS_SSL_H

#include <openssl/ssl.h>

#include "io/tls.h"

#define TLS_RECORD   16384u /* most plaintext of one */
#define TLS_OVERHEAD 256u   /* header, type, tag; and some */
#define TLS_IN_BYTES (64u << 10)
/* Room for handshake messages and answers to key updates is kept free. */
#define TLS_SPARE     4096u
#define TLS_OUT_BYTES (8 * (TLS_RECORD + TLS_OVERHEAD) + TLS_SPARE)

struct tls_filter {
	SSL *ssl;
	struct stream_tls_opts opts; /* psk points to the one below */
	struct tls_psk psk; /* the client's, or what the server found */
	unsigned attempt;
	bool is_asked, is_found; /* server: an identity was offered; known */
	bool has_sent;		 /* something of out has left */
	/* in: bytes of the peer; out: for the peer */
	uint8_t *in, *out;
	size_t in_pos, in_end, out_pos, out_end;
	uint8_t *record; /* small pieces, gathered */
};

/* -ENOMEM, -EIO. */
int tls_filter_init(struct tls_filter *f, const struct stream_tls_opts *opts);
void tls_filter_fini(struct tls_filter *f); /* half-built is fine */

/* 0: done; -EAGAIN: more of the peer's bytes are needed; else as in tls.h.
 * There may be something to send in any case. */
int tls_filter_shake(struct tls_filter *f);
/* Bytes > 0; 0: the peer said close_notify; -EAGAIN; -EBADMSG: not what the
 * peer sent, or not TLS. */
int tls_filter_read(struct tls_filter *f, const struct iovec *iov,
		    unsigned iovcnt);
/* A record of what stands at the front of iov: its bytes, 0 when there is no
 * room for it now, or -EIO. */
int tls_filter_write(struct tls_filter *f, const struct iovec *iov,
		     unsigned iovcnt);
/* There are bytes that a read might use. */
bool tls_filter_has_input(const struct tls_filter *f);
/* Room for more of the peer's bytes. */
struct iovec tls_filter_room(struct tls_filter *f);
/* Puts a close_notify behind what is to be sent. */
void tls_filter_shut(struct tls_filter *f);

#endif
