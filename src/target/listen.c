/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners, which subsystem is reachable through which, and how well (ANA).
 * Control loop.  Invariant: a listener's slot, and with it its id, is free
 * only when its socket is closed and the last connection that came through it
 * has gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/tls.h"
#include "target/conn.h"

static_assert(TGT_LISTENER_MAX <= 32, "tgt_subsys.listeners");

static struct tgt_listener *listener_find(const struct tgt *tgt,
					  const struct addr *addr)
{
	for (unsigned i = 0; i < TGT_LISTENER_MAX; i++) {
		struct tgt_listener *tl = tgt->listeners[i];

		if (tl && !tl->is_closing && addr_eq(&tl->l.local, addr))
			return tl;
	}
	return NULL;
}

static int listener_missing(const struct addr *addr, struct err *err)
{
	char text[ADDR_TEXT_LEN];

	addr_format(addr, text);
	return err_set(err, -ENOENT, "there is no listener at %s", text);
}

static void on_accept(struct listener *l, int fd, const struct addr *peer)
{
	struct tgt_listener *tl = l->arg;
	struct tgt *tgt = tl->tgt;
	int ret = conn_create(tgt, tl, fd, peer);
	uint32_t held_back;

	if (!ret)
		return;
	if (log_rate_take(&tgt->accept_rate, loop_now_ns(l->loop), &held_back))
		log_warn("connection refused",
			 "reason=%s connections=%u held_back=%u",
			 strerror(-ret), tgt->conn_count, held_back);
	io_close(l->loop, fd);
}

/* Every path starts as a good one. */
static void subsys_reset_ana(struct tgt_subsys *ss, unsigned id)
{
	for (unsigned g = 0; ss->ana && g < TGT_NS_MAX; g++)
		atomic_store(&ss->ana->state[id][g], TGT_ANA_OPTIMIZED);
}

static void listener_reset(struct tgt *tgt, unsigned id)
{
	struct tgt_subsys *ss = NULL;

	while ((ss = tgt_subsys_next(tgt, ss))) {
		ss->listeners &= ~(1u << id);
		subsys_reset_ana(ss, id);
	}
}

static int listen_at(struct tgt *tgt, struct addr *addr, bool is_discovery,
		     bool is_tls, struct err *err)
{
	struct tgt_listener *tl;
	char text[ADDR_TEXT_LEN];
	unsigned id = 0;
	int ret;

	if (listener_find(tgt, addr)) {
		addr_format(addr, text);
		return err_set(err, -EEXIST, "%s has a listener already", text);
	}
	while (id < TGT_LISTENER_MAX && tgt->listeners[id])
		id++;
	if (id == TGT_LISTENER_MAX)
		return err_set(err, -ENOSPC, "more than %d listeners",
			       TGT_LISTENER_MAX);
	tl = calloc(1, sizeof(*tl));
	if (!tl)
		return err_set(err, -ENOMEM, "out of memory");
	tl->tgt = tgt;
	tl->id = id;
	tl->is_discovery = is_discovery;
	tl->is_tls = is_tls;
	ret = listener_open(&tl->l, tgt->opts.loop, addr, on_accept, tl, err);
	if (ret) {
		free(tl);
		return ret;
	}
	*addr = tl->l.local;
	listener_reset(tgt, id);
	tgt->listeners[id] = tl;
	disc_changed(tgt);
	return 0;
}

int tgt_listen(struct tgt *tgt, struct addr *addr, struct err *err)
{
	return listen_at(tgt, addr, false, false, err);
}

int tgt_listen_discovery(struct tgt *tgt, struct addr *addr, struct err *err)
{
	return listen_at(tgt, addr, true, false, err);
}

int tgt_listen_tls(struct tgt *tgt, struct addr *addr, bool is_discovery,
		   struct err *err)
{
	if (!stream_tls_is_built())
		return err_set(err, -EOPNOTSUPP,
			       "this program was built without TLS (meson "
			       "-Dtls=enabled)");
	return listen_at(tgt, addr, is_discovery, true, err);
}

void listener_check(struct tgt_listener *tl)
{
	struct tgt *tgt = tl->tgt;

	if (!tl->is_closed || tl->conn_count)
		return;
	tgt->listeners[tl->id] = NULL;
	free(tl);
	tgt_stop_check(tgt);
}

static void on_closed(struct listener *l)
{
	struct tgt_listener *tl = l->arg;

	tl->is_closed = true;
	if (tl->removed)
		tl->removed(tl->removed_arg);
	listener_check(tl);
}

void listener_shut(struct tgt_listener *tl)
{
	if (tl->is_closing)
		return;
	tl->is_closing = true;
	listener_close(&tl->l, on_closed);
}

int tgt_listen_remove(struct tgt *tgt, const struct addr *addr,
		      tgt_done_fn done, void *arg, struct err *err)
{
	struct tgt_listener *tl = listener_find(tgt, addr);
	struct tgt_subsys *ss = NULL;
	struct tgt_conn *conn;

	if (!tl)
		return listener_missing(addr, err);
	tl->removed = done;
	tl->removed_arg = arg;
	listener_shut(tl);
	while ((ss = tgt_subsys_next(tgt, ss)))
		ss->listeners &= ~(1u << tl->id);
	list_for_each (conn, &tgt->conns, node) {
		if (conn->tl == tl)
			conn_kill(conn);
	}
	disc_changed(tgt);
	return 0;
}

