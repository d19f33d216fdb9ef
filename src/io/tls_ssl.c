/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL between two buffers.  The loop's thread; what connections share is
 * made once and constant then.  Invariant: neither buffer grows, and out keeps
 * TLS_SPARE bytes that only messages of TLS itself may fill.
 */
#include "io/tls_ssl.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>

#include "base/log.h"
#include "crypt/key.h"

static const char *const suites[] = {
	"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384",
	[TLS_SHA256] = "TLS_AES_128_GCM_SHA256",
	[TLS_SHA384] = "TLS_AES_256_GCM_SHA384",
};

/* The first byte of a handshake record. */
#define TYPE_HANDSHAKE 22
/* Reasons of alerts that have come begin here. */
#define REASON_ALERT 1000

/* What all connections share; NULL when libssl can't. */
static SSL_CTX *shared;
static BIO_METHOD *method;
static pthread_once_t shared_once = PTHREAD_ONCE_INIT;

/* --- the buffers, as OpenSSL sees them --- */

static int bio_read(BIO *bio, char *p, int n)
{
	struct tls_filter *f = BIO_get_data(bio);
	size_t have = f->in_end - f->in_pos;

	BIO_clear_retry_flags(bio);
	if (!have) {
		BIO_set_retry_read(bio);
		return -1;
	}
	n = (int)MIN(have, (size_t)n);
	memcpy(p, f->in + f->in_pos, (size_t)n);
	f->in_pos += (size_t)n;
	return n;
}

static int bio_write(BIO *bio, const char *p, int n)
{
	struct tls_filter *f = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	/* Never a part of it: what has no room is a peer that makes us answer
	 * and does not read. */
	if ((size_t)n > TLS_OUT_BYTES - f->out_end)
		return -1;
	memcpy(f->out + f->out_end, p, (size_t)n);
	f->out_end += (size_t)n;
	return n;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *p)
{
	return cmd == BIO_CTRL_FLUSH;
}

/* --- keys --- */

static SSL_SESSION *make_session(SSL *ssl, const struct tls_psk *psk)
{
	const uint8_t suite[] = {0x13, psk->hash}; /* 1301h, 1302h */
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, suite);
	SSL_SESSION *session = SSL_SESSION_new();

	if (session && cipher &&
	    SSL_SESSION_set1_master_key(session, psk->bytes, psk->len) &&
	    SSL_SESSION_set_cipher(session, cipher) &&
	    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION))
		return session;
	SSL_SESSION_free(session);
	return NULL;
}

static int on_client_key(SSL *ssl, const EVP_MD *md, const unsigned char **id,
			 size_t *id_len, SSL_SESSION **session)
{
	struct tls_filter *f = SSL_get_app_data(ssl);

	*session = make_session(ssl, &f->psk);
	*id = (const unsigned char *)f->psk.identity;
	*id_len = strlen(f->psk.identity);
	return *session != NULL;
}

static int on_server_key(SSL *ssl, const unsigned char *id, size_t id_len,
			 SSL_SESSION **session)
{
	struct tls_filter *f = SSL_get_app_data(ssl);
	struct str identity = {(const char *)id, id_len};

	*session = NULL;
	f->is_asked = true;
	if (f->opts.find(f->opts.arg, identity, f->attempt, &f->psk))
		return 1; /* none; there may be another one */
	f->is_found = true;
	*session = make_session(ssl, &f->psk);
	return *session != NULL;
}

/*
 * Server: OpenSSL picks the suite before it looks at keys, and a key fits one
 * hash alone.  The identity says which, as "NVMe1R02 …".
 */
static int on_hello(SSL *ssl, int *alert, void *arg)
{
	const unsigned char *p;
	size_t n;

	/* Lengths of the list and of the first identity, two bytes each. */
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk, &p, &n) &&
	    n >= 4 + 8 && memcmp(p + 4, "NVMe", 4) == 0)
		SSL_set_ciphersuites(
			ssl, suites[p[4 + 7] == '2' ? TLS_SHA384 : TLS_SHA256]);
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* --- what is shared --- */

