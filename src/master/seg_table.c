/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of segments, while a journal is replayed.  Single owner.  Invariant:
 * a number stays in the table when its segment goes, for it is never given to
 * another.
 */
#include "master/seg_table.h"

#include <errno.h>
#include <stdlib.h>

#define SEGMENTS_EXPECTED 64

static struct str key_of(const struct hnode *node)
{
	const char *p = (const char *)node - offsetof(struct seg_entry, hnode);
	const struct seg_entry *entry = (const struct seg_entry *)p;

	return (struct str){(const char *)&entry->no, sizeof(entry->no)};
}

int seg_table_init(struct seg_table *table)
{
	list_init(&table->all);
	return htab_init(&table->numbers, SEGMENTS_EXPECTED, key_of);
}

void seg_table_fini(struct seg_table *table)
{
	while (!list_is_empty(&table->all)) {
		struct seg_entry *entry =
			list_first(&table->all, struct seg_entry, node);

		list_del(&entry->node);
		htab_del(&table->numbers, &entry->hnode);
		free(entry);
	}
	htab_fini(&table->numbers);
}

struct seg_entry *seg_table_find(struct seg_table *table, uint32_t no)
{
	struct str key = {(const char *)&no, sizeof(no)};
	struct hnode *node = htab_get(&table->numbers, key, hash_str(key));

	return node ? container_of(node, struct seg_entry, hnode) : NULL;
}

int seg_table_add(struct seg_table *table, uint32_t no, struct segment *seg)
{
	struct seg_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return -ENOMEM;
	entry->no = no;
	entry->seg = seg;
	entry->hnode.hash = hash_str(key_of(&entry->hnode));
	if (htab_add(&table->numbers, &entry->hnode) < 0) {
		free(entry);
		return -ENOMEM;
	}
	list_add_tail(&table->all, &entry->node);
	return 0;
}
