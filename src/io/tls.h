/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.3 with a pre-shared key on a stream that is connected: afterwards
 * stream_recv() and stream_send() carry what is inside.  The cipher suite is
 * the one of the key's hash, the key exchange (EC)DHE with PSK, and nothing
 * else is ever agreed on: no certificates, tickets or early data.
 *
 * The end of the stream is reported as with TCP, whether or not the peer said
 * close_notify: protocols above know by themselves when they are complete.
 */
#ifndef IO_TLS_H
#define IO_TLS_H

#include "crypt/tlskey.h"
#include "io/stream.h"

struct stream_tls_opts {
	uint32_t timeout_ms; /* for the handshake */
	/* A client's; copied.  NULL: this end is the server. */
	const struct tls_psk *psk;
	/*
	 * A server's: the key for an identity.  0, or -ENOENT.  Where different
	 * keys may have one identity, it is asked again with attempt 1, 2 …
	 * when the one it gave was not the client's.  Called on the loop.
	 */
	int (*find)(void *arg, struct str identity, unsigned attempt,
		    struct tls_psk *out);
	void *arg;
};

/* Whether this build has it.  Without it stream_tls_start() is not to be
 * called. */
bool stream_tls_is_built(void);

/*
 * Nothing may be under way on the stream.  -ENOMEM or -EIO, or 0 and then
 * done(res) from the loop:
 *   0              it is encrypted from here on
 *   -ENOKEY        server: no key for what the client offers
 *   -EKEYREJECTED  the other end has another key; client: or none for us
 *   -EPROTO        what came is no TLS, or not what we can agree on
 *   -ECONNRESET    closed by the peer; other -errno of the socket
 *   -ETIMEDOUT     not done in time
 *   -ECANCELED     stream_close() was called
 * After a failure the stream can only be closed.
 */
int stream_tls_start(struct stream *s, const struct stream_tls_opts *opts,
		     void (*done)(struct stream *s, int res));
/* With whose key the handshake succeeded; NULL without TLS. */
const char *stream_tls_identity(const struct stream *s);

#endif