static void make_shared(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());

	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
			      "buffers");
	if (!ctx || !method || !BIO_meth_set_read(method, bio_read) ||
	    !BIO_meth_set_write(method, bio_write) ||
	    !BIO_meth_set_ctrl(method, bio_ctrl) ||
	    !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(ctx, suites[0]) ||
	    !SSL_CTX_set_num_tickets(ctx, 0)) {
		SSL_CTX_free(ctx);
		return;
	}
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_ENABLE_PARTIAL_WRITE);
	SSL_CTX_set_client_hello_cb(ctx, on_hello, NULL);
	shared = ctx;
}

static int ssl_make(struct tls_filter *f)
{
	BIO *bio = BIO_new(method);
	SSL *ssl = SSL_new(shared);

	if (!bio || !ssl) {
		BIO_free(bio);
		SSL_free(ssl);
		return -ENOMEM;
	}
	BIO_set_data(bio, f);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	SSL_set_app_data(ssl, f);
	if (f->opts.psk) {
		SSL_set_psk_use_session_callback(ssl, on_client_key);
		SSL_set_ciphersuites(ssl, suites[f->psk.hash]);
		/* A certificate would not help a server: nobody is trusted. */
		SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
		SSL_set_connect_state(ssl);
	} else {
		SSL_set_psk_find_session_callback(ssl, on_server_key);
		SSL_set_accept_state(ssl);
	}
	f->ssl = ssl;
	return 0;
}

int tls_filter_init(struct tls_filter *f, const struct stream_tls_opts *opts)
{
	*f = (struct tls_filter){.opts = *opts};
	pthread_once(&shared_once, make_shared);
	if (!shared)
		return -EIO;
	if (opts->psk) {
		f->psk = *opts->psk;
		f->opts.psk = &f->psk;
	}
	f->in = malloc(TLS_IN_BYTES);
	f->out = malloc(TLS_OUT_BYTES);
	f->record = malloc(TLS_RECORD);
	if (!f->in || !f->out || !f->record)
		return -ENOMEM;
	return ssl_make(f);
}

void tls_filter_fini(struct tls_filter *f)
{
	SSL_free(f->ssl);
	free(f->in);
	free(f->out);
	free(f->record);
	secret_clear(f, sizeof(*f));
}

/* --- the handshake --- */

static int failure(struct tls_filter *f)
{
	unsigned long e = ERR_peek_last_error();
	int reason = ERR_GET_REASON(e);

	log_debug("tls handshake failed", "reason=\"%s\"",
		  ERR_reason_error_string(e) ? ERR_reason_error_string(e)
					     : "?");
	if (ERR_GET_LIB(e) != ERR_LIB_SSL)
		return -EPROTO;
	if (reason == SSL_R_BINDER_DOES_NOT_VERIFY)
		return -EKEYREJECTED;
	if (reason > REASON_ALERT && f->opts.psk)
		return -EKEYREJECTED;
	if (f->is_asked && !f->is_found)
		return -ENOKEY;
	return -EPROTO;
}

static int shake_once(struct tls_filter *f)
{
	int n, ret;

	ERR_clear_error();
	n = SSL_do_handshake(f->ssl);
	if (n == 1)
		/* With a certificate instead?  No verifying would allow it. */
		return SSL_session_reused(f->ssl) ? 0 : -EPROTO;
	ret = SSL_get_error(f->ssl, n) == SSL_ERROR_WANT_READ ? -EAGAIN
							      : failure(f);
	ERR_clear_error();
	return ret;
}

/* The client has another key than we thought, and we know several: its hello
 * is read again.  Nothing was sent yet but the alert that says no. */
static int shake_again(struct tls_filter *f)
{
	SSL_free(TAKE(f->ssl));
	f->attempt++;
	f->is_asked = f->is_found = false;
	f->in_pos = f->out_end = 0;
	return ssl_make(f);
}