static void listener_info(const struct tgt_listener *tl,
			  struct tgt_listener_info *out)
{
	*out = (struct tgt_listener_info){
		.addr = tl->l.local,
		.is_discovery = tl->is_discovery,
		.is_tls = tl->is_tls,
		.connections = tl->conn_count,
	};
}

bool tgt_listener_at(const struct tgt *tgt, unsigned index,
		     struct tgt_listener_info *out)
{
	return tgt_subsys_listener_at(tgt->subsys[0], index, out);
}

/* --- subsystems and listeners --- */

bool subsys_is_reachable(const struct tgt_subsys *ss,
			 const struct tgt_listener *tl)
{
	if (ss->is_discovery)
		return true;
	if (tl->is_discovery)
		return false;
	return !ss->is_listener_list || (ss->listeners >> tl->id & 1);
}

int tgt_subsys_listen(struct tgt_subsys *ss, const struct addr *addr,
		      struct err *err)
{
	struct tgt_listener *tl = listener_find(ss->tgt, addr);
	char text[ADDR_TEXT_LEN];

	if (!tl || tl->is_discovery)
		return listener_missing(addr, err);
	addr_format(addr, text);
	if (ss->listeners >> tl->id & 1)
		return err_set(err, -EEXIST, "%s is reachable at %s already",
			       ss->nqn, text);
	subsys_reset_ana(ss, tl->id);
	ss->listeners |= 1u << tl->id;
	disc_changed(ss->tgt);
	return 0;
}

int tgt_subsys_unlisten(struct tgt_subsys *ss, const struct addr *addr,
			struct err *err)
{
	struct tgt_listener *tl = listener_find(ss->tgt, addr);
	struct tgt_ctrl *ctrl;
	char text[ADDR_TEXT_LEN];

	if (!tl)
		return listener_missing(addr, err);
	addr_format(addr, text);
	if (!(ss->listeners >> tl->id & 1))
		return err_set(err, -ENOENT, "%s is not attached to %s",
			       ss->nqn, text);
	ss->listeners &= ~(1u << tl->id);
	list_for_each (ctrl, &ss->ctrls, node) {
		if (!ctrl_is_reachable(ctrl))
			ctrl_kill(ctrl);
	}
	disc_changed(ss->tgt);
	return 0;
}

bool tgt_subsys_listener_at(const struct tgt_subsys *ss, unsigned index,
			    struct tgt_listener_info *out)
{
	for (unsigned i = 0; i < TGT_LISTENER_MAX; i++) {
		const struct tgt_listener *tl = ss->tgt->listeners[i];

		if (!tl || tl->is_closing || !subsys_is_reachable(ss, tl))
			continue;
		if (index-- == 0) {
			listener_info(tl, out);
			return true;
		}
	}
	return false;
}

/* --- ANA --- */

static bool is_ana_state(enum tgt_ana state)
{
	return state == TGT_ANA_OPTIMIZED || state == TGT_ANA_NON_OPTIMIZED ||
	       state == TGT_ANA_INACCESSIBLE || state == TGT_ANA_CHANGE;
}

void subsys_ana_all(struct tgt_subsys *ss, enum tgt_ana state)
{
	if (!ss->ana)
		return;
	for (unsigned l = 0; l < TGT_LISTENER_MAX; l++) {
		for (unsigned g = 0; g < TGT_NS_MAX; g++)
			atomic_store(&ss->ana->state[l][g], (uint8_t)state);
	}
	ctrl_announce_ana(ss);
}

int tgt_subsys_ana_set(struct tgt_subsys *ss, const struct addr *addr,
		       uint32_t anagrpid, enum tgt_ana state, struct err *err)
{
	struct tgt_listener *tl = listener_find(ss->tgt, addr);
	uint32_t first = anagrpid ? anagrpid : 1;
	uint32_t last = anagrpid ? anagrpid : TGT_NS_MAX;

	if (!ss->ana)
		return err_set(err, -EINVAL, "%s has no ANA reporting",
			       ss->nqn);
	if (last > TGT_NS_MAX || !is_ana_state(state))
		return err_set(err, -EINVAL,
			       "ANA group %u, state %d: groups 1 to %d have"
			       " states 1, 2, 3 and 15",
			       anagrpid, (int)state, TGT_NS_MAX);
	if (!tl || !subsys_is_reachable(ss, tl))
		return listener_missing(addr, err);
	for (uint32_t g = first; g <= last; g++)
		atomic_store(&ss->ana->state[tl->id][g - 1], (uint8_t)state);
	ctrl_announce_ana(ss);
	return 0;
}

enum tgt_ana tgt_subsys_ana_get(const struct tgt_subsys *ss,
				const struct addr *addr, uint32_t anagrpid)
{
	struct tgt_listener *tl = listener_find(ss->tgt, addr);

	if (!tl || anagrpid == 0 || anagrpid > TGT_NS_MAX)
		return TGT_ANA_INACCESSIBLE;
	return tgt_ana_at(ss, tl, anagrpid);
}
