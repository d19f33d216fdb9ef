/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of a host's connection, between TCP and ICReq.  The connection's thread.
 * Invariant: a connection that was given a key sends no byte of NVMe before
 * the handshake has succeeded.
 */
#include "io/tls.h"

#include <errno.h>
#include <string.h>

#include "crypt/key.h"
#include "nvmf/nt.h"

#define ALERT 21 /* type of a TLS record; no PDU has it */

int nt_tls_derive(const struct nvmf_opts *opts, struct tls_psk *out)
{
	*out = (struct tls_psk){0};
	if (!opts->tls_key.len)
		return 0;
	return tls_psk_derive(&opts->tls_key, opts->tls_form, opts->host.nqn,
			      opts->subnqn, out);
}

/* The key is one of a host for a subsystem: which, says the identity. */
static void key_refused(struct nt_conn *conn)
{
	char host[NVME_NQN_LEN] = "", subsystem[NVME_NQN_LEN] = "";

	tls_identity_names(str_of(conn->opts.psk.identity), host, subsystem,
			   sizeof(host));
	nt_fail(conn, -EACCES,
		"subsystem '%.60s' at %s does not accept the TLS key of this "
		"host, '%.80s': check MC_NVME_TLS_KEY_FILE and "
		"MC_NVME_TLS_IDENTITY",
		subsystem, conn->peer, host);
}

static void refused(struct nt_conn *conn, int res)
{
	switch (res) {
	case -EKEYREJECTED:
		key_refused(conn);
		break;
	case -ECONNRESET:
		nt_fail(conn, res,
			"connect to %s: closed during the TLS handshake; does "
			"the target know the key of MC_NVME_TLS_KEY_FILE in "
			"the form of MC_NVME_TLS_IDENTITY, and is this a port "
			"with TLS?",
			conn->peer);
		break;
	case -EPROTO:
		nt_fail(conn, res,
			"connect to %s: no TLS there that this host could "
			"agree with; is this a port with TLS?",
			conn->peer);
		break;
	default:
		nt_fail(conn, res, "connect to %s: TLS: %s", conn->peer,
			strerror(-res));
	}
}

static void tls_done(struct stream *stream, int res)
{
	struct nt_conn *conn = stream->arg;

	if (conn->state != NT_SECURING)
		return;
	if (res)
		refused(conn, res);
	else
		conn->tls_go_on(conn);
}

void nt_tls_start(struct nt_conn *conn, void (*go_on)(struct nt_conn *conn))
{
	/* The connection's own timer comes first. */
	struct stream_tls_opts opts = {
		.timeout_ms = conn->opts.connect_timeout_ms + 1000,
		.psk = &conn->opts.psk,
	};
	int ret;

	conn->state = NT_SECURING;
	conn->tls_go_on = go_on;
	ret = stream_tls_start(&conn->stream, &opts, tls_done);
	if (ret)
		nt_fail(conn, ret, "connect to %s: TLS can't be started: %s",
			conn->peer, strerror(-ret));
}

bool nt_tls_is_alert(const struct nt_conn *conn, const uint8_t *p, size_t n)
{
	return conn->state == NT_GREETING && !conn->opts.psk.len && n >= 3 &&
	       p[0] == ALERT && p[1] == 3;
}
