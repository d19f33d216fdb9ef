/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of the target: who has which key, and the handshake that comes before
 * anything of NVMe.  Keys: control loop and shards, under a lock; the rest: the
 * connection's shard.  Invariant: on a listener with TLS no PDU is read before
 * the handshake has succeeded.
 */
#include "target/tls.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/tls.h"
#include "target/conn.h"

#define TLS_MS 8000 /* less than what a connection has until its Connect */

struct tls_entry {
	struct list node;
	char subnqn[NVME_NQN_LEN], hostnqn[NVME_NQN_LEN]; /* empty = any */
	struct tls_key key;
};

struct tgt_tls {
	pthread_mutex_t lock; /* the rest; held for microseconds */
	struct list keys;     /* struct tls_entry */
	struct log_rate rate; /* of lines about failures */
};

/* --- keys --- */

struct tgt_tls *tgt_tls_create(void)
{
	struct tgt_tls *tls = calloc(1, sizeof(*tls));

	if (!tls)
		return NULL;
	pthread_mutex_init(&tls->lock, NULL);
	list_init(&tls->keys);
	return tls;
}

static void entry_free(struct tls_entry *entry)
{
	list_del(&entry->node);
	secret_clear(entry, sizeof(*entry));
	free(entry);
}

void tgt_tls_destroy(struct tgt_tls *tls)
{
	if (!tls)
		return;
	while (!list_is_empty(&tls->keys))
		entry_free(list_first(&tls->keys, struct tls_entry, node));
	pthread_mutex_destroy(&tls->lock);
	free(tls);
}

static struct tls_entry *entry_find(struct tgt_tls *tls, const char *subnqn,
				    const char *hostnqn)
{
	struct tls_entry *entry;

	list_for_each (entry, &tls->keys, node) {
		if (!strcmp(entry->subnqn, subnqn) &&
		    !strcmp(entry->hostnqn, hostnqn))
			return entry;
	}
	return NULL;
}

static int key_set(struct tgt_tls *tls, const char *subnqn, const char *hostnqn,
		   const struct tls_key *key)
{
	struct tls_entry *entry = entry_find(tls, subnqn, hostnqn);

	if (!key) {
		if (entry)
			entry_free(entry);
		return entry ? 0 : -ENOENT;
	}
	if (!entry) {
		entry = calloc(1, sizeof(*entry));
		if (!entry)
			return -ENOMEM;
		snprintf(entry->subnqn, sizeof(entry->subnqn), "%s", subnqn);
		snprintf(entry->hostnqn, sizeof(entry->hostnqn), "%s", hostnqn);
		list_add_tail(&tls->keys, &entry->node);
	}
	entry->key = *key;
	return 0;
}

int tgt_tls_key_set(struct tgt *tgt, const char *subnqn, const char *hostnqn,
		    const struct tls_key *key)
{
	struct tgt_tls *tls = tgt->tls;
	int ret;

	pthread_mutex_lock(&tls->lock);
	ret = key_set(tls, subnqn ? subnqn : "", hostnqn ? hostnqn : "", key);
	pthread_mutex_unlock(&tls->lock);
	return ret;
}

void tgt_tls_keys_drop(struct tgt *tgt, const char *subnqn)
{
	struct tls_entry *entry, *next;

	pthread_mutex_lock(&tgt->tls->lock);
	list_for_each_safe (entry, next, &tgt->tls->keys, node) {
		if (!strcmp(entry->subnqn, subnqn))
			entry_free(entry);
	}
	pthread_mutex_unlock(&tgt->tls->lock);
}

/* An entry that names more wins over one that names less. */
static bool key_get(struct tgt_tls *tls, const char *subnqn,
		    const char *hostnqn, struct tls_key *out)
{
	const char *const subs[] = {subnqn, "", subnqn, ""};
	const char *const hosts[] = {hostnqn, hostnqn, "", ""};
	const struct tls_entry *entry = NULL;

	pthread_mutex_lock(&tls->lock);
	for (int i = 0; !entry && i < 4; i++)
		entry = entry_find(tls, subs[i], hosts[i]);
	if (entry)
		*out = entry->key;
	pthread_mutex_unlock(&tls->lock);
	return entry != NULL;
}

/* --- the handshake --- */

/* Shard.  The forms of an identity differ in how key and digest are derived;
 * the host decides, and says so by what it sends. */
static int find_psk(void *arg, struct str identity, unsigned attempt,
		    struct tls_psk *out)
{
	struct tgt_conn *conn = arg;
	char hostnqn[NVME_NQN_LEN], subnqn[NVME_NQN_LEN];
	struct tls_key key;
	unsigned seen = 0;
	int ret = -ENOENT;

	if (tls_identity_names(identity, hostnqn, subnqn, NVME_NQN_LEN) ||
	    !key_get(conn->tgt->tls, subnqn, hostnqn, &key))
		return -ENOENT;
	for (unsigned f = 0; ret && f < TLS_FORM_COUNT; f++) {
		if (tls_psk_derive(&key, f, hostnqn, subnqn, out) == 0 &&
		    str_eq(identity, str_of(out->identity)) &&
		    seen++ == attempt)
			ret = 0;
	}
	secret_clear(&key, sizeof(key));
	return ret;
}

static const char *reason(int res)
{
	switch (res) {
	case -ENOKEY:
		return "the host has no key that is known here";
	case -EKEYREJECTED:
		return "the host has another key than is known here";
	case -EPROTO:
		return "the host does not speak TLS 1.3 with a pre-shared key";
	case -ETIMEDOUT:
		return "no handshake in time";
	default:
		return strerror(-res);
	}
}

static void log_failure(struct tgt_conn *conn, int res)
{
	struct tgt_tls *tls = conn->tgt->tls;
	char peer[ADDR_TEXT_LEN];
	uint32_t held_back;
	bool is_due;

	pthread_mutex_lock(&tls->lock);
	is_due = log_rate_take(&tls->rate, loop_now_ns(conn->shard->loop),
			       &held_back);
	pthread_mutex_unlock(&tls->lock);
	if (!is_due)
		return;
	addr_format(&conn->peer, peer);
	log_warn("TLS refused", "peer=%s reason=\"%s\" held_back=%u", peer,
		 reason(res), held_back);
}

static void on_done(struct stream *s, int res)
{
	struct tgt_conn *conn = s->arg;

	if (conn->state == CONN_CLOSED)
		return;
	if (res) {
		log_failure(conn, res);
		conn_close(conn, "TLS");
		return;
	}
	conn_rx_start(conn);
}

void conn_tls_start(struct tgt_conn *conn)
{
	struct stream_tls_opts opts = {
		.timeout_ms = TLS_MS,
		.find = find_psk,
		.arg = conn,
	};

	if (stream_tls_start(&conn->s, &opts, on_done))
		conn_close(conn, "out of memory");
}

bool conn_tls_is_for(const struct tgt_conn *conn, const char *hostnqn,
		     const char *subnqn)
{
	const char *identity = stream_tls_identity(&conn->s);
	char host[NVME_NQN_LEN], sub[NVME_NQN_LEN];

	if (!identity)
		return true;
	return tls_identity_names(str_of(identity), host, sub, NVME_NQN_LEN) ==
		       0 &&
	       strcmp(host, hostnqn) == 0 && strcmp(sub, subnqn) == 0;
}
