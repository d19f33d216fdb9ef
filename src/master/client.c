/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients and their time to live, on the metadata shard.  Invariant: the list
 * is ordered by deadline, because all have the same TTL.
 */
#include "master/client.h"

#include "base/log.h"
#include "master/segment.h"

struct str client_key(const struct hnode *node)
{
	const char *p = (const char *)node - offsetof(struct client, hnode);
	const struct client *client = (const struct client *)p;

	return (struct str){(const char *)client->id.b, sizeof(client->id.b)};
}

struct client *client_seen(struct core *core, const struct uuid *id)
{
	struct str key = {(const char *)id->b, sizeof(id->b)};
	uint64_t hash = hash_str(key);
	struct hnode *found = htab_get(&core->clients, key, hash);
	struct client *client;

	if (found) {
		client = container_of(found, struct client, hnode);
		list_del(&client->node);
	} else {
		if (core->clients.count >= CLIENTS_MAX)
			return NULL;
		client = bins_take(&core->bins, sizeof(*client));
		if (!client)
			return NULL;
		client->id = *id;
		client->hnode.hash = hash;
		if (htab_add(&core->clients, &client->hnode) < 0) {
			bins_give(&core->bins, client, sizeof(*client));
			return NULL;
		}
	}
	client->deadline_ns = core->now_ns + core->opts.client_ttl_ns;
	list_add_tail(&core->client_list, &client->node);
	return client;
}

static void client_del(struct core *core, struct client *client)
{
	list_del(&client->node);
	htab_del(&core->clients, &client->hnode);
	bins_give(&core->bins, client, sizeof(*client));
}

static void expire(struct core *core, struct client *client)
{
	struct segment *seg, *tmp;

	core->stats.clients_expired++;
	list_for_each_safe (seg, tmp, &core->segments, node) {
		if (seg->kind != KIND_MEM ||
		    !uuid_eq(&seg->client, &client->id))
			continue;
		log_warn("client expired, its segment is unmounted",
			 "segment=\"%s\" bytes=%llu", seg->name,
			 (unsigned long long)seg->size);
		segment_start_unmount(core, seg);
	}
	client_del(core, client);
}

uint64_t clients_expire(struct core *core)
{
	while (!list_is_empty(&core->client_list)) {
		struct client *client =
			list_first(&core->client_list, struct client, node);

		if (client->deadline_ns > core->now_ns)
			return client->deadline_ns;
		expire(core, client);
	}
	return 0;
}

void clients_fini(struct core *core)
{
	while (!list_is_empty(&core->client_list))
		client_del(core,
			   list_first(&core->client_list, struct client, node));
}
