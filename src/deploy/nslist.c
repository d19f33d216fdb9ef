/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of namespaces and the texts they come from.  Single thread.
 * Invariant: no two entries have the same subsystem and namespace, no entry
 * has a path twice, and each has at least one.
 */
#include "deploy/nslist.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/addr.h"
#include "nvme/pdu.h"

#define DISCOVERY_TRSVCID 8009

void nslist_fini(struct nslist *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].paths);
	free(list->items);
	strbuf_fini(&list->notes);
	*list = (struct nslist){0};
}

void nslist_leave_out(struct nslist *list, const char *trtype, const char *addr,
		      const char *nqn)
{
	struct strbuf line = {0};

	strbuf_addf(&line,
		    "the listener %s %s of %s is left out: the pool speaks "
		    "NVMe/TCP; to use that address, let the subsystem listen "
		    "there with TCP, too\n",
		    trtype, addr, nqn);
	if (line.p && !(list->notes.p && strstr(list->notes.p, line.p)))
		strbuf_adds(&list->notes, line.p);
	strbuf_fini(&line);
}

static struct ns_entry *find_or_add(struct nslist *list,
				    const struct endpoint *ep, struct err *err)
{
	struct ns_entry *items, *entry;

	for (size_t i = 0; i < list->count; i++) {
		entry = &list->items[i];
		if (entry->nsid == ep->nsid &&
		    strcmp(entry->subnqn, ep->subnqn) == 0)
			return entry;
	}
	if (list->count == NSLIST_MAX) {
		err_set(err, -E2BIG, "more than %d namespaces: split the call",
			NSLIST_MAX);
		return NULL;
	}
	items = realloc(list->items, (list->count + 1) * sizeof(*items));
	if (!items) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	list->items = items;
	entry = &items[list->count++];
	*entry = (struct ns_entry){.nsid = ep->nsid};
	memcpy(entry->subnqn, ep->subnqn, sizeof(entry->subnqn));
	return entry;
}

static bool same_path(const struct endpoint *a, const struct endpoint *b)
{
	return a->trsvcid == b->trsvcid && a->trtype == b->trtype &&
	       strcmp(a->traddr, b->traddr) == 0;
}

int nslist_add(struct nslist *list, const struct endpoint *ep,
	       struct ns_entry **out, struct err *err)
{
	struct ns_entry *entry = find_or_add(list, ep, err);
	struct endpoint *paths;

	if (!entry)
		return err->code;
	if (out)
		*out = entry;
	for (size_t i = 0; i < entry->path_count; i++) {
		if (same_path(&entry->paths[i], ep))
			return 0;
	}
	if (entry->path_count == NS_PATHS_MAX)
		return 0; /* more would not make it safer */
	paths = realloc(entry->paths, (entry->path_count + 1) * sizeof(*paths));
	if (!paths)
		return err_set(err, -ENOMEM, "out of memory");
	entry->paths = paths;
	paths[entry->path_count++] = *ep;
	return 0;
}

static int copy_host(struct str host, struct endpoint *ep, struct err *err)
{
	if (host.n == 0 || host.n >= sizeof(ep->traddr))
		return err_set(err, -EINVAL,
			       "'" STR_FMT "' is no address or host name",
			       (int)MIN(host.n, (size_t)80), host.p);
	memcpy(ep->traddr, host.p, host.n);
	ep->traddr[host.n] = '\0';
	ep->is_ipv6 = memchr(host.p, ':', host.n) != NULL;
	return 0;
}

int discovery_parse(struct str text, struct endpoint *out, struct err *err)
{
	struct strbuf full = {0};
	struct hostport hp;
	int ret;

	text = str_trim(text);
	if (memmem(text.p, text.n, "traddr:", 7)) {
		strbuf_addf(&full, STR_FMT " subnqn:" NVME_DISC_NQN,
			    STR_ARG(text));
		ret = endpoint_parse(strbuf_str(&full), out, err);
		strbuf_fini(&full);
		return ret;
	}
	ret = hostport_parse(text, DISCOVERY_TRSVCID, &hp, err);
	if (ret < 0)
		return ret;
	*out = (struct endpoint){
		.trsvcid = hp.port,
		.trtype = NVME_TRTYPE_TCP,
		.subnqn = NVME_DISC_NQN,
	};
	return copy_host(str_of(hp.host), out, err);
}

void endpoint_fix_wildcard(struct endpoint *ep, const struct endpoint *asked)
{
	struct addr addr;

	if (addr_parse(ep->traddr, ep->trsvcid, &addr) < 0 ||
	    !addr_is_any(&addr))
		return;
	memcpy(ep->traddr, asked->traddr, sizeof(ep->traddr));
	ep->is_ipv6 = asked->is_ipv6;
}

int endpoint_resolve(struct endpoint *ep, struct err *err)
{
	char text[ADDR_TEXT_LEN];
	struct addr addr;
	int ret = addr_resolve(ep->traddr, ep->trsvcid, &addr, err);

	if (ret < 0)
		return ret;
	addr_format_host(&addr, text);
	memcpy(ep->traddr, text, sizeof(text));
	ep->is_ipv6 = addr.ss.ss_family == AF_INET6;
	return 0;
}