/* An alert in the clear for those who don't speak TLS to us: it names what is
 * missing to whoever looks at the bytes (unexpected_message). */
static int refuse_plain(struct tls_filter *f)
{
	static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 10};

	memcpy(f->out, alert, sizeof(alert));
	f->out_end = sizeof(alert);
	return -EPROTO;
}

int tls_filter_shake(struct tls_filter *f)
{
	bool is_first = !f->opts.psk && !SSL_is_init_finished(f->ssl) &&
			f->in_pos == 0 && f->in_end;
	int ret;

	if (is_first && f->in[0] != TYPE_HANDSHAKE)
		return refuse_plain(f);
	ret = shake_once(f);
	while (ret == -EKEYREJECTED && f->is_found && !f->has_sent &&
	       f->in_end < TLS_IN_BYTES) {
		ret = shake_again(f);
		if (ret == 0)
			ret = shake_once(f);
		/* No further key: the last one was wrong, then. */
		if (ret == -ENOKEY)
			return -EKEYREJECTED;
	}
	return ret;
}

/* --- data --- */

int tls_filter_read(struct tls_filter *f, const struct iovec *iov,
		    unsigned iovcnt)
{
	size_t done = 0, off = 0, n;
	int what = SSL_ERROR_NONE;

	ERR_clear_error();
	for (unsigned i = 0; i < iovcnt && what == SSL_ERROR_NONE; i++) {
		for (off = 0; off < iov[i].iov_len; off += n) {
			int ret = SSL_read_ex(f->ssl,
					      (char *)iov[i].iov_base + off,
					      iov[i].iov_len - off, &n);

			if (ret != 1) {
				what = SSL_get_error(f->ssl, ret);
				break;
			}
			done += n;
		}
	}
	if (done)
		return (int)MIN(done, (size_t)INT_MAX);
	if (what == SSL_ERROR_ZERO_RETURN)
		return 0;
	ERR_clear_error();
	return what == SSL_ERROR_WANT_READ ? -EAGAIN : -EBADMSG;
}

/* The front of iov as one piece of at most a record. */
static const void *gather(struct tls_filter *f, const struct iovec *iov,
			  unsigned iovcnt, size_t *n)
{
	size_t len;

	*n = MIN(iov[0].iov_len, (size_t)TLS_RECORD);
	if (*n == TLS_RECORD || iovcnt == 1)
		return iov[0].iov_base;
	*n = 0;
	for (unsigned i = 0; i < iovcnt && *n < TLS_RECORD; i++) {
		len = MIN(iov[i].iov_len, TLS_RECORD - *n);
		if (len)
			memcpy(f->record + *n, iov[i].iov_base, len);
		*n += len;
	}
	return f->record;
}

int tls_filter_write(struct tls_filter *f, const struct iovec *iov,
		     unsigned iovcnt)
{
	size_t room = TLS_OUT_BYTES - f->out_end, n, written;
	const void *p;

	if (room < TLS_RECORD + TLS_OVERHEAD + TLS_SPARE)
		return 0;
	p = gather(f, iov, iovcnt, &n);
	ERR_clear_error();
	if (!n || SSL_write_ex(f->ssl, p, n, &written) != 1)
		return -EIO;
	return (int)written;
}

bool tls_filter_has_input(const struct tls_filter *f)
{
	return f->in_pos < f->in_end || SSL_has_pending(f->ssl);
}

struct iovec tls_filter_room(struct tls_filter *f)
{
	/* The client's hello is kept: it may be needed once more. */
	if (f->in_pos == f->in_end && SSL_is_init_finished(f->ssl))
		f->in_pos = f->in_end = 0;
	return (struct iovec){f->in + f->in_end, TLS_IN_BYTES - f->in_end};
}

void tls_filter_shut(struct tls_filter *f)
{
	ERR_clear_error();
	SSL_shutdown(f->ssl);
	ERR_clear_error();
}
